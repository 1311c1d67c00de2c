package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
)

// Actions of the Ably protocol that the load uses.
const (
	actionHeartbeat = 0
	actionAck       = 1
	actionNack      = 2
	actionConnected = 4
	actionError     = 9
	actionAttach    = 10
	actionAttached  = 11
	actionDetach    = 12
	actionDetached  = 13
	actionMessage   = 15
)

const key = "demo.root:secret"

// client is one connection. The fields above mu are set before its reader starts; handlers run on that goroutine.
type client struct {
	conn      net.Conn
	onMessage func(payload []byte) // nil: ignored

	replies chan int      // attached and detached, one for each command
	acked   atomic.Int64  // publishes acknowledged
	room    chan struct{} // cap 1: a nudge for each acknowledgement
	done    chan struct{} // closed when the reader has ended
	err     error         // why, after done

	mu      sync.Mutex // writes
	out     []byte
	body    []byte
	serial  int64 // of the next publish
	closing atomic.Bool
}

// connect opens a connection and waits until the server says CONNECTED. buffer is in bytes.
func connect(ctx context.Context, addr string, buffer int, onMessage func([]byte)) (*client, error) {
	conn, r, err := dialWebSocket(addr, "/?v=6&format=json&echo=true&heartbeats=false&key="+url.QueryEscape(key), buffer)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, onMessage: onMessage, replies: make(chan int, 1), room: make(chan struct{}, 1), done: make(chan struct{})}
	connected := make(chan struct{})
	go func() {
		defer close(c.done)
		defer conn.Close()
		c.err = readFrames(r, func(op byte, payload []byte) error { return c.frame(op, payload, connected) })
		if c.closing.Load() && isClosed(c.err) {
			c.err = nil
		}
	}()
	select {
	case <-connected:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("connection ended before CONNECTED: %w", c.err)
	case <-ctx.Done():
		c.close()
		return nil, ctx.Err()
	}
}

func (c *client) frame(op byte, payload []byte, connected chan struct{}) error {
	switch op {
	case opPing:
		c.write(opPong, payload)
		return nil
	case opClose:
		return fmt.Errorf("the server closed the connection: %q", payload)
	case opPong:
		return nil
	}
	switch action := actionOf(payload); action {
	case actionMessage:
		if c.onMessage != nil {
			c.onMessage(payload)
		}
	case actionAck:
		c.acked.Add(ackCount(payload))
		select {
		case c.room <- struct{}{}:
		default:
		}
	case actionConnected:
		select {
		case <-connected:
		default:
			close(connected)
		}
	case actionAttached, actionDetached:
		select {
		case c.replies <- action:
		default:
			return errors.New("a reply that nobody waits for: " + string(payload))
		}
	case actionHeartbeat:
	default: // NACK, ERROR, DISCONNECTED: nothing of it belongs into a measurement
		return fmt.Errorf("the server said %s", payload)
	}
	return nil
}

// actionOf reads the action of a frame. It is the first key in the frames of our server; others are parsed.
func actionOf(payload []byte) int {
	if rest, ok := bytes.CutPrefix(payload, []byte(`{"action":`)); ok {
		n, digits := 0, 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			n = 10*n + int(rest[digits]-'0')
			digits++
		}
		if digits > 0 {
			return n
		}
	}
	var frame struct{ Action int }
	if json.Unmarshal(payload, &frame) != nil {
		return -1
	}
	return frame.Action
}

func ackCount(payload []byte) int64 {
	var frame struct{ Count int64 }
	if json.Unmarshal(payload, &frame) != nil {
		return 0
	}
	return frame.Count
}

func (c *client) write(op byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendClientFrame(c.out[:0], op, payload)
	_, err := c.conn.Write(c.out)
	return err
}

// attach attaches to a channel and waits for it; so does detach. Only one of them may be under way.
func (c *client) attach(ctx context.Context, channel string) error {
	return c.command(ctx, actionAttach, actionAttached, channel)
}

func (c *client) detach(ctx context.Context, channel string) error {
	return c.command(ctx, actionDetach, actionDetached, channel)
}

func (c *client) command(ctx context.Context, action, want int, channel string) error {
	body := append([]byte(`{"action":`), strconv.Itoa(action)...)
	body = append(body, `,"channel":`...)
	body = append(strconv.AppendQuote(body, channel), '}')
	if err := c.write(opText, body); err != nil {
		return err
	}
	select {
	case got := <-c.replies:
		if got != want {
			return fmt.Errorf("action %d in answer to %d", got, action)
		}
		return nil
	case <-c.done:
		return fmt.Errorf("connection ended: %w", c.err)
	case <-ctx.Done():
		return fmt.Errorf("no answer to action %d on %s: %w", action, channel, ctx.Err())
	}
}

// publish sends one message and does not wait for its acknowledgement.
func (c *client) publish(channel, data string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := append(c.body[:0], `{"action":15,"channel":`...)
	b = strconv.AppendQuote(b, channel)
	b = append(b, `,"msgSerial":`...)
	b = strconv.AppendInt(b, c.serial, 10)
	b = append(b, `,"messages":[{"name":"m","data":`...)
	b = strconv.AppendQuote(b, data)
	b = append(b, "}]}"...)
	c.body, c.serial = b, c.serial+1
	c.out = appendClientFrame(c.out[:0], opText, b)
	_, err := c.conn.Write(c.out)
	return err
}

// awaitAcks waits until at most pending publishes are not acknowledged.
func (c *client) awaitAcks(ctx context.Context, pending int64) error {
	for {
		c.mu.Lock()
		sent := c.serial
		c.mu.Unlock()
		if sent-c.acked.Load() <= pending {
			return nil
		}
		select {
		case <-c.room:
		case <-c.done:
			return fmt.Errorf("connection ended: %w", c.err)
		case <-ctx.Done():
			return fmt.Errorf("%d publishes not acknowledged: %w", sent-c.acked.Load(), ctx.Err())
		}
	}
}

// close ends the connection and waits for its reader.
func (c *client) close() {
	c.closing.Store(true)
	c.conn.Close()
	<-c.done
}

// ended says why a connection is gone, nil while it is there.
func (c *client) ended() error {
	select {
	case <-c.done:
		return fmt.Errorf("connection ended: %w", c.err)
	default:
		return nil
	}
}

// dialers is how many connections are opened at once: enough to be quick, few enough not to flood the accept queue.
const dialers = 32

// inParallel calls fn for 0 … n-1, some at a time, and returns the first error.
func inParallel(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(dialers, n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// fleet is a number of connections.
type fleet []*client

// open opens n connections; connection i goes to addrs[i mod len] and attaches to channel(i), unless that is "".
func open(ctx context.Context, addrs []string, n, buffer int, channel func(i int) string, onMessage func(i int, payload []byte)) (fleet, error) {
	f := make(fleet, n)
	err := inParallel(ctx, n, func(ctx context.Context, i int) error {
		var on func([]byte)
		if onMessage != nil {
			on = func(p []byte) { onMessage(i, p) }
		}
		c, err := connect(ctx, addrs[i%len(addrs)], buffer, on)
		if err != nil {
			return err
		}
		f[i] = c
		if name := channel(i); name != "" {
			return c.attach(ctx, name)
		}
		return nil
	})
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f fleet) close() {
	for _, c := range f {
		if c != nil {
			c.closing.Store(true)
			c.conn.Close()
		}
	}
	for _, c := range f {
		if c != nil {
			<-c.done
		}
	}
}

// ended is the first connection that is gone.
func (f fleet) ended() error {
	for _, c := range f {
		if err := c.ended(); err != nil {
			return err
		}
	}
	return nil
}
