package raftstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// guardedDisk stands between raft and the disk. Raft meets a failing disk by panicking, or by trying again; this room
// stops the node instead (after a failed sync nobody knows what is on the disk). So the first failure is reported with
// stop, which cuts the node from the network before it returns, and only then is raft told something harmless: what it
// believes from there on reaches nobody.
type guardedDisk struct {
	session
	timeout  time.Duration // how long a write may take while this node leads
	leading  func() bool
	stop     func(*FatalError) // reports and cuts off; returns at once when called again
	stopping func() bool
	stats    *counters
}

// write runs a write under the watchdog. A leader whose disk hangs still sends heartbeats, so nobody would replace it.
func (g *guardedDisk) write(op string, fn func() error) error {
	if g.stopping() {
		return ErrClosed
	}
	watchdog := time.AfterFunc(g.timeout, func() {
		if g.leading() {
			g.stop(&FatalError{FatalDisk, fmt.Errorf("%s: %s has not returned for %v", g.file(), op, g.timeout)})
		}
	})
	err := fn()
	watchdog.Stop()
	if err != nil {
		g.stop(&FatalError{FatalDisk, fmt.Errorf("%s: %w", op, err)})
	}
	return err
}

func (g *guardedDisk) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

func (g *guardedDisk) StoreLogs(logs []*raft.Log) error {
	return g.write("storing entries", func() error { return g.session.StoreLogs(logs) })
}

func (g *guardedDisk) DeleteRange(lo, hi uint64) error {
	return g.write("deleting entries", func() error { return g.session.DeleteRange(lo, hi) })
}

// GetLog hands out a no-op for what cannot be read when the node stops, since raft panics without one. The FSM applies
// nothing any more by then.
func (g *guardedDisk) GetLog(index uint64, l *raft.Log) error {
	err := g.session.GetLog(index, l)
	if err == nil {
		return nil
	}
	if !g.stopping() && !errors.Is(err, raft.ErrLogNotFound) {
		g.stop(&FatalError{FatalCorrupt, err})
	}
	if g.stopping() {
		*l = raft.Log{Index: index, Type: raft.LogNoop}
		return nil
	}
	return err
}

// Set and SetUint64 keep terms and votes. Raft panics if they fail, so it never hears of it.
func (g *guardedDisk) Set(key, val []byte) error {
	_ = g.write("storing a vote", func() error { return g.session.Set(key, val) })
	return nil
}

func (g *guardedDisk) SetUint64(key []byte, val uint64) error {
	_ = g.write("storing a term", func() error { return g.session.SetUint64(key, val) })
	return nil
}

func (g *guardedDisk) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if g.stopping() {
		return nil, ErrClosed
	}
	sink, err := g.session.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		g.stop(&FatalError{FatalDisk, fmt.Errorf("creating a snapshot: %w", err)})
		return nil, err
	}
	return &guardedSink{SnapshotSink: sink, disk: g}, nil
}

// guardedSink reports failures, counts successes and gives up when the node stops.
type guardedSink struct {
	raft.SnapshotSink
	disk   *guardedDisk
	closed bool
}

func (k *guardedSink) Write(b []byte) (int, error) {
	if k.disk.stopping() {
		return 0, ErrClosed
	}
	n, err := k.SnapshotSink.Write(b)
	if err != nil {
		k.disk.stop(&FatalError{FatalDisk, fmt.Errorf("writing a snapshot: %w", err)})
	}
	return n, err
}

func (k *guardedSink) Close() error {
	if k.closed {
		return nil // raft closes it after Persist has
	}
	k.closed = true
	if err := k.SnapshotSink.Close(); err != nil {
		k.disk.stop(&FatalError{FatalDisk, fmt.Errorf("finishing a snapshot: %w", err)})
		return err
	}
	k.disk.stats.snapshots.Add(1)
	return nil
}
