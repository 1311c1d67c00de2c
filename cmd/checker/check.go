package checker

import (
	"cmp"
	"fmt"
	"slices"
)

// Violation is one broken promise.
type Violation struct {
	Promise string // G1 or G4
	App     string
	Channel string
	Seq     uint64 // of the event that shows it
	What    string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: app %s, channel %q: %s", v.Promise, v.App, v.Channel, v.What)
}

// Check judges all that receipts alone can tell.
func Check(receipts []Event) []Violation {
	return append(Alternation(receipts), Order(receipts)...)
}

// name is a channel of an app.
type name struct{ app, channel string }

func nameOf(e Event) name { return name{e.App, e.Channel} }

// found collects violations.
type found []Violation

func (f *found) add(promise string, e Event, format string, args ...any) {
	*f = append(*f, Violation{promise, e.App, e.Channel, e.Seq, fmt.Sprintf(format, args...)})
}

// distinct returns each event once, in order of first receipt, and reports ids and seqs that stand for more than one event.
func distinct(receipts []Event, f *found) []Event {
	byID := make(map[string]Event, len(receipts))
	bySeq := make(map[uint64]Event, len(receipts))
	var out []Event
	for _, e := range receipts {
		if first, ok := byID[e.ID]; ok {
			if first != e {
				f.add("G1", e, "id %s came as %+v and again as %+v", e.ID, first, e)
			}
			continue
		}
		byID[e.ID] = e
		if first, ok := bySeq[e.Seq]; ok {
			f.add("G4", e, "%v repeats %v of channel %q under another id", e, first, first.Channel)
			continue
		}
		bySeq[e.Seq] = e
		out = append(out, e)
	}
	return out
}

// Alternation judges G1. The receipts may begin in the middle of a channel's life: a vacated whose occupied is older than
// all that was received is no violation.
func Alternation(receipts []Event) []Violation {
	var f found
	events := distinct(receipts, &f)
	slices.SortFunc(events, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	open := make(map[name]Event) // the channel's last event
	for _, e := range events {
		before, known := open[nameOf(e)]
		open[nameOf(e)] = e
		switch {
		case e.Type == occupied && e.Ends != 0:
			f.add("G1", e, "%v says that it ends %d; only a vacated ends something", e, e.Ends)
		case e.Type == occupied && known && before.Type == occupied:
			f.add("G1", e, "%v follows %v; a vacated is missing between them", e, before)
		case e.Type == occupied:
		case e.Type != vacated:
			f.add("G1", e, "%v has an unknown type", e)
		case known && before.Type == vacated:
			f.add("G1", e, "%v follows %v; an occupied is missing between them", e, before)
		case known && e.Ends != before.Seq:
			f.add("G1", e, "%v ends %d, but the channel's occupied is %d", e, e.Ends, before.Seq)
		case !known && (e.Ends == 0 || e.Ends >= events[0].Seq):
			f.add("G1", e, "%v ends %d, which was never received", e, e.Ends)
		}
	}
	return f
}

// Order judges the order of G4: an event of a channel is not first received behind a later one of the same channel.
func Order(receipts []Event) []Violation {
	var f found
	seen := make(map[string]bool, len(receipts))
	latest := make(map[name]Event)
	for i, e := range receipts {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		if l, ok := latest[nameOf(e)]; ok && e.Seq < l.Seq {
			f.add("G4", e, "%v was first received (as number %d) behind %v", e, i+1, l)
			continue
		}
		latest[nameOf(e)] = e
	}
	return f
}

// Complete judges "at least once": all events of the log that wanted says a rule asks for were received, as they are, and
// nothing else was.
func Complete(receipts, log []Event, wanted func(Event) bool) []Violation {
	var f found
	got := make(map[string]bool, len(receipts))
	for _, e := range receipts {
		got[e.ID] = true
	}
	logged := make(map[string]Event, len(log))
	for _, e := range log {
		if !wanted(e) {
			continue
		}
		logged[e.ID] = e
		if !got[e.ID] {
			f.add("G4", e, "%v is in the log and was never received", e)
		}
	}
	told := make(map[string]bool)
	for _, e := range receipts {
		l, ok := logged[e.ID]
		switch {
		case told[e.ID] || ok && l == e:
			continue
		case ok:
			f.add("G1", e, "received as %+v, the log has %+v", e, l)
		default:
			f.add("G4", e, "%v was received and is not among the log's events that the rule asks for", e)
		}
		told[e.ID] = true
	}
	return f
}
