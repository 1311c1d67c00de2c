package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"innkeeper/cluster"
	"innkeeper/cluster/ring"
)

// Status is what the node says that knows the latest term of the log. It is asked in its process, not over the network:
// faults do not keep it from answering.
func (s *Sim) Status() (cluster.Status, error) {
	var latest cluster.Status
	for _, n := range s.Nodes() {
		if st, up := n.Status(); up && st.Leader != "" && st.Term >= latest.Term {
			latest = st
		}
	}
	if latest.Leader == "" {
		return latest, errors.New("no node knows of a leader")
	}
	return latest, nil
}

// Status is what the node's process says about the cluster, if one runs.
func (n *Node) Status() (st cluster.Status, up bool) {
	p := n.process.Load()
	if p == nil {
		return st, false
	}
	return p.node.Status(), true
}

// watch asks every node that runs, again and again until ctx ends, what it owns, and writes down what it claims while it
// holds a lease.
func (s *Sim) watch(ctx context.Context, every time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		said := make(map[*Node]cluster.Status)
		for _, n := range s.Nodes() {
			if st, up := n.Status(); up {
				said[n] = st
			}
		}
		for _, n := range s.Nodes() {
			if st, up := said[n]; up && acts(st) {
				s.claims(n, st)
				s.burials(n, st, said)
			}
		}
	}
}

// acts says whether a node may act as an owner: it holds a lease, and in what it has applied it is a live member in its
// present boot. Before that, what the table says of it is about its earlier boot.
func acts(st cluster.Status) bool {
	for _, m := range st.Members {
		if m.Node == st.Node {
			return st.LeaseMs > 0 && m.Boot == st.Boot && m.State == "alive"
		}
	}
	return false
}

// claims records what a node says that it owns.
func (s *Sim) claims(n *Node, st cluster.Status) {
	now := time.Now()
	s.rec.record(func(h *History) {
		for p, slot := range st.Table {
			if slot.Owner == st.Node {
				h.Claims = append(h.Claims, Claim{At: now, Node: n.Index, Boot: st.Boot, Partition: uint32(p), Epoch: slot.Epoch})
			}
		}
	})
}

// burials records who knows a node as dead that acts. The words of all are of one instant.
func (s *Sim) burials(n *Node, st cluster.Status, said map[*Node]cluster.Status) {
	for _, by := range s.Nodes() {
		for _, m := range said[by].Members {
			if m.Node == st.Node && m.Boot == st.Boot && m.State == "dead" {
				s.rec.record(func(h *History) {
					h.Burials = append(h.Burials, Burial{At: time.Now(), Node: n.Index, By: by.Index, Boot: st.Boot})
				})
			}
		}
	}
}

// Leader returns the node that leads, nil when nobody knows one.
func (s *Sim) Leader() *Node {
	st, err := s.Status()
	if err != nil {
		return nil
	}
	return s.byID(st.Leader)
}

// Owner returns the node that owns a channel's partition, nil when nobody does.
func (s *Sim) Owner(st cluster.Status, channel string) *Node {
	p := ring.Partition(ring.Hash(App, channel), s.Options.Partitions)
	if int(p) >= len(st.Table) {
		return nil
	}
	return s.byID(st.Table[p].Owner)
}

// ownerOf waits until a node owns a channel's partition, and returns it; nil is a failure.
func (s *Sim) ownerOf(channel string) (n *Node) {
	if !await(settleWait, 100*time.Millisecond, func() bool {
		st, err := s.Status()
		if err != nil {
			return false
		}
		n = s.Owner(st, channel)
		return n != nil
	}) {
		s.fail("nobody owns %s", channel)
	}
	return n
}

func (s *Sim) byID(id string) *Node {
	for _, n := range s.Nodes() {
		if n.ID() == id {
			return n
		}
	}
	return nil
}

// diagnose notes what each node knows, for a run that failed: about the cluster, and about the owner of a channel ("": of
// none).
func (s *Sim) diagnose(channel string) {
	for _, n := range s.Nodes() {
		st, up := n.Status()
		if !up {
			s.note("node %d is down", n.Index)
			continue
		}
		var b strings.Builder
		for _, m := range st.Members {
			fmt.Fprintf(&b, "; %s %s %s", m.Node, m.State, m.Link)
		}
		s.note("node %d is %s, boot %s: leader %s, term %d, lease %d ms%s; ready: %v", n.Index, st.Node, st.Boot, st.Leader, st.Term, st.LeaseMs, b.String(), n.Ready())
		if p := ring.Partition(ring.Hash(App, channel), s.Options.Partitions); channel != "" && int(p) < len(st.Table) {
			s.note("node %d: %s is in partition %+v", n.Index, channel, st.Table[p])
		}
	}
}

// Even says whether every running node knows that it owns its share of the partitions, and serves it: then none are on the
// move any more.
func (s *Sim) Even() bool {
	st, err := s.Status()
	if err != nil {
		return false
	}
	owned, running := map[string]int{}, 0
	for _, slot := range st.Table {
		owned[slot.Owner]++
	}
	for _, n := range s.Nodes() {
		here, up := n.Status()
		if !up {
			continue
		}
		if running++; here.Version < st.Version || !n.Ready() {
			return false
		}
	}
	least, most := len(st.Table), 0
	for _, n := range owned {
		least, most = min(least, n), max(most, n)
	}
	return len(owned) == running && most-least <= 1
}
