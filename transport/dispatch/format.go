package dispatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// eventJSON is an event as Innkeeper's sinks and readers see it.
type eventJSON struct {
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
	App     string `json:"app"`
	Channel string `json:"channel"`
	Type    string `json:"type"`
	TimeMs  int64  `json:"time_ms"`
	Ends    uint64 `json:"ends,omitempty"`
}

// MarshalJSON gives the event in Innkeeper's format: the same in webhooks and where events are pulled.
func (e Event) MarshalJSON() ([]byte, error) {
	return encode(eventJSON{
		ID: e.ID, Seq: e.Seq, App: e.App, Channel: e.Channel, Type: e.Kind.String(), TimeMs: e.TimeMs, Ends: e.Ends,
	})
}

// body is the request for a batch of events of one rule. All events are of the rule's app: a request for several apps
// would carry one's secrets to the other.
func body(r *Rule, events []Event) ([]byte, error) {
	if r.Format == Centrifugo {
		return centrifugoBody(events)
	}
	return encode(struct {
		App    string  `json:"app"`
		Rule   string  `json:"rule"`
		Events []Event `json:"events"`
	}{r.App, r.ID, events})
}

func centrifugoBody(events []Event) ([]byte, error) {
	type event struct {
		Channel string `json:"channel"`
		Type    string `json:"type"`
		TimeMs  int64  `json:"time_ms"`
	}
	out := make([]event, len(events))
	for i, e := range events {
		out[i] = event{e.Channel, e.Kind.String(), e.TimeMs}
	}
	return encode(map[string][]event{"events": out})
}

// encode is JSON without the escapes that only HTML needs, and without a newline at the end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// accepted says whether a 2xx answer in the Centrifugo format accepts the batch: a JSON object in which no error is set.
func accepted(answer []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil {
		return fmt.Errorf("the answer is not a JSON object (%v): %s", err, excerpt(answer))
	}
	if fields == nil {
		return errors.New("the answer is not a JSON object: null")
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
