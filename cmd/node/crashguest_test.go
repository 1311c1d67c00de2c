package node

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"innkeeper/transport/protocol"
)

// guest is a client that comes back to its gateway whenever it is cut off, and attaches to what it wants, as the SDKs do.
type guest struct {
	w    *world
	url  string
	web  *http.Client
	stop context.CancelFunc

	mu       sync.Mutex
	ws       *websocket.Conn // nil while it is away
	want     map[string]bool
	attached map[string]bool
}

// how long guests wait, before they come back and for an answer.
const (
	guestReturns = 200 * time.Millisecond
	guestWaits   = 10 * time.Second
)

func (w *world) newGuest(ip string, at *machine) *guest {
	ctx, stop := context.WithCancel(context.Background())
	host := w.net.Host(ip)
	g := &guest{
		w: w, stop: stop, want: map[string]bool{}, attached: map[string]bool{},
		url: "ws://" + at.ip + ":80/?" + url.Values{"v": {"6"}, "format": {"json"}, "key": {rootKey}}.Encode(),
		web: &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return host.Dial(ctx, addr) },
		}},
	}
	w.wg.Go(func() {
		for ctx.Err() == nil {
			g.visit(ctx)
			select {
			case <-time.After(guestReturns):
			case <-ctx.Done():
			}
		}
	})
	return g
}

// visit is one connection from its beginning to its end.
func (g *guest) visit(ctx context.Context) {
	dial, cancel := context.WithTimeout(ctx, guestWaits)
	ws, _, err := websocket.Dial(dial, g.url, &websocket.DialOptions{HTTPClient: g.web, CompressionMode: websocket.CompressionDisabled})
	cancel()
	if err != nil {
		return
	}
	defer ws.CloseNow()
	defer g.leave()
	for {
		_, data, err := ws.Read(ctx)
		var m struct {
			Action  protocol.Action
			Channel string
		}
		if err != nil || json.Unmarshal(data, &m) != nil {
			return
		}
		switch m.Action {
		case protocol.ActionConnected:
			g.enter(ws)
		case protocol.ActionAttached:
			g.confirm(m.Channel)
		case protocol.ActionDetached, protocol.ActionError:
			g.again(m.Channel)
		case protocol.ActionDisconnected:
			return
		}
	}
}

func (g *guest) enter(ws *websocket.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ws = ws
	for name := range g.want {
		g.say(protocol.ActionAttach, name)
	}
}

func (g *guest) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ws = nil
	clear(g.attached)
}

func (g *guest) confirm(name string) {
	if g.w.about(name) && !g.w.durable() {
		g.w.t.Errorf("%s is confirmed, and no majority has on disk that it is occupied", name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attached[name] = g.want[name]
}

// again asks for a channel that was refused, or taken away.
func (g *guest) again(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.attached, name)
	if g.want[name] {
		g.say(protocol.ActionAttach, name)
	}
}

// say writes a frame if there is a connection. The caller holds the lock.
func (g *guest) say(a protocol.Action, name string) {
	if g.ws == nil {
		return
	}
	frame, err := json.Marshal(map[string]any{"action": a, "channel": name})
	if err != nil {
		panic(err) // always valid JSON
	}
	// A connection that is gone shows in visit.
	_ = g.ws.Write(context.Background(), websocket.MessageText, frame)
}

// attach asks for a channel and goes on asking whenever the guest comes back.
func (g *guest) attach(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.want[name] = true
	g.say(protocol.ActionAttach, name)
}

func (g *guest) detach(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.want, name)
	g.say(protocol.ActionDetach, name)
}

// holds waits until an attach is confirmed.
func (g *guest) holds(name string) {
	g.w.t.Helper()
	g.w.until("confirmed attach to "+name, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.attached[name]
	})
}

// close ends the guest.
func (g *guest) close() {
	g.stop()
	g.web.CloseIdleConnections()
}
