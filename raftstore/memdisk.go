package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Write tells a MemDisk's hook what is about to be written.
type Write struct {
	Op    string // "log", "delete", "stable" or "snapshot"
	Bytes int
	Data  [][]byte // the commands, of "log"
}

// Torn is what a MemDisk's hook returns as error for a write that fails and yet leaves something behind, as when an fsync
// fails or the power goes.
type Torn struct {
	Share float64 // of the entries of a log write, from the first on; of any other write: all of it if this is 1, else nothing
}

func (t *Torn) Error() string { return fmt.Sprintf("input/output error, %.0f %% written", 100*t.Share) }

// MemDisk is a Disk in memory for simulations. It outlives the Stores that use it: what a write had made of it when it
// returned is there for the next one, and a write that was still under way at Kill is lost.
type MemDisk struct {
	mu      sync.Mutex
	node    string
	session *memSession                                  // the one in use
	hook    func(Write) (delay time.Duration, err error) // asked before each write
	written func(Write)                                  // told after each write
	logs    map[uint64]*raft.Log
	first   uint64
	last    uint64
	stable  map[string][]byte
	numbers map[string]uint64
	snaps   []*memSnapshot // newest first
}

// NewMemDisk returns an empty disk with a new node id.
func NewMemDisk() *MemDisk {
	return &MemDisk{
		node: newNodeID(), logs: map[uint64]*raft.Log{},
		stable: map[string][]byte{}, numbers: map[string]uint64{},
	}
}

// SetNodeID replaces the drawn id, for simulations that must repeat. Call it before the disk is used.
func (d *MemDisk) SetNodeID(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node = id
}

// NodeID is the id of the node whose disk this is.
func (d *MemDisk) NodeID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.node
}

// ClusterID is the id of the cluster whose log this is, "" before there is one.
func (d *MemDisk) ClusterID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.stable[string(keyCluster)])
}

// Close does nothing: the disk can be used again.
func (d *MemDisk) Close() error { return nil }

// OnWrite installs a hook that is asked before each write: the write takes the delay, and fails if err is not nil
// (the node then stops, as it would on a real disk); unless err is a *Torn nothing of it is there later. nil removes the
// hook. It is called from any goroutine.
func (d *MemDisk) OnWrite(hook func(Write) (delay time.Duration, err error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

// OnWritten installs a hook that is told of each write once it is on the disk. nil removes it. The hook is called from any
// goroutine.
func (d *MemDisk) OnWritten(hook func(Write)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = hook
}

// Kill cuts the power: writes under way are lost, later ones of the Store that uses the disk now fail. The disk may be
// used by a new Store at once.
func (d *MemDisk) Kill() {
	d.mu.Lock()
	s := d.session
	d.mu.Unlock()
	if s != nil {
		s.kill()
	}
}

func (d *MemDisk) start() (session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil {
		return nil, fmt.Errorf("disk of node %s is %w", d.node, ErrInUse)
	}
	d.session = &memSession{disk: d, dead: make(chan struct{})}
	return d.session, nil
}

// memSession is a MemDisk in use.
type memSession struct {
	disk *MemDisk
	dead chan struct{} // closed by kill
	once sync.Once

	syncs uint64 // guarded by disk.mu
}

func (s *memSession) file() string { return "memory disk of node " + s.disk.NodeID() }

func (s *memSession) fsyncs() uint64 {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.syncs
}

func (s *memSession) kill() {
	s.once.Do(func() {
		d := s.disk
		d.mu.Lock()
		defer d.mu.Unlock()
		close(s.dead)
		if d.session == s {
			d.session = nil
		}
	})
}

func (s *memSession) close() error {
	s.kill()
	return nil
}

// write asks the hook, waits, and then changes the disk in one step.
func (s *memSession) write(w Write, change func(d *MemDisk) error) error {
	return s.writeShare(w, func(d *MemDisk, share float64) error {
		if share < 1 {
			return nil
		}
		return change(d)
	})
}

// writeShare is write for what may also be written in part.
func (s *memSession) writeShare(w Write, change func(d *MemDisk, share float64) error) error {
	d := s.disk
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	share, failure := 1.0, error(nil)
	if hook != nil {
		var delay time.Duration
		delay, failure = hook(w)
		if delay > 0 {
			t := time.NewTimer(delay)
			defer t.Stop()
			select {
			case <-t.C:
			case <-s.dead:
			}
		}
	}
	if torn, ok := errors.AsType[*Torn](failure); ok {
		share = torn.Share
	} else if failure != nil {
		return failure
	}
	written, err := s.commit(share, change)
	if err != nil {
		return err
	}
	if failure == nil && written != nil {
		written(w)
	}
	return failure
}

// commit changes the disk in one step and returns who is to be told.
func (s *memSession) commit(share float64, change func(d *MemDisk, share float64) error) (written func(Write), err error) {
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != s {
		return nil, errKilled
	}
	s.syncs++
	return d.written, change(d, share)
}

func (s *memSession) FirstIndex() (uint64, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.first, nil
}

func (s *memSession) LastIndex() (uint64, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.last, nil
}

func (s *memSession) GetLog(index uint64, l *raft.Log) error {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	stored, ok := s.disk.logs[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*l = *stored
	return nil
}

func (s *memSession) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *memSession) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	size := 0
	data := make([][]byte, len(logs))
	for i, l := range logs {
		size += len(l.Data)
		data[i] = l.Data
	}
	return s.write(Write{"log", size, data}, func(d *MemDisk) error {
		first, last, replace, err := newLogBounds(d.first, d.last, logs)
		if err != nil {
			return err
		}
		if replace {
			clear(d.logs)
		}
		for _, l := range logs {
			stored := *l
			d.logs[l.Index] = &stored
		}
		d.first, d.last = first, last
		return nil
	})
}

func (s *memSession) DeleteRange(lo, hi uint64) error {
	return s.write(Write{Op: "delete"}, func(d *MemDisk) error {
		first, last, err := cutBounds(d.first, d.last, lo, hi)
		if err != nil {
			return err
		}
		for i := max(lo, d.first); i <= min(hi, d.last); i++ {
			delete(d.logs, i)
		}
		d.first, d.last = first, last
		return nil
	})
}

func (s *memSession) Set(key, val []byte) error {
	return s.write(Write{Op: "stable", Bytes: len(val)}, func(d *MemDisk) error {
		d.stable[string(key)] = slices.Clone(val)
		return nil
	})
}

func (s *memSession) Get(key []byte) ([]byte, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return slices.Clone(s.disk.stable[string(key)]), nil
}

func (s *memSession) SetUint64(key []byte, val uint64) error {
	return s.write(Write{Op: "stable", Bytes: 8}, func(d *MemDisk) error {
		d.numbers[string(key)] = val
		return nil
	})
}

func (s *memSession) GetUint64(key []byte) (uint64, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.numbers[string(key)], nil
}

// memSnapshot is a snapshot that is whole.
type memSnapshot struct {
	meta raft.SnapshotMeta
	data []byte
}

func (s *memSession) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("unsupported snapshot version %d", version)
	}
	return &memSink{session: s, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, time.Now().UnixMilli()), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

func (s *memSession) List() ([]*raft.SnapshotMeta, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	metas := make([]*raft.SnapshotMeta, len(s.disk.snaps))
	for i, snap := range s.disk.snaps {
		meta := snap.meta
		metas[i] = &meta
	}
	return metas, nil
}

func (s *memSession) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	for _, snap := range s.disk.snaps {
		if snap.meta.ID == id {
			meta := snap.meta
			return &meta, io.NopCloser(bytes.NewReader(snap.data)), nil
		}
	}
	return nil, nil, fmt.Errorf("no snapshot %s", id)
}

// memSink is a snapshot being written. It counts once it is closed.
type memSink struct {
	session *memSession
	meta    raft.SnapshotMeta
	buf     bytes.Buffer
	done    bool
}

func (k *memSink) ID() string { return k.meta.ID }

func (k *memSink) Write(b []byte) (int, error) {
	if k.done {
		return 0, errors.New("snapshot is closed")
	}
	return k.buf.Write(b)
}

func (k *memSink) Cancel() error {
	k.done = true
	return nil
}

func (k *memSink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	k.meta.Size = int64(k.buf.Len())
	return k.session.write(Write{Op: "snapshot", Bytes: k.buf.Len()}, func(d *MemDisk) error {
		d.snaps = slices.Insert(d.snaps, 0, &memSnapshot{meta: k.meta, data: k.buf.Bytes()})
		d.snaps = d.snaps[:min(len(d.snaps), snapshotsKept)]
		return nil
	})
}

// Clone copies the disk as it is synced now, under the same node id: what a copy of the data dir would be.
func (d *MemDisk) Clone() *MemDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &MemDisk{
		node: d.node, logs: maps.Clone(d.logs), first: d.first, last: d.last,
		stable: maps.Clone(d.stable), numbers: maps.Clone(d.numbers), snaps: slices.Clone(d.snaps),
	}
}
