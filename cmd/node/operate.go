package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"innkeeper/raftstore"
	"innkeeper/transport/admin"
)

// operateTimeout bounds what an operator waits for.
const operateTimeout = 10 * time.Second

func (b *boot) operations() admin.Operations {
	return admin.Operations{
		Transfer: b.transfer, Remove: b.remove, Drain: b.drain, Backup: b.backup,
		Repartition: b.repartition, Partitioning: b.partitioning,
	}
}

func conflict(format string, args ...any) error {
	return &admin.Refusal{Status: http.StatusConflict, Err: fmt.Errorf(format, args...)}
}

// asLeader calls fn if this node leads, and says where to go if it does not.
func (b *boot) asLeader(ctx context.Context, fn func(context.Context) error) error {
	if !b.store.IsLeader() {
		return b.elsewhere()
	}
	ctx, cancel := context.WithTimeout(ctx, operateTimeout)
	defer cancel()
	err := fn(ctx)
	if errors.Is(err, raftstore.ErrNotLeader) {
		return b.elsewhere()
	}
	return err
}

// transfer hands leadership to the voter that is most up to date, and waits until it leads.
func (b *boot) transfer(ctx context.Context) (leader string, err error) {
	self := b.node.disk.NodeID()
	err = b.asLeader(ctx, func(ctx context.Context) error {
		others := 0
		for _, s := range b.store.Servers() {
			if s.Voter && s.ID != self {
				others++
			}
		}
		if others == 0 {
			return conflict("there is no other node with a vote that could lead")
		}
		if err := b.store.Transfer(ctx); err != nil {
			return err
		}
		for leader = b.store.Leader(); leader == "" || leader == self; leader = b.store.Leader() {
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return fmt.Errorf("leadership was given up, and it is not known yet who leads: %w", err)
			}
		}
		return nil
	})
	return leader, err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remove forgets a dead node: as a member first, so that no ask of its last boot makes it a server again, then as a server
// of the log; either can be tried again. A node that counts as live holds a lease, which nobody can take from it; force is
// for one that is dead by agreement and is seen all the same.
func (b *boot) remove(ctx context.Context, node string, force bool) error {
	return b.asLeader(ctx, func(ctx context.Context) error {
		view := b.store.View()
		member := false
		for _, m := range view.Members {
			if m.Node != node {
				continue
			}
			member = true
			if m.State != raftstore.Dead {
				return conflict("node %s is %v; stop it first, and it is dead some seconds later at the latest", node, m.State)
			}
		}
		server := false
		for _, s := range b.store.Servers() {
			server = server || s.ID == node
		}
		if !member && !server {
			return &admin.Refusal{Status: http.StatusNotFound, Err: fmt.Errorf("there is no node %s", node)}
		}
		for part, slot := range view.Table.Slots {
			if slot.Owner == node {
				return conflict("partition %d is still to move away from node %s; try again", part, node)
			}
		}
		if !force {
			if err := b.unseen(node); err != nil {
				return err
			}
		}
		if member {
			err := b.store.Commit(ctx, raftstore.MembershipChange{
				IfVersion: view.Table.Version, Forget: []string{node}, TimeMs: time.Now().UnixMilli(),
			})
			if errors.Is(err, raftstore.ErrConflict) {
				return conflict("the members changed meanwhile; try again")
			}
			if err != nil {
				return err
			}
		}
		if !server {
			return nil
		}
		return b.store.Remove(ctx, node, "")
	})
}

// unseen refuses a node that seems to run: it is linked, or a new boot of it is about to join. What gossip says of the
// boot that died tells nothing, since gossip learns of it last.
func (b *boot) unseen(node string) error {
	for _, m := range b.cluster.Status().Members {
		if m.Node == node && (m.Link == "up" || m.State == "joining") {
			return conflict("node %s is dead by agreement, but it seems to run (link %s) and would join again; stop it first, or force it",
				node, m.Link)
		}
	}
	return nil
}

// backup gets ready to write what this node has.
func (b *boot) backup(ctx context.Context, stale bool) (func(io.Writer) error, error) {
	if !stale {
		ctx, cancel := context.WithTimeout(ctx, operateTimeout)
		defer cancel()
		if err := b.store.ReadIndex(ctx); err != nil {
			return nil, fmt.Errorf("the leader cannot say what is newest (%w); with consistency=stale, or innkeeper backup --stale, this node gives what it has", err)
		}
	}
	late := b.standing().Known()
	if b.store.View().ClusterID == "" && late != nil && b.store.HasState() {
		return nil, conflict("this node has nothing that it could save: since its start it has heard from no majority, and without " +
			"one it cannot tell what of its log was agreed on; start as many of the other nodes, on their own disks, as make one")
	}
	if b.store.View().ClusterID == "" {
		return nil, conflict("this node belongs to no cluster yet")
	}
	return func(w io.Writer) error {
		if late != nil && stale {
			b.log.Warn("a backup is taken of the last snapshot alone: since its start this node has heard from no majority, and cannot tell what of its log was agreed on")
		}
		info, err := b.store.Backup(w)
		if err == nil {
			b.log.Info("backup written", "seq", info.LastSeq, "occupied", info.Occupied, "stale", stale)
		}
		return err
	}, nil
}
