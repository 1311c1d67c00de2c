package transport

import (
	"container/heap"
	"sync"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

const (
	// renewAhead is how long before its token ends a client is asked for another one.
	renewAhead = 30 * time.Second
	// renewFrom is the shortest life of a token that a client is asked to renew. Shorter ones just end: asking for each
	// would keep a client busy with nothing else.
	renewFrom = 2 * renewAhead
)

// lapses ends connections whose token does, and asks for another one before: one timer for all of them. Connections with
// an API key are not in it.
type lapses struct {
	keys *auth.Keys
	wake chan struct{} // has one element when the first in the heap may be another

	mu   sync.Mutex
	heap lapseHeap
}

// lapse is a connection's part of it. Guarded by lapses.mu.
type lapse struct {
	due     int64 // unix ms: when to look again
	ends    int64 // of the token
	revoked bool  // is why it ends
	asked   int64 // the latest end for which the client was asked to renew
	index   int   // in the heap, plus one; 0: not in it
	over    bool  // the connection has ended
}

// lapseHeap is by due.
type lapseHeap []*conn

func (h lapseHeap) Len() int           { return len(h) }
func (h lapseHeap) Less(i, j int) bool { return h[i].lapse.due < h[j].lapse.due }
func (h lapseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].lapse.index, h[j].lapse.index = i+1, j+1
}
func (h *lapseHeap) Push(x any) {
	c := x.(*conn)
	c.lapse.index = len(*h) + 1
	*h = append(*h, c)
}
func (h *lapseHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	c.lapse.index = 0
	return c
}

// watch takes a connection in, or looks anew at what has become of its credentials.
func (l *lapses) watch(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := c.who.Load()
	if c.lapse.over || id == nil {
		return
	}
	at, revoked := l.keys.Ends(id)
	if at.IsZero() {
		l.drop(c)
		return
	}
	p := &c.lapse
	p.ends, p.revoked, p.due = at.UnixMilli(), revoked, at.UnixMilli()
	switch life := time.Duration(id.Token.ExpiresMs-id.Token.IssuedMs) * time.Millisecond; {
	case p.ends <= p.asked: // who was given the same token again need not be asked again
	case revoked:
		p.due = 0
	case life >= renewFrom:
		p.due -= renewAhead.Milliseconds()
	}
	if p.index == 0 {
		heap.Push(&l.heap, c)
	} else {
		heap.Fix(&l.heap, p.index-1)
	}
	if p.index == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// drop takes a connection out of the heap. mu is held.
func (l *lapses) drop(c *conn) {
	if c.lapse.index > 0 {
		heap.Remove(&l.heap, c.lapse.index-1)
	}
}

// remove lets a connection go for good.
func (l *lapses) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.lapse.over = true
	l.drop(c)
}

// lapsed is what is to be done about one connection.
type lapsed struct {
	c       *conn
	id      *auth.Identity // it had then
	ends    bool
	revoked bool
}

// take finds what is due and when to look again; ok is false when there is nothing to wait for.
func (l *lapses) take(now int64, into []lapsed) (list []lapsed, next int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.heap) > 0 && l.heap[0].lapse.due <= now {
		c := l.heap[0]
		p := &c.lapse
		ends := p.ends <= now
		into = append(into, lapsed{c, c.who.Load(), ends, p.revoked})
		if ends {
			heap.Pop(&l.heap)
			continue
		}
		p.asked, p.due = p.ends, p.ends
		heap.Fix(&l.heap, 0)
	}
	if len(l.heap) == 0 {
		return into, 0, false
	}
	return into, l.heap[0].lapse.due, true
}

// run looks after the connections until stop is closed.
func (l *lapses) run(stop <-chan struct{}) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	var list []lapsed
	for {
		var next int64
		var ok bool
		list, next, ok = l.take(time.Now().UnixMilli(), list[:0])
		for i := range list {
			list[i].act()
			list[i] = lapsed{}
		}
		if ok {
			t.Reset(time.Until(time.UnixMilli(next)))
		} else {
			t.Stop()
		}
		select {
		case <-stop:
			return
		case <-l.wake:
		case <-t.C:
		}
	}
}

var authFrames = [2][]byte{
	protocol.JSON:    seal(protocol.AppendAuth(begin(nil), protocol.JSON), protocol.JSON),
	protocol.MsgPack: seal(protocol.AppendAuth(begin(nil), protocol.MsgPack), protocol.MsgPack),
}

func (l *lapsed) act() {
	c := l.c
	switch {
	case c.who.Load() != l.id || c.ended.Load() != uint32(running):
	case l.ends && l.revoked:
		c.dismiss(endRevoked, 1008, protocol.NewError(protocol.CodeTokenRevoked))
	case l.ends:
		c.dismiss(endExpired, 1008, protocol.NewError(protocol.CodeTokenExpired))
	default:
		f := flushers.Get().(*flusher)
		c.settle(f, c.out.append(authFrames[c.format], c.g.cfg.OutboxBytes))
		flushers.Put(f)
	}
}
