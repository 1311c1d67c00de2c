package raftstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestNewNodeAtAnOldAddressHasNoVote: of three nodes, the one that has all is gone, one has lost its disk and is another
// node at the same address, and one was away while things were committed. It must not lead: nobody but the two that are
// gone knows what was committed.
func TestNewNodeAtAnOldAddressHasNoVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer func() { c.close() }()
		leader, s := c.leader()
		c.own(func(uint32) string { return leader })
		var others []string
		for id := range c.stores {
			if id != leader {
				others = append(others, id)
			}
		}
		away, wiped := others[0], others[1]
		c.kill(away)
		var p proposals
		p.propose(s, Occupied, "chan")
		p.wait(t)
		c.kill(leader)
		c.kill(wiped)
		c.disks[wiped] = NewMemDisk()
		c.disks[wiped].SetNodeID("another")
		c.open(away)
		newcomer, err := Open(Config{
			NodeID: "another", Disk: c.disks[wiped], Listener: c.net.listen(wiped + ":1"), Dial: c.net.dialer(wiped), Advertise: wiped + ":1",
		})
		if err != nil {
			t.Fatal(err)
		}
		defer newcomer.Close()
		time.Sleep(time.Minute)
		if c.stores[away].IsLeader() || c.stores[away].View().LastSeq != 0 {
			t.Error("a node leads that lacks what was committed")
		}
		c.open(leader)
		_, s = c.leader()
		if err := s.ReadIndex(context.Background()); err != nil || s.View().LastSeq != 1 {
			t.Errorf("with those that have it: last seq %d, %v", s.View().LastSeq, err)
		}
	})
}
