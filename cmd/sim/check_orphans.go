package sim

import (
	"sort"
	"time"
)

// lagMax is how long an attachment may go on being counted after its client gave it up: a socket that is cut off is
// found by pings.
const lagMax = 45 * time.Second

// CheckOrphans judges G2. When an attach was confirmed, its channel was occupied in the log. At the end, exactly the
// channels that somebody holds are occupied. And nothing was occupied without anybody asking.
func CheckOrphans(h *History) []Violation {
	l := list{promise: "G2"}
	logs := byChannel(h.Log())
	asked := make(map[string][]Attachment)
	for _, a := range h.Attachments {
		if !h.Holds(a.Channel, a.Modes) {
			continue
		}
		asked[a.Channel] = append(asked[a.Channel], a)
		if !a.Confirmed.IsZero() && !occupiedWithin(logs[a.Channel], a.Asked, a.Confirmed) {
			l.add(a.Channel, a.Confirmed, "client %d was confirmed at %s (asked at %s) and no occupied was decided by then", a.Client, clock(a.Confirmed), clock(a.Asked))
		}
	}
	for _, channel := range sorted(logs) {
		for _, e := range logs[channel] {
			if e.Type == Occupied && !anybody(asked[channel], at(e)) {
				l.add(channel, at(e), "occupied %d at %s, and nobody had asked for the channel", e.Seq, clock(at(e)))
			}
		}
	}
	l.endState(h, logs)
	return l.found
}

// occupiedWithin says whether the log has the channel occupied at some instant of [from, to].
func occupiedWithin(events []Event, from, to time.Time) bool {
	// The last event decided at or before to tells the state then.
	i := sort.Search(len(events), func(i int) bool { return at(events[i]).After(to) }) - 1
	for ; i >= 0; i-- {
		if events[i].Type == Occupied {
			return true
		}
		// Vacated: it was occupied just before, which counts when that lies within.
		if at(events[i]).Before(from.Truncate(time.Millisecond)) {
			return false
		}
	}
	return false
}

// anybody says whether some client may have been attached, or attaching, at an instant.
func anybody(as []Attachment, t time.Time) bool {
	for _, a := range as {
		if a.Asked.Before(t.Add(slack)) && (a.Left.IsZero() || a.Left.Add(lagMax).After(t)) {
			return true
		}
	}
	return false
}

// endState compares what is occupied in the log at the end with what clients hold.
func (l *list) endState(h *History, logs map[string][]Event) {
	held := make(map[string]bool)
	for _, a := range h.Attachments {
		if !a.Confirmed.IsZero() && a.Left.IsZero() && h.Holds(a.Channel, a.Modes) {
			held[a.Channel] = true
		}
	}
	for _, channel := range sorted(logs) {
		events := logs[channel]
		last := events[len(events)-1]
		switch {
		case last.Type == Occupied && !held[channel]:
			l.add(channel, at(last), "nobody has held it for %v and it was never vacated (occupied %d)", h.End.Sub(h.Quiet), last.Seq)
		case last.Type == Vacated && held[channel]:
			l.add(channel, at(last), "somebody holds it and its last event is vacated %d", last.Seq)
		}
	}
	for _, channel := range sorted(held) {
		if len(logs[channel]) == 0 {
			l.add(channel, h.End, "somebody holds it and it was never occupied")
		}
	}
}
