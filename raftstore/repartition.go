package raftstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"innkeeper/cluster/ring"
)

// Repartition cuts the ring anew: as many partitions as there are Slots, placed from the beginning. It is one entry of the
// log, so there is no moment at which both layouts hold.
type Repartition struct {
	IfVersion uint64      // View.Table.Version it was planned on
	Slots     []Placement // by partition of the new layout
	TimeMs    int64       // when this was decided, unix ms
}

// Placement is who owns a partition of a new layout, and who keeps its copy: node ids, "" for nobody.
type Placement struct{ Owner, Follower string }

// Repartition changes the number of partitions. Leader only. ErrConflict when members or table changed since c.IfVersion,
// ErrInvalid for a number that ring.CheckPartitions refuses or that the cluster has already; ErrUnknownOutcome when it may
// be committed yet (look at View).
//
// The channels that are occupied are found in the partitions of the new layout from then on; events, cursors and tables
// are not touched. Every epoch of the new layout is above every epoch of the old one, so what was said under the old
// one, proposals that are under way among them, is refused as late.
func (s *Store) Repartition(ctx context.Context, c Repartition) error {
	if err := ring.CheckPartitions(len(c.Slots)); err != nil {
		return s.op("repartition", fmt.Errorf("%w: %w", ErrInvalid, err))
	}
	_, err := s.apply(ctx, c.append(nil))
	return s.op("repartition", err)
}

// append lays the command out: the nodes by name once, then by number.
func (c *Repartition) append(dst []byte) []byte {
	dst = binary.AppendUvarint(cmdRepartition.head(dst), c.IfVersion)
	dst = binary.AppendVarint(dst, c.TimeMs)
	number := map[string]uint64{"": 0}
	var names []string
	for _, s := range c.Slots {
		for _, node := range []string{s.Owner, s.Follower} {
			if _, ok := number[node]; !ok {
				names = append(names, node)
				number[node] = uint64(len(names))
			}
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, node := range names {
		dst = appendBytes(dst, node)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Slots)))
	for _, s := range c.Slots {
		dst = binary.AppendUvarint(dst, number[s.Owner])
		dst = binary.AppendUvarint(dst, number[s.Follower])
	}
	return dst
}

func decodeRepartition(b []byte) (*Repartition, error) {
	d := decoder{rest: b}
	c := &Repartition{IfVersion: d.uvarint(), TimeMs: d.varint()}
	names := []string{""}
	for range d.count(membersMax) {
		names = append(names, d.string(stringBytesMax))
	}
	node := func() string {
		n := d.uvarint()
		if n >= uint64(len(names)) {
			d.fail(fmt.Errorf("node %d of %d", n, len(names)-1))
			return ""
		}
		return names[n]
	}
	for range d.count(partitionsMax) {
		c.Slots = append(c.Slots, Placement{Owner: node(), Follower: node()})
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if len(c.Slots) == 0 {
		return nil, fmt.Errorf("no partitions")
	}
	return c, nil
}

// repartition applies c whole or not at all. The numbers of records start anew: under the new epochs none was taken.
func (s *state) repartition(c *Repartition) error {
	if err := s.recut(c); err != nil {
		return err
	}
	n := len(s.slots)
	s.taken = make([]uint64, n)
	s.parts = regroup(s.parts, n)
	s.open = regroup(s.open, n)
	return nil
}

// recut replaces the table.
func (p *placement) recut(c *Repartition) error {
	switch {
	case p.clusterID == "":
		return ErrNotInitialised
	case c.IfVersion != p.version:
		return fmt.Errorf("%w: planned on %d, now %d", ErrConflict, c.IfVersion, p.version)
	case len(c.Slots) == len(p.slots):
		return fmt.Errorf("%w: there are %d partitions already", ErrInvalid, len(p.slots))
	}
	p.version++
	p.before = make([]uint64, len(p.slots))
	p.began++
	for part, slot := range p.slots {
		p.before[part] = slot.Epoch
		p.began = max(p.began, slot.Epoch+1)
	}
	p.slots = make([]ring.Slot, len(c.Slots))
	for part, s := range c.Slots {
		p.slots[part] = ring.Slot{Owner: s.Owner, Follower: s.Follower, Epoch: p.began}
	}
	return nil
}

// regroup gives the same entries in n partitions. Partitions are ranges in the order of entries, so most blocks are taken
// over as they are; they are shared with views that were frozen before and copied when they are written.
func regroup(old []partition, n int) []partition {
	gen := uint64(0)
	for i := range old {
		gen = max(gen, old[i].gen+1)
	}
	next := make([]partition, n)
	for i := range next {
		next[i].gen, next[i].listGen = gen, gen
	}
	for i := range old {
		for _, ref := range old[i].list {
			regroupBlock(next, ref.block)
		}
	}
	return next
}

// regroupBlock gives each partition its run of a block's entries.
func regroupBlock(next []partition, b *block) {
	for start := 0; start < len(b.data); {
		part := ring.Partition(entryHash(b.data[start:]), len(next))
		end, count := start, 0
		for end < len(b.data) && ring.Partition(entryHash(b.data[end:]), len(next)) == part {
			end += entrySize(b.data[end:])
			count++
		}
		run := b
		if end-start < len(b.data) {
			run = &block{gen: next[part].gen, data: slices.Clone(b.data[start:end])}
		}
		p := &next[part]
		p.list = append(p.list, blockRef{first: entryHash(run.data), block: run})
		p.count += count
		p.capacity += cap(run.data)
		start = end
	}
}

// appendLayout lays out where the present layout began; nothing for the first.
func (p *placement) appendLayout(dst []byte) []byte {
	if p.began == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, p.began)
	for _, epoch := range p.before {
		dst = binary.AppendUvarint(dst, epoch)
	}
	return dst
}

func (p *placement) loadLayout(b []byte) error {
	d := decoder{rest: b}
	p.began = d.uvarint()
	for d.err == nil && len(d.rest) > 0 {
		p.before = append(p.before, d.uvarint())
	}
	return d.err
}
