package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"innkeeper/cluster"
	"innkeeper/cmd/node/config"
)

const (
	// transferTimeout bounds the handing over of leadership by a node that stops.
	transferTimeout = 2 * time.Second
	// goodbyeTimeout is how much longer than the spread the last clients may take to go.
	goodbyeTimeout = 3 * time.Second
)

// Why a node does not finish its leaving.
var (
	errKilled = errors.New("killed")
	errDead   = errors.New("declared dead by the cluster")
)

// leave is what a node does before it stops, while it still serves: it hands its partitions to others, then leadership, and
// then sends its clients there. Each step is bounded; what is not done then, the others do when the node is gone. Kill cuts
// it short, and so do the end of this boot's membership and a failure with which the node cannot go on, since no step could
// succeed then and others wait for the lease to end; done is false then, and err is the failure.
func (b *boot) leave() (done bool, err error) {
	n := b.node.cfg.Node
	ctx, cancel := context.WithCancelCause(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-b.node.kill:
			cancel(errKilled)
		case <-b.dead:
			cancel(errDead)
		case err := <-b.fatal:
			cancel(err)
		case <-ctx.Done():
		}
	})
	b.sayGoodbye(ctx, n)
	cancel(nil)
	watching.Wait()
	switch cause := context.Cause(ctx); cause {
	case context.Canceled:
		return true, nil
	case errKilled, errDead:
		return false, nil
	default:
		return false, cause
	}
}

// sayGoodbye takes the steps of leave.
func (b *boot) sayGoodbye(ctx context.Context, n config.Node) {
	b.gateway.Refuse()
	spread := n.DrainSpread
	if n.DrainTimeout > 0 && !b.handOver(ctx, n.DrainTimeout) {
		spread = 0 // there is nowhere else
	}
	b.handLead(ctx)
	goodbye, done := context.WithTimeout(ctx, spread+goodbyeTimeout)
	defer done()
	if err := b.gateway.Drain(goodbye, spread); err != nil {
		b.log.Info("some clients did not go when they were told to", "reason", err)
	}
}

// handOver has all partitions of this node moved to others. It is false when there are none, or nobody else can have
// them.
func (b *boot) handOver(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began, first := time.Now(), -1
	err := b.cluster.Withdraw(ctx, func(left int) {
		if first < 0 {
			first = left
		}
		b.log.Debug("handing over", "partitions_left", left)
	})
	switch {
	case err == nil && first < 0:
		return false // it is no member, so it has nothing
	case err == nil:
		b.log.Info("all partitions are handed over", "partitions", first, "took", time.Since(began).Round(time.Millisecond))
	case errors.Is(err, cluster.ErrNobodyElse):
		return false
	default:
		b.log.Warn("not all partitions were handed over; the other nodes take them when this one is gone", "reason", err,
			"took", time.Since(began).Round(time.Millisecond))
	}
	return true
}

// handLead hands leadership over, if this node leads and another one can.
func (b *boot) handLead(ctx context.Context) {
	if !b.store.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	if _, err := b.transfer(ctx); err != nil {
		b.log.Info("leadership was not handed over", "reason", err)
	}
}
