package raftstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestReadIndexSeesWhatWasCommitted reads from every node what was committed a moment before.
func TestReadIndexSeesWhatWasCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		leader, s := c.leader()
		c.own(func(uint32) string { return leader })
		for i := range 20 {
			var p proposals
			p.propose(s, Occupied, fmt.Sprint("chan", i))
			p.wait(t)
			want := uint64(i + 1) // done means applied on the leader
			for id, other := range c.stores {
				if err := other.ReadIndex(t.Context()); err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				if got := other.View().LastSeq; got < want {
					t.Fatalf("%s has read up to %d, want %d", id, got, want)
				}
			}
		}
	})
}

// TestReadIndexOfACutLeaderWaits cuts the leader off: it must not answer from what it has, while the others must, with
// what was committed without it.
func TestReadIndexOfACutLeaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		old, s := c.leader()
		c.own(func(uint32) string { return old })
		c.net.isolate(old, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.ReadIndex(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("cut off, got %v", err)
		}
		for id, other := range c.stores {
			if id == old {
				continue
			}
			if err := other.ReadIndex(t.Context()); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
		}
		c.net.isolate(old, false)
		if err := s.ReadIndex(t.Context()); err != nil {
			t.Fatalf("healed: %v", err)
		}
	})
}

// TestReadIndexIsShared has many readers ask at once: the log gets a few entries, not one for each.
// slowForward takes a while, as a network does: long enough for everybody who asks at this moment to be there.
type slowForward struct{ Forwarder }

func (f slowForward) Forward(ctx context.Context, leader string, payload []byte) ([]byte, error) {
	time.Sleep(10 * time.Millisecond)
	return f.Forwarder.Forward(ctx, leader, payload)
}

func TestReadIndexIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(config *Config) { config.Forward = slowForward{config.Forward} })
		defer c.close()
		leader, s := c.leader()
		before := s.Stats().LastIndex
		var wg sync.WaitGroup
		for id, other := range c.stores {
			if id == leader {
				continue
			}
			for range 100 {
				wg.Go(func() {
					if err := other.ReadIndex(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if n := s.Stats().LastIndex - before; n > 10 {
			t.Errorf("200 reads wrote %d entries", n)
		}
	})
}

func TestReadIndexAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, nil)
		_, s := c.leader()
		c.close()
		if err := s.ReadIndex(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
