package raftstore

import (
	"cmp"
	"fmt"
	"slices"

	"innkeeper/cluster/ring"
)

// placement is who is a member and who owns what: the part of the state that a View shows. Its slices are replaced,
// never written, since Views share them.
type placement struct {
	clusterID string
	version   uint64 // counts the changes of members and table
	members   []Member
	slots     []ring.Slot
	coldMs    int64
	began     uint64   // of the present layout; see ring.Table
	before    []uint64 // likewise
}

// found makes the empty table of a new cluster.
func (p *placement) found(c clusterInit) {
	p.clusterID = c.clusterID
	p.version = 1
	p.slots = make([]ring.Slot, c.partitions)
}

// change applies c whole or not at all. It returns the partitions whose epoch went up.
func (p *placement) change(c *MembershipChange) (bumped []uint32, err error) {
	if p.clusterID == "" {
		return nil, ErrNotInitialised
	}
	if c.IfVersion != p.version {
		return nil, fmt.Errorf("%w: planned on %d, now %d", ErrConflict, c.IfVersion, p.version)
	}
	for _, s := range c.Slots {
		if int(s.Part) >= len(p.slots) {
			return nil, fmt.Errorf("%w: partition %d of %d", ErrInvalid, s.Part, len(p.slots))
		}
	}
	p.version++
	p.members = changeMembers(p.members, c.Members, c.Forget)
	if len(c.Slots) > 0 {
		p.slots = slices.Clone(p.slots)
	}
	for _, s := range c.Slots {
		slot := &p.slots[s.Part]
		if s.Bump || s.Owner != slot.Owner {
			slot.Epoch++
			bumped = append(bumped, s.Part)
		}
		slot.Owner, slot.Follower = s.Owner, s.Follower
	}
	if c.Cold {
		p.coldMs = c.TimeMs
	}
	return bumped, nil
}

func changeMembers(old, upserts []Member, forget []string) []Member {
	if len(upserts) == 0 && len(forget) == 0 {
		return old
	}
	members := slices.Clone(old)
	for _, m := range upserts {
		i, found := findMember(members, m.Node)
		if found {
			members[i] = m
		} else {
			members = slices.Insert(members, i, m)
		}
	}
	for _, node := range forget {
		if i, found := findMember(members, node); found {
			members = slices.Delete(members, i, i+1)
		}
	}
	return members
}

func findMember(members []Member, node string) (int, bool) {
	return slices.BinarySearchFunc(members, node, func(m Member, node string) int { return cmp.Compare(m.Node, node) })
}
