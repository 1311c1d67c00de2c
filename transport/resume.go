package transport

import (
	"context"
	"sync"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// A connection goes on under its id on any node, if its key proves that it is the client's and if it is not gone for good.
// Nothing of it is shared between nodes while it lives: the key names the start of a node that gave it, and that node is
// asked what became of the connection. It gives it up, so that one socket serves a connection; it knows when it lost it;
// or it knows who asked before. What makes going on safe is kept elsewhere: channels continue from their serials, and
// publishes that are sent again are known by (connection id, msgSerial) to the channels' owners.

// Whereabouts is what a node knows of a connection that it gave a key for.
type Whereabouts struct {
	Fate Fate
	Ago  time.Duration // of Dropped: since when it has no socket
	Boot uint64        // of Moved: the auth.BootTag of who has it
}

// Fate is what became of a connection.
type Fate uint8

// The fates of connections.
const (
	Forgotten Fate = iota // nothing is known of it: it has been gone for too long
	Dropped               // it may go on elsewhere; the node has let go of it
	Closed                // it has ended for good
	Moved                 // it went on elsewhere
)

// Peers asks other nodes.
type Peers interface {
	// Release has the node that runs as a boot let go of a connection for the caller, and says what became of it. For a
	// boot that is over, it is Dropped since then.
	Release(ctx context.Context, boot uint64, id string) (Whereabouts, error)
}

const (
	// releaseTimeout bounds a question to another node. Who does not answer in time does not hold a client up.
	releaseTimeout = 2 * time.Second
	// releaseHops is after how many moves a connection is not looked for any more.
	releaseHops = 8
	// connectionStateTTL is how long a connection that was lost may be resumed unless configured otherwise.
	connectionStateTTL = 2 * time.Minute
	// clientPatience is how long beyond the silence that it was promised not to see a client waits for a sign of life
	// (realtimeRequestTimeout of SDKs).
	clientPatience = 10 * time.Second
	// goneMax is how many connections that have ended are remembered. Beyond it the oldest are taken for resumable as
	// long as they could be.
	goneMax = 1 << 18
)

// ResendsFor is how long after a publish its client may still say it again on the same connection, by the defaults of a
// gateway. When nothing reaches the client any more, it goes on sending until it has lost patience (25 s); two rounds of the
// sweeper after the last byte the connection is found lost (28 s); it may then be resumed (120 s); the node that had it is
// asked (2 s), and what is said again waits for the channel's owner (10 s).
const ResendsFor = maxIdleInterval + clientPatience + 2*sweepSlots*sweepEvery + connectionStateTTL + releaseTimeout + requestTimeout

// identify gives the connection its id and key: those of the connection to resume, where that can be, else new ones. The
// error is for CONNECTED: why the client does not go on where it was.
func (c *conn) identify(resume string) *protocol.ErrorInfo {
	id, made, err := "", int64(0), (*protocol.ErrorInfo)(nil)
	if resume != "" {
		id, made, err = c.resumable(resume)
	}
	if c.resumed = id != ""; !c.resumed {
		id = auth.NewConnectionID()
	}
	// Who comes back with a key begins a later era than who was given it, whatever the clocks of the nodes are.
	now := time.UnixMilli(max(time.Now().UnixMilli(), made+1))
	c.era, c.before = uint64(now.UnixMilli()), uint64(made)
	key := auth.ConnectionKey{ID: id, Boot: c.g.bootTag, ClientID: c.identity.ClientID}
	c.id, c.key = id, key.Text(c.g.cfg.Auth, c.identity.KeyName, now)
	return err
}

// resumable reads a connection key: whose it is, and when it was made.
func (c *conn) resumable(resume string) (id string, made int64, err *protocol.ErrorInfo) {
	key, err := c.g.cfg.Auth.ReadConnectionKey(c.identity.App, c.identity.KeyName, resume)
	switch {
	case err != nil:
		return "", 0, err
	case key.ClientID != c.identity.ClientID && key.ClientID != auth.Wildcard:
		return "", 0, protocol.Errorf(protocol.CodeOtherCredentials, "the connection cannot be resumed: it is another client's")
	}
	if err := c.g.fetch(key.ID, key.Boot); err != nil {
		return "", 0, err
	}
	return key.ID, key.MadeMs, nil
}

// fetch has whoever holds a connection let go of it, beginning with the boot that gave its key; an error says why it
// cannot go on. A node that cannot be asked does not keep a client from going on.
func (g *Gateway) fetch(id string, boot uint64) *protocol.ErrorInfo {
	ttl := g.cfg.ConnectionStateTTL
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	for range releaseHops {
		var w Whereabouts
		if boot == g.bootTag {
			w = g.Release(id, g.bootTag)
		} else if g.cfg.Peers == nil {
			w = Whereabouts{Fate: Dropped}
		} else {
			var err error
			if w, err = g.cfg.Peers.Release(ctx, boot, id); err != nil {
				g.log.Debug("nobody says what became of a connection; it goes on", "connection", id, "err", err)
				return nil
			}
		}
		switch w.Fate {
		case Dropped:
			if w.Ago > ttl {
				return protocol.Errorf(protocol.CodeConnectionGone, "the connection cannot be resumed: it was gone for longer than %v", ttl)
			}
			return nil
		case Closed:
			return protocol.Errorf(protocol.CodeConnectionGone, "the connection cannot be resumed: it was closed")
		case Forgotten:
			return protocol.Errorf(protocol.CodeConnectionGone, "the connection cannot be resumed: nothing is known of it any more")
		}
		if w.Boot == boot {
			return nil
		}
		boot = w.Boot
	}
	return protocol.Errorf(protocol.CodeConnectionGone, "the connection cannot be resumed: it moved too often to be found")
}

// Release lets go of a connection because another socket goes on with it, at the boot with the tag to, and says what
// became of it here.
func (g *Gateway) Release(id string, to uint64) Whereabouts {
	w, held := g.holders.release(id, to, to == g.bootTag, time.Now(), g.cfg.ConnectionStateTTL)
	if held != nil {
		held.end(endSuperseded, 1000, nil)
	}
	return w
}

// holders knows the connections of this node by id, one socket each, and for a while those that it had.
type holders struct {
	mu   sync.Mutex
	byID map[string]*conn
	gone map[string]departure
	// queue is the order in which connections went; an id may stand in it more than once.
	queue []departed
	since time.Time // connections that went before may be forgotten although they could be resumed
}

// departure is how a connection left this node.
type departure struct {
	at   time.Time
	fate Fate
	to   uint64 // of Moved
}

type departed struct {
	id string
	at time.Time
}

// hold makes c the one that has its id, and returns who had it before.
func (h *holders) hold(c *conn) (before *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID == nil {
		h.byID = make(map[string]*conn)
	}
	before = h.byID[c.id]
	h.byID[c.id] = c
	delete(h.gone, c.id)
	return before
}

// leave notes that a connection is over, unless another one has its id by now.
func (h *holders) leave(c *conn, now time.Time, ttl time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID[c.id] != c {
		return
	}
	delete(h.byID, c.id)
	fate := Dropped
	if ending(c.ended.Load()).final() {
		fate = Closed
	}
	h.note(c.id, departure{at: now, fate: fate}, ttl)
}

// release gives an id away, to this boot (here) or another, and returns the connection that had it.
func (h *holders) release(id string, to uint64, here bool, now time.Time, ttl time.Duration) (Whereabouts, *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.byID[id]; c != nil {
		if !here { // else it is held again in a moment
			delete(h.byID, id)
			h.note(id, departure{at: now, fate: Moved, to: to}, ttl)
		}
		return Whereabouts{Fate: Dropped}, c
	}
	d, known := h.gone[id]
	switch {
	case !known && now.Sub(h.since) < ttl && !h.since.IsZero():
		d = departure{at: h.since, fate: Dropped}
	case !known:
		return Whereabouts{}, nil
	}
	w := Whereabouts{Fate: d.fate, Boot: d.to}
	if d.fate == Dropped {
		if w.Ago = now.Sub(d.at); w.Ago <= ttl && !here {
			h.note(id, departure{at: now, fate: Moved, to: to}, ttl)
		}
	}
	return w, nil
}

// note remembers a departure for as long as somebody may ask. Who moved may ask later than who dropped: for as long as
// the one it moved to may be gone.
func (h *holders) note(id string, d departure, ttl time.Duration) {
	if h.gone == nil {
		h.gone = make(map[string]departure)
	}
	h.gone[id] = d
	h.queue = append(h.queue, departed{id, d.at})
	n := 0
	for _, first := range h.queue {
		full := len(h.queue)-n > goneMax
		if !full && d.at.Sub(first.at) <= 2*ttl {
			break
		}
		if left, ok := h.gone[first.id]; ok && left.at.Equal(first.at) {
			delete(h.gone, first.id)
			if full {
				h.since = first.at
			}
		}
		n++
	}
	if h.queue = h.queue[n:]; len(h.queue) == 0 {
		h.queue = nil
	}
}
