package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A copy of a data directory has the node id of the one that it was copied from. Two processes that run on both would each
// take themselves for that node, and in a cluster of one each would lead a cluster of its own. So a node that hears of
// another boot of itself, at another address, asks there, and asks for no lease before it has. Only a process that lives
// can answer; what is left in gossip or in the log of a boot that is over cannot.
//
// Who is a member goes on. Of two that are none yet the one yields whose boot id is the greater, which is the later one
// where ids sort by time. Both sides come to the same conclusion: a node that is asked refuses, and then an asker that is
// no member yields; or it yields itself. Two members, which had no way to hear of each other before, both go on, and say so.

// twinEvery is how often a member asks, which does not yield: it only tells people.
const twinEvery = 10 * time.Second

// TwinError ends a boot whose node id is taken by another process.
type TwinError struct {
	Addr string // where the other's links are reached
	Boot string // of the other
}

func (e *TwinError) Error() string {
	return fmt.Sprintf("the node id is in use by another live process, at %s: two processes run on copies of one data directory; "+
		"remove the copy, a new node needs an empty directory", e.Addr)
}

// twins is what a node knows of other processes under its id.
type twins struct {
	mu      sync.Mutex
	asking  bool
	asked   time.Duration   // boottime
	cleared map[string]bool // addresses that were asked, and no such process answered
	told    string          // boot of whom the log told last
	yielded bool
}

// settled says whether this boot is a member.
func (c *Cluster) settled() bool { return c.admitted.Load() != 0 }

// twinAddrs are the addresses where other boots of this node were seen.
func (c *Cluster) twinAddrs() []string {
	var addrs []string
	for _, n := range c.gossip.nodes() {
		if n.Node == c.me.Node && n.Boot != c.me.Boot {
			addrs = append(addrs, n.addr)
		}
	}
	if m, ok := c.cfg.Log.View().Member(c.me.Node); ok && m.Boot != c.me.Boot {
		addrs = append(addrs, m.Cluster) // a copy has the log as well
	}
	// Where this boot lives, no other does.
	return slices.DeleteFunc(addrs, func(a string) bool { return a == "" || a == c.cfg.ClusterAdvertise })
}

// mayHaveTwin says whether this node has still to ask before it may serve.
func (c *Cluster) mayHaveTwin() bool {
	if c.settled() {
		return false
	}
	addrs := c.twinAddrs()
	c.twins.mu.Lock()
	defer c.twins.mu.Unlock()
	return slices.ContainsFunc(addrs, func(a string) bool { return !c.twins.cleared[a] })
}

// askTwins asks, in the background, whoever may be another process under this node's id.
func (c *Cluster) askTwins() {
	addrs := c.twinAddrs()
	if len(addrs) == 0 {
		return
	}
	t, now := &c.twins, c.cfg.Boottime()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asking || c.settled() && now-t.asked < twinEvery {
		return
	}
	t.asking, t.asked = true, now
	c.wg.Go(func() {
		for _, addr := range addrs {
			c.askTwin(addr)
			t.mu.Lock()
			t.cleared[addr] = !t.yielded
			t.mu.Unlock()
		}
		t.mu.Lock()
		t.asking = false
		t.mu.Unlock()
		c.renew.wake.poke()
	})
}

// askTwin asks whether another process lives at an address under this node's id, and yields to one that refuses it.
func (c *Cluster) askTwin(addr string) {
	ctx, cancel := context.WithTimeout(c.ctx, dialTimeout)
	defer cancel()
	conn, err := dialService(ctx, c.cfg.Net, addr, serviceLink)
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if writeHello(conn, welcome, c.hello(c.me.Node)) != nil {
		return
	}
	r, h, err := readHello(conn)
	if err != nil || r != refusedDuplicate || h.from.Node != c.me.Node || h.from.Boot == c.me.Boot {
		return
	}
	if c.settled() {
		c.tellOfTwin(h)
	} else {
		c.yield(h)
	}
}

// meetTwin answers another process under this node's id that asks.
func (c *Cluster) meetTwin(h hello) refusal {
	if !c.settled() && h.from.Boot < c.me.Boot {
		c.yield(h)
		return refusedClosed
	}
	c.tellOfTwin(h)
	return refusedDuplicate
}

// tellOfTwin tells people, once, of a process that this one does not yield to.
func (c *Cluster) tellOfTwin(h hello) {
	c.twins.mu.Lock()
	first := c.twins.told != h.from.Boot
	c.twins.told = h.from.Boot
	c.twins.mu.Unlock()
	if first {
		c.log.Error("another process runs under the id of this node, on a copy of its data directory; this one goes on, stop the other",
			"address", h.addr, "boot", h.from.Boot)
	}
}

// yield ends this boot's part in the cluster for another process under its id.
func (c *Cluster) yield(h hello) {
	c.twins.mu.Lock()
	again := c.twins.yielded
	c.twins.yielded = true
	c.twins.mu.Unlock()
	if again || c.leaving.Load() {
		return
	}
	err := &TwinError{Addr: h.addr, Boot: h.from.Boot}
	c.log.Error("this node yields to another process", "reason", err)
	c.loseLease(c.lease.end)
	if c.cfg.OnTwin != nil {
		c.cfg.OnTwin(err)
	}
}
