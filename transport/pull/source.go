package pull

import (
	"context"
	"errors"

	"innkeeper/transport/dispatch"
	"innkeeper/transport/standing"
)

// ErrCompacted says that the log has forgotten the events that a listing as of an earlier seq would need.
var ErrCompacted = errors.New("pull: events since as_of are no longer retained")

// Source is this node's copy of the log. Its methods are called from many goroutines.
type Source interface {
	// Standing says how far this copy can be trusted now.
	Standing() standing.Standing
	// Events returns up to limit events with a seq greater than after, in order, and the first and last seq the log has
	// now (first is last+1 when it has none). Where after lies before first-1 it may return an error instead of the
	// events; first and last are then true all the same.
	Events(after uint64, limit int) (first, last uint64, events []dispatch.Event, err error)
	// WaitEvents returns nil once the log has an event with a seq greater than after; it ends soon after ctx.
	WaitEvents(ctx context.Context, after uint64) error
	// WaitApplied returns nil once this node has seen the event seq; it ends soon after ctx.
	WaitApplied(ctx context.Context, seq uint64) error
	// ReadIndex returns nil once this node has seen every event that was committed in the cluster before the call; it
	// ends soon after ctx.
	ReadIndex(ctx context.Context) error
	// OccupiedPage returns up to limit of the app's channels that begin with prefix and were occupied as of seq asOf, in
	// order of position, behind after (nil: from the start), and where to go on (nil: that was all). It returns
	// ErrCompacted, maybe wrapped, when the log can no longer tell.
	OccupiedPage(asOf uint64, app, prefix string, after *Position, limit int) (channels []Channel, next *Position, err error)
}

// Position is a place in the order of a listing: by hash of the channel, then by name.
type Position struct {
	Hash uint64
	Name string
}

// Channel is one occupied channel.
type Channel struct {
	Name    string
	SinceMs int64  // when it became occupied, Unix milliseconds
	Seq     uint64 // of the occupied event
}
