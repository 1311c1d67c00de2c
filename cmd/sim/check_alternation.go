package sim

import "time"

// CheckAlternation judges G1 over the log: seq grows by one, ids are unique, each channel reads occupied, vacated,
// occupied, …, each vacated names the occupied it ends, and lies at least the vacate delay behind it.
func CheckAlternation(h *History) []Violation {
	l := list{promise: "G1"}
	log := h.Log()
	ids := make(map[string]uint64)
	if len(log) > 0 && log[0].Seq != 1 {
		l.add("", at(log[0]), "nobody told the events before %d", log[0].Seq)
	}
	for i, e := range log {
		if i > 0 && e.Seq != log[i-1].Seq+1 {
			l.add(e.Channel, at(e), "seq %d follows %d", e.Seq, log[i-1].Seq)
		}
		if other, ok := ids[e.ID]; ok || e.ID == "" {
			l.add(e.Channel, at(e), "event %d has the id %q of event %d", e.Seq, e.ID, other)
		}
		ids[e.ID] = e.Seq
	}
	logs := byChannel(log)
	for _, channel := range sorted(logs) {
		l.alternates(channel, logs[channel], h.Delay)
	}
	return l.found
}

// alternates judges one channel's events.
func (l *list) alternates(channel string, events []Event, delay func(string) time.Duration) {
	var open *Event
	for i := range events {
		e := &events[i]
		switch {
		case e.Type == Occupied && open != nil:
			l.add(channel, at(*e), "occupied %d follows occupied %d", e.Seq, open.Seq)
			open = e
		case e.Type == Occupied:
			if e.Ends != 0 {
				l.add(channel, at(*e), "occupied %d says that it ends %d", e.Seq, e.Ends)
			}
			open = e
		case e.Type != Vacated:
			l.add(channel, at(*e), "event %d has the unknown type %q", e.Seq, e.Type)
		case open == nil:
			l.add(channel, at(*e), "vacated %d without an occupied before it", e.Seq)
		default:
			if e.Ends != open.Seq {
				l.add(channel, at(*e), "vacated %d says that it ends %d, not %d", e.Seq, e.Ends, open.Seq)
			}
			if d := at(*e).Sub(at(*open)); d < delay(channel)-time.Millisecond {
				l.add(channel, at(*e), "vacated %d comes %v after its occupied, sooner than the delay of %v", e.Seq, d, delay(channel))
			}
			open = nil
		}
	}
}

// CheckSameLog judges that all nodes tell one history: what is committed never differs nor changes.
func CheckSameLog(h *History) []Violation {
	l := list{promise: "G1"}
	known := make(map[uint64]Event)
	for _, log := range h.Logs {
		for _, e := range log {
			if first, ok := known[e.Seq]; ok && first != e {
				l.add(e.Channel, at(e), "event %d reads %+v at one node and %+v at another", e.Seq, first, e)
				continue
			}
			known[e.Seq] = e
		}
	}
	return l.found
}
