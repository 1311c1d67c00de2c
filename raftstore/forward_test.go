package raftstore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestBootstrapSurvivesACrash kills the bootstrapped node before anything is committed.
func TestBootstrapSurvivesACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer func() { c.close() }()
		c.kill("n0")
		time.Sleep(10 * time.Second)
		for id, s := range c.stores {
			if s.View().ClusterID != "" {
				t.Errorf("%s has a cluster", id)
			}
		}
		c.open("n0")
		_, s := c.leader()
		if got := s.View().ClusterID; got != "0123456789abcdef" {
			t.Fatalf("cluster id is %q", got)
		}
		if err := s.Bootstrap("other", 8, nil); !errors.Is(err, ErrHasState) {
			t.Fatalf("got %v, want ErrHasState", err)
		}
	})
}

// TestInitThroughTheLeader commits an init command from a node that does not lead. The first one counts.
func TestInitThroughTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		leader, _ := c.leader()
		for id, s := range c.stores {
			if id == leader {
				continue
			}
			if err := s.tryFound(clusterInit{"another", 3}.append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range c.stores {
			if v := s.View(); v.ClusterID == "another" || len(v.Table.Slots) == 3 {
				t.Fatalf("view is %+v", v)
			}
		}
	})
}

func TestForwardIsCheckedAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		leader, s := c.leader()
		before := s.Stats().LastIndex
		for _, payload := range [][]byte{
			nil, {9, 1}, {forwardRecords, 2}, {forwardRecords, forwardVersion, 1, 2, 3}, {forwardInit, forwardVersion},
			append([]byte{forwardRecords, forwardVersion}, appendRecord(nil, record{part: 1, epoch: 1, n: 1, count: 3, body: []byte("abc")})...),
		} {
			answer, err := s.HandleForward(context.Background(), payload)
			if err == nil {
				_, err = decodeAnswer(answer)
			}
			if err == nil {
				t.Errorf("payload %v was taken", payload)
			}
		}
		if got := s.Stats().LastIndex; got != before {
			t.Errorf("last index went from %d to %d", before, got)
		}
		for id, s := range c.stores {
			if id == leader {
				continue
			}
			for s.Leader() != leader {
				time.Sleep(time.Millisecond)
			}
			answer, err := s.HandleForward(context.Background(), []byte{forwardRecords, forwardVersion})
			if err != nil {
				t.Fatal(err)
			}
			var notLeader *NotLeaderError
			if _, err := decodeAnswer(answer); !errors.As(err, &notLeader) || notLeader.Leader != leader {
				t.Errorf("%s answers %v, the leader is %s", id, err, leader)
			}
		}
	})
}

// TestCutLeaderCommitsNothing leaves a leader alone: it must step down, and what it was given must not be confirmed
// until it is back.
func TestCutLeaderCommitsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		leader, s := c.leader()
		c.own(func(uint32) string { return leader })
		c.net.isolate(leader, true)
		outcome := make(chan error, 1)
		s.Propose(0, s.View().Table.Slots[0].Epoch, Transition{Occupied, "app", nameIn(0), 1}, func(err error) { outcome <- err })
		time.Sleep(5 * time.Second)
		if s.IsLeader() || s.Verify(context.Background()) == nil {
			t.Error("still leads")
		}
		select {
		case err := <-outcome:
			t.Fatalf("outcome %v while cut off", err)
		default:
		}
		c.net.isolate(leader, false)
		if err := <-outcome; err != nil {
			t.Fatal(err)
		}
		if events := c.sync(); len(events) != 1 {
			t.Fatalf("events are %v", events)
		}
	})
}

// TestProposalsAreRefusedAtTheDoor checks what can never be committed, and that done is called all the same.
func TestProposalsAreRefusedAtTheDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, nil)
		c.own(func(uint32) string { return "n0" })
		_, s := c.leader()
		epoch := s.View().Table.Slots[0].Epoch
		ask := func(part uint32, epoch uint64, tr Transition) error {
			outcome := make(chan error, 1)
			s.Propose(part, epoch, tr, func(err error) { outcome <- err })
			return <-outcome
		}
		ok := Transition{Occupied, "app", nameIn(0), 1}
		for _, step := range []struct {
			part  uint32
			epoch uint64
			tr    Transition
			want  error
		}{
			{0, epoch - 1, ok, ErrEpochOver},
			{testPartitions, epoch, ok, ErrEpochOver},
			{0, epoch, Transition{Closed + 1, "app", "c", 1}, ErrInvalid},
			{0, epoch, Transition{Occupied, "", "c", 1}, ErrInvalid},
			{0, epoch, Transition{Occupied, "app", string(make([]byte, nameBytesMax+1)), 1}, ErrInvalid},
			{0, epoch, ok, nil},
			{0, epoch, ok, nil}, // so already
		} {
			if err := ask(step.part, step.epoch, step.tr); !errors.Is(err, step.want) || step.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, step.want)
			}
		}
		if st := s.Stats(); st.LastEvent != 1 || st.Repetitive != 1 || st.Occupied != 1 {
			t.Errorf("stats are %+v", st)
		}
		c.close()
		if err := ask(0, epoch, ok); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
