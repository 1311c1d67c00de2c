package meter

// deadKept is how long what a dead boot counted is still to be had, in ms: long enough for whoever leads next to count it,
// and less than Meters remember that they did.
const deadKept = 30_000

// Board is what the nodes said last. Each node keeps one, so that whoever leads next knows what the last leader knew.
//
// Partitions count under the newest layout of the ring that is known. Until all of its partitions were heard of, those of
// the layout before stand for them, as they were last: so none counts twice, and none is missing.
type Board struct {
	layout uint64 // epoch that the layout began with
	size   int    // its partitions; 0: not known yet
	parts  map[uint32]Partition
	former map[uint32]Partition // of the layout before; nil when it is not needed, or not known
	boots  map[string]*boot
}

type boot struct {
	n      uint64
	apps   []App
	goneMs int64 // when it was found to be no member; 0: live

	seen   uint64 // report at the last look
	lateMs int64  // since when looks have found no newer one; 0: the last did
}

// lateMax is for how long a member that says nothing is waited for, in ms: longer than its death takes to be committed.
const lateMax = 8000

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
	if r.Layout < b.layout {
		return
	}
	b.recut(r.Layout)
	for _, p := range r.Partitions {
		if p.Epoch >= b.parts[p.Part].Epoch {
			b.parts[p.Part] = p
		}
	}
	b.settle()
}

// Layout says how the ring is cut, as far as the node knows: by the epoch that the layout began with, and its partitions.
func (b *Board) Layout(began uint64, partitions int) {
	if began < b.layout {
		return // others have told of a later one
	}
	b.recut(began)
	b.size = partitions
	b.settle()
}

// recut begins a new layout, if it is one.
func (b *Board) recut(began uint64) {
	if began == b.layout {
		return
	}
	if b.former == nil && b.whole() {
		b.former = b.parts
	}
	b.layout, b.size, b.parts = began, 0, map[uint32]Partition{}
}

// settle drops the layout before when nothing stands for it any more.
func (b *Board) settle() {
	if b.whole() {
		b.former = nil
	}
}

// whole says that each partition of the layout was heard of.
func (b *Board) whole() bool { return b.size > 0 && len(b.parts) >= b.size }

// Heard is how many of the layout's partitions were heard of, each by an owner that serves it, and how many there are; 0
// when that is not known.
func (b *Board) Heard() (began uint64, heard, partitions int) { return b.layout, len(b.parts), b.size }

// Serves says whether a partition was heard of under an epoch, or a later one.
func (b *Board) Serves(part uint32, epoch uint64) bool {
	p, ok := b.parts[part]
	return ok && p.Epoch >= epoch
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

// Late says whether a member has said nothing since the last time this was asked. If it is dead its connections may be at
// others already, so that counting all would count them twice. Nobody is waited for longer than lateMax.
func (b *Board) Late(nowMs int64) (late bool) {
	for _, k := range b.boots {
		switch {
		case k.n != k.seen:
			k.seen, k.lateMs = k.n, 0
		case k.goneMs != 0:
		case k.lateMs == 0:
			k.lateMs, late = nowMs, true
		default:
			late = late || nowMs-k.lateMs < lateMax
		}
	}
	return late
}

// Complete says whether each partition was heard of, or those of the layout before. Otherwise, as after the start of a
// node, what the board has is too little.
func (b *Board) Complete() bool { return b.whole() || b.former != nil }

// Now is what is open at this moment.
type Now struct{ Channels, Connections int64 }

// Apps is what each app has open.
func (b *Board) Apps() map[string]Now {
	apps := map[string]Now{}
	parts := b.parts
	if b.former != nil {
		parts = b.former
	}
	for _, p := range parts {
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
