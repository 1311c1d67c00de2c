package raftstore

import (
	"fmt"
	"io"
	"testing"
)

// TestSnapshotBesideEvents writes a snapshot while events go on, as raft does. It is for the race detector.
func TestSnapshotBesideEvents(t *testing.T) {
	s := newState()
	add := func(i int) {
		s.events.append(&rawTransition{kind: Occupied, app: []byte("a"), name: fmt.Append(nil, "chan-", i), timeMs: 1}, 0, 0)
	}
	for i := range chunkEvents + 10 {
		add(i)
	}
	snap := s.snapshot()
	written := make(chan error, 1)
	go func() { written <- snap.write(io.Discard) }()
	for i := range 1000 {
		add(i)
	}
	must(t, <-written)
}
