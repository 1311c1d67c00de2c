package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A cluster is founded once. Every node that is to be among the founders promises itself to one proposal at a time, and the
// proposer needs the promise of each: two sets that share a node cannot both be founded, whatever gossip shows to whom.
const (
	promiseFor = 10 * time.Second // how long a promise binds
	proposeFor = 4 * time.Second  // how long a proposer may take from the first promise to the founding
)

// proposal is a set of nodes to found a cluster with; the first proposes.
type proposal struct {
	nodes []Server // by id
}

func (p proposal) equal(q proposal) bool { return slices.Equal(p.nodes, q.nodes) }

// proposed says who should found a cluster, as far as this node sees: the lowest ids among those that have no state and
// expect as many as this node does. None while there are too few, or when a cluster exists already.
func proposed(me Server, expect int, others []gossipNode) (proposal, bool) {
	nodes := map[string]Server{me.ID: me}
	for _, n := range others {
		if n.hasState || n.cluster != "" {
			return proposal{}, false
		}
		if n.expect == expect {
			nodes[n.Node] = Server{ID: n.Node, Addr: n.addr}
		}
	}
	if expect < 1 || len(nodes) < expect {
		return proposal{}, false
	}
	var p proposal
	for _, s := range nodes {
		p.nodes = append(p.nodes, s)
	}
	slices.SortFunc(p.nodes, func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	p.nodes = p.nodes[:expect]
	return p, true
}

func appendProposal(dst []byte, p proposal) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p.nodes)))
	for _, s := range p.nodes {
		dst = appendString(appendString(dst, s.ID), s.Addr)
	}
	return dst
}

func decodeProposal(b []byte) (proposal, error) {
	r := wireReader{b: b}
	var p proposal
	for range r.count(255) {
		p.nodes = append(p.nodes, Server{ID: r.string(idMax), Addr: r.string(idMax)})
	}
	if err := r.end(); err != nil {
		return proposal{}, err
	}
	return p, nil
}

// promise is to whom this node has promised itself.
type promise struct {
	mu    sync.Mutex
	to    Peer
	what  proposal
	until time.Duration // boottime
}

// give promises this node to a proposal; false while another promise binds.
func (p *promise) give(to Peer, what proposal, now time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now < p.until && (p.to != to || !p.what.equal(what)) {
		return false
	}
	p.to, p.what, p.until = to, what, now+promiseFor
	return true
}

// release takes this node's promise to itself back.
func (p *promise) release(to Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to == to {
		p.until = 0
	}
}

func (c *Cluster) server() Server { return Server{ID: c.me.Node, Addr: c.cfg.ClusterAdvertise} }

// tryFound founds the cluster, if that is this node's part and everybody agrees. It blocks for proposeFor at most.
func (c *Cluster) tryFound(others []gossipNode) {
	if c.cfg.BootstrapExpect < 2 || c.leaving.Load() || c.clusterID() != "" || c.cfg.Log.HasState() {
		return
	}
	p, ok := proposed(c.server(), c.cfg.BootstrapExpect, others)
	if !ok || p.nodes[0].ID != c.me.Node {
		return
	}
	began := c.cfg.Boottime()
	if !c.promise.give(c.me, p, began) {
		return
	}
	err := c.gatherPromises(p)
	if err == nil && c.cfg.Boottime()-began > proposeFor {
		err = errors.New("cluster: the promises came too late")
	}
	if err == nil {
		err = c.found(founders(p.nodes))
	}
	if err != nil {
		c.promise.release(c.me)
		c.log.Info("the cluster cannot be founded yet", "nodes", len(p.nodes), "reason", err)
	}
}

func (c *Cluster) gatherPromises(p proposal) error {
	ctx, cancel := context.WithTimeout(c.ctx, proposeFor)
	defer cancel()
	body := appendProposal(nil, p)
	errs := make(chan error, len(p.nodes))
	for _, s := range p.nodes[1:] {
		c.wg.Go(func() {
			_, err := c.links.request(ctx, s.ID, kindFound, body)
			if err != nil {
				err = fmt.Errorf("%s: %w", s.ID, err)
			}
			errs <- err
		})
	}
	var all error
	for range p.nodes[1:] {
		all = errors.Join(all, <-errs)
	}
	return all
}

// serveProposal promises this node to a proposal that it would have made itself.
func (c *Cluster) serveProposal(_ context.Context, from Peer, body []byte) ([]byte, error) {
	p, err := decodeProposal(body)
	if err != nil {
		return nil, err
	}
	if c.cfg.Log.HasState() || c.clusterID() != "" {
		return nil, errors.New("this node belongs to a cluster")
	}
	mine, ok := proposed(c.server(), c.cfg.BootstrapExpect, c.gossip.nodes())
	if !ok || !mine.equal(p) || p.nodes[0].ID != from.Node {
		return nil, errors.New("this node sees other founders")
	}
	if !c.promise.give(from, p, c.cfg.Boottime()) {
		return nil, errors.New("this node has promised itself to others")
	}
	return nil, nil
}

// found makes a new cluster of servers, under an id that no other has.
func (c *Cluster) found(servers []Server) error {
	var b [16]byte
	rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	for i := range servers {
		servers[i].Voter = true
	}
	if err := c.cfg.Log.Bootstrap(id, c.cfg.Partitions, servers); err != nil {
		return fmt.Errorf("cluster: found: %w", err)
	}
	c.log.Info("founded a cluster", "cluster", id, "servers", len(servers), "partitions", c.cfg.Partitions)
	return nil
}
