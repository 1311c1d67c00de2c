package sim

// CheckPull judges G5: a snapshot of the occupied channels is exactly what the log's events up to its as_of leave
// occupied.
func CheckPull(h *History) []Violation {
	l := list{promise: "G5"}
	log := h.Log()
	for _, s := range h.Snapshots {
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
