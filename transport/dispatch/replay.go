package dispatch

import (
	"context"
	"errors"
	"fmt"
)

// Errors of Replay.
var (
	// ErrNotLeading says that this node does not send events now.
	ErrNotLeading = errors.New("this node does not lead")
	// ErrNoRule says that there is no such rule.
	ErrNoRule = errors.New("no such rule")
)

// RangeError says that the events that were asked for cannot be sent again.
type RangeError struct {
	From, First, Done uint64 // asked for; oldest retained; the rule has got this far
}

func (e *RangeError) Error() string {
	if e.From < e.First {
		return fmt.Sprintf("the events from seq %d on are not all retained, the oldest is %d", e.From, e.First)
	}
	return fmt.Sprintf("the rule has got to seq %d only; there is nothing to send again from %d on", e.Done, e.From)
}

// Replay has a rule send again all events from seq from on, under the ids they had. Requests in flight are given up. When
// it returns nil the change is committed: it outlives this node's leadership. After an error of ctx or of the log it may
// take place or not.
func (d *Dispatcher) Replay(ctx context.Context, app, id string, from uint64) error {
	s := d.sender(app, id)
	if s == nil {
		return fmt.Errorf("%w: %q of app %q", ErrNoRule, id, app)
	}
	d.mu.Lock()
	t := d.term
	d.mu.Unlock()
	if t == nil {
		return ErrNotLeading
	}
	// The cursor in the log may lag behind what was sent; what this node sent counts too.
	done := max(d.config.Log.Cursors()[s.rule.Cursor()], s.tally.copy().Cursor)
	first, _, _, _ := d.config.Log.Events(done, 1)
	if from < max(first, 1) || from > done {
		return &RangeError{From: from, First: first, Done: done}
	}
	answer := make(chan error, 1)
	select {
	case s.replays <- replay{cursor: from - 1, done: answer}:
	case <-t.done:
		return ErrNotLeading
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
