package transport

import (
	"slices"

	"innkeeper/cluster/ring"
)

// A channel stays in its shard for life: shards are cut from the ring as partitions are, by the leading bits of the hash,
// and every partition lies whole in one shard, whatever their number. So when the ring is cut anew each shard groups
// anew what it has, and nothing moves between goroutines.

// shardCount is how many shards a gateway with that many partitions has: a power of two that divides their number, most at
// the most. It divides every number of partitions that a running cluster can change to as well (ring.CheckPartitions).
func shardCount(most, partitions int) int {
	n := 1
	for 2*n <= min(most, ring.PartitionsMin) && partitions%(2*n) == 0 {
		n *= 2
	}
	return n
}

// shardOf is the shard of a channel, or of whatever else has a place on the ring.
func (g *Gateway) shardOf(hash uint64) *shard { return g.shards[g.shardIndex(hash)] }

func (g *Gateway) shardIndex(hash uint64) int { return int(ring.Partition(hash, len(g.shards))) }

// shardOfPart is the shard of a partition; nil when there is none of that number.
func (g *Gateway) shardOfPart(part uint32) *shard {
	n := int(g.partitions.Load())
	if int64(part) >= int64(n) {
		return nil
	}
	return g.shards[int(part)*len(g.shards)/n]
}

// Layout says into how many partitions the ring is cut from now on. All of them begin unrouted, and what waits for an
// answer is asked of the owners of the new ones. It is called by the goroutine that calls Routed.
func (g *Gateway) Layout(partitions int) {
	if partitions%len(g.shards) != 0 {
		// Only a cluster that was founded with such a number before any other was refused.
		g.log.Error("the cluster's number of partitions is not a multiple of the gateway's shards; change it", "partitions", partitions, "shards", len(g.shards))
		return
	}
	g.partitions.Store(int64(partitions))
	for _, s := range g.shards {
		s.in.force(command{kind: doLayout, what: partitions})
	}
}

// part is a partition of this shard; nil when it is another's, as one that was named under another layout may be.
func (s *shard) part(id uint32) *partition {
	i := int64(id) - int64(s.index*len(s.parts))
	if i < 0 || i >= int64(len(s.parts)) {
		return nil
	}
	if s.parts[i] == nil {
		s.parts[i] = &partition{id: id, channels: make(map[channelKey]*localChannel)}
	}
	return s.parts[i]
}

// at is the partition of a place on the ring that is this shard's.
func (s *shard) at(hash uint64) *partition {
	return s.part(ring.Partition(hash, s.partitions()))
}

// partitions is how many the ring is cut into.
func (s *shard) partitions() int { return len(s.parts) * len(s.g.shards) }

// relayout groups channels and requests by the partitions of the new layout, none of which has a session yet.
func (s *shard) relayout(partitions int) {
	old := s.parts
	s.parts = make([]*partition, partitions/len(s.g.shards))
	var waiting []*request
	for _, was := range old {
		if was == nil {
			continue
		}
		for key, ch := range was.channels {
			ch.part = s.at(ring.Hash(key.app, key.name))
			ch.part.channels[key] = ch
			ch.doubt()
		}
		s.unsend(was)
		for r := was.head; r != nil; r = r.next {
			waiting = append(waiting, r)
		}
	}
	// Partitions that become one have their requests in the order of their deadlines; those of one stay in their order.
	slices.SortStableFunc(waiting, func(a, b *request) int { return a.deadline.Compare(b.deadline) })
	for _, r := range waiting {
		s.at(r.hash).put(r)
	}
}

// put appends a request to those that wait.
func (p *partition) put(r *request) {
	r.of, r.next, r.prev = p, nil, p.tail
	if p.tail != nil {
		p.tail.next = r
	} else {
		p.head = r
	}
	p.tail = r
}
