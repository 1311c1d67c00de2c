package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

const (
	testKey    = "demo.root:secret"
	limitedKey = "demo.limited:secret" // may do only what its capability says
)

func testKeys(t testing.TB) *auth.Keys {
	limited, err := auth.ParseCapability(map[string][]string{
		"read":  {"subscribe"},
		"write": {"publish"},
		"both":  {"subscribe", "publish"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return auth.NewKeys([]auth.Key{
		{App: "demo", ID: "root", Secret: "secret", Capability: auth.AllowAll()},
		{App: "demo", ID: "limited", Secret: "secret", Capability: limited},
	})
}

// owner plays the owners of all partitions. Unless told otherwise it confirms, delivers and acknowledges at once, from
// within ToOwner.
type owner struct {
	g    *Gateway
	node string

	mu      sync.Mutex
	manual  bool                         // only record
	silent  func(m channel.ToOwner) bool // only record these; nil: none
	refuse  channel.Refusal
	broken  bool // ToOwner returns false
	serials int
	last    map[string]string // channel → serial
	kept    map[string][]*channel.Delivery
	members map[string][]channel.Member // channel → who is present
	page    int                         // publishes in one answer to a History
	evicted string                      // serial: what is behind those before it is not all there any more
	lost    bool                        // says of every Snapshot that messages are lost
	counts  map[string]channel.Counts
	watched map[string]bool
	heard   []heard
	news    chan struct{}
}

type heard struct {
	part  uint32
	route Route
	m     channel.ToOwner
}

func newOwner() *owner {
	return &owner{
		node: "n1", page: 100, last: map[string]string{}, members: map[string][]channel.Member{}, kept: map[string][]*channel.Delivery{}, counts: map[string]channel.Counts{}, watched: map[string]bool{},
		news: make(chan struct{}, 1),
	}
}

func (o *owner) ToOwner(part uint32, r Route, m channel.ToOwner) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		return false
	}
	o.heard = append(o.heard, heard{part, r, m})
	select {
	case o.news <- struct{}{}:
	default:
	}
	if o.manual || o.silent != nil && o.silent(m) {
		return true
	}
	say := func(m channel.ToGateway) { o.g.FromOwner(r.Node, part, r.Epoch, m) }
	switch m := m.(type) {
	case *channel.Snapshot:
		for i := range m.Registers {
			o.register(&m.Registers[i], o.lost, say)
		}
	case *channel.Register:
		o.register(m, false, say)
	case *channel.History:
		say(o.recall(m))
	case *channel.Publish:
		if o.refuse != channel.Accepted {
			say(&channel.Published{Req: m.Req, Refusal: o.refuse})
			return true
		}
		d := o.keep(m)
		say(d)
		say(&channel.Published{Req: m.Req, Serial: d.Serial})
	case *channel.PresenceChange:
		if o.refuse != channel.Accepted {
			say(&channel.Published{Req: m.Req, Refusal: o.refuse})
			return true
		}
		d := o.change(m)
		say(d)
		say(&channel.Published{Req: m.Req, Serial: d.Serial})
	case *channel.PresenceQuery:
		say(o.present(m))
	case *channel.Query:
		if o.refuse != channel.Accepted {
			say(&channel.QueryResult{Req: m.Req, Refusal: o.refuse})
			return true
		}
		say(&channel.QueryResult{Req: m.Req, Active: true, Counts: o.counts[m.Name]})
	}
	return true
}

// keep makes a Delivery and has it in the history.
func (o *owner) keep(p *channel.Publish) *channel.Delivery {
	prev := channel.SerialPosition(o.last[p.Name])
	d := &channel.Delivery{
		App: p.App, Name: p.Name, Serial: o.next(p.Name), Prev: prev, ID: p.ID, ConnID: p.ConnID, TimeMs: 1700000000000, Messages: p.Messages,
	}
	o.kept[p.Name] = append(o.kept[p.Name], d)
	return d
}

// recall answers a History. It is complete from every serial that was given here.
func (o *owner) recall(q *channel.History) *channel.HistoryResult {
	r := &channel.HistoryResult{Req: q.Req, Serial: o.last[q.Name], Complete: q.After == "" || strings.HasPrefix(q.After, "017") && q.After >= o.evicted}
	list := slices.Clone(o.kept[q.Name])
	if q.Backwards {
		slices.Reverse(list)
	}
	for _, d := range list {
		if d.Serial <= q.After {
			continue
		}
		if q.Limit > 0 && len(r.Deliveries) == q.Limit || len(r.Deliveries) == o.page {
			r.More = true
			break
		}
		r.Deliveries = append(r.Deliveries, d)
	}
	return r
}

func (o *owner) register(r *channel.Register, lost bool, say func(channel.ToGateway)) {
	changed := o.counts[r.Name] != r.Counts
	o.counts[r.Name], o.watched[r.Name] = r.Counts, r.Watchers > 0
	if r.Confirm {
		counts := r.Counts
		counts[channel.PresenceMembers] = int32(len(o.members[r.Name]))
		say(&channel.Registered{App: r.App, Name: r.Name, Version: r.Version, Serial: o.last[r.Name], Counts: counts, Lost: lost})
	}
	if changed && r.Watchers > 0 {
		say(&channel.Occupancy{App: r.App, Name: r.Name, Counts: r.Counts})
	}
}

func (o *owner) next(name string) string {
	o.serials++
	s := fmt.Sprintf("01700000000000-%03d@test", o.serials)
	o.last[name] = s
	return s
}

func (o *owner) set(f func(o *owner)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o)
}

// await waits for the first message heard that match accepts, and forgets everything heard up to it.
func await1[T channel.ToOwner](t testing.TB, o *owner, match func(T) bool) (T, heard) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		o.mu.Lock()
		for i, h := range o.heard {
			if m, ok := h.m.(T); ok && match(m) {
				o.heard = slices.Clone(o.heard[i+1:])
				o.mu.Unlock()
				return m, h
			}
		}
		o.mu.Unlock()
		select {
		case <-o.news:
		case <-deadline:
			t.Fatalf("the owner never heard the expected %T", *new(T))
		}
	}
}

func anyOf[T any](T) bool { return true }

// pipeListener accepts net.Pipe connections: sockets for bubbles of fake time.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// world is a gateway behind an HTTP server, with an owner that plays along.
type world struct {
	t     testing.TB
	g     *Gateway
	owner *owner
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	addr  string
	srv   *http.Server
	done  chan struct{}
}

const testPartitions = 8

// newWorld uses pipes, or real sockets when tcp is set. Everything is routed to n1, epoch 1, session 1.
func newWorld(t testing.TB, tcp bool, tune func(*GatewayConfig)) *world {
	t.Helper()
	o := newOwner()
	cfg := GatewayConfig{Owners: o, Auth: testKeys(t), Partitions: testPartitions, NodeID: "n1", Boot: "b1", Shards: 3}
	if tune != nil {
		tune(&cfg)
	}
	w := &world{t: t, g: NewGateway(cfg), owner: o, done: make(chan struct{})}
	o.g = w.g
	w.route(Route{Node: "n1", Epoch: 1, Session: 1})
	var ln net.Listener
	if tcp {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, w.addr, w.dial = l, l.Addr().String(), (&net.Dialer{}).DialContext
	} else {
		l := newPipeListener()
		ln, w.addr, w.dial = l, "pipe", l.dial
	}
	w.srv = &http.Server{Handler: http.HandlerFunc(w.g.ServeWebSocket)}
	go func() {
		defer close(w.done)
		w.srv.Serve(ln)
	}()
	return w
}

// partition is where a channel belongs.
func (g *Gateway) partition(app, name string) uint32 {
	return ring.Partition(ring.Hash(app, name), int(g.partitions.Load()))
}

func (w *world) route(r Route) {
	for p := range uint32(w.g.partitions.Load()) {
		w.g.Routed(p, r)
	}
}

func (w *world) unroute() {
	for p := range uint32(w.g.partitions.Load()) {
		w.g.Unrouted(p)
	}
}

// warm has the owners answer once, so that requests for these channels are not held back behind the first.
func (w *world) warm(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if _, err := w.g.Query(context.Background(), "demo", name); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) close() {
	w.g.Close()
	w.srv.Close()
	<-w.done
}

// client is a client of the protocol, reduced to frames.
type client struct {
	t  testing.TB
	ws *websocket.Conn
	f  protocol.Format
	id string
}

// connect dials and takes the CONNECTED.
func (w *world) connect(query string) *client {
	w.t.Helper()
	c := w.open(query)
	pm := c.expect(protocol.ActionConnected)
	c.id = pm.ConnectionID
	return c
}

// open dials without looking at what comes back. Without a key in the query the full one is used.
func (w *world) open(query string) *client {
	w.t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		w.t.Fatal(err)
	}
	if !values.Has("key") {
		values.Set("key", testKey)
	}
	if !values.Has("v") {
		values.Set("v", "5")
	}
	transport := &http.Transport{DialContext: w.dial, DisableKeepAlives: true}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+w.addr+"/?"+values.Encode(), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		w.t.Fatalf("dial: %v", err)
	}
	ws.SetReadLimit(-1)
	f, _ := protocol.ParseFormat(values.Get("format"))
	return &client{t: w.t, ws: ws, f: f}
}

func (c *client) send(frame []byte) {
	c.t.Helper()
	typ := websocket.MessageText
	if c.f == protocol.MsgPack {
		typ = websocket.MessageBinary
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.ws.Write(ctx, typ, frame); err != nil {
		c.t.Errorf("send: %v", err)
	}
}

// next reads one frame, nil when there is none within the time.
func (c *client) read(ctx context.Context) (*protocol.ProtocolMessage, error) {
	typ, b, err := c.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	if (typ == websocket.MessageBinary) != (c.f == protocol.MsgPack) {
		return nil, fmt.Errorf("frame of WebSocket type %v on a %v connection", typ, c.f)
	}
	pm, err := protocol.Decode(c.f, b)
	if err != nil {
		return nil, fmt.Errorf("frame %q: %w", b, err)
	}
	return pm, nil
}

func (c *client) next() *protocol.ProtocolMessage {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pm, err := c.read(ctx)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return pm
}

func (c *client) expect(a protocol.Action) *protocol.ProtocolMessage {
	c.t.Helper()
	pm := c.next()
	if pm.Action != a {
		c.t.Fatalf("got %v %+v (error %v), want %v", pm.Action, pm, pm.Error, a)
	}
	return pm
}

// quiet checks that nothing is on its way to the client: what it asks now is answered first.
func (c *client) quiet() {
	c.t.Helper()
	c.send(protocol.AppendHeartbeat(nil, c.f, "quiet"))
	if pm := c.next(); pm.Action != protocol.ActionHeartbeat || pm.ID != "quiet" {
		c.t.Fatalf("got %v %+v, want nothing", pm.Action, pm)
	}
}

// ends checks that the socket is closed by the server, and returns the close status.
func (c *client) ends() websocket.StatusCode {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for {
		if _, _, err := c.ws.Read(ctx); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				c.t.Fatalf("the connection lives on: %v", err)
			}
			c.ws.CloseNow()
			return websocket.CloseStatus(err)
		}
	}
}

func (c *client) attach(name string, params map[string]string) *protocol.ProtocolMessage {
	c.t.Helper()
	c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: name, Params: params}))
	pm := c.expect(protocol.ActionAttached)
	if pm.Channel != name {
		c.t.Fatalf("attached %q, want %q", pm.Channel, name)
	}
	return pm
}

func (c *client) publish(name string, serial int64, texts ...string) {
	c.t.Helper()
	var list []channel.Message
	for _, s := range texts {
		list = append(list, channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(s)})
	}
	c.send(protocol.AppendPublish(nil, c.f, name, serial, nil, list...))
}

func (c *client) close() { c.ws.CloseNow() }

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

var _ io.Closer = (*pipeListener)(nil)
