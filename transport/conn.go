package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"innkeeper/transport/auth"
	"innkeeper/transport/limits"
	"innkeeper/transport/protocol"
)

// conn is one client's connection: one WebSocket. It stays thin, since most connections are idle most of the time.
type conn struct {
	// Static once the read loop runs.
	g          *Gateway
	ws         *websocket.Conn
	raw        net.Conn
	rc         syscall.RawConn // nil where a write cannot be tried without waiting
	id         string
	key        string // connection key, see resume.go
	format     protocol.Format
	noEcho     bool
	heartbeats bool  // the client cannot see pings
	idle       int32 // ms: the silence that the client is promised not to see
	since      int64
	resumed    bool         // another socket had the connection before
	era        uint64       // grows whenever the connection is resumed
	before     uint64       // era of the socket that it was resumed from
	remainMs   int64        // how long members stay when the connection breaks
	tally      *tally       // of its app; nil when it was not greeted
	gate       *limits.Gate // of its app; nil when it was refused
	claims     string       // the app of a refused client's key, if there is such a key

	// Owned by the read loop.
	identity    auth.Identity
	ahead       []byte  // read from the socket and not yet asked for
	lent        *[]byte // the buffer it lies in, when borrowed
	more        bool    // the last read filled its buffer
	attachments []*attachment
	rates       *rates // nil unless what it publishes is limited

	// Shared.
	who      atomic.Pointer[auth.Identity] // the same identity, for others than the read loop; nil until there is one
	heard    atomic.Bool                   // since the last sweep
	ended    atomic.Uint32                 // an ending
	opened   atomic.Int32                  // attachments, for introspection
	out      outbox
	acks     acks
	outbound atomic.Pointer[outbound] // nil unless what it is sent is limited
	met      *ClientEvent             // told at the end; nil when it began unwatched. Static once the read loop runs

	lapse lapse // guarded by lapses.mu

	// Guarded by the sweeper's slot.
	slot   int
	index  int
	pinged bool   // owned by the sweeping goroutine
	quiet  uint16 // visits since the last HEARTBEAT; owned by the sweeping goroutine
}

// open binds the connection to its socket.
func (c *conn) open(raw net.Conn) {
	c.raw = raw
	if sc, ok := raw.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			c.rc = rc
		}
	}
}

// connect is what a client asks for in the query of its upgrade.
type connect struct {
	resume  string // a connection key, of resume or recover
	refusal *protocol.ErrorInfo

	notResumed *protocol.ErrorInfo // why the connection is a new one
}

// setUp reads the query and fills the connection's static fields. Strings that are kept are copied, else they would
// keep the whole request alive.
func (c *conn) setUp(r *http.Request) connect {
	query, err := url.ParseQuery(r.URL.RawQuery)
	var k connect
	var known bool
	var identity auth.Identity
	c.format, known = protocol.ParseFormat(query.Get("format"))
	c.noEcho = query.Get("echo") == "false"
	c.heartbeats = query.Get("heartbeats") == "true"
	c.idle = idleInterval(query.Get("heartbeatInterval"))
	c.since = time.Now().UnixMilli()
	if k.resume = query.Get("resume"); k.resume == "" {
		k.resume = query.Get("recover")
	}
	var badRemain *protocol.ErrorInfo
	c.remainMs, badRemain = parseRemain(query.Get("remainPresentFor"))
	switch {
	case badRemain != nil:
		k.refusal = badRemain
	case err != nil:
		k.refusal = protocol.Errorf(protocol.CodeBadRequest, "the query of the URL cannot be read")
	case !known:
		k.refusal = protocol.Errorf(protocol.CodeBadParamValue, "unknown format %q (want json or msgpack)", query.Get("format"))
	case !versionServed(query.Get("v")):
		k.refusal = protocol.Errorf(protocol.CodeBadVersion, "protocol version %q is not served (want 2 or newer)", query.Get("v"))
	default:
		var cred auth.Credentials
		if cred, k.refusal = auth.FromUpgrade(r, query); k.refusal == nil {
			identity, k.refusal = c.g.cfg.Auth.Authenticate(cred)
		}
	}
	c.identity = identity
	c.identity.ClientID = strings.Clone(identity.ClientID)
	if k.refusal != nil {
		c.claims = c.g.claimedApp(r)
	}
	if k.refusal == nil {
		who := c.identity
		c.who.Store(&who)
	}
	return k
}

// versionServed accepts versions from 2 on, and none at all as the newest. Old clients write 1.2 and the like.
func versionServed(v string) bool {
	if v == "" {
		return true
	}
	f, err := strconv.ParseFloat(v, 64)
	return err == nil && f >= 2
}

// run is the read loop. It ends when the connection does, and leaves nothing behind.
func (c *conn) run() {
	defer c.g.conns.Done()
	for c.ended.Load() == uint32(running) {
		if !c.step() {
			break
		}
	}
	c.end(endGone, 0, nil) // unless it ended for a better reason
	c.announceClosed()
	c.leaveChannels()
	c.logEnd()
	c.depart() // before the goodbye, which may take a moment: who comes back must not meet himself at a limit
	c.finish()
	c.g.holders.leave(c, time.Now(), c.g.cfg.ConnectionStateTTL)
	c.g.lapses.remove(c)
	c.g.sweeper.remove(c)
}

// greet sends CONNECTED, or why not, which it returns. The connection is in the sweeper already, so a fence that falls now is seen either
// here or by those who end all connections.
func (c *conn) greet(k connect) *protocol.ErrorInfo {
	if k.refusal == nil {
		if old := c.g.holders.hold(c); old != nil {
			old.end(endSuperseded, 1000, nil)
		}
	}
	switch {
	case c.g.fenced.Load(): // before a refusal: without the cluster it is not known what keys there are
		c.dismiss(endFenced, 1012, errFenced)
	case k.refusal != nil:
		c.g.log.Debug("connect refused", "error", k.refusal, "remote", c.raw.RemoteAddr())
		c.fail(endRefused, 1008, k.refusal)
		if c.claims != "" {
			c.g.tallies.of(c.claims).connectsFailed.Add(1)
		}
	case c.g.draining.Load():
		c.dismiss(endDrained, 1012, errDraining)
	default:
		settle, refusal := c.admit()
		if refusal != nil {
			return refusal
		}
		settle(c.come)
		c.sendConnected(k.notResumed)
		c.g.judge(c) // credentials that changed meanwhile are seen here or by those who look at all connections
	}
	return k.refusal
}

// sendConnected tells the client who it is and what this server does, after connect and after each AUTH.
func (c *conn) sendConnected(err *protocol.ErrorInfo) {
	cfg := &c.g.cfg
	c.reply(func(dst []byte) []byte {
		return protocol.AppendConnected(dst, c.format, &protocol.Connected{
			ConnectionID: c.id,
			Details: protocol.ConnectionDetails{
				ClientID:           c.identity.ClientID,
				ConnectionKey:      c.key,
				MaxMessageSize:     c.maxSize(),
				MaxFrameSize:       cfg.MaxFrameSize,
				MaxInboundRate:     c.maxInboundRate(),
				ConnectionStateTTL: cfg.ConnectionStateTTL.Milliseconds(),
				MaxIdleInterval:    int64(c.idle),
				ServerID:           cfg.NodeID,
			},
			Error: err,
		})
	})
}

// logEnd notes why the connection ended. That a client was cut off because it did not read is worth an operator's eye.
func (c *conn) logEnd() {
	level := slog.LevelDebug
	if ending(c.ended.Load()) == endOverflow {
		level = slog.LevelWarn
	}
	c.g.log.Log(context.Background(), level, "connection ended", "connection", c.id, "app", c.identity.App,
		"reason", ending(c.ended.Load()).String(), "remote", c.raw.RemoteAddr())
}

// buffers holds what frames are read into. Nothing that is decoded from a buffer refers to it.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

const bufferKeep = 64 << 10

var errFrameTooLarge = errors.New("frame too large")

// step reads and serves one frame. It is false when the connection is at its end.
func (c *conn) step() bool {
	_, r, err := c.ws.Reader(context.Background()) // waits here, without a buffer
	if err != nil {
		return false
	}
	buf := buffers.Get().(*[]byte)
	b, err := c.read((*buf)[:0], r)
	if err == nil && c.ended.Load() == uint32(running) {
		c.g.count.framesIn.Add(1)
		c.g.count.bytesIn.Add(uint64(len(b)))
		c.serve(b)
	}
	if cap(b) <= bufferKeep {
		*buf = b
		buffers.Put(buf)
	}
	if errors.Is(err, errFrameTooLarge) {
		c.fail(endProtocol, 1009, protocol.Errorf(protocol.CodeTooLarge, "a frame exceeds the limit of %d bytes", c.g.cfg.MaxFrameSize))
	}
	return err == nil
}

// read appends a whole message to b.
func (c *conn) read(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > c.g.cfg.MaxFrameSize:
			return b, errFrameTooLarge
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// serve does what one frame asks for. Actions that no client sends, and those nobody knows, are ignored.
func (c *conn) serve(frame []byte) {
	pm, err := protocol.Decode(c.format, frame)
	if err != nil {
		info := protocol.AsError(err)
		c.g.log.Debug("unreadable frame", "connection", c.id, "error", info)
		c.fail(endProtocol, 1007, info)
		return
	}
	switch pm.Action {
	case protocol.ActionHeartbeat:
		if pm.ID != "" {
			c.reply(func(dst []byte) []byte { return protocol.AppendHeartbeat(dst, c.format, pm.ID) })
		}
	case protocol.ActionAttach:
		c.attach(pm)
	case protocol.ActionDetach:
		c.detach(pm)
	case protocol.ActionMessage:
		c.publish(pm)
	case protocol.ActionPresence:
		c.presence(pm)
	case protocol.ActionAnnotation:
		c.annotate(pm)
	case protocol.ActionObject:
		c.nack(pm, protocol.Errorf(protocol.CodeBadRequest, "%s is not supported yet", pm.Action))
	case protocol.ActionSync:
		c.askSync(pm)
	case protocol.ActionClose:
		c.end(endClosed, 1000, protocol.AppendClosed(begin(nil), c.format))
	case protocol.ActionDisconnect:
		c.end(endLeft, 1000, nil)
	case protocol.ActionAuth:
		c.reauth(pm)
	}
}

// reply sends one frame from the read loop.
func (c *conn) reply(encode func(dst []byte) []byte) {
	f := flushers.Get().(*flusher)
	defer flushers.Put(f)
	f.encode = encode(begin(f.encode))
	c.settle(f, c.out.append(append([]byte(nil), seal(f.encode, c.format)...), c.g.cfg.OutboxBytes))
}

// settle does what the outcome of an append asks for, right away.
func (c *conn) settle(f *flusher, a appended) {
	switch a {
	case first, urgent:
		c.flush(f)
	case overflow:
		c.overflow()
	}
}

// flushNow writes what is pending.
func (c *conn) flushNow() {
	f := flushers.Get().(*flusher)
	c.flush(f)
	flushers.Put(f)
}
