package mirror

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// follow reads the stream of events behind a seq, until it ends, the node falls silent, or there is a gap.
func (m *Mirror) follow(ctx context.Context, after uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(silenceMax, func() { cancel(fmt.Errorf("nothing heard for %v", silenceMax)) })
	defer silence.Stop()
	// Not after=…, where 0 would mean "whatever there is": a table as of 0 is of a log that had no event yet.
	res, err := m.get(ctx, "/events", nil, http.Header{
		"Accept":        {"text/event-stream"},
		"Last-Event-Id": {strconv.FormatUint(after, 10)},
	})
	if err != nil {
		if r, ok := err.(*refusal); ok && r.Code == codeForgotten {
			return fmt.Errorf("%w: %w", errForgotten, err)
		}
		return err
	}
	defer res.Body.Close()
	err = eachMessage(res.Body, func(line string) { silence.Reset(silenceMax) }, func(s message) error {
		if s.event == "gap" {
			return fmt.Errorf("%w: %s", errForgotten, s.data)
		}
		if s.data != "" && s.event == "" {
			var e Event
			if err := json.Unmarshal([]byte(s.data), &e); err != nil {
				return fmt.Errorf("event %.100q: %w", s.data, err)
			}
			if err := m.take(e); err != nil {
				return err
			}
		}
		m.pass(s.id)
		return nil
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// message is one server-sent event. id is the last that was said, also by messages before it.
type message struct {
	id    uint64
	event string // "" is "message"
	data  string
}

// eachMessage takes a stream apart until it ends, which is io.ErrUnexpectedEOF, or take fails. heard is called for each
// line.
func eachMessage(stream io.Reader, heard func(line string), take func(message) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	var s message
	for lines.Scan() {
		line := lines.Text()
		heard(line)
		if line == "" {
			if err := take(s); err != nil {
				return err
			}
			s = message{id: s.id}
			continue
		}
		field, value, _ := strings.Cut(line, ":") // a comment has no field
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			id, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return fmt.Errorf("id %.100q in the stream", value)
			}
			s.id = id
		case "event":
			s.event = value
		case "data":
			s.data += value
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
