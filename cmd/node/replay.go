package node

import (
	"context"
	"errors"
	"net/http"
	"time"

	"innkeeper/raftstore"
	"innkeeper/transport/admin"
	"innkeeper/transport/dispatch"
)

// replayTimeout bounds the wait for a rule that is busy, and for the log.
const replayTimeout = 10 * time.Second

// replay has a rule send events again, if this node leads.
func (b *boot) replay(ctx context.Context, app, rule string, from uint64) error {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	err := b.dispatcher.Replay(ctx, app, rule, from)
	_, outOfRange := errors.AsType[*dispatch.RangeError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dispatch.ErrNoRule):
		return &admin.Refusal{Status: http.StatusNotFound, Err: err}
	case outOfRange, errors.Is(err, raftstore.ErrCompacted):
		return &admin.Refusal{Status: http.StatusConflict, Err: err}
	case errors.Is(err, dispatch.ErrNotLeading), errors.Is(err, raftstore.ErrNotLeader):
		return b.elsewhere()
	}
	return err
}

// elsewhere names the leader, where this is another node.
func (b *boot) elsewhere() error {
	leader := b.store.Leader()
	if leader == b.node.disk.NodeID() {
		leader = "" // about to begin, or to end
	}
	e := &admin.Elsewhere{Leader: leader}
	for _, m := range b.store.View().Members {
		if m.Node == leader {
			e.Admin = Reachable(m.Admin, m.Cluster)
		}
	}
	return e
}
