package sim

import (
	"context"
	"fmt"
	"time"

	"innkeeper/cluster/ring"
)

// Status is what a node's admin API says about the cluster, as far as runs need it.
type Status struct {
	Node    string `json:"node"`
	Boot    string `json:"boot"`
	Leader  string `json:"leader"`
	LeaseMs int64  `json:"lease_ms"`
	Members []struct {
		Node  string `json:"node"`
		Boot  string `json:"boot"`
		State string `json:"state"`
	} `json:"members"`
	Partitions []struct {
		Owner string `json:"owner"`
		Epoch uint64 `json:"epoch"`
	} `json:"partitions"`
}

// Status asks the first node that answers.
func (s *Sim) Status() (Status, error) {
	err := fmt.Errorf("no node runs")
	for _, n := range s.Nodes() {
		if !n.Up() {
			continue
		}
		var st Status
		if st, err = n.Status(s.ctx); err == nil && st.Leader != "" {
			return st, nil
		}
	}
	return Status{}, err
}

// Status asks the node itself.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var st Status
	_, err := n.sim.Reader.getFrom(ctx, fmt.Sprintf("%s:%d", n.IP, adminPort), "/cluster", &st)
	return st, err
}

// watch asks every node that runs, again and again until ctx ends, what it owns, and writes down what it claims while it
// holds a lease. Nodes that do not answer are passed over.
func (s *Sim) watch(ctx context.Context, every time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		for _, n := range s.Nodes() {
			if !n.Up() {
				continue
			}
			if st, err := n.Status(ctx); err == nil && st.acts() {
				s.claims(n, st)
			}
		}
	}
}

// acts says whether a node may act as an owner: it holds a lease, and in what it has applied it is a live member in its
// present boot. Before that, what the table says of it is about its earlier boot.
func (st Status) acts() bool {
	for _, m := range st.Members {
		if m.Node == st.Node {
			return st.LeaseMs > 0 && m.Boot == st.Boot && m.State == "alive"
		}
	}
	return false
}

// claims records what a node says that it owns.
func (s *Sim) claims(n *Node, st Status) {
	now := time.Now()
	s.rec.record(func(h *History) {
		for p, slot := range st.Partitions {
			if slot.Owner == st.Node {
				h.Claims = append(h.Claims, Claim{At: now, Node: n.Index, Boot: st.Boot, Partition: uint32(p), Epoch: slot.Epoch})
			}
		}
	})
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
func (s *Sim) Owner(st Status, channel string) *Node {
	p := ring.Partition(ring.Hash(App, channel), s.Options.Partitions)
	if int(p) >= len(st.Partitions) {
		return nil
	}
	return s.byID(st.Partitions[p].Owner)
}

func (s *Sim) byID(id string) *Node {
	for _, n := range s.Nodes() {
		if n.ID() == id {
			return n
		}
	}
	return nil
}
