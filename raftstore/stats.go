package raftstore

import (
	"sync/atomic"
	"time"
)

// CommitBounds are the upper bounds of the buckets of Histogram; one more bucket has no bound.
var CommitBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2 * time.Second, 5 * time.Second,
}

// Histogram counts durations.
type Histogram struct {
	Count   uint64
	Sum     time.Duration
	Buckets [len(CommitBounds) + 1]uint64 // not cumulative
}

// Stats are figures of one store since it was opened, or as they are now.
type Stats struct {
	LastIndex, AppliedIndex uint64    // raft indexes
	Term                    uint64    //
	Entries, EntryBytes     uint64    // applied here
	Commits                 Histogram // of record entries this node submitted as leader: submitted to applied
	Fsyncs                  uint64    //
	Snapshots               uint64    // written or installed
	Occupied, Open          int       // channels; open by an Opened
	OccupiedBytes           int       // memory of the occupied set
	FirstEvent, LastEvent   uint64    // seqs; first > last: none retained
	EventBytes              int       // memory of the events
	Folded, FoldedBytes     int       // events given up that sinks still need; their memory
	Misplaced, Repetitive   uint64    // transitions dropped by the FSM: wrong partition; state was so already
	Proposed, Refused       uint64    // transitions proposed here; of them refused since their epoch is over
	Retries                 uint64    // batches sent again
	Pending                 int       // transitions proposed here that wait for their outcome
}

// histogram is a Histogram that is written from many goroutines.
type histogram struct {
	count, sum atomic.Uint64
	buckets    [len(CommitBounds) + 1]atomic.Uint64
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(CommitBounds) && d > CommitBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.count.Add(1)
	h.sum.Add(uint64(max(d, 0)))
}

func (h *histogram) read() Histogram {
	r := Histogram{Count: h.count.Load(), Sum: time.Duration(h.sum.Load())}
	for i := range h.buckets {
		r.Buckets[i] = h.buckets[i].Load()
	}
	return r
}

// counters are what a store counts while it runs.
type counters struct {
	commits                    histogram
	entries, bytes, snapshots  atomic.Uint64
	proposed, refused, retries atomic.Uint64
	pending                    atomic.Int64
}
