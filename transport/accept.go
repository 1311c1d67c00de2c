package transport

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Buffers of the WebSocket library per connection. Control frames have to fit into the write buffer: each is then one
// Write of the guarded connection. The read buffer is small because idle connections keep it; a connection that fills it
// has more to say and borrows one of aheadBytes until it pauses.
const (
	readBuffer  = 128
	writeBuffer = 128
	aheadBytes  = 8 << 10
)

var aheads = sync.Pool{New: func() any { b := make([]byte, aheadBytes); return &b }}

// accept upgrades a request. What it leaves behind per connection is small: net/http's buffers are dropped, and the
// handler returns, so its goroutine ends as well.
//
// The library does the handshake, reads frames and answers control frames. What it writes comes through guarded, whole
// frames only, and joins the outbox like everything else: nothing is ever written into the middle of a frame.
func (c *conn) accept(w http.ResponseWriter, r *http.Request) error {
	ws, err := websocket.Accept(&hijacker{ResponseWriter: w, c: c}, r, &websocket.AcceptOptions{
		// Browsers of any page may connect: what a client may do is said by its key, and there are no cookies.
		InsecureSkipVerify: true,
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return err
	}
	ws.SetReadLimit(-1) // conn.read has the limit, so that the client can be told
	c.ws = ws           // kept for as long as the connection: its finalizer would close the socket
	return nil
}

// hijacker is a ResponseWriter whose Hijack hands out the connection's guarded socket with small buffers.
type hijacker struct {
	http.ResponseWriter
	c *conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Reader.Peek(n)
		h.c.ahead = bytes.Clone(early)
	}
	h.c.open(raw)
	g := (*guarded)(h.c)
	return g, bufio.NewReadWriter(bufio.NewReaderSize(g, readBuffer), bufio.NewWriterSize(g, writeBuffer)), nil
}

// guarded is the socket of a connection as the WebSocket library sees it.
type guarded conn

var _ net.Conn = (*guarded)(nil)

// Read notes that the peer is alive. What was read ahead goes first, and so do bytes that came with the request.
func (g *guarded) Read(p []byte) (int, error) {
	if len(g.ahead) == 0 && g.more {
		if err := g.readAhead(); err != nil {
			return 0, err
		}
	}
	if len(g.ahead) > 0 {
		n := copy(p, g.ahead)
		if g.ahead = g.ahead[n:]; len(g.ahead) == 0 {
			g.ahead = nil
			if g.lent != nil {
				aheads.Put(g.lent)
				g.lent = nil
			}
		}
		return n, nil
	}
	n, err := g.raw.Read(p)
	g.more = n == readBuffer
	g.noteLife(n)
	return n, err
}

// readAhead reads into a borrowed buffer. It is called in the middle of what the client says, so it hardly ever waits.
func (g *guarded) readAhead() error {
	lent := aheads.Get().(*[]byte)
	n, err := g.raw.Read(*lent)
	g.more = n == aheadBytes
	g.noteLife(n)
	if n == 0 {
		aheads.Put(lent)
		return err
	}
	g.lent, g.ahead = lent, (*lent)[:n]
	return nil // an error comes again with the next read
}

func (g *guarded) noteLife(n int) {
	if n > 0 && !g.heard.Load() {
		g.heard.Store(true)
	}
}

// Write takes one control frame. A close frame is the last one.
func (g *guarded) Write(p []byte) (int, error) {
	if g.ended.Load() != 0 {
		return 0, io.ErrClosedPipe
	}
	c := (*conn)(g)
	frame := bytes.Clone(p)
	if frame[0] == opClose {
		c.out.seal(frame, false)
	} else if c.out.append(frame, c.g.cfg.OutboxBytes) == overflow {
		c.overflow()
	}
	c.flushNow()
	return len(p), nil
}

// Close does nothing: the read loop closes the socket when the last frames are out.
func (g *guarded) Close() error { return nil }

func (g *guarded) LocalAddr() net.Addr                { return g.raw.LocalAddr() }
func (g *guarded) RemoteAddr() net.Addr               { return g.raw.RemoteAddr() }
func (g *guarded) SetDeadline(t time.Time) error      { return g.raw.SetDeadline(t) }
func (g *guarded) SetReadDeadline(t time.Time) error  { return g.raw.SetReadDeadline(t) }
func (g *guarded) SetWriteDeadline(t time.Time) error { return g.raw.SetWriteDeadline(t) }
