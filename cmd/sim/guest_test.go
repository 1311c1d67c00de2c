package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// guest is a client that is present on channels and watches who else is, by the rules that SDKs follow: it resumes,
// attaches again with its serials, says again what was not answered, enters again whenever it is attached, and keeps the
// set of members from events and syncs.
type guest struct {
	party *party
	name  string
	ip    string
	web   *http.Client
	rng   *rand.Rand

	mu      sync.Mutex
	online  bool // comes back when its socket ends
	node    int
	ws      *websocket.Conn // nil while there is none
	conn    string
	key     string
	serial  int
	pending []presenceFrame // not answered, in order
	rooms   map[string]*guestRoom
	lostAt  time.Time // when the last socket ended
}

// guestRoom is a channel as a guest knows it.
type guestRoom struct {
	serial   string
	attached bool
	queued   []presenceEntry          // to be said when it is attached
	means    map[string]presenceEntry // its own members, by client id
	since    map[string]time.Time     // when it was told that each is a member, with nothing said against it since
	members  map[string]presenceEntry
	syncing  bool
	began    time.Time // the sync under way, or the last one
	residue  map[string]bool
	told     bool // the sync under way follows on lost continuity
}

type presenceEntry struct {
	ID       string `json:"id,omitempty"`
	Action   int    `json:"action"`
	ClientID string `json:"clientId,omitempty"`
	Conn     string `json:"connectionId,omitempty"`
	Data     string `json:"data,omitempty"`
	Time     int64  `json:"timestamp,omitempty"`
}

type presenceFrame struct {
	Action    int             `json:"action"`
	Channel   string          `json:"channel,omitempty"`
	Serial    string          `json:"channelSerial,omitempty"`
	MsgSerial *int            `json:"msgSerial,omitempty"`
	Count     int             `json:"count,omitempty"`
	Flags     int             `json:"flags,omitempty"`
	Conn      string          `json:"connectionId,omitempty"`
	Presence  []presenceEntry `json:"presence,omitempty"`
	Error     *struct {
		Message string `json:"message"`
		Code    int    `json:"code"`
	} `json:"error,omitempty"`
	Details *struct {
		ConnectionKey string `json:"connectionKey"`
	} `json:"connectionDetails,omitempty"`
}

const (
	actPresence = 14
	actSync     = 16

	// syncAge is how long before a sync begins to arrive the set that it tells of may have been.
	syncAge = 100 * time.Millisecond

	memberAbsent  = 0
	memberPresent = 1
	memberEnter   = 2
	memberLeave   = 3
	memberUpdate  = 4

	flagHasPresence = 1
	flagResumed     = 4
)

func (e *presenceEntry) key() string { return e.ClientID + "@" + e.Conn }

func (e *presenceEntry) said() bool { return strings.HasPrefix(e.ID, e.Conn+":") }

func (e *presenceEntry) newer(than *presenceEntry) bool {
	if !e.said() || !than.said() {
		return e.Time >= than.Time
	}
	parse := func(id string) (serial, index int) {
		parts := strings.Split(id, ":")
		serial, _ = strconv.Atoi(parts[1])
		index, _ = strconv.Atoi(parts[2])
		return serial, index
	}
	s, i := parse(e.ID)
	t, j := parse(than.ID)
	return s > t || s == t && i > j
}

// party is the guests of a run and what they make of each other.
type party struct {
	sim    *Sim
	names  []string // of the channels
	guests []*guest

	mu     sync.Mutex
	wrong  []string
	leaves int // that nobody said
	lost   int // times that a guest was told of lost continuity
}

func (p *party) invite(n int) {
	for i := range n {
		ip := fmt.Sprintf("10.2.0.%d", i+1)
		g := &guest{
			party: p, name: fmt.Sprint("g", i), ip: ip, web: httpClient(p.sim.Net.Host(ip), false), online: true, node: i % p.sim.Options.Nodes,
			rng: p.sim.random(uint64(7000 + i)), rooms: make(map[string]*guestRoom),
		}
		for _, name := range p.names {
			g.rooms[name] = &guestRoom{since: make(map[string]time.Time), means: make(map[string]presenceEntry), members: make(map[string]presenceEntry)}
		}
		p.guests = append(p.guests, g)
		p.sim.wg.Go(func() { g.run(p.sim.ctx) })
	}
}

// run keeps the guest connected.
func (g *guest) run(ctx context.Context) {
	defer g.web.CloseIdleConnections()
	for ctx.Err() == nil {
		g.mu.Lock()
		online, node := g.online, g.node
		g.node = g.rng.IntN(len(g.party.sim.Addresses()))
		g.mu.Unlock()
		if !online {
			return
		}
		if err := g.session(ctx, node); err != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(100*time.Millisecond + time.Duration(g.rng.Int64N(int64(200*time.Millisecond)))):
			}
		}
	}
}

// session is one socket from connect to end.
func (g *guest) session(ctx context.Context, node int) error {
	g.mu.Lock()
	resume := ""
	if g.key != "" {
		resume = "&resume=" + url.QueryEscape(g.key)
	}
	g.mu.Unlock()
	dial, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	address := "ws://" + g.party.sim.Addresses()[node] + "/?v=6&format=json&heartbeats=true&key=" + Key + resume
	ws, _, err := websocket.Dial(dial, address, &websocket.DialOptions{HTTPClient: g.web, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(-1)
	var first presenceFrame
	if err := readPresence(dial, ws, &first); err != nil || first.Action != actConnected || first.Details == nil {
		return fmt.Errorf("no CONNECTED: %v", err)
	}
	g.connected(ws, &first)
	defer g.lost()
	for {
		// Half-open sockets are found by silence, as SDKs do.
		idle, cancel := context.WithTimeout(ctx, 15*time.Second+idleGrace)
		var f presenceFrame
		err := readPresence(idle, ws, &f)
		cancel()
		if err != nil {
			return err
		}
		if f.Action == actDisconnected {
			return fmt.Errorf("sent away")
		}
		g.handle(&f)
	}
}

func readPresence(ctx context.Context, ws *websocket.Conn, f *presenceFrame) error {
	_, data, err := ws.Read(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, f)
}

// write sends a frame, or not: whoever reads notices.
func (g *guest) write(f presenceFrame) {
	if g.ws == nil {
		return
	}
	data, _ := json.Marshal(f)
	ctx, cancel := context.WithTimeout(context.Background(), connectWait)
	defer cancel()
	g.ws.Write(ctx, websocket.MessageText, data)
}

func (g *guest) connected(ws *websocket.Conn, f *presenceFrame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ws = ws
	if f.Conn != g.conn {
		g.party.sim.note("%s is %s, was %s: %+v", g.name, f.Conn, g.conn, f.Error)
		g.conn, g.serial = f.Conn, 0
		for _, r := range g.rooms {
			clear(r.since) // other members, which nobody has confirmed
		}
		for i := range g.pending {
			n := g.serial
			g.pending[i].MsgSerial = &n
			g.serial++
		}
	}
	g.key = f.Details.ConnectionKey
	for _, name := range g.party.names {
		g.write(presenceFrame{Action: actAttach, Channel: name, Serial: g.rooms[name].serial})
	}
	for _, p := range g.pending {
		g.write(p)
	}
}

func (g *guest) lost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ws, g.lostAt = nil, time.Now()
	g.party.sim.note("%s is lost", g.name)
	for _, r := range g.rooms {
		r.attached = false
	}
}

func (g *guest) handle(f *presenceFrame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rooms[f.Channel]
	switch f.Action {
	case actAttached:
		g.attached(f.Channel, r, f)
	case actDetached:
		g.write(presenceFrame{Action: actAttach, Channel: f.Channel, Serial: r.serial})
	case actPresence:
		r.serial = f.Serial
		for _, e := range f.Presence {
			g.take(f.Channel, r, e)
		}
	case actSync:
		if !r.syncing {
			r.startSync()
		}
		for _, e := range f.Presence {
			g.take(f.Channel, r, e)
		}
		if _, cursor, _ := strings.Cut(f.Serial, ":"); cursor == "" {
			g.endSync(f.Channel, r)
		}
	case actAck, actNack:
		for range f.Count {
			if f.Action == actNack {
				g.party.blame("%s was refused: %+v", g.name, f.Error)
			}
			if len(g.pending) == 0 || *g.pending[0].MsgSerial > *f.MsgSerial+f.Count-1 {
				g.party.blame("%s got an answer to nothing", g.name)
				return
			}
			said := g.pending[0]
			g.pending = g.pending[1:]
			g.confirmed(said)
		}
	case actError:
		g.party.blame("%s: %s: %+v", g.name, f.Channel, f.Error)
	}
}

// confirmed notes which members a frame that was answered has made. One whose leave waits for its answer may be seen leaving
// yet, whatever was said behind that.
func (g *guest) confirmed(said presenceFrame) {
	r := g.rooms[said.Channel]
	for _, e := range said.Presence {
		_, meant := r.means[e.ClientID]
		leaves := func(l presenceEntry) bool { return l.Action == memberLeave && l.ClientID == e.ClientID }
		leaving := slices.ContainsFunc(r.queued, leaves) || slices.ContainsFunc(g.pending, func(f presenceFrame) bool {
			return f.Channel == said.Channel && slices.ContainsFunc(f.Presence, leaves)
		})
		if _, known := r.since[e.ClientID]; e.Action != memberLeave && meant && !leaving && !known {
			r.since[e.ClientID] = time.Now()
		}
	}
}

func (g *guest) attached(name string, r *guestRoom, f *presenceFrame) {
	was := r.attached
	if f.Error != nil {
		g.party.mu.Lock()
		g.party.lost++
		g.party.mu.Unlock()
	}
	g.party.sim.note("%s attached to %s with %x, %+v", g.name, name, f.Flags, f.Error)
	r.attached, r.serial = true, f.Serial
	if was && f.Flags&flagResumed != 0 {
		return
	}
	r.startSync()
	r.told = f.Error != nil
	if f.Flags&flagHasPresence == 0 {
		g.endSync(name, r)
	}
	var again []presenceEntry
	for _, client := range sorted(r.means) {
		e := r.means[client]
		e.Action = memberEnter
		if !strings.HasPrefix(e.ID, g.conn+":") {
			e.ID = ""
		}
		again = append(again, e)
	}
	if len(again) > 0 {
		g.send(name, again)
	}
	for _, e := range r.queued {
		g.send(name, []presenceEntry{e})
	}
	r.queued = nil
}

// send says something of members; it is said again until it is answered.
func (g *guest) send(name string, list []presenceEntry) {
	n := g.serial
	g.serial++
	for i := range list {
		list[i].Conn, list[i].Time = "", 0
		if list[i].Action == memberLeave {
			delete(g.rooms[name].means, list[i].ClientID) // one that was queued may have brought it back
			delete(g.rooms[name].since, list[i].ClientID)
			continue
		}
		e := list[i]
		if e.ID == "" {
			e.ID = fmt.Sprintf("%s:%d:%d", g.conn, n, i)
		}
		g.rooms[name].means[e.ClientID] = e
	}
	f := presenceFrame{Action: actPresence, Channel: name, MsgSerial: &n, Presence: list}
	g.party.sim.note("%s says %d on %s: %+v", g.name, n, name, list)
	g.pending = append(g.pending, f)
	g.write(f)
}

// say lets a member enter, update or leave.
func (g *guest) say(name string, e presenceEntry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rooms[name]
	if e.Action == memberLeave {
		delete(r.means, e.ClientID)
		delete(r.since, e.ClientID)
	} else {
		r.means[e.ClientID] = e
	}
	if r.attached {
		g.send(name, []presenceEntry{e})
	} else {
		r.queued = append(r.queued, e)
	}
}

func (r *guestRoom) startSync() {
	r.syncing, r.residue, r.began = true, make(map[string]bool), time.Now()
	for key, e := range r.members {
		if e.Action != memberAbsent {
			r.residue[key] = true
		}
	}
}

func (g *guest) endSync(name string, r *guestRoom) {
	for key, e := range r.members {
		if r.residue[key] && !r.told {
			g.party.judge(g, name, e, r.began.Add(-syncAge))
		}
		if r.residue[key] || e.Action == memberAbsent {
			delete(r.members, key)
		}
	}
	r.syncing, r.residue = false, nil
}

// take is one event or one member of a sync.
func (g *guest) take(name string, r *guestRoom, e presenceEntry) {
	key := e.key()
	delete(r.residue, key)
	was, found := r.members[key]
	if found && !e.newer(&was) {
		return
	}
	if e.Action != memberLeave {
		e.Action = memberPresent
		r.members[key] = e
		return
	}
	if found && was.Action != memberAbsent && !e.said() {
		g.party.judge(g, name, e, time.UnixMilli(e.Time))
	}
	if r.syncing {
		e.Action = memberAbsent
		r.members[key] = e
	} else {
		delete(r.members, key)
	}
}

// close leaves for good: in order, or without a word.
func (g *guest) close(orderly bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.online = false
	for _, r := range g.rooms {
		r.means = make(map[string]presenceEntry)
	}
	g.pending = nil
	if g.ws == nil {
		return
	}
	if orderly {
		g.write(presenceFrame{Action: actClose})
	} else {
		g.ws.CloseNow()
	}
}

// drop ends the socket; the guest comes back.
func (g *guest) drop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ws != nil {
		g.ws.CloseNow()
	}
}

func (p *party) blame(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.sim.note("%s", text)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = append(p.wrong, text)
}

// judge looks at a leave that nobody said: it is wrong while the connection lives and was told, before it happened, that it is
// there. Who left and came again may be seen leaving by nobody's word where the owner died in between: its gateway says anew
// who is there without it, and behind that what was not answered. Where no node had a copy of what a dead one knew, clients
// are told that continuity is lost, look again and miss those whose own gateway died, until those enter again, as SDKs do:
// such a sync is not judged. The witness holds its own lock, so others are looked at later.
func (p *party) judge(witness *guest, name string, e presenceEntry, when time.Time) {
	at := time.Now()
	p.mu.Lock()
	p.leaves++
	p.mu.Unlock()
	p.sim.note("%s sees %s leave %s", witness.name, e.key(), name)
	p.sim.wg.Go(func() {
		for _, g := range p.guests {
			g.mu.Lock()
			meant := g.rooms[name].means[e.ClientID]
			since, there := g.rooms[name].since[e.ClientID]
			there = there && since.Before(when)
			lives := g.conn == e.Conn && g.online && (g.ws != nil || at.Sub(g.lostAt) < 15*time.Second)
			g.mu.Unlock()
			if there && lives {
				p.blame("%s sees %s leave %s, who is connected and means %+v", witness.name, e.key(), name, meant)
			}
		}
	})
}

// means is who means to be on a channel, with data.
func (p *party) means(name string) (list []string) {
	for _, g := range p.guests {
		g.mu.Lock()
		for client, e := range g.rooms[name].means {
			list = append(list, client+"@"+g.conn+"="+e.Data)
		}
		g.mu.Unlock()
	}
	slices.Sort(list)
	return list
}

// sees is the set that a guest has.
func (g *guest) sees(name string) (list []string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rooms[name]
	if g.ws == nil || !r.attached || r.syncing || len(g.pending) > 0 || len(r.queued) > 0 {
		return nil, false
	}
	for key, e := range r.members {
		list = append(list, key+"="+e.Data)
	}
	slices.Sort(list)
	return list, true
}

// disagreement says who sees something else than there is; "" when nobody does.
func (p *party) disagreement() string {
	for _, name := range p.names {
		want := p.means(name)
		for _, g := range p.guests {
			if !g.online {
				continue
			}
			if got, ok := g.sees(name); !ok || !slices.Equal(got, want) {
				return fmt.Sprintf("%s on %s (settled: %v)\n sees %v\n want %v", g.name, name, ok, got, want)
			}
		}
		for i, n := range p.sim.Nodes() {
			if !n.Up() {
				continue
			}
			var members []presenceEntry
			if _, err := p.sim.Reader.get(context.Background(), i, "/channels/"+name+"/presence?limit=1000&v=6", &members); err != nil {
				return fmt.Sprintf("node %d on %s: %v", i, name, err)
			}
			var got []string
			for _, e := range members {
				got = append(got, e.key()+"="+e.Data)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				return fmt.Sprintf("node %d on %s\n says %v\n want %v", i, name, got, want)
			}
		}
	}
	return ""
}
