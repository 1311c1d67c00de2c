package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"innkeeper/cluster"
	"innkeeper/cluster/ring"
	"innkeeper/transport/admin"
)

// Repartition cuts the ring into n partitions while all goes on. It returns when that is committed; partitions open one
// after the other from then on (see Partitioning). Only the node that leads does it: elsewhere the error is an
// *admin.Elsewhere. An *admin.Refusal says what is wrong with n, or that the last change is under way yet.
func (n *Node) Repartition(ctx context.Context, partitions int) error {
	b := n.boot.Load()
	if b == nil {
		return errors.New("the node has not started")
	}
	return b.repartition(ctx, partitions)
}

// Partitioning is how far the partitions are open, as this node has heard; the zero value before it has started.
func (n *Node) Partitioning() admin.Partitioning {
	if b := n.boot.Load(); b != nil {
		return b.partitioning()
	}
	return admin.Partitioning{}
}

func (b *boot) repartition(ctx context.Context, partitions int) error {
	if err := ring.CheckPartitions(partitions); err != nil {
		return &admin.Refusal{Status: http.StatusBadRequest, Err: err}
	}
	return b.asLeader(ctx, func(ctx context.Context) error {
		p := b.partitioning()
		for until := time.Now().Add(openWait); p.Open < p.Partitions && time.Now().Before(until); p = b.partitioning() {
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
		switch {
		case p.Partitions == partitions:
			return conflict("there are %d partitions already", partitions)
		case p.Open < p.Partitions:
			// What was published is handed over from one layout to the next, and not further.
			return conflict("only %d of %d partitions are open; try again when all of them are", p.Open, p.Partitions)
		}
		err := b.cluster.Repartition(ctx, partitions)
		if errors.Is(err, cluster.ErrNotLeader) {
			return b.elsewhere()
		}
		if err != nil {
			return fmt.Errorf("it is not known whether the number of partitions was changed: %w", err)
		}
		return nil
	})
}

// openWait is how long a change waits for partitions to open, before it is refused: owners report once a second.
const openWait = 3 * time.Second

// partitioning compares the table with what owners have reported, each second, that they serve.
func (b *boot) partitioning() admin.Partitioning {
	table := b.store.View().Table
	p := admin.Partitioning{Partitions: len(table.Slots), Before: len(table.Before), Since: table.Began}
	b.metering.mu.Lock()
	defer b.metering.mu.Unlock()
	for part, slot := range table.Slots {
		if b.metering.board.Serves(uint32(part), slot.Epoch) {
			p.Open++
		}
	}
	return p
}

// settle tells the host when each partition of a layout was served by somebody: what the layout before had is not all
// there is then.
func (m *metering) settle() {
	table := m.b.store.View().Table
	m.mu.Lock()
	m.board.Layout(table.Began, len(table.Slots))
	began, heard, partitions := m.board.Heard()
	m.mu.Unlock()
	if began == table.Began && partitions > 0 && heard >= partitions {
		m.b.host.Settled(began)
	}
}
