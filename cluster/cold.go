package cluster

// coldWatch notices, in the term of one leader, that the cluster comes back from a stop of all its members. It does when
// the leader itself had just started, no member from before has a lease to show, and all of them turn out to be replaced or dead.
type coldWatch struct {
	open bool
	old  map[Peer]bool // live boots from before the stop, as far as this leader can tell
}

// newColdWatch begins a term. recovering: this boot took part in the recovery under an earlier leader.
func newColdWatch(view *View, self Peer, recovering bool) coldWatch {
	w := coldWatch{
		open: len(view.Members) > 0 && (recovering || !view.holds(self)),
		old:  map[Peer]bool{},
	}
	for _, p := range view.live() {
		if p != self {
			w.old[p] = true
		}
	}
	return w
}

// renewed says that p holds a lease, and whether p says that it is itself part of the recovery.
func (w *coldWatch) renewed(p Peer, recovering bool) {
	switch {
	case !w.old[p]:
	case recovering:
		delete(w.old, p)
	default:
		w.open = false // somebody lived through it: this was no full stop
	}
}

// completes says whether, once members are what they will be, nobody from before is left.
func (w *coldWatch) completes(members []Member) bool {
	if !w.open {
		return false
	}
	for _, m := range members {
		if m.State != Dead && w.old[m.Peer()] {
			return false
		}
	}
	return true
}

// done says that the change that completed the recovery is committed.
func (w *coldWatch) done() { w.open = false }
