package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Why a link ended, where the network does not say.
var (
	errLinkReset    = errors.New("cluster: link reset")
	errLinkOverflow = errors.New("cluster: too much waits for the peer")
	errLinkSilent   = errors.New("cluster: the peer does not answer pings")
	errLinkRestart  = errors.New("cluster: the peer runs under another boot")
)

const (
	dialTimeout = 2 * time.Second        // of one attempt, hello included
	backoffMin  = 50 * time.Millisecond  // between attempts
	backoffMax  = time.Second            //
	eagerFor    = time.Second            // how long a peer that has just refused is asked at the shortest distance: its death waits for that
	writeMax    = 256 << 10              // bytes in one write, so that each makes progress within the link timeout
	keepMax     = 1 << 20                // a queue that grew larger is not kept once it is empty
	pairTimeout = 5 * time.Second        // how long an inbound connection waits for the way back
	bufferSize  = 64 << 10               // of a read loop
	pongTimeout = 500 * time.Millisecond // for the one byte that answers a ping
)

// peerLink is everything between this node and one other. Two TCP connections carry it, each for the frames of the end that dialed
// it. The link stands while both do, and a session is one such pair: when either breaks, frames may be lost in its
// direction, so both ends start a new session.
//
// One goroutine (run) dials and writes, one reads the pongs of the outbound connection while there is one; the inbound
// connection is read on the goroutine that accepted it.
type peerLink struct {
	links *links
	node  string
	stop  context.CancelFunc
	wake  chan struct{} // cap 1: dial now

	mu      sync.Mutex
	addrs   []string // where the peer may be reached, best first
	out     *outbound
	in      *inbound
	session uint64             // 0: the link is down; set by begin
	lasts   context.Context    // ends with the session; nil when there is none
	over    context.CancelFunc // ends lasts
	order   uint64             // counts connections of both directions
	health  health
	refusal string // last one logged
}

// outbound is a connection this node dialed. queue to idle are guarded by the link's mutex.
type outbound struct {
	cluster string // id the peer gave, "" when it had none
	conn    net.Conn
	boot    string
	order   uint64
	queue   []byte // frames not yet taken by the writer
	frames  uint64 // in queue
	taken   int    // bytes the writer is writing
	idle    bool   // the writer waits for wake

	wake  chan struct{} // cap 1
	heard atomic.Int64  // boottime of the last pong
	once  sync.Once
	done  chan struct{} // closed by fail
	err   error         // why; set before done is closed
}

// fail ends the connection; the first reason is kept.
func (o *outbound) fail(err error) {
	o.once.Do(func() {
		o.err = err
		close(o.done)
		o.conn.Close()
	})
}

// inbound is a connection the peer dialed.
type inbound struct {
	conn    net.Conn
	from    Peer
	cluster string // as in outbound
	order   uint64
	heard   atomic.Int64  // boottime of the last bytes
	pair    chan struct{} // closed when the link stands for the first time with this connection
	done    chan struct{} // closed when its goroutine is done with it
}

// send queues a frame. prefix goes before the payload. session 0 means whichever there is.
func (p *peerLink) send(session uint64, typ frameType, kind byte, prefix, payload []byte) bool {
	n := len(prefix) + len(payload)
	p.mu.Lock()
	out := p.out
	if out == nil || session != 0 && session != p.session {
		p.mu.Unlock()
		return false
	}
	if len(out.queue)+out.taken+frameHeader+n > p.links.queueBytes {
		p.mu.Unlock()
		p.links.count.queueOverflows.Add(1)
		out.fail(errLinkOverflow)
		return false
	}
	out.queue = appendFrameHeader(out.queue, typ, kind, n)
	out.queue = append(out.queue, prefix...)
	out.queue = append(out.queue, payload...)
	out.frames++
	idle := out.idle
	out.idle = false
	p.mu.Unlock()
	if idle {
		select {
		case out.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// settle brings the session in line with the connections. Called with mu held; the caller calls links.changed after it let go.
func (p *peerLink) settle(changed bool) {
	if p.out != nil && p.in != nil && p.out.boot != p.in.from.Boot {
		// The peer came back under another boot; the older connection just does not know yet.
		if p.out.order < p.in.order {
			p.out.fail(errLinkRestart)
		} else {
			p.in.conn.Close()
		}
		p.begin(0)
		return
	}
	if p.out == nil || p.in == nil {
		p.begin(0)
		return
	}
	if changed || p.session == 0 {
		p.begin(p.links.session.Add(1))
	}
	select {
	case <-p.in.pair:
	default:
		close(p.in.pair)
	}
}

// begin ends the session and begins another, or none (0). Called with mu held.
func (p *peerLink) begin(session uint64) {
	if p.over != nil {
		p.over()
		p.lasts, p.over = nil, nil
	}
	if p.session = session; session != 0 {
		p.lasts, p.over = context.WithCancel(p.links.ctx)
	}
}

// during is the session and a context that lasts as long, for a request that came just now. Before this end knows of the
// session that the other end asks in, it is 0 and ctx, that of the connection.
func (p *peerLink) during(ctx context.Context) (context.Context, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == 0 {
		return ctx, 0
	}
	return p.lasts, p.session
}

// reset ends both connections, so that a new session begins at both ends.
func (p *peerLink) reset() {
	p.mu.Lock()
	out, in := p.out, p.in
	p.begin(0)
	p.mu.Unlock()
	if out != nil {
		out.fail(errLinkReset)
	}
	if in != nil {
		in.conn.Close()
	}
}

// aim sets where to dial.
func (p *peerLink) aim(addrs []string) {
	p.mu.Lock()
	same := len(addrs) == len(p.addrs)
	for i := 0; same && i < len(addrs); i++ {
		same = addrs[i] == p.addrs[i]
	}
	p.addrs = addrs
	p.mu.Unlock()
	if !same {
		p.nudge()
	}
}

func (p *peerLink) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run keeps the outbound connection up until ctx ends.
func (p *peerLink) run(ctx context.Context) {
	backoff, lost := backoffMin, time.Now()
	for {
		out, err := p.dial(ctx)
		if err == nil {
			began := time.Now()
			err = p.serve(ctx, out)
			p.links.log.Debug("link broke", "peer", p.node, "reason", err)
			lost = time.Now()
			if ctx.Err() == nil && lost.Sub(began) > backoffMax {
				backoff = backoffMin
				continue // it stood for a while: the first attempt after it is due at once
			}
		}
		if ctx.Err() != nil {
			return
		}
		p.logRefusal(err)
		timer := time.NewTimer(backoff)
		select {
		case <-ctx.Done():
		case <-timer.C:
			if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(lost) > eagerFor {
				backoff = min(2*backoff, backoffMax)
			}
		case <-p.wake:
			backoff = backoffMin
		}
		timer.Stop()
	}
}

// logRefusal tells once of each new reason for which one end does not want the link.
func (p *peerLink) logRefusal(err error) {
	var refused *LinkRefusedError
	if !errors.As(err, &refused) {
		return
	}
	p.links.count.linksRefused.Add(1)
	p.mu.Lock()
	news := p.refusal != err.Error()
	p.refusal = err.Error()
	addrs := p.addrs
	p.mu.Unlock()
	if news && refused.Reason != refusedClosed.String() {
		p.links.log.Warn("no link with a peer", "peer", p.node, "addresses", addrs, "reason", err)
	}
}

// dial tries every address once. Only if all of them refuse the connection is the error ECONNREFUSED.
func (p *peerLink) dial(ctx context.Context) (*outbound, error) {
	p.mu.Lock()
	addrs := p.addrs
	p.mu.Unlock()
	err := errors.New("cluster: no address of the peer is known")
	for i, addr := range addrs {
		out, e := p.dialAddr(ctx, addr)
		if e == nil {
			return out, nil
		}
		if i == 0 || !errors.Is(e, syscall.ECONNREFUSED) {
			err = e
		}
	}
	p.mu.Lock()
	p.health.dialed(err, p.links.now())
	p.mu.Unlock()
	p.links.changed()
	return nil, err
}

func (p *peerLink) dialAddr(ctx context.Context, addr string) (*outbound, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := dialService(ctx, p.links.net, addr, serviceLink)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	h, err := p.greet(conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	out := &outbound{conn: conn, boot: h.from.Boot, cluster: h.clusterID, wake: make(chan struct{}, 1), done: make(chan struct{})}
	out.heard.Store(int64(p.links.now()))

	p.mu.Lock()
	p.order++
	out.order = p.order
	p.out = out
	p.refusal = ""
	p.health.linked(h.from.Boot)
	p.settle(true)
	p.mu.Unlock()
	p.links.count.linksOpened.Add(1)
	p.links.changed()
	return out, nil
}

// greet exchanges hellos on a connection that this node dialed.
func (p *peerLink) greet(conn net.Conn) (hello, error) {
	me := p.links.hello(p.node)
	if err := writeHello(conn, welcome, me); err != nil {
		return hello{}, err
	}
	r, h, err := readHello(conn)
	if err != nil {
		return hello{}, err
	}
	if r != welcome {
		return hello{}, &LinkRefusedError{Reason: r.String()}
	}
	if r := me.judge(h); r != welcome {
		return hello{}, &LinkRefusedError{Reason: r.String(), Mine: true}
	}
	return h, nil
}

// serve writes until the connection ends, and says why it did.
func (p *peerLink) serve(ctx context.Context, out *outbound) error {
	unwatch := context.AfterFunc(ctx, func() { out.fail(ctx.Err()) })
	defer unwatch()
	var reader sync.WaitGroup
	reader.Go(func() { out.fail(p.readPongs(out)) })
	out.fail(p.write(out))
	reader.Wait()

	p.mu.Lock()
	p.out = nil
	p.health.broke()
	p.settle(true)
	p.mu.Unlock()
	p.links.count.linksBroken.Add(1)
	p.links.requests.dropPeer(p.node)
	p.links.changed()
	return out.err
}

// readPongs notices at once when the connection ends, and keeps the time of the last pong.
func (p *peerLink) readPongs(out *outbound) error {
	var buf [64]byte
	for {
		n, err := out.conn.Read(buf[:])
		if err != nil {
			return err
		}
		for _, b := range buf[:n] {
			if b != pongByte {
				return fmt.Errorf("%w: byte %#x for a pong", errWire, b)
			}
		}
		out.heard.Store(int64(p.links.now()))
	}
}

// write drains the queue, all that waits in one write, and pings.
func (p *peerLink) write(out *outbound) error {
	ping := time.NewTimer(p.links.pingEvery)
	defer ping.Stop()
	var pinged time.Time
	var spare []byte
	for {
		// A ping that is due soon goes along with other frames. The timer leaves those a moment to come that are sent
		// just as often.
		if now := time.Now(); now.Sub(pinged) >= p.links.pingEvery*3/4 {
			if err := p.ping(out); err != nil {
				return err
			}
			pinged = now
			ping.Reset(p.links.pingEvery * 17 / 16)
		}
		p.mu.Lock()
		buf, frames := out.queue, out.frames
		out.frames = 0
		out.queue, out.taken, out.idle = spare[:0], len(buf), len(buf) == 0
		p.mu.Unlock()
		if len(buf) == 0 {
			spare = buf
			select {
			case <-out.wake:
			case <-ping.C:
			case <-out.done:
				return out.err
			}
			continue
		}
		p.links.count.framesSent.Add(frames)
		if err := p.writeOut(out, buf); err != nil {
			return err
		}
		if spare = buf; cap(spare) > keepMax {
			spare = nil
		}
	}
}

func (p *peerLink) writeOut(out *outbound, buf []byte) error {
	for len(buf) > 0 {
		n := min(len(buf), writeMax)
		out.conn.SetWriteDeadline(time.Now().Add(p.links.timeout))
		if _, err := out.conn.Write(buf[:n]); err != nil {
			return err
		}
		p.links.count.writes.Add(1)
		p.links.count.bytesSent.Add(uint64(n))
		buf = buf[n:]
	}
	return nil
}

// ping queues a ping, unless the answers to earlier ones are overdue.
func (p *peerLink) ping(out *outbound) error {
	if p.links.now()-time.Duration(out.heard.Load()) > p.links.timeout {
		return errLinkSilent
	}
	p.mu.Lock()
	out.queue = appendFrameHeader(out.queue, framePing, 0, 0)
	p.mu.Unlock()
	return nil
}

// receive serves a connection that the peer dialed, until it ends. It blocks while a handler runs.
func (p *peerLink) receive(ctx context.Context, in *inbound) error {
	// Handlers may answer, so nothing is read before the way back stands.
	timer := time.NewTimer(pairTimeout)
	defer timer.Stop()
	select {
	case <-in.pair:
	case <-timer.C:
		return errors.New("cluster: no way back to the peer")
	case <-ctx.Done():
		return ctx.Err()
	}
	br := bufio.NewReaderSize(&heardReader{in: in, now: p.links.now, timeout: p.links.timeout}, bufferSize)
	for {
		f, err := readFrame(br, p.links.frameMax)
		if err != nil {
			return err
		}
		if f.typ == framePing {
			in.conn.SetWriteDeadline(time.Now().Add(pongTimeout))
			if _, err := in.conn.Write([]byte{pongByte}); err != nil {
				return err
			}
			continue
		}
		p.links.deliver(ctx, in.from, f)
	}
}

// heardReader reads with the link's timeout and keeps the time of the last bytes.
type heardReader struct {
	in      *inbound
	now     func() time.Duration
	timeout time.Duration
}

func (r *heardReader) Read(b []byte) (int, error) {
	r.in.conn.SetReadDeadline(time.Now().Add(r.timeout))
	n, err := r.in.conn.Read(b)
	if n > 0 {
		r.in.heard.Store(int64(r.now()))
	}
	return n, err
}

var _ io.Reader = (*heardReader)(nil)
