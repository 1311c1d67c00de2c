package checker

import (
	"slices"
	"time"
)

// Attachment is what one client saw of one attachment. Times are of the machine that all run on; zero is "not (yet)".
type Attachment struct {
	Client, Node, Channel string

	Asked     time.Time // not later than ATTACH was sent
	Confirmed time.Time // ATTACHED was received
	Left      time.Time // the client let go, or learned that it holds it no more; not later than DETACH was sent
}

// Harm is how an outage hurts a node.
type Harm string

// The harms. They differ in what clients can know: those of a node that is Cut are told by it that they must go, those
// of a node that is Dead, Paused or Dark cannot be told.
const (
	Dead   Harm = "dead"   // its process ended without a word
	Paused Harm = "paused" // its process stood still
	Dark   Harm = "dark"   // nobody reached it, not even its clients
	Cut    Harm = "cut"    // other nodes did not reach it, or it them; its clients did
)

// Outage is a time in which a node was hurt. A zero To never ended.
type Outage struct {
	Node     string
	Harm     Harm
	From, To time.Time
}

// History is all that is known of one run besides the receipts.
type History struct {
	App         string
	Attachments []Attachment
	Outages     []Outage
	Log         []Event // as GET /events shows it at the end, in order of seq
	Delay       time.Duration
	End         time.Time // when what clients hold was noted
	// Late is how far observations around an instant may lag behind the truth beyond the ordinary, because the machine was
	// busy; nil is never.
	Late func(time.Time) time.Duration
}

const (
	// slack covers the way of a frame to a client and the rounding of time_ms.
	slack = 250 * time.Millisecond
	// hushMax is the longest silence of a process after which it surely still holds its lease.
	hushMax = 2 * time.Second
	// weak is how long after an outage a node's lease may be nearly over.
	weak = 6 * time.Second
	// lagMax is how long an attachment may go on being counted after its client gave it up: a socket that is cut off is
	// found by pings, and a process that stood still reads what had been sent to it.
	lagMax = 75 * time.Second
)

func (h *History) slack(t time.Time) time.Duration {
	if h.Late == nil {
		return slack
	}
	return slack + h.Late(t)
}

// at is when the proposer of an event decided it.
func at(e Event) time.Time { return time.UnixMilli(e.TimeMs) }

// Sure is the part of an attachment in which the client surely held it on a node that served: from its confirmation until
// it left, or until an outage put that in doubt. It is empty when To is not after From.
func (h *History) Sure(a Attachment) (from, to time.Time) {
	if a.Confirmed.IsZero() {
		return a.Asked, a.Asked
	}
	from, to = a.Confirmed, a.Left
	if to.IsZero() {
		to = h.End
	}
	for _, o := range h.Outages {
		// What came to be after the outage is not touched by it.
		if o.Node != a.Node || !o.To.IsZero() && o.To.Before(a.Confirmed) || o.Harm == Dead && o.From.Before(a.Confirmed) {
			continue
		}
		if o.Harm == Cut || o.Harm == Paused && h.short(o) && (to.Before(o.From) || to.After(o.To.Add(4*slack))) {
			continue
		}
		if doubt := o.From.Add(-h.slack(o.From)); doubt.Before(to) {
			to = doubt
		}
	}
	return from, to
}

// short says whether a pause left the node's lease surely alive.
func (h *History) short(o Outage) bool {
	return !o.To.IsZero() && o.To.Sub(o.From) <= hushMax && !slices.ContainsFunc(h.Outages, func(before Outage) bool {
		return before != o && before.Node == o.Node && before.From.Before(o.To) && (before.To.IsZero() || before.To.Add(weak).After(o.From))
	})
}

// held returns the channels that clients hold at the end, and by how many.
func (h *History) held() map[string]int {
	held := make(map[string]int)
	for _, a := range h.Attachments {
		if !a.Confirmed.IsZero() && a.Left.IsZero() {
			held[a.Channel]++
		}
	}
	return held
}
