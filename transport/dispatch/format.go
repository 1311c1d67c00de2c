package dispatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Bodies are laid by hand: with reflection the encoding alone would cost more than all the rest of sending an event.

// body is the request for a batch of events of one rule. All events are of the rule's app: a request for several apps
// would carry one's secrets to the other.
func body(r *Rule, events []Event) []byte {
	dst := make([]byte, 0, 64+192*len(events))
	if r.Format == Centrifugo {
		dst = append(dst, `{"events":[`...)
		for i := range events {
			dst = appendCentrifugo(appendComma(dst, i), &events[i])
		}
		return append(dst, "]}"...)
	}
	dst = appendString(append(dst, `{"app":`...), r.App)
	dst = appendString(append(dst, `,"rule":`...), r.ID)
	dst = append(dst, `,"events":[`...)
	for i := range events {
		dst = appendEvent(appendComma(dst, i), &events[i])
	}
	return append(dst, "]}"...)
}

// MarshalJSON gives the event in Innkeeper's format: the same in webhooks and where events are pulled.
func (e Event) MarshalJSON() ([]byte, error) { return appendEvent(nil, &e), nil }

// appendEvent lays an event in Innkeeper's format.
func appendEvent(dst []byte, e *Event) []byte {
	if e.Kind == Gap {
		dst = appendString(append(dst, `{"id":`...), e.ID)
		dst = appendString(append(dst, `,"app":`...), e.App)
		dst = strconv.AppendUint(append(dst, `,"type":"gap","from":`...), e.From, 10)
		return append(strconv.AppendUint(append(dst, `,"to":`...), e.To, 10), '}')
	}
	dst = appendString(append(dst, `{"id":`...), e.ID)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), e.Seq, 10)
	dst = appendString(append(dst, `,"app":`...), e.App)
	if e.Limit == "" {
		dst = appendString(append(dst, `,"channel":`...), e.Channel)
	}
	dst = appendString(append(dst, `,"type":`...), e.Kind.String())
	dst = strconv.AppendInt(append(dst, `,"time_ms":`...), e.TimeMs, 10)
	if e.Limit != "" {
		dst = append(append(dst, `,"limit":`...), e.Limit...)
	}
	if e.Kind == Vacated || e.Kind == Closed {
		dst = strconv.AppendUint(append(dst, `,"ends":`...), e.Ends, 10)
	}
	return append(dst, '}')
}

// appendCentrifugo lays an event in the Centrifugo format.
func appendCentrifugo(dst []byte, e *Event) []byte {
	dst = appendString(append(dst, `{"channel":`...), e.Channel)
	dst = appendString(append(dst, `,"type":`...), e.Kind.String())
	dst = strconv.AppendInt(append(dst, `,"time_ms":`...), e.TimeMs, 10)
	return append(dst, '}')
}

func appendComma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}

// appendString lays a JSON string. Names that need escapes are rare and left to the library.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(dst, s)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendEscaped writes no escapes that only HTML needs.
func appendEscaped(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// accepted says whether a 2xx answer in the Centrifugo format accepts the batch: a JSON object in which no error is set.
func accepted(answer []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil {
		return fmt.Errorf("the answer is not a JSON object such as {\"result\":{}} (%v): %s", err, excerpt(answer))
	}
	if fields == nil {
		return errors.New(`the answer is not a JSON object such as {"result":{}}: null`)
	}
	if e, ok := fields["error"]; ok && string(e) != "null" {
		return fmt.Errorf("the answer has an error: %s", excerpt(e))
	}
	return nil
}

// excerpt is the beginning of what a sink said, safe to log.
func excerpt(b []byte) string {
	const most = 200
	if len(b) <= most {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q…", b[:most])
}
