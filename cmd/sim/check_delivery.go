package sim

import (
	"slices"
	"time"
)

// CheckDelivery judges G4 over what each rule's receiver read: every event of the rule at least once, in order per
// channel, a resend the same as the first, and nothing that the log does not hold. Where events may be forgotten, the
// receiver is told of each gap before what comes after it, and what it gets still alternates and ends as the log does.
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
		d := delivery{list: &l, rule: h.Rules[id], bounded: h.Bounded, known: known, byMoment: byMoment,
			took: make(map[string][]Event), got: make(map[uint64]bool), next: make(map[string]int), owed: make(map[string][]Event)}
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
	bounded  bool
	known    map[uint64]Event
	byMoment map[moment]Event
	got      map[uint64]bool
	next     map[string]int // per channel, how many of what is owed came in order
	owed     map[string][]Event
	took     map[string][]Event // per channel, what was accepted
	gaps     []Event            // that were accepted
}

// read takes one request of the receiver.
func (d *delivery) read(r Receipt) {
	for _, e := range r.Events {
		if e.Type == Gap {
			d.gap(e, r)
			continue
		}
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
	case next < len(owed) && owed[next].Seq < e.Seq && d.mayLack(owed, next, e):
		for d.next[e.Channel] < len(owed) && owed[d.next[e.Channel]].Seq <= e.Seq {
			d.next[e.Channel]++
		}
	case next < len(owed):
		d.add(e.Channel, when, "rule %s: event %d was delivered at %s before event %d", d.rule.ID, e.Seq, clock(when), owed[next].Seq)
		for d.next[e.Channel] < len(owed) && owed[d.next[e.Channel]].Seq <= e.Seq {
			d.next[e.Channel]++
		}
	}
	d.got[e.Seq] = true
	d.took[e.Channel] = append(d.took[e.Channel], e)
}

// gap notes what a receiver was told to be incomplete.
func (d *delivery) gap(e Event, r Receipt) {
	switch {
	case !d.bounded:
		d.add("", r.At, "rule %s was told of a gap from %d to %d, and nothing may be forgotten", d.rule.ID, e.From, e.To)
	case e.From > e.To || d.known[e.From].Seq == 0 || d.known[e.To].Seq == 0:
		d.add("", r.At, "rule %s was told of a gap from %d to %d, and the log has no such events", d.rule.ID, e.From, e.To)
	case r.Accepted:
		d.gaps = append(d.gaps, e)
	}
}

// mayLack says whether all that is owed from next on and before an event is known to be missing.
func (d *delivery) mayLack(owed []Event, next int, e Event) bool {
	for _, o := range owed[next:] {
		if o.Seq >= e.Seq {
			break
		}
		if !d.missing(o) {
			return false
		}
	}
	return true
}

// missing says whether an event may have been forgotten as far as the receiver knows.
func (d *delivery) missing(e Event) bool {
	if d.rule.Plain {
		return d.bounded
	}
	return slices.ContainsFunc(d.gaps, func(g Event) bool { return g.From <= e.Seq && e.Seq <= g.To })
}

// finish reports what never came.
func (d *delivery) finish(end time.Time) {
	for _, channel := range sorted(d.owed) {
		for _, e := range d.owed[channel] {
			if !d.got[e.Seq] && !d.missing(e) {
				d.add(channel, end, "rule %s: event %d (%s, decided at %s) was never delivered", d.rule.ID, e.Seq, e.Type, clock(at(e)))
			}
		}
		d.rightInTheEnd(channel, end)
	}
}

// rightInTheEnd judges that a receiver to which events are missing makes sense of the others, and ends where the log does.
func (d *delivery) rightInTheEnd(channel string, end time.Time) {
	owed, took := d.owed[channel], d.took[channel]
	if len(took) == len(owed) {
		return
	}
	var open uint64
	for _, e := range took {
		switch {
		case e.Type == Occupied && open != 0:
			d.add(channel, end, "rule %s: what came reads occupied %d after occupied %d", d.rule.ID, e.Seq, open)
		case e.Type == Vacated && e.Ends != open:
			d.add(channel, end, "rule %s: what came reads vacated %d, which ends %d, after %d (0: nothing)", d.rule.ID, e.Seq, e.Ends, open)
		}
		if open = 0; e.Type == Occupied {
			open = e.Seq
		}
	}
	if last := owed[len(owed)-1]; (last.Type == Occupied) != (open != 0) {
		d.add(channel, end, "rule %s: what came leaves it %s, and the last event is %s %d", d.rule.ID,
			map[bool]string{true: "occupied", false: "empty"}[open != 0], last.Type, last.Seq)
	}
}

// CheckOnce judges runs in which nothing excuses a resend: no request was sent twice.
func CheckOnce(h *History) []Violation {
	l := list{promise: "G4"}
	type part struct {
		rule string
		moment
	}
	seen := make(map[part]time.Time)
	for _, r := range h.Receipts {
		for _, e := range r.Events {
			p := part{r.Rule, momentOf(e)}
			if first, ok := seen[p]; ok {
				l.add(e.Channel, r.At, "rule %s sent %s of %s at %s and again at %s", r.Rule, e.Type, clock(at(e)), clock(first), clock(r.At))
			}
			seen[p] = r.At
		}
	}
	return l.found
}
