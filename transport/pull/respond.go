package pull

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"innkeeper/transport/protocol"
)

// respond writes an answer in JSON.
func respond(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // our own structs of numbers and strings
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// refuse writes an error the way the REST API does.
func refuse(w http.ResponseWriter, e *protocol.ErrorInfo) {
	w.Header().Set("X-Ably-Errorcode", strconv.Itoa(e.Code))
	w.Header().Set("X-Ably-Errormessage", headerText(e.Message))
	type info struct {
		Message    string `json:"message"`
		Code       int    `json:"code"`
		StatusCode int    `json:"statusCode"`
		Href       string `json:"href,omitempty"`
	}
	respond(w, e.StatusCode, map[string]info{"error": {e.Message, e.Code, e.StatusCode, e.Href}})
}

// headerText makes a message safe for a header: printable ASCII only.
func headerText(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}

// number reads a parameter that is a whole number; otherwise stands in where it is absent.
func number(q url.Values, name string, least, most, otherwise uint64) (uint64, error) {
	text := q.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, protocol.Errorf(protocol.CodeBadParamValue,
			"parameter %s is %q; it must be a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// duration reads a parameter like 20s; 0 when absent.
func duration(q url.Values, name string, most time.Duration) (time.Duration, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		return 0, protocol.Errorf(protocol.CodeBadParamValue,
			"parameter %s is %q; it must be a duration from 0s to %v, such as 20s", name, text, most)
	}
	return d, nil
}
