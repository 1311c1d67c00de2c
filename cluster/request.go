package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How a request fails before its handler answered.
var (
	ErrLinkDown = errors.New("cluster: the link is down")       // nothing is known about what the peer did
	ErrBusy     = errors.New("cluster: the peer is too busy")   // the peer did nothing
	ErrClosed   = errors.New("cluster: closed")                 // as ErrLinkDown
	errTooMany  = errors.New("cluster: too many open requests") // nothing was sent
)

// RemoteError is the text of an error that the peer's handler returned.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

const (
	requestsMax    = 1 << 16          // open ones of this node
	servingMax     = 256              // of one peer, being served at once; the cluster's own kinds have as many again
	requestTimeout = 30 * time.Second // when the caller's context has no deadline
)

// requests are the open requests of this node.
type requests struct {
	mu     sync.Mutex
	last   uint64
	open   map[uint64]*call
	closed bool

	serving map[place]int // requests of others being served here
}

// place is what requests being served are counted by. Those of the cluster itself have places of their own: a peer whose
// application asks more than is served in time still renews its lease.
type place struct {
	node string
	own  bool
}

func placeOf(node string, kind byte) place { return place{node, kind >= kindReserved} }

type call struct {
	node string
	done chan result // cap 1
}

type result struct {
	payload []byte
	err     error
}

func newRequests() *requests {
	return &requests{open: map[uint64]*call{}, serving: map[place]int{}}
}

func (r *requests) add(node string) (uint64, *call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, nil, ErrClosed
	case len(r.open) >= requestsMax:
		return 0, nil, errTooMany
	}
	r.last++
	c := &call{node: node, done: make(chan result, 1)}
	r.open[r.last] = c
	return r.last, c, nil
}

// finish gives a call its result, unless it has one or was given up.
func (r *requests) finish(id uint64, node string, res result) {
	r.mu.Lock()
	c := r.open[id]
	if c == nil || c.node != node {
		r.mu.Unlock()
		return
	}
	delete(r.open, id)
	r.mu.Unlock()
	c.done <- res
}

func (r *requests) forget(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, id)
}

// answered takes a response frame.
func (r *requests) answered(node string, f frame) {
	id, body := binary.LittleEndian.Uint64(f.payload), f.payload[responsePrefix:]
	res := result{payload: body}
	switch f.kind {
	case statusOK:
	case statusBusy:
		res = result{err: ErrBusy}
	default:
		res = result{err: &RemoteError{string(body)}}
	}
	r.finish(id, node, res)
}

// drop fails the calls that match.
func (r *requests) drop(err error, match func(*call) bool) {
	r.mu.Lock()
	var dropped []*call
	for id, c := range r.open {
		if match(c) {
			dropped = append(dropped, c)
			delete(r.open, id)
		}
	}
	r.mu.Unlock()
	for _, c := range dropped {
		c.done <- result{err: err}
	}
}

func (r *requests) dropPeer(node string) {
	r.drop(ErrLinkDown, func(c *call) bool { return c.node == node })
}

func (r *requests) dropAll() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.drop(ErrClosed, func(*call) bool { return true })
}

// enter takes one of a peer's places among the requests being served.
func (r *requests) enter(at place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.serving[at] >= servingMax {
		return false
	}
	r.serving[at]++
	return true
}

func (r *requests) leave(at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.serving[at]--; r.serving[at] == 0 {
		delete(r.serving, at)
	}
}

// request asks a node and waits for the answer.
func (l *links) request(ctx context.Context, node string, kind byte, payload []byte) ([]byte, error) {
	if node == l.me.Node {
		return l.requestSelf(ctx, kind, payload)
	}
	session := l.sessionOf(node)
	if session == 0 {
		return nil, ErrLinkDown
	}
	timeout := requestTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	id, c, err := l.requests.add(node)
	if err != nil {
		return nil, err
	}
	defer l.requests.forget(id)
	prefix := binary.LittleEndian.AppendUint64(make([]byte, 0, requestPrefix), id)
	prefix = binary.LittleEndian.AppendUint32(prefix, uint32(max(1, timeout/time.Millisecond)))
	if !l.send(node, session, frameRequest, kind, prefix, payload) {
		return nil, ErrLinkDown
	}
	select {
	case res := <-c.done:
		return res.payload, res.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *links) requestSelf(ctx context.Context, kind byte, payload []byte) ([]byte, error) {
	fn := l.servers[kind]
	if fn == nil {
		return nil, &RemoteError{fmt.Sprintf("cluster: nobody serves requests of kind %d", kind)}
	}
	return fn(ctx, l.me, payload)
}

// serveRequest starts the handler of a request and sends its answer. ctx ends with the connection that brought it; the
// handler's ends with the session, since the asker gave up then.
func (l *links) serveRequest(ctx context.Context, from Peer, f frame) {
	id := binary.LittleEndian.Uint64(f.payload)
	timeout := time.Duration(binary.LittleEndian.Uint32(f.payload[8:])) * time.Millisecond
	var session uint64
	if p := l.peer(from.Node); p != nil {
		ctx, session = p.during(ctx)
	}
	respond := func(status byte, body []byte) {
		prefix := binary.LittleEndian.AppendUint64(make([]byte, 0, responsePrefix), id)
		l.send(from.Node, session, frameResponse, status, prefix, body) // when the session is over, the asker has noticed
	}
	fn, at := l.servers[f.kind], placeOf(from.Node, f.kind)
	switch {
	case fn == nil:
		l.count.framesUnhandled.Add(1)
		respond(statusError, fmt.Appendf(nil, "cluster: nobody serves requests of kind %d", f.kind))
		return
	case !l.requests.enter(at):
		l.count.requestsRefused.Add(1)
		respond(statusBusy, nil)
		return
	}
	l.wg.Go(func() {
		defer l.requests.leave(at)
		ctx, cancel := context.WithTimeout(ctx, min(timeout, requestTimeout))
		defer cancel()
		body, err := fn(ctx, from, f.payload[requestPrefix:])
		if err == nil && len(body) > l.frameMax {
			err = fmt.Errorf("cluster: an answer of %d bytes is too large", len(body))
		}
		if err != nil {
			respond(statusError, []byte(err.Error()))
			return
		}
		respond(statusOK, body)
	})
}
