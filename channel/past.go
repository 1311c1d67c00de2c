package channel

import (
	"cmp"
	"slices"

	"innkeeper/cluster/ring"
)

// When the ring is cut anew, what was published is with the owners of the former partitions and with their followers, each
// of whom keeps the layout before with the copies in it. The new owner of a range asks all of them for it (see lineage),
// and takes it page by page: who has a copy keeps nothing of how far it is, so a page that is lost is just asked for again.

// PastAsk asks who has what was published in the range of a partition under the layout before its own.
type PastAsk struct {
	Stream uint64 // chosen by who asks
	Layout uint64 // epoch that the asker's layout began with
}

// PastHave answers a PastAsk.
type PastHave struct {
	Stream uint64
	Served bool // it is known here that somebody has served the partition already: what is before is not all
	Copies []PastCopy
}

// PastCopy is a copy of the last tenure of a partition of the layout before.
type PastCopy struct {
	Part     uint32
	Of       uint64 // see CopyHave
	Complete bool
}

// PastTake asks for a page of such a copy.
type PastTake struct {
	Stream uint64
	Layout uint64
	Part   uint32 // of the layout before
	Page   uint64 // echoed
	After  PastPlace
}

// PastPlace is how far a copy was taken: all before a channel, and of the channel all up to a serial, or all of it when
// there is none. The zero PastPlace is before everything.
type PastPlace struct {
	Position
	Serial string
}

// PastPage answers a PastTake.
type PastPage struct {
	Stream   uint64
	Part     uint32
	Page     uint64
	Since    string // position: all publishes behind it were kept
	Floor    string // position: above all serials given
	Channels []PastChannel
	More     bool
	Next     PastPlace // where the next page begins, if there is more
}

// PastChannel is publishes of one channel, in order.
type PastChannel struct {
	App, Name  string
	Since      string // see CopyPart
	Told       string // position that was told to a Tap
	Deliveries []*Delivery
}

func (*PastAsk) toHost()  {}
func (*PastHave) toHost() {}
func (*PastTake) toHost() {}
func (*PastPage) toHost() {}

// pastAsked answers a new owner. One whose layout is not known here yet is answered when it is.
func (h *Host) pastAsked(from GatewayID, l *layout, p *partition, epoch uint64, m *PastAsk) {
	if m.Layout != l.began {
		return
	}
	have := &PastHave{Stream: m.Stream, Copies: p.pastCopies()}
	p.mu.Lock()
	have.Served = p.replica != nil || p.at == serving || l.settledAt.Load() > 0
	p.mu.Unlock()
	h.cfg.Hosts.ToHost(from, 0, p.id, epoch, have)
}

// pastCopies lists what is kept here of the partitions that p was a part of or is made of.
func (p *partition) pastCopies() (copies []PastCopy) {
	former := p.of.former.Load()
	if former == nil {
		return nil
	}
	first, last := ring.Overlap(p.id, len(p.of.parts), len(former.parts))
	for part := first; part <= last; part++ {
		q := &former.parts[part]
		q.mu.Lock()
		if of, whole := q.has(p.of.before[part]); of > 0 {
			copies = append(copies, PastCopy{Part: part, Of: of, Complete: whole})
		}
		q.mu.Unlock()
	}
	return copies
}

// number is the copy's among those of its owner, whose own is the last.
func (r *replica) number() uint64 {
	if r.stream == 0 {
		return ownersOwn
	}
	return r.stream
}

// pastTaken sends a page.
func (h *Host) pastTaken(from GatewayID, l *layout, p *partition, epoch uint64, m *PastTake) {
	if m.Layout != l.began {
		return
	}
	if page := p.pastPage(m.Part, m.After, partBytes); page != nil {
		page.Stream, page.Page = m.Stream, m.Page
		h.cfg.Hosts.ToHost(from, 0, p.id, epoch, page)
	}
}

// pastPage gathers what a copy that is kept here has in the range of p behind a place, some limit bytes of it. nil: there
// is no copy.
func (p *partition) pastPage(part uint32, after PastPlace, limit int) *PastPage {
	former := p.of.former.Load()
	if former == nil || former.part(part) == nil {
		return nil
	}
	q := former.part(part)
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.replica
	if r == nil || r.epoch != p.of.before[part] {
		return nil
	}
	page := &PastPage{Part: part, Since: r.since.position(), Floor: maxStamp(r.floor, p.host.now()).position()}
	from := max(after.Hash, ring.First(p.id, len(p.of.parts)))
	last := ring.Last(p.id, len(p.of.parts))
	order := r.inOrder()
	i, _ := slices.BinarySearchFunc(order, from, func(pos Position, hash uint64) int { return cmp.Compare(pos.Hash, hash) })
	bytes := 0
	for ; i < len(order) && order[i].Hash <= last; i++ {
		pos, rest := order[i], Stamp{}
		switch c := comparePositions(pos, after.Position); {
		case c < 0, c == 0 && after.Serial == "":
			continue
		case c == 0:
			rest = parseSerial(after.Serial)
		}
		c := r.channels[replicaKey{pos.App, pos.Name}]
		if c == nil {
			continue // too old meanwhile
		}
		if bytes >= limit {
			page.More = true
			return page
		}
		out := PastChannel{App: pos.App, Name: pos.Name}
		if c.since != (Stamp{}) {
			out.Since = c.since.position()
		}
		if c.told != (Stamp{}) {
			out.Told = c.told.position()
		}
		page.Next = PastPlace{Position: pos}
		cut := false
		c.publishes(func(d *Delivery) {
			switch {
			case rest != (Stamp{}) && (d.Serial == "" || !rest.less(parseSerial(d.Serial))), cut:
				return
			case bytes >= limit && page.Next.Serial != "":
				cut = true
				return
			}
			out.Deliveries = append(out.Deliveries, d)
			bytes += deliverySize(d)
			page.Next.Serial = d.Serial
		})
		if len(out.Deliveries) > 0 {
			page.Channels = append(page.Channels, out)
		}
		if cut {
			page.More = true
			return page
		}
		page.Next.Serial = ""
	}
	return page
}

// publishes yields what there is of a channel as its copies are sent: who is present, then what was published.
func (c *copied) publishes(yield func(*Delivery)) {
	c.present.deliveries(yield)
	for _, e := range c.entries {
		yield(e.d)
	}
}

// inOrder is the channels of a copy that gets no more of them, in the order of the ring.
func (r *replica) inOrder() []Position {
	if r.order == nil {
		r.order = make([]Position, 0, len(r.channels))
		for key := range r.channels {
			r.order = append(r.order, Position{Hash: ring.Hash(key.app, key.name), App: key.app, Name: key.name})
		}
		slices.SortFunc(r.order, comparePositions)
	}
	return r.order
}

func comparePositions(a, b Position) int {
	return cmp.Or(cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
}
