package raftstore

import (
	"errors"

	"github.com/hashicorp/raft"
)

// Disk is where a node's log lives: a data dir (OpenDir) or memory (NewMemDisk). One Store at a time uses it; after
// that Store is closed or killed, the next one finds what was synced.
type Disk interface {
	// NodeID is the id of the node whose log this is. It was drawn when the disk was new.
	NodeID() string
	// ClusterID is the id of the cluster whose log this is, "" as long as it belongs to none. It is known here before the
	// log is.
	ClusterID() string
	// Close lets go of a disk that no Store uses (a Store lets go of its disk itself).
	Close() error

	// start begins a session. It fails while another one lasts.
	start() (session, error)
}

// session is a disk in use by one Store. Writes are synced when they return. Methods may be called from any goroutine.
type session interface {
	raft.LogStore    // entries are contiguous; one that leaves a gap behind it replaces all before
	raft.StableStore // absent keys are nil and 0
	raft.SnapshotStore
	// file names what errors are about.
	file() string
	// fsyncs counts the syncs.
	fsyncs() uint64
	// kill makes every later write fail and lets blocked ones return; reads go on until close.
	kill()
	// close ends the session. No other call may be running or follow.
	close() error
}

var errKilled = errors.New("disk was cut off")

// snapshotsKept is how many snapshots a disk keeps: the newest, and one to fall back to.
const snapshotsKept = 2

// newLogBounds checks that logs can follow what is stored from first to last (0, 0: nothing) and says what the bounds
// become. replace says that all that is stored is behind a gap and must go.
func newLogBounds(first, last uint64, logs []*raft.Log) (newFirst, newLast uint64, replace bool, err error) {
	for i, l := range logs {
		if i > 0 && l.Index != logs[i-1].Index+1 {
			return 0, 0, false, errors.New("entries to store are not contiguous")
		}
	}
	lo, hi := logs[0].Index, logs[len(logs)-1].Index
	switch {
	case last == 0 || lo > last+1:
		return lo, hi, last != 0, nil
	case lo < first:
		return 0, 0, false, errors.New("entries to store are before the first one")
	}
	return first, max(last, hi), false, nil
}

// cutBounds says what the bounds become when lo to hi are deleted, which must be a prefix or a suffix.
func cutBounds(first, last, lo, hi uint64) (newFirst, newLast uint64, err error) {
	switch {
	case last == 0 || hi < first || lo > last || lo > hi:
		return first, last, nil
	case lo <= first && hi >= last:
		return 0, 0, nil
	case lo <= first:
		return hi + 1, last, nil
	case hi >= last:
		return first, lo - 1, nil
	}
	return 0, 0, errors.New("cannot delete from the middle of the log")
}
