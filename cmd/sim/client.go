package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"innkeeper/cmd/memnet"
)

// How a client waits, as the SDKs do unless the comment says otherwise.
const (
	connectWait = 6 * time.Second // for CONNECTED; the SDKs give 10 s
	attachWait  = 10 * time.Second
	refusedWait = time.Second // before an attach that was refused is tried again; the SDKs give up or wait longer
	idleGrace   = 10 * time.Second
	tickEvery   = 2 * time.Second
	retryMin    = 50 * time.Millisecond // between connections; the SDKs wait longer, which would only stretch a run
	retryMax    = 1500 * time.Millisecond
)

// Client is one connection to the cluster that comes back wherever it is taken in, and knows what it holds. It writes
// down each attach it was confirmed and when it was over; this is the oracle that the checkers trust.
type Client struct {
	ID  int
	sim *Sim
	ip  string
	rng *rand.Rand // of run
	web *http.Client

	cmds chan func()
	done chan struct{}

	// Owned by run.
	online bool
	want   map[string]Mode
	node   int // next node to try
	ses    *session
	talk   talk

	mu   sync.Mutex
	last time.Time // of the latest confirmation or refusal, for Settled
}

// session is one socket.
type session struct {
	ws      *websocket.Conn
	node    int
	frames  chan frame
	heard   time.Time
	maxIdle time.Duration
	held    map[string]*hold
	leaving map[string]int // DETACHes without an answer yet
}

// hold is one attachment of a session, asked for or confirmed.
type hold struct {
	record    int // index in the history
	asked     time.Time
	confirmed bool
	refused   time.Time
}

// frame is a ProtocolMessage, as far as these clients read and write it.
type frame struct {
	Action  int    `json:"action"`
	Channel string `json:"channel,omitempty"`
	Flags   int    `json:"flags,omitempty"`
	Conn    string `json:"connectionId,omitempty"`
	Error   *struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
	} `json:"error,omitempty"`
	Details *struct {
		MaxIdleInterval int    `json:"maxIdleInterval"`
		ConnectionKey   string `json:"connectionKey"`
	} `json:"connectionDetails,omitempty"`
	ChannelSerial string    `json:"channelSerial,omitempty"`
	MsgSerial     *int      `json:"msgSerial,omitempty"`
	Count         int       `json:"count,omitempty"`
	Messages      []message `json:"messages,omitempty"`
	Res           []struct {
		Serials []string `json:"serials"`
	} `json:"res,omitempty"`
}

// message is one message of a frame.
type message struct {
	Data   string `json:"data"`
	Serial string `json:"serial,omitempty"`
}

// The actions these clients know.
const (
	actAck          = 1
	actNack         = 2
	actConnected    = 4
	actDisconnected = 6
	actClose        = 7
	actClosed       = 8
	actError        = 9
	actAttach       = 10
	actAttached     = 11
	actDetach       = 12
	actDetached     = 13
	actMessage      = 15
)

func newClient(s *Sim, id int) *Client {
	ip := fmt.Sprintf("10.1.%d.%d", id/250, id%250+1)
	host := s.Net.Host(ip)
	return &Client{
		ID: id, sim: s, ip: ip,
		rng:  rand.New(rand.NewPCG(s.Seed, uint64(id)+1000)),
		web:  httpClient(host, false),
		cmds: make(chan func(), 1024),
		done: make(chan struct{}),
		want: make(map[string]Mode),
		node: id,
		talk: talk{hears: make(map[string]*hearing)},
	}
}

// httpClient sends from a host. Connections are kept when keep says so, and else used once.
func httpClient(h *memnet.Host, keep bool) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: !keep,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return h.Dial(ctx, addr) },
	}}
}

// Connect brings the client online; it first tries a certain node.
func (c *Client) Connect(node int) {
	c.do(func() { c.online, c.node = true, node })
}

// Attach makes the client want a channel and keep it through every reconnection.
func (c *Client) Attach(channel string, m Mode) {
	c.do(func() {
		if _, ok := c.want[channel]; ok {
			return
		}
		c.want[channel] = m
		if c.ses != nil {
			c.ask(channel)
		}
	})
}

// Detach makes the client give a channel up.
func (c *Client) Detach(channel string) {
	c.do(func() {
		if _, ok := c.want[channel]; !ok {
			return
		}
		delete(c.want, channel)
		c.unhear(channel, "")
		if c.ses == nil {
			return
		}
		if _, ok := c.ses.held[channel]; ok {
			c.leave(channel, "detach")
			c.ses.leaving[channel]++
			c.write(frame{Action: actDetach, Channel: channel})
		}
	})
}

// Close ends the connection in order; the client stays offline.
func (c *Client) Close() {
	c.do(func() {
		c.online = false
		c.forget()
		if c.ses != nil {
			c.leaveAll("close")
			c.write(frame{Action: actClose})
			c.drop("close")
		}
	})
}

// Drop lets the socket go without a word. The client comes back when again is true.
func (c *Client) Drop(again bool) {
	c.do(func() {
		c.online = again
		c.drop("drop")
	})
}

// Renew lets the socket go, if there is one, and comes back.
func (c *Client) Renew() { c.do(func() { c.drop("drop") }) }

// Vanish takes the client away without a word reaching anybody, as when its machine loses power. It stays offline.
func (c *Client) Vanish() {
	c.sync(func() {
		c.online = false
		c.sim.Net.Isolate(c.ip)
		c.drop("vanished")
	})
}

// do runs f on the client's goroutine.
func (c *Client) do(f func()) {
	select {
	case c.cmds <- f:
	case <-c.done:
	}
}

// sync runs f on the client's goroutine and waits for it.
func (c *Client) sync(f func()) {
	ran := make(chan struct{})
	c.do(func() { f(); close(ran) })
	select {
	case <-ran:
	case <-c.done:
	}
}

// Settled says whether the client holds just what it wants, confirmed, and knows what became of its messages.
func (c *Client) Settled() bool {
	ok := false
	c.sync(func() {
		if !c.online {
			ok = c.ses == nil
			return
		}
		if c.ses == nil || len(c.ses.held) != len(c.want) || len(c.talk.pending) > 0 {
			return
		}
		for _, h := range c.ses.held {
			if !h.confirmed {
				return
			}
		}
		ok = true
	})
	return ok
}

// lacks says in words what keeps the client from being settled.
func (c *Client) lacks() (what string) {
	c.sync(func() {
		switch {
		case c.ses == nil:
			what = "has no connection"
		default:
			what = fmt.Sprintf("at node %d wants %d channels, %d messages wait", c.ses.node, len(c.want), len(c.talk.pending))
			for _, channel := range sorted(c.ses.held) {
				if !c.ses.held[channel].confirmed {
					what += ", " + channel + " is not attached"
				}
			}
		}
	})
	return what
}

// Wants returns what the client wants, nothing while it is offline.
func (c *Client) Wants() []Want {
	var out []Want
	c.sync(func() {
		if c.online {
			for _, ch := range sorted(c.want) {
				out = append(out, Want{ch, c.want[ch]})
			}
		}
	})
	return out
}

// run is the client's goroutine.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	defer c.web.CloseIdleConnections()
	defer c.drop("end of run")
	retry := retryMin
	for ctx.Err() == nil {
		if !c.online {
			select {
			case f := <-c.cmds:
				f()
			case <-ctx.Done():
			}
			continue
		}
		if err := c.connect(ctx); err != nil {
			c.pause(ctx, retry+time.Duration(c.rng.Int64N(int64(retry))))
			retry = min(2*retry, retryMax)
			continue
		}
		retry = retryMin
		c.serve(ctx)
		c.pause(ctx, time.Duration(c.rng.Int64N(int64(2*retryMin))))
	}
}

// pause waits, doing what it is told meanwhile.
func (c *Client) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case f := <-c.cmds:
			f()
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// connect opens a socket to the next node and asks for all the client wants.
func (c *Client) connect(ctx context.Context) error {
	nodes := c.sim.Addresses()
	node := c.node % len(nodes)
	c.node = c.rng.IntN(len(nodes)) // whatever happens: another one next time
	dial, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	url := "ws://" + nodes[node] + "/?v=6&format=json&heartbeats=true&key=" + Key + c.resumeQuery()
	ws, _, err := websocket.Dial(dial, url, &websocket.DialOptions{HTTPClient: c.web, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return err
	}
	ws.SetReadLimit(-1)
	ses := &session{ws: ws, node: node, heard: time.Now(), held: make(map[string]*hold), leaving: make(map[string]int)}
	var first frame
	if err := read(dial, ws, &first); err != nil || first.Action != actConnected || first.Details == nil {
		ws.CloseNow()
		return errors.Join(err, fmt.Errorf("node %d said %d instead of CONNECTED", node, first.Action))
	}
	ses.maxIdle = time.Duration(first.Details.MaxIdleInterval) * time.Millisecond
	ses.frames = make(chan frame, 64)
	c.ses = ses
	c.sim.wg.Go(func() { ses.receive(ctx) })
	c.connected(first)
	for _, channel := range sorted(c.want) {
		c.ask(channel)
	}
	return nil
}

func read(ctx context.Context, ws *websocket.Conn, f *frame) error {
	_, data, err := ws.Read(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, f)
}

// receive hands frames to serve until the socket ends.
func (s *session) receive(ctx context.Context) {
	defer close(s.frames)
	for {
		var f frame
		if err := read(ctx, s.ws, &f); err != nil {
			return
		}
		select {
		case s.frames <- f:
		case <-ctx.Done():
			return
		}
	}
}

// serve runs one session to its end.
func (c *Client) serve(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for ses := c.ses; c.ses == ses && ses != nil; {
		select {
		case f := <-c.cmds:
			f()
		case f, ok := <-ses.frames:
			if !ok {
				c.drop("socket ended")
				continue
			}
			ses.heard = time.Now()
			c.handle(f)
		case <-tick.C:
			c.tick()
		case <-ctx.Done():
			c.drop("end of run")
		}
	}
}

// handle takes one frame of the server.
func (c *Client) handle(f frame) {
	h := c.ses.held[f.Channel]
	switch f.Action {
	case actAttached:
		// While a DETACH is under way this answers the ATTACH before it.
		if h != nil && h.record >= 0 && c.ses.leaving[f.Channel] == 0 {
			c.hear(f, h.confirmed)
			c.confirm(h, Mode(f.Flags)&modeBits)
		}
	case actMessage:
		if h != nil && h.confirmed && c.ses.leaving[f.Channel] == 0 {
			c.heard(f)
		}
	case actAck, actNack:
		c.answered(f)
	case actDetached:
		if c.ses.leaving[f.Channel] > 0 {
			c.ses.leaving[f.Channel]--
			return
		}
		if h == nil {
			return
		}
		// Nobody asked for it: the server sheds the channel, the client asks again.
		c.leave(f.Channel, "shed by the server")
		c.ask(f.Channel)
	case actDisconnected, actClosed:
		c.drop("DISCONNECTED: " + f.reason())
	case actError:
		if f.Channel == "" {
			c.drop("ERROR: " + f.reason())
			return
		}
		if h != nil {
			c.leave(f.Channel, "refused: "+f.reason())
			c.ses.held[f.Channel] = &hold{record: -1, refused: time.Now()}
		}
	}
}

// reason is the error that a frame carries, as text.
func (f frame) reason() string {
	if f.Error == nil {
		return ""
	}
	return fmt.Sprintf("%d %s", f.Error.Code, f.Error.Message)
}

// tick repeats what had no answer, and gives up a socket that has been silent for too long.
func (c *Client) tick() {
	now := time.Now()
	if c.ses.maxIdle > 0 && now.Sub(c.ses.heard) > c.ses.maxIdle+idleGrace {
		c.drop("silent for too long")
		return
	}
	for _, channel := range sorted(c.ses.held) {
		h := c.ses.held[channel]
		switch {
		case h.record < 0 && now.Sub(h.refused) >= refusedWait:
			delete(c.ses.held, channel)
			c.ask(channel)
		case h.record >= 0 && !h.confirmed && now.Sub(h.asked) >= attachWait:
			h.asked = now
			c.write(c.attach(channel))
		}
		if c.ses == nil {
			return
		}
	}
}

func (c *Client) attach(channel string) frame {
	f := frame{Action: actAttach, Channel: channel, Flags: int(c.want[channel])}
	if h := c.talk.hears[channel]; h != nil {
		f.ChannelSerial = h.serial
	}
	return f
}

// ask sends an ATTACH and opens its record.
func (c *Client) ask(channel string) {
	if c.ses == nil || c.ses.held[channel] != nil {
		return
	}
	m := c.want[channel]
	if m == 0 {
		m = modeBits // what the server grants when no mode is asked for
	}
	now := time.Now()
	h := &hold{asked: now}
	c.ses.held[channel] = h
	c.sim.rec.record(func(hist *History) {
		h.record = len(hist.Attachments)
		hist.Attachments = append(hist.Attachments, Attachment{Client: c.ID, Node: c.ses.node, Channel: channel, Modes: m, Asked: now})
	})
	c.write(c.attach(channel))
}

// confirm notes that the server said ATTACHED.
func (c *Client) confirm(h *hold, granted Mode) {
	if h.confirmed || h.record < 0 {
		return
	}
	h.confirmed = true
	now := time.Now()
	c.sim.rec.record(func(hist *History) {
		a := &hist.Attachments[h.record]
		a.Confirmed = now
		if granted != 0 {
			a.Modes = granted
		}
	})
}

// leave closes the record of a channel.
func (c *Client) leave(channel, why string) {
	h := c.ses.held[channel]
	delete(c.ses.held, channel)
	if h.record < 0 {
		return
	}
	now := time.Now()
	c.sim.rec.record(func(hist *History) {
		a := &hist.Attachments[h.record]
		a.Left, a.Why = now, why
	})
}

// leaveAll closes all records.
func (c *Client) leaveAll(why string) {
	for _, channel := range sorted(c.ses.held) {
		c.leave(channel, why)
	}
}

// drop ends the session, if there is one.
func (c *Client) drop(why string) {
	if c.ses == nil {
		return
	}
	c.leaveAll(why)
	ses := c.ses
	c.ses = nil
	ses.ws.CloseNow()
	// Its receiver may wait to hand over a frame.
	for range ses.frames {
	}
}

// write sends a frame; a socket that does not take it is given up.
func (c *Client) write(f frame) {
	if c.ses == nil {
		return
	}
	data, err := json.Marshal(f)
	if err != nil {
		panic(err) // a frame is always valid JSON
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectWait)
	defer cancel()
	if err := c.ses.ws.Write(ctx, websocket.MessageText, data); err != nil {
		c.drop("write failed")
	}
}

// heldNow returns the channels a client holds confirmed, for scripts that choose what to leave.
func (c *Client) heldNow() []string {
	var out []string
	c.sync(func() {
		if c.ses != nil {
			for ch, h := range c.ses.held {
				if h.confirmed {
					out = append(out, ch)
				}
			}
		}
	})
	slices.Sort(out)
	return out
}
