package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"innkeeper/cluster/ring"
)

// ErrNotLeader is what Repartition returns where another node leads.
var ErrNotLeader = errors.New("cluster: this node does not lead")

// Layout is a new cut of the ring, as a leader commits it. The log gives all of its partitions an epoch above all before.
type Layout struct {
	IfVersion uint64      // View.Version it was planned on
	Slots     []ring.Slot // owners and followers; the epochs are not looked at
	TimeMs    int64       // when it was planned, Unix milliseconds
}

// Repartition cuts the ring into n partitions, over the members that are alive. When it returns nil the change is
// committed; partitions open one after the other from then on. ErrNotLeader where another node leads; an error with n in
// it when the ring cannot be cut so; any other error leaves open whether it was done.
func (c *Cluster) Repartition(ctx context.Context, n int) error {
	if err := ring.CheckPartitions(n); err != nil {
		return err
	}
	log := c.cfg.Log
	for {
		if !log.IsLeader() {
			return ErrNotLeader
		}
		view := log.View()
		switch have := len(view.Table.Slots); have {
		case 0:
			return errors.New("the cluster is not founded yet")
		case n:
			return fmt.Errorf("there are %d partitions already", n)
		}
		err := log.Repartition(ctx, planLayout(view, n, time.Now().UnixMilli()))
		if err == nil {
			c.count.plansCommitted.Add(1)
			c.log.Info("the ring is cut anew", "partitions", n, "before", len(view.Table.Slots))
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		c.count.plansConflicted.Add(1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// planLayout places n partitions over those that may own some: what is owned by whoever lives stays there.
func planLayout(view *View, n int, nowMs int64) Layout {
	return Layout{IfVersion: view.Version, Slots: ring.Recut(view.Table, n, owners(view.Members)), TimeMs: nowMs}
}

// owners are the nodes that partitions may be placed on.
func owners(members []Member) []string {
	var alive []string
	for _, m := range members {
		if m.State == Alive {
			alive = append(alive, m.Node)
		}
	}
	return alive
}
