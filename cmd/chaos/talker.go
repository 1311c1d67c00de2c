package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// talker is a client that publishes to channels and subscribes to them, and goes on as SDKs do when it loses its node: at
// another one, with the key of its connection, the serial of each channel and the publishes that were not acknowledged.
type talker struct {
	id       int
	addrs    []string // of the nodes
	node     int      // to try first
	format   protocol.Format
	names    []string // of all channels
	channels []int    // those it uses
	interval time.Duration

	mu      sync.Mutex
	ws      *websocket.Conn // nil while it is away
	connID  string
	key     string
	serial  int64       // of the next publish
	pending []utterance // not acknowledged, in order
	said    map[int]*sayings
	serials map[string]string // by channel name: what to come back with
	known   map[string]bool   // channels that were attached once
	nacks   map[int]int       // by code
	waits   []time.Duration   // from said to acknowledged
	answers []answered        // the same, with channel and time
	trouble []string          // what an SDK would report as a loss

	ear    *ear
	index  map[string]int // of a channel by name
	lastAt map[int]time.Time
	pauses []lull
	moves  int
}

// utterance is a publish that waits for its answer.
type utterance struct {
	serial          int64
	channel, number int
	at              time.Time
}

// answered is a publish that was acknowledged.
type answered struct {
	channel int
	at      time.Time // said
	took    time.Duration
}

// lull is a time without a delivery on a channel that is published to all the time.
type lull struct {
	until time.Time
	long  time.Duration
}

const (
	pauseLeast = 300 * time.Millisecond // shorter ones are not noted
	retryAfter = 100 * time.Millisecond
	readMax    = 25 * time.Second
	writeMax   = 5 * time.Second
)

func newTalker(id int, addrs []string, format protocol.Format, names []string, channels []int, interval time.Duration) *talker {
	t := &talker{
		id: id, addrs: addrs, node: id % len(addrs), format: format, names: names, channels: channels, interval: interval,
		said: map[int]*sayings{}, serials: map[string]string{}, known: map[string]bool{}, nacks: map[int]int{},
		ear: newEar(fmt.Sprintf("client %d", id)), index: map[string]int{}, lastAt: map[int]time.Time{},
	}
	for _, c := range channels {
		t.said[c] = &sayings{}
		t.index[names[c]] = c
	}
	return t
}

// listen stays connected until ctx ends.
func (t *talker) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := t.session(ctx)
		t.mu.Lock()
		t.ws = nil
		t.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			t.node = (t.node + 1) % len(t.addrs)
			select {
			case <-time.After(retryAfter):
			case <-ctx.Done():
			}
		}
	}
}

// session is one connection, until it ends.
func (t *talker) session(ctx context.Context) error {
	query := url.Values{"v": {"6"}, "format": {t.format.String()}, "key": {demoKey}, "heartbeats": {"true"}}
	if t.key != "" {
		query.Set("resume", t.key)
	}
	dialing, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	ws, _, err := websocket.Dial(dialing, "ws://"+t.addrs[t.node]+"/?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(16 << 20)
	for {
		reading, cancel := context.WithTimeout(ctx, readMax)
		_, b, err := ws.Read(reading)
		cancel()
		if err != nil {
			return err
		}
		pm, err := protocol.Decode(t.format, b)
		if err != nil {
			return err
		}
		switch pm.Action {
		case protocol.ActionConnected:
			t.connected(ws, pm)
		case protocol.ActionAck:
			t.answered(pm, nil)
		case protocol.ActionNack:
			t.answered(pm, pm.Error)
		case protocol.ActionAttached:
			t.attached(pm)
		case protocol.ActionMessage:
			t.heard(pm)
		case protocol.ActionDetached: // tries again, as SDKs do
			t.attach(ws, pm.Channel)
		case protocol.ActionError:
			t.report("an error: channel %q, %v", pm.Channel, pm.Error)
			return pm.Error
		case protocol.ActionDisconnected:
			return pm.Error
		}
	}
}

func (t *talker) report(format string, args ...any) {
	if len(t.trouble) < faultsMax {
		t.trouble = append(t.trouble, fmt.Sprintf("client %d: ", t.id)+fmt.Sprintf(format, args...))
	}
}

// connected goes on where the connection before was: attaches all channels and says again what was not acknowledged.
func (t *talker) connected(ws *websocket.Conn, pm *protocol.ProtocolMessage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.connID != "" {
		t.moves++
	}
	if t.connID != "" && pm.ConnectionID != t.connID {
		t.report("the connection was not resumed: %v", pm.Error)
		for i := range t.pending {
			t.pending[i].serial = int64(i)
		}
		t.serial = int64(len(t.pending))
	}
	t.ws, t.connID, t.key = ws, pm.ConnectionID, pm.Details.ConnectionKey
	for _, c := range t.channels {
		t.attach(ws, t.names[c])
	}
	for _, u := range t.pending {
		t.write(u)
	}
}

func (t *talker) attach(ws *websocket.Conn, name string) {
	send(ws, t.format, protocol.AppendAttach(nil, t.format, &protocol.Attach{Channel: name, ChannelSerial: t.serials[name]}))
}

// write sends a publish. mu is held.
func (t *talker) write(u utterance) {
	if t.ws != nil {
		m := channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(saying(t.id, u.number))}
		send(t.ws, t.format, protocol.AppendPublish(nil, t.format, t.names[u.channel], u.serial, nil, m))
	}
}

// send writes one frame. Who reads finds out when it fails.
func send(ws *websocket.Conn, format protocol.Format, b []byte) {
	kind := websocket.MessageText
	if format == protocol.MsgPack {
		kind = websocket.MessageBinary
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeMax)
	defer cancel()
	ws.Write(ctx, kind, b)
}

// talk publishes to one channel after the other at its pace until ctx ends.
func (t *talker) talk(ctx context.Context) {
	tick := time.NewTicker(max(t.interval, 5*time.Millisecond))
	defer tick.Stop()
	begun, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for ; time.Duration(n)*t.interval < time.Since(begun); n++ {
			t.say(t.channels[n%len(t.channels)])
		}
	}
}

func (t *talker) say(channel int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.said[channel]
	u := utterance{serial: t.serial, channel: channel, number: s.said, at: time.Now()}
	s.said++
	t.serial++
	t.pending = append(t.pending, u)
	t.write(u)
}

// answered takes an ACK, or a NACK with its error.
func (t *talker) answered(pm *protocol.ProtocolMessage, err *protocol.ErrorInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range pm.Count {
		if len(t.pending) == 0 || t.pending[0].serial > pm.MsgSerial+int64(pm.Count)-1 {
			t.report("an answer for msgSerial %d+%d, which nobody waits for", pm.MsgSerial, pm.Count)
			return
		}
		u := t.pending[0]
		t.pending = t.pending[1:]
		if err != nil {
			t.nacks[err.Code]++
			continue
		}
		t.said[u.channel].ack(u.number)
		t.waits = append(t.waits, time.Since(u.at))
		t.answers = append(t.answers, answered{u.channel, u.at, time.Since(u.at)})
	}
}

// waiting is how many publishes have no answer.
func (t *talker) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.pending)
}

func (t *talker) attached(pm *protocol.ProtocolMessage) {
	if t.known[pm.Channel] && !pm.Flags.Has(protocol.FlagResumed) || pm.Error != nil {
		t.report("channel %s goes on without continuity: %v", pm.Channel, pm.Error)
	}
	t.mu.Lock()
	t.known[pm.Channel] = true
	t.serials[pm.Channel] = pm.ChannelSerial
	t.mu.Unlock()
}

// isAttached says whether all channels were attached once.
func (t *talker) isAttached() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.known) == len(t.channels)
}

func (t *talker) heard(pm *protocol.ProtocolMessage) {
	now := time.Now()
	c := t.index[pm.Channel]
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serials[pm.Channel] = pm.ChannelSerial
	if last, ok := t.lastAt[c]; ok && now.Sub(last) > pauseLeast {
		t.pauses = append(t.pauses, lull{now, now.Sub(last)})
	}
	t.lastAt[c] = now
	for i := range pm.Messages {
		if publisher, number, ok := readSaying(string(pm.Messages[i].Data)); ok {
			t.ear.hear(voice{publisher, c}, number)
		}
	}
}

// missed is what it should have heard and did not, as of now.
func (t *talker) missed(all map[voice]*sayings) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ear.missed(t.channels, all)
}

// silences are the pauses it noted.
func (t *talker) silences() []lull {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.pauses)
}
