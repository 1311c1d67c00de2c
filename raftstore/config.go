package raftstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Config says how a store runs. Fields without "default" are required.
type Config struct {
	NodeID string // raft server id; default Disk.NodeID()
	Disk   Disk

	// Listener accepts raft connections; the store closes it. Dial makes them. Advertise is this node's address as the
	// others know it.
	Listener  net.Listener
	Dial      func(ctx context.Context, addr string) (net.Conn, error)
	Advertise string

	Forward   Forwarder // carries proposals to the leader; nil: this node proposes only while it leads
	ClusterID string    // refuse a disk of another cluster; default: accept any
	Retention int       // events kept for readers at least; default 1,000,000. The leader's counts

	// What is kept at most, though a cursor be behind; beyond that events are folded for it. The leader's counts.
	RetentionMax      int           // events; default four times Retention
	RetentionMaxBytes int           // memory of the events; default 512 MiB
	RetentionAge      time.Duration // by the leader's clock; 0: any

	// OnFatal is called once, from a goroutine of its own, when the store stops by itself with a *FatalError. The node
	// is cut off from raft already. It may call Close.
	OnFatal func(error)

	Heartbeat     time.Duration // a follower without word from the leader for one to two of this elects; default 500ms
	Election      time.Duration // a candidate tries again after one to two of this; default 500ms
	LeaderLease   time.Duration // a leader without a majority steps down after this; less than Heartbeat; default 400ms
	CommitTimeout time.Duration // followers hear of a commit after one to two of this at the latest; default 20ms
	RPCTimeout    time.Duration // for raft's calls between nodes; default 3s
	ApplyTimeout  time.Duration // for a command to be committed, before its outcome is called unknown; default 5s
	DiskTimeout   time.Duration // a leader whose write takes longer stops; default 10s

	// A snapshot is taken when this many entries came since the last one, looked at every one to two intervals; this
	// many entries before it stay for followers that lag. Full entries have 64 KB. Defaults 4096, 30s, 1024.
	SnapshotEntries  uint64
	SnapshotInterval time.Duration
	TrailingEntries  uint64

	Logger *slog.Logger // default: discard
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// complete checks the configuration and fills in the defaults.
func (c *Config) complete() error {
	switch {
	case c.Disk == nil:
		return errors.New("config: no disk")
	case c.Listener == nil || c.Dial == nil || c.Advertise == "":
		return errors.New("config: listener, dial and advertised address are needed")
	case len(c.NodeID) > 127:
		return fmt.Errorf("config: node id %q is too long", c.NodeID)
	case c.Retention < 0:
		return fmt.Errorf("config: retention of %d events", c.Retention)
	case c.RetentionMax < 0 || c.RetentionMaxBytes < 0 || c.RetentionAge < 0:
		return fmt.Errorf("config: retention of at most %d events, %d bytes, %v", c.RetentionMax, c.RetentionMaxBytes, c.RetentionAge)
	}
	setDefault(&c.NodeID, c.Disk.NodeID())
	setDefault(&c.Retention, 1_000_000)
	setDefault(&c.RetentionMax, 4*c.Retention)
	setDefault(&c.RetentionMaxBytes, 512<<20)
	c.RetentionMax = max(c.RetentionMax, c.Retention)
	setDefault(&c.Heartbeat, 500*time.Millisecond)
	setDefault(&c.Election, 500*time.Millisecond)
	setDefault(&c.LeaderLease, 400*time.Millisecond)
	setDefault(&c.CommitTimeout, 20*time.Millisecond)
	setDefault(&c.RPCTimeout, 3*time.Second)
	setDefault(&c.ApplyTimeout, 5*time.Second)
	setDefault(&c.DiskTimeout, 10*time.Second)
	setDefault(&c.SnapshotEntries, 4096)
	setDefault(&c.SnapshotInterval, 30*time.Second)
	setDefault(&c.TrailingEntries, 1024)
	if c.LeaderLease >= c.Heartbeat {
		// Between the two another node may lead while this one still confirms that it does: see Verify.
		return fmt.Errorf("config: a leader's lease of %v does not end before a follower elects, after %v", c.LeaderLease, c.Heartbeat)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnFatal == nil {
		c.OnFatal = func(error) {}
	}
	return nil
}

// appendEntriesMax is how many entries one call or one write to disk carries: 2 MB when they are full.
const appendEntriesMax = 32

// cachedEntries stay in memory for followers: 8 MB when they are full.
const cachedEntries = 128

func (c *Config) raft(logger *raftLogger) *raft.Config {
	return &raft.Config{
		ProtocolVersion:    3,
		HeartbeatTimeout:   c.Heartbeat,
		ElectionTimeout:    c.Election,
		LeaderLeaseTimeout: c.LeaderLease,
		CommitTimeout:      c.CommitTimeout,
		MaxAppendEntries:   appendEntriesMax,
		BatchApplyCh:       true,
		TrailingLogs:       c.TrailingEntries,
		SnapshotInterval:   c.SnapshotInterval,
		SnapshotThreshold:  c.SnapshotEntries,
		LocalID:            raft.ServerID(c.NodeID),
		Logger:             logger,
		NoLegacyTelemetry:  true,
		// Not ShutdownOnRemove: raft would stop under our feet and leave futures without an answer.
	}
}
