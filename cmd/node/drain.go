package node

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport/admin"
)

// kindDrain is a request on a link: stop as after a signal.
const kindDrain = 6

// drainAskTimeout bounds the questions to the leader and to the node that is to be drained.
const drainAskTimeout = 5 * time.Second

// drain has a node, "" for this one, hand over what it has and stop. It returns the node's id when that has begun. It
// refuses where nobody would go on: for the last node, and where no majority answers.
func (b *boot) drain(ctx context.Context, node string) (string, error) {
	self := b.node.disk.NodeID()
	if node == "" {
		node = self
	}
	state, others := raftstore.MemberState(0), 0
	for _, m := range b.store.View().Members {
		switch {
		case m.Node == node:
			state = m.State
		case m.State == raftstore.Alive:
			others++
		}
	}
	switch {
	case state == 0:
		return "", &admin.Refusal{Status: http.StatusNotFound, Err: fmt.Errorf("there is no node %s", node)}
	case state == raftstore.Dead:
		return "", conflict("node %s is dead already", node)
	case others == 0:
		return "", conflict("no other node is alive that could take over from %s; to stop the cluster, send its process SIGTERM", node)
	}
	ctx, cancel := context.WithTimeout(ctx, drainAskTimeout)
	defer cancel()
	// The others may have died a moment ago. What the leader knows it has from a majority.
	if err := b.store.ReadIndex(ctx); err != nil {
		return "", conflict("no leader and majority answer (%v), so nobody is known that could take over from %s; bring other nodes back first, or send its process SIGTERM", err, node)
	}
	if node == self {
		b.node.beginDrain()
		return node, nil
	}
	if _, err := b.cluster.Request(ctx, node, kindDrain, nil); err != nil {
		return "", conflict("node %s does not answer (%v); ask it itself", node, err)
	}
	return node, nil
}

// onDrain takes another node's word that an operator wants this one to stop.
func (b *boot) onDrain(_ context.Context, from cluster.Peer, _ []byte) ([]byte, error) {
	b.log.Info("this node is to be drained", "asked_by", from.Node)
	b.node.beginDrain()
	return nil, nil
}
