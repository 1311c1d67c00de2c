package main

import (
	"fmt"
	"slices"
	"time"

	"innkeeper/cmd/checker"
)

// spread is a set of durations.
type spread []time.Duration

func (s spread) String() string {
	if len(s) == 0 {
		return "–"
	}
	sorted := slices.Sorted(slices.Values(s))
	q := func(p int) string { return short(sorted[min(len(sorted)-1, len(sorted)*p/100)]) }
	return fmt.Sprintf("%s | %s | %s | %s", q(50), q(90), q(99), short(sorted[len(sorted)-1]))
}

// short rounds to what one wants to read.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// figures are what a campaign measured.
type figures struct {
	confirm        spread // from ATTACH to ATTACHED
	occupied       spread // from the decision to the first receipt
	vacated        spread
	late           spread // vacated decided later than the last holder's leaving plus the delay
	confirmed, all int    // attaches
	events         int
	repeats        int // receipts of an event that had been received before
	requests       map[mood]int
	busiest        time.Duration // the longest time this machine did not run us
}

func (c *campaign) figures() figures {
	f := figures{requests: c.recv.requests, busiest: c.pulse.worst(c.began, c.ended), events: len(c.log)}
	asks := map[string][]checker.Attachment{}
	for _, a := range c.history.Attachments {
		f.all++
		if !a.Confirmed.IsZero() {
			f.confirmed++
			f.confirm = append(f.confirm, a.Confirmed.Sub(a.Asked))
		}
		asks[a.Channel] = append(asks[a.Channel], a)
	}
	seen := map[string]bool{}
	for _, e := range c.receipts {
		if seen[e.ID] {
			f.repeats++
			continue
		}
		seen[e.ID] = true
		way := max(0, e.at.Sub(time.UnixMilli(e.TimeMs)))
		if e.Type == "occupied" {
			f.occupied = append(f.occupied, way)
		} else {
			f.vacated = append(f.vacated, way)
		}
	}
	began := map[uint64]time.Time{}
	for _, e := range c.log {
		at := time.UnixMilli(e.TimeMs)
		if e.Type == "occupied" {
			began[e.Seq] = at
			continue
		}
		if last, ok := lastHolder(asks[e.Channel], began[e.Ends], at); ok {
			f.late = append(f.late, max(0, at.Sub(last)-c.history.Delay))
		}
	}
	return f
}

// lastHolder is when the last client let go that held a channel between its occupied and its vacated. It is not known where
// the last one that may have counted was never confirmed, or learned only later that it held nothing any more.
func lastHolder(asks []checker.Attachment, occupied, vacated time.Time) (left time.Time, ok bool) {
	for _, a := range asks {
		switch {
		case !a.Asked.Before(vacated):
		case !a.Left.Before(vacated) || a.Left.IsZero():
			return left, false
		case a.Left.After(left) && a.Left.After(occupied):
			left, ok = a.Left, !a.Confirmed.IsZero()
		}
	}
	return left, ok
}

// exile is how the clients of a node that was cut off fared (G9).
type exile struct {
	blow        *blow
	connections int
	told        int           // by DISCONNECTED
	first, last time.Duration // since the cut, sent away
	event       time.Duration // since the cut, the first event that the others decided for a channel of theirs; 0 is none
	margin      time.Duration // least time between a connection's end and such an event for one of its channels
}

// exiles tells of all cuts that lasted long enough to send clients away.
func (c *campaign) exiles() []exile {
	var out []exile
	for _, b := range c.striker.blows {
		switch b.kind {
		case cut, mute, deaf, refuse, loss, slow:
		default:
			continue
		}
		e := exile{blow: b}
		for _, s := range c.witness.sent {
			since := s.at.Sub(b.from)
			if s.node != c.ps.procs[b.nodes[0]].name || since < 0 || s.at.After(b.ready) {
				continue
			}
			if e.connections == 0 {
				e.first = since
			}
			e.connections++
			e.last = since
			if s.told {
				e.told++
			}
			for _, ev := range c.log {
				at := time.UnixMilli(ev.TimeMs)
				if at.Before(b.from) || !s.held(ev.Channel, b.from) {
					continue
				}
				if d := at.Sub(b.from); e.event == 0 || d < e.event {
					e.event = d
				}
				if m := at.Sub(s.at); e.margin == 0 || m < e.margin {
					e.margin = m
				}
				break
			}
		}
		if e.connections > 0 {
			out = append(out, e)
		}
	}
	return out
}
