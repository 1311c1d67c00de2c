package sim

import (
	"fmt"

	"innkeeper/cmd/checker"
)

// CheckOrder asks of each channel whether its attaches, what clients surely held, and its events have an order at all
// that explains what everybody saw: G1, G2 and G3 by one rule, and by a search that knows nothing of the other checkers.
// The search is bounded by the clock, so it must run outside a bubble. How many channels were too much for it is returned
// besides.
func CheckOrder(h *History) (found []Violation, unknown int) {
	their := &checker.History{App: App, End: h.End}
	for _, a := range h.Attachments {
		if h.Holds(a.Channel, a.Modes) {
			their.Attachments = append(their.Attachments, toldApart(a, h.Outages))
		}
	}
	for _, o := range h.Outages {
		if o.Node >= 0 {
			harm := map[OutageKind]checker.Harm{Dead: checker.Dead, Silent: checker.Dark, CutOff: checker.Cut}[o.Kind]
			their.Outages = append(their.Outages, checker.Outage{Node: fmt.Sprint(o.Node), Harm: harm, From: o.From, To: o.To})
		}
	}
	for _, e := range h.Log() {
		their.Log = append(their.Log, checker.Event{ID: e.ID, Seq: e.Seq, App: e.App, Channel: e.Channel, Type: e.Type, TimeMs: e.TimeMs, Ends: e.Ends})
	}
	violations, unknown := checker.Linear(their, h.received())
	for _, v := range violations {
		found = append(found, Violation{Promise: "G2", Channel: v.Channel, At: h.End, Text: v.What})
	}
	return found, unknown
}

// toldApart is an attachment as the search takes it, which knows nothing of clients that nobody hears: what such a client
// held when its silence began, or was confirmed in it, it holds no longer than until then.
func toldApart(a Attachment, outages []Outage) checker.Attachment {
	out := checker.Attachment{
		Client: fmt.Sprint(a.Client), Node: fmt.Sprint(a.Node), Channel: a.Channel,
		Asked: a.Asked, Confirmed: a.Confirmed, Left: a.Left,
	}
	for _, o := range outages {
		if o.Client != a.Client || a.Confirmed.IsZero() || !o.To.IsZero() && o.To.Before(a.Asked) || !a.Left.IsZero() && o.From.After(a.Left) {
			continue
		}
		until := o.From.Add(-slack)
		if until.Before(a.Confirmed) {
			until = a.Confirmed
		}
		if out.Left.IsZero() || until.Before(out.Left) {
			out.Left = until
		}
	}
	return out
}
