package cluster

import (
	"context"
	"errors"
	"time"
)

// withdrawPoll is how often a node that withdraws looks how far it is.
const withdrawPoll = 10 * time.Millisecond

// ErrNobodyElse is what Withdraw returns when no other member could take over.
var ErrNobodyElse = errors.New("cluster: no other member can take over")

// Withdraw has all that this node owns moved to others, while it goes on serving. It returns nil when it owns nothing any
// more and the others serve what it had; left is told how many partitions there are each time that changes. The node stays a member, of state Leaving,
// with a lease and without a claim on partitions, until Stop; there is no way back but a new boot. ErrNobodyElse: all is
// as it was, or others left as well and what remains stays here. With the error of ctx it may be anything between.
func (c *Cluster) Withdraw(ctx context.Context, left func(partitions int)) error {
	tick := time.NewTicker(withdrawPoll)
	defer tick.Stop()
	last, had, began := -1, map[uint32]bool{}, c.cfg.Log.View().Table.Began
	var asked time.Time
	for {
		view := c.cfg.Log.View()
		me, _ := view.Member(c.me.Node)
		if me.Peer() != c.me || me.State == Dead {
			return nil // nothing here is this boot's
		}
		if !othersAlive(view, c.me) {
			return ErrNobodyElse
		}
		if view.Table.Began != began { // the ring was cut anew: what was owned here is part of any of them
			began = view.Table.Began
			clear(had)
			for part := range view.Table.Slots {
				had[uint32(part)] = true
			}
		}
		owned := 0
		for part, s := range view.Table.Slots {
			if s.Owner == c.me.Node {
				owned++
				had[uint32(part)] = true
			}
		}
		if owned != last {
			left(owned)
			last = owned
		}
		if me.State == Leaving && owned == 0 {
			c.awaitOpened(ctx, view, had)
			return nil
		}
		if me.State != Leaving && time.Since(asked) >= retryEvery {
			if _, err := c.renew.tellLeader(ctx, kindWithdraw); err != nil {
				c.log.Debug("the leader was not told that this node withdraws", "reason", err)
			}
			asked = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
}

// awaitOpened waits until the owners of these partitions serve them, for a while: they may want to ask what came before.
func (c *Cluster) awaitOpened(ctx context.Context, view *View, parts map[uint32]bool) {
	ctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	questions := map[string]*question{}
	for part := range parts {
		slot := view.Table.Slots[part]
		q := questions[slot.Owner]
		if q == nil {
			q = &question{version: view.Version, opened: true}
			questions[slot.Owner] = q
		}
		q.parts = append(q.parts, asked{part: part, epoch: slot.Epoch})
	}
	c.awaitAll(ctx, questions)
}

func othersAlive(view *View, me Peer) bool {
	for _, m := range view.Members {
		if m.State == Alive && m.Node != me.Node {
			return true
		}
	}
	return false
}

// serveWithdrawal takes a member's word that it wants to hand over what it owns.
func (d *desk) serveWithdrawal(ctx context.Context, from Peer, _ []byte) ([]byte, error) {
	return d.serve(ctx, ask{from: from, withdraw: true})
}
