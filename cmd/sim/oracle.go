package sim

import (
	"slices"
	"time"
)

// How much an observation may lag behind the truth.
const (
	// slack covers the way of a frame to a client, and the rounding of time_ms.
	slack = 250 * time.Millisecond
	// hushMax is the longest silence of a node after which it surely still holds its lease: the time to live less one
	// interval of renewal and the time of one request.
	hushMax = 2 * time.Second
	// recovery is how long after a silence a client may go on believing in an attachment that is over.
	recovery = 15 * time.Second
)

// Interval is a time in which a client surely held an attachment on a live node.
type Interval struct {
	Client, Node int
	Channel      string
	From, To     time.Time
}

// Sure derives from what clients saw, and from what was done to nodes and clients, when channels surely had somebody
// attached. An attachment that lasts to the end lasts until end.
func Sure(h *History) []Interval {
	var out []Interval
	for _, a := range h.Attachments {
		if a.Confirmed.IsZero() || !h.Holds(a.Channel, a.Modes) {
			continue
		}
		to := a.Left
		if to.IsZero() {
			to = h.End
		}
		whole := Interval{Client: a.Client, Node: a.Node, Channel: a.Channel, From: a.Confirmed, To: to}
		out = append(out, cutOut(whole, h.Outages)...)
	}
	return out
}

// cutOut removes from an interval the times in which an outage leaves it in doubt.
func cutOut(whole Interval, outages []Outage) []Interval {
	rest := []Interval{whole}
	for _, o := range outages {
		if o.Node != whole.Node && o.Client != whole.Client {
			continue
		}
		from, to := o.From, o.To.Add(recovery)
		switch {
		case o.Kind == CutOff:
			// The clients of a node that is cut off hear from it that they must go; until then they are attached.
			continue
		case o.To.IsZero(), o.Kind == Dead:
			to = whole.To
			if !o.To.IsZero() && !o.To.After(whole.From) {
				continue // before this attachment
			}
		case o.To.Sub(o.From) > hushMax:
		case whole.To.Before(o.From) || whole.To.After(o.To.Add(slack)):
			continue
		default:
			// What ended the attachment was said during the silence, and heard when that was over.
			to = whole.To
		}
		rest = slices.DeleteFunc(split(rest, from, to), func(i Interval) bool { return !i.From.Before(i.To) })
	}
	return rest
}

// split takes [from, to) out of each interval.
func split(in []Interval, from, to time.Time) []Interval {
	var out []Interval
	for _, i := range in {
		if !from.Before(i.To) || !i.From.Before(to) {
			out = append(out, i)
			continue
		}
		before, after := i, i
		before.To, after.From = from, to
		out = append(out, before, after)
	}
	return out
}
