package node

import (
	"context"
	"errors"
	"sync/atomic"

	"innkeeper/cluster"
	"innkeeper/raftstore"
)

// membership is the log as the cluster room sees it: members and placement. store is set before the cluster starts.
type membership struct {
	store   *raftstore.Store
	leading chan struct{} // nudge: leadership may have changed
	last    atomic.Pointer[seenView]
}

// seenView keeps the translation of the newest view, so that asking again costs nothing.
type seenView struct {
	of *raftstore.View
	is *cluster.View
}

func (m *membership) HasState() bool { return m.store.HasState() }

func (m *membership) Bootstrap(clusterID string, partitions int, servers []cluster.Server) error {
	var ss []raftstore.Server
	for _, s := range servers {
		ss = append(ss, raftstore.Server{ID: s.ID, Addr: s.Addr})
	}
	return m.store.Bootstrap(clusterID, partitions, ss)
}

func (m *membership) IsLeader() bool                   { return m.store.IsLeader() }
func (m *membership) Leader() string                   { return m.store.Leader() }
func (m *membership) Term() uint64                     { return m.store.Term() }
func (m *membership) LeaderChanged() <-chan struct{}   { return m.leading }
func (m *membership) Verify(ctx context.Context) error { return m.store.Verify(ctx) }

func (m *membership) Servers() []cluster.Server {
	var ss []cluster.Server
	for _, s := range m.store.Servers() {
		ss = append(ss, cluster.Server{ID: s.ID, Addr: s.Addr, Voter: s.Voter})
	}
	return ss
}

func (m *membership) AddNonvoter(ctx context.Context, id, addr string) error {
	return m.store.AddNonvoter(ctx, id, addr)
}

func (m *membership) Remove(ctx context.Context, id string) error {
	return m.store.Remove(ctx, id, "")
}

func (m *membership) Promote(ctx context.Context, id, addr string) error {
	return m.store.Promote(ctx, id, addr)
}

func (m *membership) Transfer(ctx context.Context) error { return m.store.Transfer(ctx) }

func (m *membership) View() *cluster.View {
	v := m.store.View()
	if seen := m.last.Load(); seen != nil && seen.of == v {
		return seen.is
	}
	is := &cluster.View{ClusterID: v.ClusterID, Table: v.Table, ColdMs: v.ColdMs, Version: v.Table.Version}
	for _, x := range v.Members {
		is.Members = append(is.Members, cluster.Member{
			Node: x.Node, Boot: x.Boot, State: cluster.MemberState(x.State),
			Cluster: x.Cluster, Gossip: x.Gossip, Client: x.Client, Admin: x.Admin,
		})
	}
	m.last.Store(&seenView{v, is})
	return is
}

func (m *membership) Changed() <-chan struct{} { return m.store.Changed() }

func (m *membership) Commit(ctx context.Context, c cluster.MembershipChange) error {
	out := raftstore.MembershipChange{IfVersion: c.IfVersion, Cold: c.Cold, TimeMs: c.TimeMs}
	for _, x := range c.Members {
		out.Members = append(out.Members, raftstore.Member{
			Node: x.Node, Boot: x.Boot, State: raftstore.MemberState(x.State),
			Cluster: x.Cluster, Gossip: x.Gossip, Client: x.Client, Admin: x.Admin,
		})
	}
	for _, s := range c.Slots {
		out.Slots = append(out.Slots, raftstore.SlotChange{Part: s.Part, Owner: s.Owner, Follower: s.Follower, Bump: s.Bump})
	}
	err := m.store.Commit(ctx, out)
	if errors.Is(err, raftstore.ErrConflict) {
		return cluster.ErrConflict
	}
	return err
}

func (m *membership) Repartition(ctx context.Context, c cluster.Layout) error {
	out := raftstore.Repartition{IfVersion: c.IfVersion, TimeMs: c.TimeMs}
	for _, s := range c.Slots {
		out.Slots = append(out.Slots, raftstore.Placement{Owner: s.Owner, Follower: s.Follower})
	}
	err := m.store.Repartition(ctx, out)
	if errors.Is(err, raftstore.ErrConflict) {
		return cluster.ErrConflict
	}
	return err
}

var _ cluster.Log = (*membership)(nil)
