package raftstore

import (
	"errors"
	"fmt"
)

// Errors of this room. They are wrapped with the operation that met them; use errors.Is.
var (
	// ErrEpochOver says that the partition has another owner or its owner another boot: what was proposed under the
	// old epoch counts no more. It may or may not have been committed before the epoch ended.
	ErrEpochOver = errors.New("epoch is over")
	// ErrNotLeader says that this node does not lead. Nothing was done.
	ErrNotLeader = errors.New("not the leader")
	// ErrUnknownOutcome says that the command was handed to the log and no answer came: it may be committed already,
	// later, or never.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrConflict says that members or table changed since the version the change was planned on. Nothing was done.
	ErrConflict = errors.New("planned on a stale version")
	// ErrNotInitialised says that the log has no cluster id yet.
	ErrNotInitialised = errors.New("the cluster is not initialised")
	// ErrHasState refuses a bootstrap of a node that has a log already.
	ErrHasState = errors.New("node has raft state already")
	// ErrCompacted says that events which are needed for the answer are no longer retained.
	ErrCompacted = errors.New("events are no longer retained")
	// ErrNoCluster says that the node belongs to no cluster yet.
	ErrNoCluster = errors.New("this node belongs to no cluster")
	// ErrNotEmpty says that a directory is in use.
	ErrNotEmpty = errors.New("the directory is not empty")
	// ErrAhead says that this node has not yet applied the seq that was asked for.
	ErrAhead = errors.New("seq is ahead of this node")
	// ErrNoCursor says that there is no cursor of that name.
	ErrNoCursor = errors.New("no such cursor")
	// ErrInvalid says that an argument can never be accepted.
	ErrInvalid = errors.New("invalid")
	// ErrClosed says that the store is closed or stopped by a failure.
	ErrClosed = errors.New("partition log is closed")
	// ErrInUse says that another process has the data dir open.
	ErrInUse = errors.New("in use by another process")
	// ErrWrongCluster says that the data dir belongs to another cluster.
	ErrWrongCluster = errors.New("belongs to another cluster")
)

// NotLeaderError is ErrNotLeader with what this node knows about the leader.
type NotLeaderError struct {
	Leader string // node id, "" when unknown
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "not the leader, and no leader is known"
	}
	return "not the leader; the leader is " + e.Leader
}

// Unwrap makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Unwrap() error { return ErrNotLeader }

// TruncatedError says that a file of the data dir is shorter than its own header says.
type TruncatedError struct {
	File         string
	Size, Needed int64 // bytes found and bytes needed
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("log file %s is truncated: %d bytes found, %d needed; put a complete copy back, or move the whole "+
		"data dir away so that this node joins again as a new one", e.File, e.Size, e.Needed)
}

// CorruptError says that a file of the data dir cannot be understood.
type CorruptError struct {
	File  string
	Cause error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("log file %s is damaged: %v; put an intact copy back, or move the whole data dir away so that "+
		"this node joins again as a new one", e.File, e.Cause)
}

func (e *CorruptError) Unwrap() error { return e.Cause }

// FatalKind says why a store stopped by itself.
type FatalKind uint8

// The kinds of fatal errors.
const (
	FatalDisk    FatalKind = iota + 1 // a write or sync failed, or never came back
	FatalCorrupt                      // what was read back from the disk is damaged
	FatalCommand                      // a committed command is unknown to this version or cannot be decoded
	FatalCluster                      // the log belongs to another cluster than the data dir
)

// FatalError is what Config.OnFatal receives: this node must not go on.
type FatalError struct {
	Kind  FatalKind
	Cause error
}

func (e *FatalError) Error() string {
	switch e.Kind {
	case FatalDisk:
		return fmt.Sprintf("disk failed, stopping rather than trusting it: %v", e.Cause)
	case FatalCorrupt:
		return fmt.Sprintf("stored log is damaged: %v", e.Cause)
	case FatalCommand:
		return fmt.Sprintf("cannot apply a committed command (was it written by a newer version?): %v", e.Cause)
	case FatalCluster:
		return fmt.Sprintf("wrong cluster: %v", e.Cause)
	}
	return fmt.Sprintf("fatal: %v", e.Cause)
}

func (e *FatalError) Unwrap() error { return e.Cause }
