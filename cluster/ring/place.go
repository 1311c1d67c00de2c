package ring

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Change is what must become of one slot. Slots that stay as they are have no Change.
type Change struct {
	Part     uint32
	Owner    string // node id; "" when nobody is left to own it
	Follower string // node id; "" when there is nobody but the owner
	Bump     bool   // the epoch goes up although the owner's node stays: it runs under a new boot
}

// Place says how table must change so that exactly the live members own it: each owns as many partitions as the others,
// give or take one, and no more partitions move than that needs. A partition that must move goes to the member with
// the highest rendezvous weight that has room, so nodes that compute alone agree. The follower of a partition is the member with
// the highest weight after its owner.
//
// Members named in bounced (node id → true) run under a new boot: they keep their partitions, but their epochs must go
// up. The order of live does not matter, and duplicates in it count once. The changes come in order of partition; their
// application to table leaves Place nothing to say. Place reads its arguments only.
func Place(table Table, live []string, bounced map[string]bool) []Change {
	members := slices.Compact(slices.Sorted(slices.Values(live)))
	p := placement{members: members, keys: make([]uint64, len(members)), owned: make([][]uint32, len(members))}
	for i, m := range members {
		p.keys[i] = xxhash.Sum64String(m)
	}
	owners := p.owners(table)

	var changes []Change
	for part, slot := range table.Slots {
		next := Change{Part: uint32(part)}
		if o := owners[part]; o >= 0 {
			next.Owner = members[o]
			if f := p.best(uint32(part), func(m int) bool { return m != o }); f >= 0 {
				next.Follower = members[f]
			}
			next.Bump = slot.Owner == next.Owner && bounced[next.Owner]
		}
		if next.Owner != slot.Owner || next.Follower != slot.Follower || next.Bump {
			changes = append(changes, next)
		}
	}
	return changes
}

// placement is the work of one Place. Members are known by their index in the sorted list.
type placement struct {
	members []string
	keys    []uint64   // hash of each member's id
	owned   [][]uint32 // partitions each member keeps
}

// owners gives each partition's owner, -1 for none.
func (p *placement) owners(table Table) []int {
	owners := make([]int, len(table.Slots))
	var homeless []uint32
	for part, slot := range table.Slots {
		owners[part] = -1
		if m, ok := slices.BinarySearch(p.members, slot.Owner); ok {
			owners[part] = m
			p.owned[m] = append(p.owned[m], uint32(part))
		} else {
			homeless = append(homeless, uint32(part))
		}
	}
	if len(p.members) == 0 {
		return owners
	}

	quota := p.quotas(len(table.Slots))
	for m, kept := range p.owned {
		if len(kept) <= quota[m] {
			continue
		}
		// The partitions that belong here least go first.
		slices.SortFunc(kept, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(p.weight(m, b), p.weight(m, a)), cmp.Compare(a, b))
		})
		homeless = append(homeless, kept[quota[m]:]...)
		p.owned[m] = kept[:quota[m]]
	}
	slices.Sort(homeless)
	for _, part := range homeless {
		m := p.best(part, func(m int) bool { return len(p.owned[m]) < quota[m] })
		owners[part] = m
		p.owned[m] = append(p.owned[m], part)
	}
	return owners
}

// quotas shares n partitions out evenly. Where they do not divide, those that hold most already get the odd ones, which
// is what moves least.
func (p *placement) quotas(n int) []int {
	each, odd := n/len(p.members), n%len(p.members)
	order := make([]int, len(p.members))
	for m := range order {
		order[m] = m
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(p.owned[b]), len(p.owned[a])) })
	quota := make([]int, len(p.members))
	for i, m := range order {
		quota[m] = each
		if i < odd {
			quota[m]++
		}
	}
	return quota
}

// best is the allowed member with the highest weight for part, -1 when none is allowed.
func (p *placement) best(part uint32, allowed func(int) bool) int {
	best, most := -1, uint64(0)
	for m := range p.members {
		if !allowed(m) {
			continue
		}
		if w := p.weight(m, part); best < 0 || w > most {
			best, most = m, w
		}
	}
	return best
}

// weight is the rendezvous weight of a member for a partition. It decides where partitions go in a running
// cluster, so it must never change between versions.
func (p *placement) weight(m int, part uint32) uint64 {
	x := p.keys[m] + (uint64(part)+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Apply gives the table that changes make of t, as the replicated log does it: an epoch goes up when the owner changes
// or its boot does. The version is left to the caller. Changes of slots that do not exist are ignored. t itself stays as it is.
func (t Table) Apply(changes []Change) Table {
	next := t
	next.Slots = slices.Clone(t.Slots)
	for _, c := range changes {
		if int(c.Part) >= len(next.Slots) {
			continue
		}
		s := &next.Slots[c.Part]
		if s.Owner != c.Owner || c.Bump {
			s.Epoch++
		}
		s.Owner, s.Follower = c.Owner, c.Follower
	}
	return next
}
