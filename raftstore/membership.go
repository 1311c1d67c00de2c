package raftstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// HasState reports whether this node has a log: it was bootstrapped, or a leader added it.
func (s *Store) HasState() bool {
	has, err := raft.HasExistingState(s.disk, s.disk, s.disk)
	return has || err != nil
}

// Bootstrap founds a cluster whose voters are servers, this node among them. One node of a new cluster does it; the
// first leader then commits clusterID and an empty table of that many partitions. ErrHasState if there is a log.
func (s *Store) Bootstrap(clusterID string, partitions int, servers []Server) error {
	init := clusterInit{clusterID, partitions}.append(nil)
	if err := checkCommand(init); err != nil {
		return fmt.Errorf("bootstrap: %w: %w", ErrInvalid, err)
	}
	if s.HasState() {
		return fmt.Errorf("bootstrap: %w", ErrHasState)
	}
	var configuration raft.Configuration
	for _, server := range servers {
		configuration.Servers = append(configuration.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(server.ID), Address: raft.ServerAddress(server.Addr),
		})
	}
	s.disk.Set(keyPending, init) // first: once raft has state, nobody may bootstrap again
	err := s.await(s.ctx, func() error { return s.raft.BootstrapCluster(configuration).Error() })
	if errors.Is(err, raft.ErrCantBootstrap) {
		err = ErrHasState
	}
	if err != nil {
		s.disk.Set(keyPending, nil)
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := s.failure(); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	s.spawnLoop(func() { s.found(init) })
	return nil
}

// Leader is the node id of the leader as far as this node knows, or "".
func (s *Store) Leader() string {
	_, id := s.raft.LeaderWithID()
	return string(id)
}

// IsLeader reports whether this node believes that it leads. Use Verify before relying on it.
func (s *Store) IsLeader() bool { return s.raft.State() == raft.Leader }

// Term is raft's present term.
func (s *Store) Term() uint64 { return s.raft.CurrentTerm() }

// LeaderChanged is sent to (capacity 1, never waiting) when leader or term may have changed. One reader.
func (s *Store) LeaderChanged() <-chan struct{} { return s.leaderChanged }

// Verify asks a majority of the servers whether this node leads still. Raft counts those without a vote as well: where there
// are any, a leader without a majority of the voters is found out when its LeaderLease ends, at the latest.
func (s *Store) Verify(ctx context.Context) error {
	return s.op("verify leadership", s.await(ctx, func() error { return s.raft.VerifyLeader().Error() }))
}

// Servers lists the raft servers as this node knows them, in the order of the log.
func (s *Store) Servers() []ServerInfo {
	f := s.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	var infos []ServerInfo
	for _, server := range f.Configuration().Servers {
		infos = append(infos, ServerInfo{ID: string(server.ID), Addr: string(server.Address), Voter: server.Suffrage == raft.Voter})
	}
	return infos
}

// nodeAt is the node whose server has an address, "" if none has.
func (s *Store) nodeAt(addr string) string {
	if !s.started.Load() {
		return ""
	}
	for _, server := range s.Servers() {
		if server.Addr == addr {
			return server.ID
		}
	}
	return ""
}

func (s *Store) votersElsewhere() bool {
	for _, server := range s.Servers() {
		if server.Voter && server.ID != s.config.NodeID {
			return true
		}
	}
	return false
}

// AddNonvoter makes a node receive the log, or changes its address. Leader only.
func (s *Store) AddNonvoter(ctx context.Context, id, addr string) error {
	return s.op("add non-voter", s.await(ctx, func() error {
		return s.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, s.config.ApplyTimeout).Error()
	}))
}

// Promote gives a node a vote, or changes its address. Leader only.
func (s *Store) Promote(ctx context.Context, id, addr string) error {
	return s.op("promote", s.await(ctx, func() error {
		return s.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, s.config.ApplyTimeout).Error()
	}))
}

// Remove takes a node out of the log; addr is not looked at. Leader only.
func (s *Store) Remove(ctx context.Context, id, addr string) error {
	return s.op("remove", s.await(ctx, func() error {
		return s.raft.RemoveServer(raft.ServerID(id), 0, s.config.ApplyTimeout).Error()
	}))
}

// Transfer hands leadership to the voter that is most up to date. Leader only.
func (s *Store) Transfer(ctx context.Context) error {
	return s.op("transfer leadership", s.await(ctx, func() error { return s.raft.LeadershipTransfer().Error() }))
}

// Commit changes members and table at once. Leader only. ErrConflict when they changed since c.IfVersion;
// ErrUnknownOutcome when it may be committed yet (look at View and plan again).
func (s *Store) Commit(ctx context.Context, c MembershipChange) error {
	_, err := s.apply(ctx, c.append(nil))
	return s.op("commit", err)
}

func (s *Store) op(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
