package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// frame is what this client reads of a ProtocolMessage.
type frame struct {
	Action  int    `json:"action"`
	Channel string `json:"channel"`
	Error   *struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
	} `json:"error"`
}

// The actions used here (Ably protocol, TR2).
const (
	actConnected    = 4
	actDisconnected = 6
	actClose        = 7
	actError        = 9
	actAttach       = 10
	actAttached     = 11
	actDetach       = 12
	actDetached     = 13
)

// client is one WebSocket connection that attaches to channels and holds them until it is closed or cut.
type client struct {
	ws *websocket.Conn

	mu       sync.Mutex
	waiting  map[string]chan error
	attached map[string]time.Time

	gone  chan struct{}
	ended time.Time // when the server ended it; read it once gone is closed
}

// connect makes a connection and waits for CONNECTED.
func connect(ctx context.Context, addr, key string) (*websocket.Conn, error) {
	u := url.URL{Scheme: "ws", Host: addr, Path: "/", RawQuery: url.Values{"v": {"6"}, "format": {"json"}, "key": {key}, "heartbeats": {"true"}}.Encode()}
	ws, _, err := websocket.Dial(ctx, u.String(), nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	f, err := read(ctx, ws)
	if err != nil {
		ws.CloseNow()
		return nil, err
	}
	if f.Action != actConnected {
		ws.CloseNow()
		return nil, fmt.Errorf("connect to %s: got action %d (%+v)", addr, f.Action, f.Error)
	}
	return ws, nil
}

// dial makes a client.
func dial(ctx context.Context, addr, key string) (*client, error) {
	ws, err := connect(ctx, addr, key)
	if err != nil {
		return nil, err
	}
	c := &client{ws: ws, waiting: map[string]chan error{}, attached: map[string]time.Time{}, gone: make(chan struct{})}
	go c.loop()
	return c, nil
}

func read(ctx context.Context, ws *websocket.Conn) (frame, error) {
	var f frame
	_, b, err := ws.Read(ctx)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f)
}

// loop ends when the socket does.
func (c *client) loop() {
	defer close(c.gone)
	for {
		f, err := read(context.Background(), c.ws)
		if err != nil || f.Action == actDisconnected {
			c.ended = time.Now()
			c.ws.CloseNow()
			return
		}
		c.mu.Lock()
		switch f.Action {
		case actAttached:
			if w := c.waiting[f.Channel]; w != nil {
				delete(c.waiting, f.Channel)
				c.attached[f.Channel] = time.Now()
				w <- nil
			}
		case actError:
			if w := c.waiting[f.Channel]; w != nil && f.Error != nil {
				delete(c.waiting, f.Channel)
				w <- fmt.Errorf("attach %s: %s (%d)", f.Channel, f.Error.Message, f.Error.Code)
			}
		}
		c.mu.Unlock()
	}
}

// attach sends all ATTACHes at once and waits until each is confirmed.
func (c *client) attach(ctx context.Context, names ...string) error {
	waits := make([]chan error, len(names))
	for i, n := range names {
		w := make(chan error, 1)
		waits[i] = w
		c.mu.Lock()
		c.waiting[n] = w
		c.mu.Unlock()
		b, _ := json.Marshal(map[string]any{"action": actAttach, "channel": n})
		if err := c.ws.Write(ctx, websocket.MessageText, b); err != nil {
			return err
		}
	}
	for i, w := range waits {
		select {
		case err := <-w:
			if err != nil {
				return err
			}
		case <-c.gone:
			return fmt.Errorf("attach %s: connection lost", names[i])
		case <-ctx.Done():
			return fmt.Errorf("attach %s: %w", names[i], ctx.Err())
		}
	}
	return nil
}

// close ends the socket without a word, as a crashed client would.
func (c *client) close() {
	c.ws.CloseNow()
	<-c.gone
}
