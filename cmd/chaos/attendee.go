package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// attendee is a client that is present on channels and watches who else is, by the rules that SDKs follow: it resumes,
// attaches again with its serials, says again what was not answered, enters again whenever it is attached, and keeps the
// set of members from events and syncs.
type attendee struct {
	name   string
	addrs  []string // of the nodes
	format protocol.Format
	room   *assembly

	mu      sync.Mutex
	online  bool
	node    int             // to try first
	ws      *websocket.Conn // nil while it is away
	gone    time.Time       // since when it is away; zero: it is not
	away    time.Duration   // longest time so far
	conn    string
	key     string
	serial  int64
	pending []statement // not answered, in order
	rooms   map[string]*attended
}

// statement is what an attendee says of members on one channel.
type statement struct {
	channel string
	serial  int64
	members []channel.Member
}

// attended is a channel as an attendee knows it.
type attended struct {
	serial   string
	attached bool
	queued   []channel.Member          // to be said when it is attached
	means    map[string]channel.Member // its own members, by client id
	fickle   map[string]bool           // clients that came or went since the last quiet moment
	members  map[memberKey]channel.Member
	syncing  bool
	residue  map[memberKey]bool
}

type memberKey struct{ client, conn string }

func (k memberKey) String() string { return k.client + "@" + k.conn }

func newAttendee(room *assembly, i int, addrs, channels []string) *attendee {
	a := &attendee{
		name: fmt.Sprint("raw", i), addrs: addrs, node: i % len(addrs), format: protocol.Format(i % 2), room: room,
		online: true, gone: time.Now(), rooms: map[string]*attended{},
	}
	for _, name := range channels {
		a.rooms[name] = &attended{means: map[string]channel.Member{}, fickle: map[string]bool{}, members: map[memberKey]channel.Member{}}
	}
	return a
}

// attend stays connected until ctx ends, or until it has left for good.
func (a *attendee) attend(ctx context.Context) {
	for ctx.Err() == nil && a.isOnline() {
		a.session(ctx)
		a.lost()
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
		}
	}
}

func (a *attendee) isOnline() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.online
}

func (a *attendee) session(ctx context.Context) {
	query := url.Values{"v": {"6"}, "format": {a.format.String()}, "key": {demoKey}, "heartbeats": {"true"}}
	a.mu.Lock()
	if a.key != "" {
		query.Set("resume", a.key)
	}
	addr := a.addrs[a.node]
	a.mu.Unlock()
	dialing, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	ws, _, err := websocket.Dial(dialing, "ws://"+addr+"/?"+query.Encode(), nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	ws.SetReadLimit(16 << 20)
	for {
		reading, cancel := context.WithTimeout(ctx, readMax)
		_, b, err := ws.Read(reading)
		cancel()
		if err != nil {
			return
		}
		pm, err := protocol.Decode(a.format, b)
		if err != nil {
			a.room.blame("%s cannot read a frame: %v", a.name, err)
			return
		}
		if !a.take(ws, pm) {
			return
		}
	}
}

// lost notes that the socket is gone; the next one is tried elsewhere.
func (a *attendee) lost() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node = (a.node + 1) % len(a.addrs)
	if a.ws == nil {
		return
	}
	a.ws, a.gone = nil, time.Now()
	for _, r := range a.rooms {
		r.attached = false
	}
}

// take does what an SDK does with a frame; false ends the session.
func (a *attendee) take(ws *websocket.Conn, pm *protocol.ProtocolMessage) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.rooms[pm.Channel]
	switch pm.Action {
	case protocol.ActionConnected:
		a.connected(ws, pm)
	case protocol.ActionAttached:
		a.attached(pm.Channel, r, pm)
	case protocol.ActionDetached:
		a.write(protocol.AppendAttach(nil, a.format, &protocol.Attach{Channel: pm.Channel, ChannelSerial: r.serial}))
	case protocol.ActionPresence, protocol.ActionSync:
		sync := pm.Action == protocol.ActionSync
		if !sync {
			r.serial = pm.ChannelSerial
		} else if !r.syncing {
			r.startSync()
		}
		for i := range pm.Presence {
			m := &pm.Presence[i]
			a.hear(pm.Channel, r, channel.Member{
				Action: channel.PresenceAction(m.Action), ID: m.ID, ClientID: m.ClientID, ConnID: m.ConnectionID, Data: m.Data, TimeMs: m.Timestamp,
			})
		}
		if _, cursor, _ := strings.Cut(pm.ChannelSerial, ":"); sync && cursor == "" {
			a.endSync(pm.Channel, r)
		}
	case protocol.ActionAck, protocol.ActionNack:
		for range pm.Count {
			if pm.Action == protocol.ActionNack {
				a.room.blame("%s was refused: %v", a.name, pm.Error)
			}
			if len(a.pending) == 0 || a.pending[0].serial > pm.MsgSerial+int64(pm.Count)-1 {
				a.room.blame("%s got an answer to nothing", a.name)
				return false
			}
			a.pending = a.pending[1:]
		}
	case protocol.ActionError:
		a.room.blame("%s was told of an error on %q: %v", a.name, pm.Channel, pm.Error)
	case protocol.ActionDisconnected, protocol.ActionClosed:
		return false
	}
	return true
}

func (a *attendee) connected(ws *websocket.Conn, pm *protocol.ProtocolMessage) {
	if a.conn != "" && pm.ConnectionID != a.conn {
		a.room.blame("%s is connection %s, was %s: not resumed: %v", a.name, pm.ConnectionID, a.conn, pm.Error)
		for i := range a.pending {
			a.pending[i].serial = int64(i)
		}
		a.serial = int64(len(a.pending))
	}
	a.away = max(a.away, time.Since(a.gone))
	a.ws, a.gone, a.conn, a.key = ws, time.Time{}, pm.ConnectionID, pm.Details.ConnectionKey
	for name, r := range a.rooms {
		a.write(protocol.AppendAttach(nil, a.format, &protocol.Attach{Channel: name, ChannelSerial: r.serial}))
	}
	for _, s := range a.pending {
		a.write(protocol.AppendClientPresence(nil, a.format, s.channel, s.serial, s.members...))
	}
}

func (a *attendee) attached(name string, r *attended, pm *protocol.ProtocolMessage) {
	if pm.Error != nil {
		a.room.blame("%s: channel %s goes on without continuity: %v", a.name, name, pm.Error)
	}
	was := r.attached
	r.attached, r.serial = true, pm.ChannelSerial
	if was && pm.Flags.Has(protocol.FlagResumed) {
		return
	}
	r.startSync()
	if !pm.Flags.Has(protocol.FlagHasPresence) {
		a.endSync(name, r)
	}
	var again []channel.Member
	for _, m := range r.means {
		m.Action = channel.Enter
		if !strings.HasPrefix(m.ID, a.conn+":") {
			m.ID = ""
		}
		again = append(again, m)
	}
	if len(again) > 0 {
		a.send(name, again)
	}
	for _, m := range r.queued {
		a.send(name, []channel.Member{m})
	}
	r.queued = nil
}

// send says something of members; it is said again until it is answered. mu is held.
func (a *attendee) send(name string, members []channel.Member) {
	s := statement{name, a.serial, members}
	a.serial++
	for i, m := range members {
		if m.Action == channel.Leave {
			delete(a.rooms[name].means, m.ClientID) // one that was queued may have brought it back
			continue
		}
		if m.ID == "" {
			m.ID = a.conn + ":" + strconv.FormatInt(s.serial, 10) + ":" + strconv.Itoa(i)
		}
		a.rooms[name].means[m.ClientID] = m
	}
	a.pending = append(a.pending, s)
	a.write(protocol.AppendClientPresence(nil, a.format, name, s.serial, members...))
}

func (a *attendee) write(frame []byte) {
	if a.ws != nil {
		send(a.ws, a.format, frame)
	}
}

// say lets one of its members enter, change or leave.
func (a *attendee) say(name string, m channel.Member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.rooms[name]
	if _, was := r.means[m.ClientID]; !was || m.Action == channel.Leave {
		r.fickle[m.ClientID] = true
	}
	if m.Action == channel.Leave {
		delete(r.means, m.ClientID)
	} else {
		r.means[m.ClientID] = m
	}
	if r.attached {
		a.send(name, []channel.Member{m})
	} else {
		r.queued = append(r.queued, m)
	}
}

// stir says anything, or loses its socket.
func (a *attendee) stir(rng *rand.Rand, names []string) {
	if rng.IntN(20) == 0 {
		a.mu.Lock()
		if a.ws != nil {
			a.ws.CloseNow()
		}
		a.mu.Unlock()
		return
	}
	m := channel.Member{Action: [...]channel.PresenceAction{channel.Enter, channel.Update, channel.Leave}[rng.IntN(3)], ClientID: fmt.Sprint(a.name, "-", rng.IntN(3))}
	if m.Action != channel.Leave {
		m.Kind, m.Data = channel.StringData, []byte(strconv.Itoa(rng.IntN(1000)))
	}
	a.say(names[rng.IntN(len(names))], m)
}

// leave goes for good: in order, or without a word.
func (a *attendee) leave(orderly bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.online = false
	for _, r := range a.rooms {
		clear(r.means)
	}
	a.pending = nil
	switch {
	case a.ws == nil:
	case orderly:
		a.write(protocol.AppendClose(nil, a.format))
	default:
		a.ws.CloseNow()
	}
}

// steady says whether a member was meant to be there all the time since the last quiet moment, and could be.
func (a *attendee) steady(name string, who memberKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.rooms[name]
	_, meant := r.means[who.client]
	return meant && !r.fickle[who.client] && who.conn == a.conn && a.online && a.away < remainTime
}

// settle begins another time in which members are steady.
func (a *attendee) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.rooms {
		clear(r.fickle)
	}
}

func (r *attended) startSync() {
	r.syncing, r.residue = true, map[memberKey]bool{}
	for key, m := range r.members {
		if m.Action != channel.Absent {
			r.residue[key] = true
		}
	}
}

func (a *attendee) endSync(name string, r *attended) {
	for key, m := range r.members {
		if r.residue[key] {
			a.room.sawLeave(a.name, name, key)
		}
		if r.residue[key] || m.Action == channel.Absent {
			delete(r.members, key)
		}
	}
	r.syncing, r.residue = false, nil
}

// hear is one event, or one member of a sync.
func (a *attendee) hear(name string, r *attended, m channel.Member) {
	key := memberKey{m.ClientID, m.ConnID}
	delete(r.residue, key)
	was, found := r.members[key]
	if found && !isNewer(&m, &was) {
		return
	}
	if m.Action != channel.Leave {
		m.Action = channel.Present
		r.members[key] = m
		return
	}
	if _, _, said := saidAs(&m); found && was.Action != channel.Absent && !said {
		a.room.sawLeave(a.name, name, key)
	}
	if delete(r.members, key); r.syncing {
		m.Action = channel.Absent
		r.members[key] = m
	}
}

// saidAs is the msgSerial and the place in it that a member's id is made of, where its client said it.
func saidAs(m *channel.Member) (serial, place int64, ok bool) {
	rest, ok := strings.CutPrefix(m.ID, m.ConnID+":")
	if !ok {
		return 0, 0, false
	}
	s, p, _ := strings.Cut(rest, ":")
	serial, err := strconv.ParseInt(s, 10, 64)
	place, err2 := strconv.ParseInt(p, 10, 64)
	return serial, place, err == nil && err2 == nil
}

// isNewer is the SDKs' rule of which word on a member counts.
func isNewer(m, than *channel.Member) bool {
	s, i, said := saidAs(m)
	t, j, also := saidAs(than)
	if !said || !also {
		return m.TimeMs >= than.TimeMs
	}
	return s > t || s == t && i > j
}

// sees is the set that it has of a channel; not ok: it waits for something.
func (a *attendee) sees(name string) (list []string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.rooms[name]
	if a.ws == nil || !r.attached || r.syncing || len(a.pending)+len(r.queued) > 0 {
		return nil, false
	}
	for key, m := range r.members {
		list = append(list, key.String()+"="+string(m.Data))
	}
	slices.Sort(list)
	return list, true
}
