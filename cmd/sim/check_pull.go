package sim

import (
	"cmp"
	"slices"
	"time"
)

// CheckPull judges G5: a snapshot of the occupied channels is exactly what the log's events up to its as_of leave
// occupied, and that is no older than anything that was told before it was asked for.
func CheckPull(h *History) []Violation {
	l := list{promise: "G5"}
	log, told := h.Log(), tellings(h)
	for _, s := range h.Snapshots {
		if seq := told.before(s.Asked); s.AsOf < seq {
			l.add("", s.At, "a snapshot of node %d is as of %d, and %d had been told before it was asked for", s.Node, s.AsOf, seq)
		}
		want := replay(log, s.AsOf)
		last := uint64(0)
		if len(log) > 0 {
			last = log[len(log)-1].Seq
		}
		if s.AsOf > last {
			l.add("", s.At, "a snapshot of node %d is as of %d, and the log ends at %d", s.Node, s.AsOf, last)
			continue
		}
		seen := make(map[string]bool)
		for _, got := range s.Channels {
			w, ok := want[got.Channel]
			switch {
			case seen[got.Channel]:
				l.add(got.Channel, s.At, "a snapshot of node %d as of %d lists it twice", s.Node, s.AsOf)
			case !ok:
				l.add(got.Channel, s.At, "a snapshot of node %d as of %d lists it, and the events leave it empty", s.Node, s.AsOf)
			case got.Seq != w.Seq || got.SinceMs != w.TimeMs:
				l.add(got.Channel, s.At, "a snapshot of node %d as of %d has %+v, the events %+v", s.Node, s.AsOf, got, w)
			}
			seen[got.Channel] = true
		}
		for _, channel := range sorted(want) {
			if !seen[channel] {
				l.add(channel, s.At, "a snapshot of node %d as of %d misses it (occupied %d)", s.Node, s.AsOf, want[channel].Seq)
			}
		}
	}
	return l.found
}

// telling is a seq that somebody had been told at a time.
type telling struct {
	at  time.Time
	seq uint64 // the greatest until then
}

// told is in order of time.
type told []telling

// tellings are what snapshots and webhooks told.
func tellings(h *History) (all told) {
	for _, s := range h.Snapshots {
		all = append(all, telling{s.At, s.AsOf})
	}
	for _, r := range h.Receipts {
		for _, e := range r.Events {
			all = append(all, telling{r.At, e.Seq})
		}
	}
	slices.SortFunc(all, func(a, b telling) int { return a.at.Compare(b.at) })
	for i := range all {
		if i > 0 {
			all[i].seq = max(all[i].seq, all[i-1].seq)
		}
	}
	return all
}

// before is the greatest seq that was told before a time.
func (t told) before(at time.Time) uint64 {
	i, _ := slices.BinarySearchFunc(t, at, func(a telling, at time.Time) int { return cmp.Compare(a.at.UnixNano(), at.UnixNano()) })
	if i == 0 {
		return 0
	}
	return t[i-1].seq
}

// replay returns the occupied channels after the events up to a seq, each with its occupied event.
func replay(log []Event, asOf uint64) map[string]Event {
	out := make(map[string]Event)
	for _, e := range log {
		if e.Seq > asOf {
			break
		}
		if e.Type == Occupied {
			out[e.Channel] = e
		} else {
			delete(out, e.Channel)
		}
	}
	return out
}
