package raftstore

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A node may be sent a snapshot though it has entries behind it: when the answer to them got lost, and the leader has
// forgotten them meanwhile. It said that it has them, so they must stay. (Of a store that calls itself monotonic raft
// 1.8.0 deletes them, and goes on saying that they are there.)
func TestInstalledSnapshotKeepsWhatIsBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		c.kill("n1")
		c.kill("n2")
		time.Sleep(5 * time.Second) // whoever led does no more
		defer c.close()
		n0 := c.stores["n0"]

		// The test leads.
		listener := c.net.listen("n1:1")
		defer listener.Close()
		line := newStream(&Config{Listener: listener, Dial: c.net.dialer("n1"), Advertise: "n1:1", NodeID: "n1"}, func(string) string { return "n0" })
		c.net.set("n1", n0) // somebody is there
		leader := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: line, MaxPool: 1, Timeout: time.Second, Logger: newRaftLogger(n0.log)})
		defer leader.Close()
		const term = 100
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n1"), Addr: []byte("n1:1")}
		first := n0.raft.LastIndex()
		var before raft.Log
		if err := n0.disk.GetLog(first, &before); err != nil {
			t.Fatal(err)
		}
		appendTo := func(prev, prevTerm, last, committed uint64) raft.AppendEntriesResponse {
			t.Helper()
			req := &raft.AppendEntriesRequest{RPCHeader: header, Term: term, PrevLogEntry: prev, PrevLogTerm: prevTerm, LeaderCommitIndex: committed}
			for i := prev + 1; i <= last; i++ {
				req.Entries = append(req.Entries, &raft.Log{Index: i, Term: term, Type: raft.LogNoop})
			}
			var resp raft.AppendEntriesResponse
			if err := leader.AppendEntries("n0", "n0:1", req, &resp); err != nil {
				t.Fatal(err)
			}
			return resp
		}
		if r := appendTo(first, before.Term, first+20, first+5); !r.Success {
			t.Fatalf("entries are refused: %+v", r)
		}

		var image bytes.Buffer
		n0.fsm.mu.Lock()
		snapshot := n0.fsm.state.snapshot()
		n0.fsm.mu.Unlock()
		if err := snapshot.write(&image); err != nil {
			t.Fatal(err)
		}
		covered := first + 10
		req := &raft.InstallSnapshotRequest{
			RPCHeader: header, SnapshotVersion: 1, Term: term, LastLogIndex: covered, LastLogTerm: term, Size: int64(image.Len()),
			Configuration: raft.EncodeConfiguration(n0.raft.GetConfiguration().Configuration()), ConfigurationIndex: 1,
		}
		var installed raft.InstallSnapshotResponse
		if err := leader.InstallSnapshot("n0", "n0:1", req, &installed, &image); err != nil || !installed.Success {
			t.Fatalf("the snapshot is refused: %+v, %v", installed, err)
		}
		for i := covered + 1; i <= first+20; i++ {
			var l raft.Log
			if err := n0.disk.GetLog(i, &l); err != nil || l.Term != term {
				t.Errorf("entry %d, which it has confirmed: %v", i, err)
			}
		}
		if t.Failed() {
			return // raft would panic
		}
		if r := appendTo(first+20, term, first+21, first+15); !r.Success || r.LastLog != first+20 && r.LastLog != first+21 {
			t.Errorf("what comes behind is refused: %+v", r)
		}
		if got := n0.raft.AppliedIndex(); got != first+15 {
			t.Errorf("applied %d, want %d", got, first+15)
		}
	})
}

// What is before a gap is neither on the disk nor in memory any more.
func TestGapReplacesWhatIsCached(t *testing.T) {
	session, err := NewMemDisk().start()
	if err != nil {
		t.Fatal(err)
	}
	log, err := newCachedLog(64, session)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint64{1, 2, 3, 100, 101} {
		if err := log.StoreLog(&raft.Log{Index: i, Term: 1}); err != nil {
			t.Fatal(err)
		}
	}
	var l raft.Log
	for _, i := range []uint64{1, 2, 3} {
		if err := log.GetLog(i, &l); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("entry %d from before the gap: %+v, %v", i, l, err)
		}
	}
	for _, i := range []uint64{100, 101} {
		if err := log.GetLog(i, &l); err != nil || l.Index != i {
			t.Errorf("entry %d: %+v, %v", i, l, err)
		}
	}
}
