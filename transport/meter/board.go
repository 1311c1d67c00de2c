package meter

// deadKept is how long what a dead boot counted is still to be had, in ms: long enough for whoever leads next to count it,
// and less than Meters remember that they did.
const deadKept = 30_000

// Board is what the nodes said last. Each node keeps one, so that whoever leads next knows what the last leader knew.
type Board struct {
	parts map[uint32]Partition
	boots map[string]*boot
}

type boot struct {
	n      uint64
	apps   []App
	goneMs int64 // when it was found to be no member; 0: live
}

// NewBoard makes an empty one.
func NewBoard() *Board {
	return &Board{parts: map[uint32]Partition{}, boots: map[string]*boot{}}
}

// Take notes a report. One that is older than what is known changes nothing. The board owns r from now on.
func (b *Board) Take(id string, r *Report) {
	known := b.boots[id]
	if known == nil {
		known = &boot{}
		b.boots[id] = known
	}
	if r.N <= known.n {
		return
	}
	known.n, known.apps = r.N, r.Apps
	for _, p := range r.Partitions {
		if p.Epoch >= b.parts[p.Part].Epoch {
			b.parts[p.Part] = p
		}
	}
}

// Live says which boots are members. The connections of others do not count.
func (b *Board) Live(ids []string, nowMs int64) {
	live := make(map[string]bool, len(ids))
	for _, id := range ids {
		live[id] = true
	}
	for id, k := range b.boots {
		switch {
		case live[id]:
			k.goneMs = 0
		case k.goneMs == 0:
			k.goneMs = nowMs
		case nowMs-k.goneMs > deadKept:
			delete(b.boots, id)
		}
	}
}

// Complete says whether each of so many partitions was heard of. Before, as after the start of a node, what the board has
// is too little.
func (b *Board) Complete(partitions int) bool { return len(b.parts) >= partitions }

// Now is what is open at this moment.
type Now struct{ Channels, Connections int64 }

// Apps is what each app has open.
func (b *Board) Apps() map[string]Now {
	apps := map[string]Now{}
	for _, p := range b.parts {
		for app, n := range p.Open {
			v := apps[app]
			v.Channels += n
			apps[app] = v
		}
	}
	for _, k := range b.boots {
		for i := range k.apps {
			a := &k.apps[i]
			v := apps[a.ID]
			if k.goneMs == 0 {
				v.Connections += a.Connections
			}
			apps[a.ID] = v // an app that only counted has its place, too
		}
	}
	return apps
}
