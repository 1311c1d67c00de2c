package raftstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
)

func TestRewindGoesBackOnly(t *testing.T) {
	for _, test := range []struct {
		sink string
		seq  uint64
		want error
		left uint64
	}{
		{"hook", 19, nil, 19},
		{"hook", 20, nil, 20},
		{"hook", 9, nil, 9}, // all that is retained
		{"hook", 8, ErrCompacted, 20},
		{"hook", 0, ErrCompacted, 20},
		{"hook", 21, nil, 20},
		{"hook", ^uint64(0), nil, 20},
		{"other", 15, ErrNoCursor, 20},
	} {
		c := cursors{"hook": 20}
		if err := c.rewind(test.sink, test.seq, 10); !errors.Is(err, test.want) || c["hook"] != test.left || len(c) != 1 {
			t.Errorf("%s to %d: got %v, cursors %v; want %v, %d", test.sink, test.seq, err, c, test.want, test.left)
		}
	}
}

// TestRewindIsInTheLog moves a cursor back and reads it from every node, also after a restart.
func TestRewindIsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer func() { c.close() }()
		ctx := context.Background()
		leader, s := c.leader()
		c.own(func(uint32) string { return leader })
		var p proposals
		for i := range 10 {
			p.propose(s, Occupied, fmt.Sprint("chan-", i))
		}
		p.wait(t)
		if _, err := s.EnsureCursor(ctx, "hook"); err != nil {
			t.Fatal(err)
		}
		if err := s.SetCursor(ctx, "hook", 10); err != nil {
			t.Fatal(err)
		}
		if err := s.RewindCursor(ctx, "hook", 11); err != nil || s.Cursors()["hook"] != 10 {
			t.Errorf("forward: got %v, cursor %d", err, s.Cursors()["hook"])
		}
		if err := s.RewindCursor(ctx, "nobody", 1); !errors.Is(err, ErrNoCursor) {
			t.Errorf("nobody's: got %v", err)
		}
		if err := s.RewindCursor(ctx, "hook", 4); err != nil {
			t.Fatal(err)
		}
		for id, other := range c.stores {
			if id != leader {
				if err := other.RewindCursor(ctx, "hook", 1); !errors.Is(err, ErrNotLeader) {
					t.Errorf("%s, which does not lead: got %v", id, err)
				}
			}
		}
		c.kill(leader)
		c.open(leader)
		_, s = c.leader()
		if err := s.ReadIndex(ctx); err != nil {
			t.Fatal(err)
		}
		if got := s.Cursors()["hook"]; got != 4 {
			t.Errorf("cursor is %d, want 4", got)
		}
	})
}
