package sim

// CheckFalseVacated judges G3: a vacated decided at T says that the channel was empty from T less the vacate delay until
// T. No client may surely have held it at any instant of that time.
func CheckFalseVacated(h *History) []Violation {
	l := list{promise: "G3"}
	sure := make(map[string][]Interval)
	for _, i := range Sure(h) {
		sure[i.Channel] = append(sure[i.Channel], i)
	}
	for _, e := range h.Log() {
		if e.Type != Vacated {
			continue
		}
		until := at(e).Add(-slack)
		since := at(e).Add(slack - h.Delay(e.Channel))
		for _, i := range sure[e.Channel] {
			if i.From.Before(until) && i.To.After(since) {
				l.add(e.Channel, at(e), "vacated %d was decided at %s, and client %d was attached at node %d from %s to %s",
					e.Seq, clock(at(e)), i.Client, i.Node, clock(i.From), clock(i.To))
				break
			}
		}
	}
	return l.found
}
