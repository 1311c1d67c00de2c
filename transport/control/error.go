package control

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Error is an answer that is no success.
type Error struct {
	Status  int
	Code    int
	Message string
	Details []Problem
}

func (e *Error) Error() string { return e.Message }

// Problem is one thing that is wrong with a request.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"` // with the value and the remedy
	Code    int    `json:"-"`       // of the answer; 0 is that of any bad request
}

// Invalid refuses a request for what is wrong with it. The first problem with a code gives it to the answer.
func Invalid(problems ...Problem) error {
	texts := make([]string, len(problems))
	code := 0
	for i, p := range problems {
		code = cmp.Or(code, p.Code)
		texts[i] = strings.TrimSpace(p.Field + ": " + p.Message)
		if p.Field == "" {
			texts[i] = p.Message
		}
	}
	return &Error{Status: http.StatusBadRequest, Code: cmp.Or(code, 40000), Message: strings.Join(texts, "; "), Details: problems}
}

// NotFound says that there is no such thing.
func NotFound(kind, id string) error {
	return &Error{Status: http.StatusNotFound, Code: 40400, Message: fmt.Sprintf("there is no %s %.100q", kind, id)}
}

// IsNotFound says whether an error is from NotFound.
func IsNotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound
}

// Conflict refuses what cannot be done as things stand.
func Conflict(format string, args ...any) error {
	return &Error{Status: http.StatusConflict, Code: 40900, Message: fmt.Sprintf(format, args...)}
}
