package mirror

import (
	"fmt"
	"maps"
)

// Event is one state event as GET /events tells it. A reader must pass over fields and types that it does not know.
type Event struct {
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
	Channel string `json:"channel"`
	Type    string `json:"type"` // occupied or vacated
	TimeMs  int64  `json:"time_ms"`
	Ends    uint64 `json:"ends"` // vacated: seq of the occupied that it ends
}

// Table is the set of occupied channels as of one seq. With a database, both go into one transaction: a table without its
// seq cannot be gone on with.
type Table struct {
	Seq      uint64            `json:"seq"`
	Channels map[string]uint64 `json:"channels"` // name to the seq of the occupied that is still open
}

// Apply takes in the next event. What the table has already is passed over, so an event may come twice. An event that
// contradicts the table changes nothing: then the table is wrong, and must be made anew.
func (t *Table) Apply(e Event) (changed bool, err error) {
	if e.Seq <= t.Seq {
		return false, nil
	}
	since, occupied := t.Channels[e.Channel]
	switch {
	case e.Type == "occupied" && !occupied:
		t.Channels[e.Channel] = e.Seq
	case e.Type == "vacated" && occupied && e.Ends == since:
		delete(t.Channels, e.Channel)
	case e.Type == "occupied", e.Type == "vacated":
		return false, fmt.Errorf("event %d says that %q is %s (ends %d), and the table as of %d has it since %d",
			e.Seq, e.Channel, e.Type, e.Ends, t.Seq, since)
	}
	t.Seq = e.Seq
	return true, nil
}

// clone copies the table.
func (t *Table) clone() Table { return Table{t.Seq, maps.Clone(t.Channels)} }
