package raftstore

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// fsm is what raft applies committed entries to. It only dispatches: the rules are in state. Apply calls come from one
// goroutine of raft; readers take mu for the moment it needs to freeze what they read.
type fsm struct {
	onFatal   func(*FatalError) // an entry cannot be applied; called without mu
	onApplied func(notes)       // after each batch or restore, from raft's goroutine; must not block

	view   atomic.Pointer[View]
	halted atomic.Bool // applies nothing any more

	mu    sync.Mutex
	state *state // guarded by mu
}

// notes say what a batch touched, so that those who wait for it can be told.
type notes struct {
	placement bool   // members, table or cluster id
	tables    bool   // a row of a table
	events    uint64 // came
	entries   uint64
	bytes     uint64
}

func newFSM(onFatal func(*FatalError), onApplied func(notes)) *fsm {
	f := &fsm{onFatal: onFatal, onApplied: onApplied, state: newState()}
	f.view.Store(f.state.view())
	return f
}

// Apply applies one entry.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies committed entries in order. What it returns per entry is what the command says: []verdict for
// records, uint64 or an error for cursors, an error or nil for the others.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	if f.halted.Load() {
		for i := range results {
			results[i] = ErrClosed
		}
		return results
	}
	var n notes
	var fatal error
	f.mu.Lock()
	before := f.state.events.last
	for i, l := range logs {
		if fatal != nil {
			results[i] = ErrClosed
			continue
		}
		if l.Type == raft.LogCommand {
			result, placed, err := f.state.apply(l.Data)
			if err != nil {
				f.halted.Store(true)
				fatal = fmt.Errorf("entry %d: %w", l.Index, err)
				results[i] = ErrClosed
				continue
			}
			results[i] = result
			n.placement = n.placement || placed
			_, tabled := result.(tableVerdict)
			n.tables = n.tables || tabled
			n.entries++
			n.bytes += uint64(len(l.Data))
		}
		f.state.index = l.Index
	}
	n.events = f.state.events.last - before
	f.publish()
	f.mu.Unlock()
	if fatal != nil {
		f.onFatal(&FatalError{Kind: FatalCommand, Cause: fatal})
	}
	f.onApplied(n)
	return results
}

// publish makes the present state what View shows. mu is held.
func (f *fsm) publish() { f.view.Store(f.state.view()) }

// Snapshot hands raft the state as it is now, in O(partitions).
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.halted.Load() {
		return nil, ErrClosed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.snapshot(), nil
}

// Restore replaces the state by a snapshot's, or leaves it alone and fails.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	s, err := readState(r)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	f.mu.Lock()
	f.state = s
	f.publish()
	f.mu.Unlock()
	f.onApplied(notes{placement: true, tables: true, events: 1})
	return nil
}
