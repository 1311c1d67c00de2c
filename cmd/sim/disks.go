package sim

import (
	"errors"
	"sync/atomic"
	"time"

	"innkeeper/raftstore"
)

const (
	// noticeWait is how long a node may go on after a write failed.
	noticeWait = 5 * time.Second
	// fullRetry is how often a node with a full disk is started again, as whoever looks after its process would.
	fullRetry = 3 * time.Second
)

// slowDisk lets each write of a node take a while.
func (s *Sim) slowDisk(n *Node, f Fault) {
	disk := n.disk.Load()
	s.note("the disk of node %d takes %v a write", n.Index, f.Delay)
	disk.OnWrite(func(raftstore.Write) (time.Duration, error) { return f.Delay, nil })
	time.Sleep(f.For)
	disk.OnWrite(nil)
	s.note("the disk of node %d is quick again", n.Index)
}

// breakDisk fails writes of a node: the next one, or all of them for a while. The node must stop by itself; then it is
// started again.
func (s *Sim) breakDisk(n *Node, f Fault) {
	disk := n.disk.Load()
	failed := make(chan struct{})
	var writes atomic.Int64
	n.ill.Store(true)
	defer n.ill.Store(false)
	s.note("%v of node %d, from its next write on", f.Kind, n.Index)
	disk.OnWrite(func(raftstore.Write) (time.Duration, error) {
		first := writes.Add(1) == 1
		if first {
			close(failed)
		}
		switch {
		case f.Kind == FullDisk:
			return 0, errors.New("no space left on device")
		case first:
			return 0, &raftstore.Torn{Share: f.Share}
		}
		return 0, nil
	})
	defer disk.OnWrite(nil)
	before := n.process.Load()
	select {
	case <-failed:
	case <-time.After(f.For + noticeWait):
		s.note("node %d wrote nothing", n.Index)
		return
	}
	gone := func() bool { return before == nil || n.process.Load() != before }
	if !await(noticeWait, 20*time.Millisecond, gone) {
		s.fail("node %d goes on after a write failed (%v)", n.Index, f.Kind)
	}
	for end := time.Now().Add(f.For); f.Kind == FullDisk && time.Now().Before(end); time.Sleep(fullRetry) {
		s.up(n)
	}
	disk.OnWrite(nil)
	// A process that was started on the full disk may not have noticed yet that it cannot go on.
	for end := time.Now().Add(2 * noticeWait); time.Now().Before(end) || !n.Up(); time.Sleep(time.Second) {
		s.up(n)
		if s.ctx.Err() != nil {
			return
		}
	}
}
