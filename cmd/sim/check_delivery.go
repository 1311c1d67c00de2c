package sim

import "time"

// CheckDelivery judges G4 over what each rule's receiver read: every event of the rule at least once, in order per
// channel, a resend the same as the first, and nothing that the log does not hold.
func CheckDelivery(h *History) []Violation {
	l := list{promise: "G4"}
	log := h.Log()
	known := make(map[uint64]Event, len(log))
	byMoment := make(map[moment]Event, len(log))
	for _, e := range log {
		known[e.Seq] = e
		byMoment[momentOf(e)] = e
	}
	for _, id := range sorted(h.Rules) {
		d := delivery{list: &l, rule: h.Rules[id], known: known, byMoment: byMoment,
			got: make(map[uint64]bool), next: make(map[string]int), owed: make(map[string][]Event)}
		for _, e := range log {
			if d.rule.Match(e.Channel) {
				d.owed[e.Channel] = append(d.owed[e.Channel], e)
			}
		}
		for _, r := range h.Receipts {
			if r.Rule == id {
				d.read(r)
			}
		}
		d.finish(h.End)
	}
	return l.found
}

// moment names an event in a format that carries neither seq nor id. Two events of one channel and type never share one,
// because a vacate delay lies between them.
type moment struct {
	channel, kind string
	ms            int64
}

func momentOf(e Event) moment { return moment{e.Channel, e.Type, e.TimeMs} }

// delivery follows one rule's receiver.
type delivery struct {
	*list
	rule     Rule
	known    map[uint64]Event
	byMoment map[moment]Event
	got      map[uint64]bool
	next     map[string]int // per channel, how many of what is owed came in order
	owed     map[string][]Event
}

// read takes one request of the receiver.
func (d *delivery) read(r Receipt) {
	for _, e := range r.Events {
		var want Event
		var ok bool
		if e.Seq == 0 {
			want, ok = d.byMoment[momentOf(e)]
		} else {
			want, ok = d.known[e.Seq]
			ok = ok && want == e
		}
		if !ok {
			d.add(e.Channel, r.At, "rule %s sent %+v, and the log has %+v", d.rule.ID, e, want)
			continue
		}
		if !d.rule.Match(e.Channel) {
			d.add(e.Channel, r.At, "rule %s sent an event of a channel that it does not match", d.rule.ID)
		}
		if r.Accepted {
			d.accept(want, r.At)
		}
	}
}

// accept notes an event that the receiver took: all that its channel owed before must have come already.
func (d *delivery) accept(e Event, when time.Time) {
	owed := d.owed[e.Channel]
	next := d.next[e.Channel]
	switch {
	case d.got[e.Seq]:
		return
	case next < len(owed) && owed[next].Seq == e.Seq:
		d.next[e.Channel]++
	case next < len(owed):
		d.add(e.Channel, when, "rule %s: event %d was delivered at %s before event %d", d.rule.ID, e.Seq, clock(when), owed[next].Seq)
		for d.next[e.Channel] < len(owed) && owed[d.next[e.Channel]].Seq <= e.Seq {
			d.next[e.Channel]++
		}
	}
	d.got[e.Seq] = true
}

// finish reports what never came.
func (d *delivery) finish(end time.Time) {
	for _, channel := range sorted(d.owed) {
		for _, e := range d.owed[channel] {
			if !d.got[e.Seq] {
				d.add(channel, end, "rule %s: event %d (%s, decided at %s) was never delivered", d.rule.ID, e.Seq, e.Type, clock(at(e)))
			}
		}
	}
}
