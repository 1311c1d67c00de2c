package meter

import (
	"fmt"
	"net/url"
	"strconv"
)

// limitMax is the most intervals that one question is answered with.
const limitMax = 1000

// BadParam is a parameter that cannot be read.
type BadParam struct {
	Field string
	Text  string // with the value and what is allowed
}

func (e *BadParam) Error() string { return e.Text }

// Read takes over the parameters of a request: unit (or by), start, end, limit and direction. Those that are not there leave
// the query as it is.
func (q *Query) Read(v url.Values) *BadParam {
	unit, field := v.Get("unit"), "unit"
	if unit == "" {
		unit, field = v.Get("by"), "by"
	}
	var err error
	if q.Unit, err = ParseUnit(unit); err != nil {
		return &BadParam{field, err.Error()}
	}
	if text := v.Get("start"); text != "" {
		if q.FromMs, _, err = ParseTime(text); err != nil {
			return &BadParam{"start", err.Error()}
		}
	}
	if text := v.Get("end"); text != "" {
		if _, q.ToMs, err = ParseTime(text); err != nil {
			return &BadParam{"end", err.Error()}
		}
	}
	if q.FromMs > q.ToMs {
		return &BadParam{"start", "start lies behind end"}
	}
	q.FromMs = q.Unit.Start(q.FromMs) // the interval that it lies in is meant, too
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > limitMax {
			return &BadParam{"limit", fmt.Sprintf("limit has to be a number from 1 to %d, this is %.40q", limitMax, text)}
		}
		q.Limit = n
	}
	switch text := v.Get("direction"); text {
	case "", "backwards":
	case "forwards":
		q.Forwards = true
	default:
		return &BadParam{"direction", fmt.Sprintf(`direction has to be "backwards" or "forwards", this is %.40q`, text)}
	}
	return nil
}
