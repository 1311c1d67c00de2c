package dispatch

import (
	"context"
	"errors"
)

// Kind is what happened to a channel.
type Kind uint8

// The kinds of events.
const (
	Occupied Kind = iota + 1
	Vacated
	// Gap is no event of the log: it says that the events of a range are not all delivered. If that is since the log gave
	// them up, what comes behind it brings the channels to their right state all the same; see Rule.GapFrom for the other.
	Gap
	Opened
	Closed
	LimitNear // a limit of the app is nearly used up; Limit says which
	LimitOver // or it is met
)

// String is the kind's name on the wire.
func (k Kind) String() string {
	switch k {
	case Occupied:
		return "occupied"
	case Vacated:
		return "vacated"
	case Gap:
		return "gap"
	case Opened:
		return "opened"
	case Closed:
		return "closed"
	case LimitNear:
		return "limit.approaching"
	case LimitOver:
		return "limit.exceeded"
	default:
		return "unknown"
	}
}

// Event is one event of the partition log.
type Event struct {
	Seq     uint64 // its place in the log; grows by one from event to event
	ID      string // stable: the same however often the event is sent
	App     string
	Channel string
	Kind    Kind
	TimeMs  int64  // when the transition was decided, Unix milliseconds
	Ends    uint64 // vacated, closed: seq of the occupied or opened that it ends

	Limit string // limit.…: a JSON object that says which, and how it stands; Channel is ""

	From, To uint64 // gap: seqs of the first and the last event of the range; it has no other fields but ID and App
}

// Reach bounds how far the seq of an event that is sent may be above the committed cursor. The log relies on it: an event
// beyond that cannot be known to the sink, so when the log gives events up it can leave out what nobody knows of.
const Reach = 1 << 14

// ErrNoCursor says that the log has no cursor of that name: somebody dropped it.
var ErrNoCursor = errors.New("no such cursor")

// EventLog is the replicated log that events are read from and cursors are kept in. All methods are called from several
// goroutines. Those that take a context return soon after it ends.
type EventLog interface {
	// Events returns up to limit events with a seq greater than after, in order, and the first and last seq the log has
	// now (first is last+1 when it has none). Where after lies before first-1 it may return an error instead of the
	// events; first and last are then true all the same.
	Events(after uint64, limit int) (first, last uint64, events []Event, err error)
	// Folded returns what is left of the events behind after that the log has given up although a cursor was behind: a Gap
	// (From after+1; there is none when it is above To) and up to limit events of its range, in order, fewer only when that
	// is all. Left out are pairs of occupied and vacated of which no sink can know the first.
	Folded(after uint64, limit int) (gap Event, events []Event, err error)
	// Gap is the Gap of the events from and to and all between.
	Gap(from, to uint64) Event
	// WaitEvents returns nil once the log has an event with a seq greater than after.
	WaitEvents(ctx context.Context, after uint64) error
	// EnsureCursor returns the cursor of that name, creating it before the oldest retained event if there is none.
	EnsureCursor(ctx context.Context, name string) (uint64, error)
	// SetCursor commits that everything up to seq is done. A cursor never moves back: a lower seq changes nothing. The error
	// is ErrNoCursor where there is no cursor of that name.
	SetCursor(ctx context.Context, name string, seq uint64) error
	// RewindCursor commits that everything behind seq is to be done again. A cursor that has not got there stays where it
	// is; it refuses to go where events are gone.
	RewindCursor(ctx context.Context, name string, seq uint64) error
	// DropCursor forgets a cursor; that there is none is no error.
	DropCursor(ctx context.Context, name string) error
	// Cursors returns all cursors by name. The caller owns the map.
	Cursors() map[string]uint64
}
