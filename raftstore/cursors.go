package raftstore

import (
	"fmt"
	"maps"
	"slices"
)

// cursors remember, by sink, the seq up to which events were delivered.
type cursors map[string]uint64

// ensure makes the cursor of a new sink start before the first retained event, and leaves an existing one alone.
func (c cursors) ensure(sink string, first uint64) uint64 {
	seq, ok := c[sink]
	if !ok {
		seq = first - 1
		c[sink] = seq
	}
	return seq
}

// set moves a cursor forward. Moving it back is no error and does nothing: it is a late command of an old dispatcher.
func (c cursors) set(sink string, seq, last uint64) error {
	now, ok := c[sink]
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoCursor, sink)
	}
	if seq > last {
		return fmt.Errorf("%w: cursor %q to %d, newest event is %d", ErrInvalid, sink, seq, last)
	}
	c[sink] = max(now, seq)
	return nil
}

// rewind moves a cursor back, so that what follows seq is delivered again. One that has not got to seq stays: what follows
// seq is still to be delivered.
func (c cursors) rewind(sink string, seq, first uint64) error {
	now, ok := c[sink]
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoCursor, sink)
	}
	if seq < now && seq+1 < first {
		return fmt.Errorf("cursor %q back to %d: %w: first is %d", sink, seq, ErrCompacted, first)
	}
	c[sink] = min(now, seq)
	return nil
}

// slowest is the lowest cursor, or otherwise if there is none.
func (c cursors) slowest(otherwise uint64) uint64 {
	for _, seq := range c { // a minimum does not depend on the order
		otherwise = min(otherwise, seq)
	}
	return otherwise
}

// names lists the sinks in order.
func (c cursors) names() []string { return slices.Sorted(maps.Keys(c)) }
