package sim

import (
	"context"
	"fmt"

	"innkeeper/cluster/ring"
)

// Status is what a node's admin API says about the cluster, as far as runs need it.
type Status struct {
	Leader     string `json:"leader"`
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
		if _, err = s.Reader.getFrom(context.Background(), fmt.Sprintf("%s:%d", n.IP, adminPort), "/cluster", &st); err == nil {
			return st, nil
		}
	}
	return Status{}, err
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
