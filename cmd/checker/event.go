package checker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Event is one event as Innkeeper's own format carries it.
type Event struct {
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
	App     string `json:"app"`
	Channel string `json:"channel"`
	Type    string `json:"type"`
	TimeMs  int64  `json:"time_ms"`
	Ends    uint64 `json:"ends,omitempty"`
}

// The types of events.
const (
	occupied = "occupied"
	vacated  = "vacated"
)

// String names the event in messages.
func (e Event) String() string { return fmt.Sprintf("%s %d (id %s)", e.Type, e.Seq, e.ID) }

// lineMax bounds one line of a record: a batch of events.
const lineMax = 16 << 20

// Read returns the events of all batches in a record of JSON lines, each with a member "batch" that holds the request's
// body, in the order of receipt. Batches that were refused count: they were received.
func Read(r io.Reader) ([]Event, error) {
	var events []Event
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineMax)
	for n := 1; lines.Scan(); n++ {
		var line struct {
			Batch *struct {
				Events []Event `json:"events"`
			} `json:"batch"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return events, fmt.Errorf("line %d: %w", n, err)
		}
		if line.Batch == nil {
			return events, fmt.Errorf("line %d: no batch", n)
		}
		for _, e := range line.Batch.Events {
			if e.ID == "" || e.Seq == 0 {
				return events, fmt.Errorf("line %d: an event of channel %q has no id or seq; only Innkeeper's own format can be checked", n, e.Channel)
			}
			events = append(events, e)
		}
	}
	return events, lines.Err()
}
