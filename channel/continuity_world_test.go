package channel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cluster/ring"
)

// sea is a cluster whose gateways publish and listen while owners die, move and lose their links. Frames travel in order
// on links that take their time and can be cut, which loses what is under way. It judges continuity: whatever was
// acknowledged is heard by every gateway exactly once, and all gateways hear the same in the same order.
type sea struct {
	*testing.T
	rnd   *rand.Rand
	log   *fakeLog
	boots int
	epoch uint64
	table ring.Table // all partitions have one owner, and change it together

	mu       sync.Mutex
	ships    []*ship // alive
	links    map[[2]string]*simLink
	owner    *ship
	follower *ship
	sailing  sync.WaitGroup
	acked    map[string]string // id → serial
	created  []string          // serials of messages that were acknowledged, without those that changed others
	changed  map[string]int    // by such a serial: changes that were acknowledged
	onHost   func(ToHost)      // is shown what hosts say to each other; nil: nobody looks
	storm    bool              // publishing goes on while owners change
	lossy    bool              // somebody may be told of lost continuity
}

// ship is one node: a host and a gateway that listens to one channel and publishes to it.
type ship struct {
	sea   *sea
	id    GatewayID
	host  *Host
	lease fakeLease

	founder bool // has heard everything
	lost    bool // was told that continuity is lost; guarded by mu

	mu      sync.Mutex
	sunk    bool
	owner   *ship
	epoch   uint64
	part    uint32 // of the channel
	version uint64
	serial  string
	mending bool
	req     uint64
	asked   []*Publish                  // not answered, in order
	answers map[uint64]func(*Published) // to what a test has asked beside
	recall  uint64
	log     []string // ids heard
}

// simLink carries functions in order, each after a while.
type simLink struct {
	mu      sync.Mutex
	session uint64
	queue   []func()
	mute    bool // what is sent is lost
	wake    chan struct{}
}

func (w *sea) link(from, to GatewayID) *simLink {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]string{from.Boot, to.Boot}
	l := w.links[key]
	if l == nil {
		l = &simLink{wake: make(chan struct{}, 1), session: 1}
		w.links[key] = l
		delay := time.Duration(len(w.links)%4) * time.Millisecond
		w.sailing.Go(func() { l.run(delay) })
	}
	return l
}

func (l *simLink) run(delay time.Duration) {
	for range l.wake {
		for {
			l.mu.Lock()
			if len(l.queue) == 0 {
				l.mu.Unlock()
				break
			}
			session := l.session
			l.mu.Unlock()
			time.Sleep(delay)
			l.mu.Lock()
			var f func()
			if session == l.session && len(l.queue) > 0 {
				f, l.queue = l.queue[0], l.queue[1:]
			}
			l.mu.Unlock()
			if f != nil {
				f()
			}
		}
	}
}

func (l *simLink) send(session uint64, f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if session != 0 && session != l.session {
		return false
	}
	if l.mute {
		return true
	}
	l.queue = append(l.queue, f)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// cut loses what is under way and begins a new session.
func (l *simLink) cut() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = nil
	l.session++
	return l.session
}

func (w *sea) find(id GatewayID) *ship {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.ships {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (w *sea) launch() *ship {
	w.boots++
	s := &ship{sea: w, id: GatewayID{fmt.Sprint("n", w.boots), fmt.Sprint("b", w.boots)}}
	s.host = NewHost(HostConfig{
		Log: w.log, Gateways: s, Hosts: s, Self: s.id, Lease: &s.lease, Partitions: len(w.table.Slots), Series: s.id.Boot, Workers: 2,
		Settings: func(string, string) Settings {
			return Settings{VacateDelay: 2 * time.Second, IdleClose: 5 * time.Second, OccupancyInterval: time.Second, Retention: 2 * time.Minute, Mutable: true}
		},
	})
	w.mu.Lock()
	w.ships = append(w.ships, s)
	w.mu.Unlock()
	return s
}

// ToGateway and ToHost carry this ship's frames away.
func (s *ship) ToGateway(to GatewayID, _ uint32, epoch uint64, m ToGateway) bool {
	return s.sea.link(s.id, to).send(0, func() {
		if t := s.sea.find(to); t != nil {
			t.told(s, epoch, m)
		}
	})
}

func (s *ship) ToHost(to GatewayID, session uint64, part uint32, epoch uint64, m ToHost) bool {
	if s.sea.onHost != nil {
		s.sea.onHost(m)
	}
	frame := AppendToHost(nil, m)
	return s.sea.link(s.id, to).send(session, func() {
		if t := s.sea.find(to); t != nil {
			m, err := DecodeToHost(frame)
			if err != nil {
				s.sea.Error(err)
			}
			t.host.FromHost(s.id, part, epoch, m)
		}
	})
}

func (s *ship) tell(m ToOwner) {
	owner, epoch, part := s.owner, s.epoch, s.part
	s.sea.link(s.id, owner.id).send(0, func() {
		if s.sea.find(owner.id) != nil {
			owner.host.FromGateway(s.id, part, epoch, m)
		}
	})
}

// route begins a session with the owner.
func (s *ship) route(owner *ship, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner, s.epoch = owner, epoch
	s.version++
	for part := range uint32(len(s.sea.table.Slots)) {
		if s.part = part; part != s.sea.part() {
			s.tell(&Snapshot{})
		}
	}
	s.part = s.sea.part()
	r := Register{App: "app", Name: "room", Version: s.version, Confirm: true, Serial: s.serial}
	r.Counts[Connections], r.Counts[Subscribers] = 1, 1
	s.tell(&Snapshot{Registers: []Register{r}})
	s.mending = false
	for _, p := range s.asked {
		s.tell(p)
	}
}

func (s *ship) say() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.req++
	p := &Publish{App: "app", Name: "room", Req: s.req, ID: fmt.Sprintf("%s:%d", s.id.Boot, s.req), Messages: []Message{{Name: "m", Kind: StringData}}}
	if e := s.sea.edit(); e != nil {
		p.Messages[0] = Message{Name: "m", Kind: StringData, Data: []byte{'x'}, ClientID: "c", Edit: e}
	}
	s.asked = append(s.asked, p)
	s.tell(p)
}

// told is the gateway: it follows the chain of positions and asks for what is missing.
func (s *ship) told(from *ship, epoch uint64, m ToGateway) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sunk || epoch != s.epoch || from != s.owner {
		return
	}
	switch m := m.(type) {
	case *Registered:
		if m.Lost {
			if !s.sea.lossy {
				s.sea.Errorf("%v: lost at %s", s.id, s.serial)
			}
			s.lost, s.serial = true, m.Serial
			return
		}
		s.stand(m.Serial)
	case *Delivery:
		switch {
		case SerialPosition(m.Serial) <= SerialPosition(s.serial):
		case s.serial != "" && m.Prev != SerialPosition(s.serial):
			s.mend()
		default:
			s.hear(m)
		}
	case *HistoryResult:
		if m.Req != s.recall || !s.mending {
			return
		}
		s.mending = false
		if m.Refusal != Accepted {
			s.later(s.mend)
			return
		}
		if !m.Complete {
			s.sea.Errorf("%v: nothing is known behind %s", s.id, s.serial)
		}
		for _, d := range m.Deliveries {
			if SerialPosition(d.Serial) > SerialPosition(s.serial) {
				s.hear(d)
			}
		}
		s.serial = max(s.serial, m.Serial)
	case *Published:
		if answer := s.answers[m.Req]; answer != nil {
			answer(m)
			return
		}
		i := slices.IndexFunc(s.asked, func(p *Publish) bool { return p.Req == m.Req })
		if i < 0 {
			return
		}
		p := s.asked[i]
		if m.Refusal > Busy {
			s.sea.Errorf("%v: %s about %+v was refused: %d", s.id, p.ID, p.Messages[0].Edit, m.Refusal)
			s.asked = slices.Delete(s.asked, i, i+1)
			return
		}
		if m.Refusal != Accepted {
			s.later(func() {
				if slices.Contains(s.asked, p) {
					s.tell(p)
				}
			})
			return
		}
		s.asked = slices.Delete(s.asked, i, i+1)
		s.sea.ack(p.ID, m.Serial)
		s.sea.remember(p, m.Serial)
	}
}

func (s *ship) later(f func()) {
	time.AfterFunc(20*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.sunk {
			f()
		}
	})
}

func (s *ship) stand(serial string) {
	switch {
	case SerialPosition(serial) <= SerialPosition(s.serial):
	case s.serial == "":
		s.serial = serial
	default:
		s.mend()
	}
}

func (s *ship) mend() {
	if !s.mending {
		s.mending = true
		s.recall++
		s.tell(&History{App: "app", Name: "room", Req: s.recall, After: s.serial, Raw: true})
	}
}

func (s *ship) hear(d *Delivery) {
	s.serial = d.Serial
	s.log = append(s.log, d.ID)
}

func (w *sea) ack(id, serial string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if was, ok := w.acked[id]; ok && was != serial {
		w.Errorf("%s was acknowledged as %s and as %s", id, was, serial)
	}
	w.acked[id] = serial
}

// edit is about one of the last messages that were acknowledged, or nil.
func (w *sea) edit() *Edit {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.created) == 0 || w.rnd.IntN(2) == 0 {
		return nil
	}
	e := &Edit{Action: MessageAppend, Serial: w.created[max(0, len(w.created)-1-w.rnd.IntN(5))]}
	if w.rnd.IntN(3) == 0 {
		e.Action, e.Type = Annotate, "a:total.v1"
	}
	return e
}

// remember keeps what was acknowledged.
func (w *sea) remember(p *Publish, serial string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := p.Messages[0].Edit; {
	case e == nil:
		w.created = append(w.created, serial+":000")
	default:
		w.changed[e.Serial]++
	}
}

// judgeChanges asks the owner what became of messages: every acknowledged change is there, none twice.
func (w *sea) judgeChanges() {
	p := w.owner.host.layout.Load().part(0)
	pos, _ := p.place("app", "room")
	p.mu.Lock()
	a := p.channels.find(pos)
	p.mu.Unlock()
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := w.owner.host.moment()
	for serial, want := range w.changed {
		if parseSerial(serial).ms <= now.UnixMs-a.state.profile.Retention.Milliseconds() {
			continue // kept no longer
		}
		versions := a.state.lookup(now, &Lookup{What: LookupVersions, Serial: serial})
		notes := a.state.lookup(now, &Lookup{What: LookupAnnotations, Serial: serial})
		if versions.Refusal != Accepted {
			w.Errorf("%s is not known to %v: %d", serial, w.owner.id, versions.Refusal)
			continue
		}
		appends := len(versions.Deliveries) - 1
		latest := versions.Deliveries[appends].Messages[0]
		if got := appends + len(notes.Deliveries); got < want || len(latest.Data) != appends {
			w.Errorf("%s has %d changes of %d, and the text %q of %d appends", serial, got, want, latest.Data, appends)
		}
	}
}

// commit makes an owner, and somebody its follower, and tells everybody in some order.
func (w *sea) commit(owner *ship, fresh bool) {
	if fresh {
		w.epoch++
		w.log.begin(len(w.table.Slots), w.epoch)
	}
	was := w.owner
	w.owner, w.follower = owner, nil
	var members []GatewayID
	for _, s := range w.ships {
		members = append(members, s.id)
		if s != owner && (w.follower == nil || w.rnd.IntN(2) == 0) {
			w.follower = s
		}
	}
	order := slices.Clone(w.ships)
	w.rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, s := range order {
		s.host.SetMembers(members)
		s.host.Layout(w.table)
		switch {
		case !fresh:
		case s == owner:
			for part := range w.table.Slots {
				s.host.Acquire(uint32(part), w.epoch)
			}
		case s == was || w.rnd.IntN(2) == 0:
			for part := range w.table.Slots {
				s.host.Release(uint32(part), w.epoch)
			}
		}
		if s == owner {
			w.follow()
		}
		if fresh || was == nil {
			s.route(owner, w.epoch)
		}
		if w.storm {
			for range w.rnd.IntN(4) {
				w.ships[w.rnd.IntN(len(w.ships))].say()
			}
		}
		time.Sleep(time.Duration(w.rnd.IntN(5)) * time.Millisecond)
	}
}

func (w *sea) follow() {
	if w.follower == nil {
		w.followBy(GatewayID{}, 0)
		return
	}
	l := w.link(w.owner.id, w.follower.id)
	l.mu.Lock()
	session := l.session
	l.mu.Unlock()
	w.followBy(w.follower.id, session)
}

func (w *sea) followBy(to GatewayID, session uint64) {
	for part := range w.table.Slots {
		w.owner.host.Follow(uint32(part), to, session)
	}
}

// sever cuts the links between the owner and another ship, and tells the owner.
func (w *sea) sever(s *ship) {
	l := w.link(w.owner.id, s.id)
	session := l.cut() - 1
	w.link(s.id, w.owner.id).cut()
	w.owner.host.Parted(s.id, session)
}

// part is where the channel belongs.
func (w *sea) part() uint32 { return ring.Partition(ring.Hash("app", "room"), len(w.table.Slots)) }

// cut cuts the ring into n partitions, which then belong to a ship.
func (w *sea) cut(n int, owner *ship) {
	was, before := w.part(), w.table.Slots
	w.table = ring.Table{Slots: make([]ring.Slot, n), Began: w.epoch + 1}
	for range before {
		w.table.Before = append(w.table.Before, w.epoch)
	}
	for i := range w.table.Slots {
		w.table.Slots[i].Epoch = w.epoch + 1
	}
	w.log.regroup(was, w.part())
	w.commit(owner, true)
}

// settled waits until everybody has a copy and an answer.
func (w *sea) settled() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func (w *sea) step() {
	s := w.ships[w.rnd.IntN(len(w.ships))]
	switch w.rnd.IntN(30) {
	case 0: // a death, at any moment of publishing
		if len(w.ships) < 3 {
			return
		}
		w.settled()
		for range w.rnd.IntN(8) {
			w.ships[w.rnd.IntN(len(w.ships))].say()
			time.Sleep(time.Duration(w.rnd.IntN(2000)) * time.Microsecond)
		}
		if w.rnd.IntN(2) == 0 {
			s = w.owner
		}
		w.sink(s)
		if s == w.follower {
			w.followBy(GatewayID{}, 0) // the link is down
		}
		time.Sleep(time.Duration(w.rnd.IntN(500)) * time.Millisecond)
		if s == w.owner {
			w.commit(w.ships[w.rnd.IntN(len(w.ships))], true)
		} else {
			w.commit(w.owner, false)
		}
	case 1: // a newcomer
		if len(w.ships) < 4 {
			w.settled()
			s := w.launch()
			w.commit(w.owner, false)
			s.route(w.owner, w.epoch)
		}
	case 2: // a move; while its owner lives nothing is lost, whoever has a copy
		w.storm = w.rnd.IntN(2) == 0
		if !w.storm {
			w.settled()
		}
		w.commit(s, true)
		if w.storm {
			time.Sleep(100 * time.Millisecond) // until it serves
		}
		w.storm = false
	case 8: // the ring is cut anew, and maybe somebody dies before it is open
		w.settled()
		old := w.owner
		w.cut(1<<w.rnd.IntN(4), s)
		if w.rnd.IntN(2) == 0 && len(w.ships) > 2 {
			time.Sleep(time.Duration(w.rnd.IntN(8)) * time.Millisecond)
			w.dieUnopened(old)
		}
		time.Sleep(200 * time.Millisecond)
	case 9: // others follow, and the owner dies before they have been sent everything
		if len(w.ships) < 3 {
			return
		}
		w.settled()
		for range 1 + w.rnd.IntN(3) {
			w.commit(w.owner, false)
			for range w.rnd.IntN(4) {
				w.ships[w.rnd.IntN(len(w.ships))].say()
				time.Sleep(time.Duration(w.rnd.IntN(3000)) * time.Microsecond)
			}
		}
		if w.rnd.IntN(2) == 0 {
			w.sink(w.owner)
			time.Sleep(time.Duration(w.rnd.IntN(500)) * time.Millisecond)
			w.commit(w.ships[w.rnd.IntN(len(w.ships))], true)
		}
	case 3: // the link to the follower is cut
		if w.follower != nil {
			w.sever(w.follower)
			w.follow()
			w.owner.route2(w)
			w.follower.route2(w)
		}
	case 4: // frames to a gateway are lost
		w.sever(s)
		if s == w.follower {
			w.follow()
		}
		s.route2(w)
	case 5, 6, 7:
		time.Sleep(time.Duration(w.rnd.IntN(300)) * time.Millisecond)
	default:
		s.say()
		time.Sleep(time.Duration(w.rnd.IntN(1500)) * time.Microsecond)
	}
}

// dieUnopened sinks the new owner or the old one, unless a partition is served already: what the new owner acknowledges
// before its copy is whole may be lost with it.
func (w *sea) dieUnopened(old *ship) {
	s := old
	if w.rnd.IntN(2) == 0 {
		s = w.owner
	}
	parts, serves := w.owner.host.layout.Load().parts, false
	for i := range parts {
		parts[i].mu.Lock()
		serves = serves || parts[i].at == serving
	}
	for i := range parts {
		if s == w.owner && !serves {
			parts[i].barrier = Barrier{} // nor will it be in this moment
		}
		parts[i].mu.Unlock()
	}
	if serves {
		return
	}
	w.sink(s)
	heir := w.owner
	if s == heir {
		heir = w.ships[w.rnd.IntN(len(w.ships))]
	}
	w.commit(heir, s == w.owner)
}

// sink ends a ship at once.
func (w *sea) sink(s *ship) {
	s.mu.Lock()
	s.sunk = true
	s.mu.Unlock()
	w.mu.Lock()
	w.ships = slices.DeleteFunc(w.ships, func(x *ship) bool { return x == s })
	w.mu.Unlock()
	s.lease.lost.Store(true)
	s.host.Close()
	if s != w.owner {
		w.sever(s)
	}
}

func (s *ship) route2(w *sea) { s.route(w.owner, w.epoch) }

func (w *sea) rest() {
	w.settled()
	w.judgeChanges()
	longest := w.ships[0]
	for _, s := range w.ships {
		if len(s.asked) > 0 {
			w.Errorf("%v: %d publishes were never answered", s.id, len(s.asked))
		}
		if len(s.log) > len(longest.log) {
			longest = s
		}
	}
	count := map[string]int{}
	for _, id := range longest.log {
		if count[id]++; count[id] > 1 {
			w.Errorf("%s was heard twice", id)
		}
	}
	for id := range w.acked {
		if count[id] == 0 && longest.founder {
			w.Errorf("%s was acknowledged and never heard by %v", id, longest.id)
		}
	}
	for _, s := range w.ships {
		// Who came later heard the end of it.
		if tail := longest.log[len(longest.log)-len(s.log):]; !slices.Equal(tail, s.log) {
			w.Errorf("%v heard\n%v\n%v heard\n%v", s.id, s.log, longest.id, tail)
		}
	}
}

func TestSeasOfPublishes(t *testing.T) {
	for seed := range uint64(*worldSeeds) {
		synctest.Test(t, func(t *testing.T) {
			w := &sea{T: t, rnd: rand.New(rand.NewPCG(seed, 11)), links: map[[2]string]*simLink{}, acked: map[string]string{}, changed: map[string]int{}, table: ring.Table{Slots: make([]ring.Slot, 1)}}
			w.log = newFakeLog(t, time.Millisecond)
			for range 3 {
				w.launch().founder = true
			}
			w.commit(w.ships[0], true)
			w.settled()
			for range 3 {
				for range 100 {
					w.step()
				}
				w.rest()
			}
			for _, s := range w.ships {
				s.host.Close()
			}
			w.log.inner.Wait()
			for _, l := range w.links {
				close(l.wake)
			}
			w.sailing.Wait()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}

// Large histories travel in parts, and no more of them at once than a link can take.
func TestLargeHistoriesAreHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &sea{T: t, rnd: rand.New(rand.NewPCG(1, 1)), links: map[[2]string]*simLink{}, acked: map[string]string{}, changed: map[string]int{}, table: ring.Table{Slots: make([]ring.Slot, 1)}}
		w.log = newFakeLog(t, time.Millisecond)
		a, b := w.launch(), w.launch()
		w.commit(a, true)
		w.settled()
		data := make([]byte, 60<<10)
		const rooms, each = 20, 40 // 48 MB
		req := uint64(1 << 20)
		for room := range rooms {
			for i := range each {
				req++
				a.host.FromGateway(a.id, 0, w.epoch, &Publish{
					App: "app", Name: fmt.Sprint("big", room), Req: req, ID: fmt.Sprint(room, ":", i), Messages: []Message{{Kind: BinaryData, Data: data}},
				})
			}
			time.Sleep(time.Second)
		}
		total := func(s *ship) (n int) {
			p := &s.host.layout.Load().parts[0]
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.tenure == nil {
				for _, c := range p.replica.channels {
					n += len(c.visible())
				}
				return n
			}
			p.channels.all(func(a *activation) bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				n += len(a.state.past.visible())
				return true
			})
			return n
		}
		check := func(what string, s *ship) {
			t.Helper()
			w.settled()
			if n := total(s); n != rooms*each {
				t.Errorf("%s: %d publishes, want %d", what, n, rooms*each)
			}
			if h := s.host; h.feeding != 0 {
				t.Errorf("%s: %d feeds are under way", what, h.feeding)
			}
		}
		check("the owner", a)
		check("the follower", b)
		c := w.launch() // has nothing
		w.mu.Lock()
		w.ships = []*ship{a, c}
		w.mu.Unlock()
		w.commit(a, false)
		check("another follower", c)
		w.mu.Lock()
		w.ships = []*ship{a, b, c}
		w.mu.Unlock()
		w.commit(b, true) // a move: b's own copy is not the latest
		check("the owner after a move", b)
		for _, s := range w.ships {
			if h := s.host; h.feeding != 0 {
				t.Errorf("%v: %d feeds are under way", s.id, h.feeding)
			}
			s.host.Close()
		}
		w.log.inner.Wait()
		for _, l := range w.links {
			close(l.wake)
		}
		w.sailing.Wait()
	})
}
