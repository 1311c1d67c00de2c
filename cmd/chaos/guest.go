package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// guest is a client that comes back: when it is sent away it goes to another node, resumes its connection, attaches from
// where it was and sends again what was not acknowledged, as an SDK does. One that has a channel listens to it and judges
// what it hears; one that has none publishes.
type guest struct {
	crowd   *crowd
	id      string
	channel string        // "" publishes
	settled chan struct{} // closed when it is connected, and attached if it listens, for the first time
	once    sync.Once

	mu      sync.Mutex
	ws      *websocket.Conn // nil while it is away
	at      *proc
	gone    time.Time // since when it is away; zero: it is not
	key     string    // of the connection
	conn    string    // its id
	serial  string    // of the channel
	last    int       // number of the last message heard
	said    map[string]int
	pending []speech
	next    int64 // msgSerial
	quiet   bool
}

// speech is a publish that is not acknowledged.
type speech struct {
	channel string
	number  int
	serial  int64
	since   time.Time
}

func newGuest(c *crowd, i int, channel string) *guest {
	return &guest{crowd: c, id: fmt.Sprintf("g%d", i), channel: channel, settled: make(chan struct{}), said: map[string]int{}}
}

// guestFrame is what a guest reads of a frame.
type guestFrame struct {
	Action       int    `json:"action"`
	Channel      string `json:"channel"`
	Serial       string `json:"channelSerial"`
	ConnectionID string `json:"connectionId"`
	Details      struct {
		Key string `json:"connectionKey"`
	} `json:"connectionDetails"`
	MsgSerial int64           `json:"msgSerial"`
	Count     int64           `json:"count"`
	Flags     int64           `json:"flags"`
	Error     json.RawMessage `json:"error"`
	Messages  []struct {
		Data string `json:"data"`
	} `json:"messages"`
}

const (
	actAck      = 1
	actNack     = 2
	actMessage  = 15
	flagResumed = 4
)

// run lives until ctx ends. free is called once, when it has come in for the first time or ctx has ended.
func (g *guest) run(ctx context.Context, free func()) {
	free = sync.OnceFunc(free)
	defer free()
	var last *proc
	for ctx.Err() == nil {
		p := g.crowd.pick(last)
		last = p
		if !g.visit(ctx, p, free) && ctx.Err() == nil {
			select { // nobody is there
			case <-time.After(time.Duration(10+rand.IntN(50)) * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// visit is one connection. It is false when there was none.
func (g *guest) visit(ctx context.Context, p *proc, free func()) bool {
	g.mu.Lock()
	query := url.Values{"v": {"6"}, "format": {"json"}, "key": {demoKey}, "heartbeats": {"true"}, "echo": {"false"}}
	if g.key != "" {
		query.Set("resume", g.key)
	}
	g.mu.Unlock()
	u := url.URL{Scheme: "ws", Host: p.listen, Path: "/", RawQuery: query.Encode()}
	dial, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	ws, _, err := websocket.Dial(dial, u.String(), nil)
	if err != nil {
		return false
	}
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	came := false
	for {
		read, cancel := context.WithTimeout(ctx, hush)
		_, b, err := ws.Read(read)
		cancel()
		var f guestFrame
		if err == nil {
			err = json.Unmarshal(b, &f)
		}
		if err != nil || f.Action == actDisconnected || f.Action == actError && f.Channel == "" {
			g.away()
			return came
		}
		if f.Action == actConnected {
			came = true
			g.comeIn(ctx, ws, p, f)
		}
		g.take(f, free)
	}
}

// away notes that the connection is over.
func (g *guest) away() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ws != nil {
		g.ws, g.at, g.gone = nil, nil, time.Now()
	}
}

// comeIn takes up where the last connection ended.
func (g *guest) comeIn(ctx context.Context, ws *websocket.Conn, p *proc, f guestFrame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.ConnectionID != g.conn {
		// Not resumed: publishes count from 0 again, and their own ids tell those that are known.
		g.next = 0
		for i := range g.pending {
			g.pending[i].serial = g.next
			g.next++
		}
	}
	g.conn, g.key, g.ws, g.at = f.ConnectionID, f.Details.Key, ws, p
	if g.channel != "" {
		m := map[string]any{"action": actAttach, "channel": g.channel}
		if g.serial != "" {
			m["channelSerial"] = g.serial
		}
		g.write(ctx, m)
		return
	}
	for _, s := range g.pending {
		g.send(ctx, s)
	}
}

// write sends a frame; g.mu is held. What goes wrong the reader sees too.
func (g *guest) write(ctx context.Context, m map[string]any) {
	b, _ := json.Marshal(m) // strings and numbers
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	g.ws.Write(ctx, websocket.MessageText, b)
}

func (g *guest) send(ctx context.Context, s speech) {
	g.write(ctx, map[string]any{"action": actMessage, "channel": s.channel, "msgSerial": s.serial, "messages": []any{map[string]any{
		"id": fmt.Sprintf("%s-%s-%d:0", g.id, s.channel, s.number), "data": strconv.Itoa(s.number),
	}}})
}

// take acts on a frame.
func (g *guest) take(f guestFrame, free func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch f.Action {
	case actConnected:
		if g.channel == "" {
			g.back(free)
		}
	case actAttached:
		if g.serial != "" && f.Flags&flagResumed == 0 {
			g.crowd.fail("%s: %s was not resumed from %s: %s", g.id, g.channel, g.serial, f.Error)
		}
		g.serial = f.Serial
		g.back(free)
	case actDetached, actError:
		g.crowd.fail("%s was detached from %s: %s", g.id, f.Channel, f.Error)
	case actMessage:
		g.serial = f.Serial
		for _, m := range f.Messages {
			if n, err := strconv.Atoi(m.Data); err != nil || n != g.last+1 {
				g.crowd.fail("%s on %s heard %q after %d", g.id, g.channel, m.Data, g.last)
			}
			g.last++
		}
	case actAck:
		for len(g.pending) > 0 && g.pending[0].serial < f.MsgSerial+f.Count {
			g.crowd.note(&g.crowd.acks, time.Since(g.pending[0].since))
			g.pending = g.pending[1:]
		}
	case actNack:
		g.crowd.fail("%s: a publish was refused: %s", g.id, f.Error)
	}
}

// back notes that all is as it should be; g.mu is held.
func (g *guest) back(free func()) {
	if !g.gone.IsZero() {
		g.crowd.note(&g.crowd.away, time.Since(g.gone))
		g.gone = time.Time{}
	}
	g.once.Do(func() { close(g.settled) })
	free()
}

// say publishes the next message of a channel, at once or when the guest is back. False: it has been hushed.
func (g *guest) say(channel string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.quiet {
		return false
	}
	g.said[channel]++
	s := speech{channel, g.said[channel], g.next, time.Now()}
	g.next++
	g.pending = append(g.pending, s)
	if g.ws != nil {
		g.send(g.crowd.ctx, s)
	}
	return true
}

// hush ends the publishing and returns how many messages each channel has had.
func (g *guest) hush() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quiet = true
	return g.said
}

func (g *guest) unanswered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.pending)
}

func (g *guest) heard() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

func (g *guest) where() *proc {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at
}

// leave ends the connection without a word.
func (g *guest) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ws != nil {
		g.ws.CloseNow()
	}
}
