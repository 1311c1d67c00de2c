package channel

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/actor"
)

var errEpochOver = errors.New("the epoch is over")

type key struct{ app, name string }

// fakeLog is a partition log that commits after a while, fences by epoch and refuses what does not alternate. It
// survives its hosts.
type fakeLog struct {
	t       testing.TB
	latency time.Duration
	onApply func(t Transition) // called with mu held when a transition is committed
	onRead  func()             // called when the occupied set has been read

	mu     sync.Mutex
	epochs map[uint32]uint64
	held   map[uint32]map[key]Held
	opened map[uint32]map[key]Held
	events []Transition
	seq    uint64
	inner  sync.WaitGroup
}

func newFakeLog(t testing.TB, latency time.Duration) *fakeLog {
	return &fakeLog{t: t, latency: latency, epochs: map[uint32]uint64{}, held: map[uint32]map[key]Held{}, opened: map[uint32]map[key]Held{}}
}

// next begins a new epoch of a partition.
func (l *fakeLog) next(part uint32) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs[part]++
	return l.epochs[part]
}

// begin gives n partitions the same epoch.
func (l *fakeLog) begin(n int, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.epochs)
	for part := range uint32(n) {
		l.epochs[part] = epoch
	}
}

// regroup moves all that is in one partition to another, for the layout that follows. Until that begins nothing is taken.
func (l *fakeLog) regroup(from, to uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.epochs)
	l.held, l.opened = map[uint32]map[key]Held{to: l.held[from]}, map[uint32]map[key]Held{to: l.opened[from]}
}

// oblige puts a channel into the occupied set.
func (l *fakeLog) oblige(part uint32, app, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[part] == nil {
		l.held[part] = map[key]Held{}
	}
	l.seq++
	l.held[part][key{app, name}] = Held{App: app, Name: name, Seq: l.seq}
}

func (l *fakeLog) Occupied(part uint32, yield func(Held) bool) {
	if l.onRead != nil {
		defer l.onRead()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held[part] {
		if !yield(h) {
			return
		}
	}
}

func (l *fakeLog) Opened(part uint32, yield func(Held) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.opened[part] {
		if !yield(h) {
			return
		}
	}
}

func (l *fakeLog) Propose(part uint32, epoch uint64, t Transition, done func(error)) {
	l.inner.Go(func() {
		if l.latency > 0 {
			time.Sleep(l.latency)
		}
		done(l.apply(part, epoch, t))
	})
}

func (l *fakeLog) apply(part uint32, epoch uint64, t Transition) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epochs[part] != epoch {
		return errEpochOver
	}
	sets := l.held
	if t.Kind == Open || t.Kind == Close {
		sets = l.opened
	}
	if sets[part] == nil {
		sets[part] = map[key]Held{}
	}
	k, set, begins := key{t.App, t.Name}, sets[part], t.Kind == Occupy || t.Kind == Open
	if _, is := set[k]; is == begins {
		l.t.Errorf("no alternation: %s of %s while it is so: %v", kindNames[t.Kind], t.Name, is)
		return nil
	}
	if begins {
		l.seq++
		set[k] = Held{App: t.App, Name: t.Name, Seq: l.seq, SinceMs: t.TimeMs}
	} else {
		delete(set, k)
	}
	l.events = append(l.events, t)
	if l.onApply != nil {
		l.onApply(t)
	}
	return nil
}

func (l *fakeLog) isHeld(part uint32, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, is := l.held[part][key{"app", name}]
	return is
}

func (l *fakeLog) isOpen(part uint32, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, is := l.opened[part][key{"app", name}]
	return is
}

// said is what was committed, in short.
func (l *fakeLog) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := ""
	for _, e := range l.events {
		s += fmt.Sprintf("%s %s; ", kindNames[e.Kind], e.Name)
	}
	return s
}

var kindNames = map[Kind]string{Occupy: "occupied", Vacate: "vacated", Open: "opened", Close: "closed"}

type fakeLease struct {
	lost   atomic.Bool
	onHeld atomic.Pointer[func()] // called once
}

func (l *fakeLease) Held() bool {
	if f := l.onHeld.Swap(nil); f != nil {
		(*f)()
	}
	return !l.lost.Load()
}

// inbox keeps what the gateways were sent.
type inbox struct {
	mu     sync.Mutex
	frames map[GatewayID][]ToGateway
	down   map[GatewayID]bool
}

func (in *inbox) ToGateway(to GatewayID, _ uint32, _ uint64, m ToGateway) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.down[to] {
		return false
	}
	if in.frames == nil {
		in.frames = map[GatewayID][]ToGateway{}
	}
	in.frames[to] = append(in.frames[to], m)
	return true
}

// take empties the inbox of a gateway.
func (in *inbox) take(id GatewayID) []ToGateway {
	in.mu.Lock()
	defer in.mu.Unlock()
	frames := in.frames[id]
	delete(in.frames, id)
	return frames
}

var (
	boot1 = GatewayID{"n1", "b1"}
	boot2 = GatewayID{"n2", "b2"}
	boot3 = GatewayID{"n3", "b3"}
)

// house is a host with everything around it faked. It has one partition unless made otherwise.
type house struct {
	*Host
	t        *testing.T
	log      *fakeLog
	in       *inbox
	lease    *fakeLease
	epoch    uint64
	versions map[GatewayID]uint64
	graceEnd time.Time
}

func newHouse(t *testing.T, change func(*HostConfig)) *house {
	h := &house{t: t, log: newFakeLog(t, 10*time.Millisecond), in: &inbox{}, lease: &fakeLease{}, versions: map[GatewayID]uint64{}}
	cfg := HostConfig{
		Log: h.log, Gateways: h.in, Lease: h.lease, Partitions: 1, Series: "s", Workers: 2,
		Settings:          func(string, string) Settings { return standSettings },
		RestartGraceUntil: func() time.Time { return h.graceEnd },
	}
	if change != nil {
		change(&cfg)
	}
	h.Host = NewHost(cfg)
	t.Cleanup(func() { h.Close(); h.log.inner.Wait() })
	return h
}

// serve makes the partition served, with these gateways holding nothing.
func (h *house) serve(boots ...GatewayID) *house {
	h.t.Helper()
	h.SetMembers(boots)
	h.acquire()
	for _, b := range boots {
		h.snapshot(b)
	}
	synctest.Wait()
	if s := h.Stats(); s.Serving != 1 {
		h.t.Fatalf("not served: %+v", s)
	}
	return h
}

func (h *house) acquire() {
	h.epoch = h.log.next(0)
	h.Acquire(0, h.epoch)
}

func (h *house) reg(from GatewayID, name string, subscribers int32, confirm bool) Register {
	h.versions[from]++
	r := Register{App: "app", Name: name, Version: h.versions[from], Confirm: confirm}
	r.Counts[Connections], r.Counts[Subscribers] = subscribers, subscribers
	return r
}

func (h *house) snapshot(from GatewayID, regs ...Register) bool {
	return h.FromGateway(from, 0, h.epoch, &Snapshot{Registers: regs})
}

// attach registers subscribers and asks for the confirmation.
func (h *house) attach(from GatewayID, name string, subscribers int32) bool {
	r := h.reg(from, name, subscribers, true)
	return h.FromGateway(from, 0, h.epoch, &r)
}

func (h *house) query(from GatewayID, name string) *QueryResult {
	h.t.Helper()
	h.FromGateway(from, 0, h.epoch, &Query{App: "app", Name: name, Req: 1})
	synctest.Wait()
	return one[*QueryResult](h, from)
}

func (h *house) publish(from GatewayID, name string, req uint64) {
	h.FromGateway(from, 0, h.epoch, &Publish{App: "app", Name: name, Req: req, Messages: []Message{{Name: "m"}}})
}

// one expects exactly one frame, of this type.
func one[T ToGateway](h *house, id GatewayID) T {
	h.t.Helper()
	frames := h.in.take(id)
	if len(frames) == 1 {
		if m, ok := frames[0].(T); ok {
			return m
		}
	}
	var want T
	h.t.Fatalf("%v was sent %d frames %+v, want one %T", id, len(frames), frames, want)
	return want
}

func (h *house) silent(ids ...GatewayID) {
	h.t.Helper()
	for _, id := range ids {
		if frames := h.in.take(id); len(frames) > 0 {
			h.t.Fatalf("%v was sent %T %+v, want nothing", id, frames[0], frames[0])
		}
	}
}

func (h *house) said(want string) {
	h.t.Helper()
	if got := h.log.said(); got != want {
		h.t.Fatalf("in the log: %q, want %q", got, want)
	}
}

// activations counts the channels that have an actor.
func (h *house) activations() int {
	p := &h.layout.Load().parts[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.channels.n
}

// blocker keeps a worker busy until released.
type blocker struct {
	actor.Actor[Input]
	release chan struct{}
}

func (b *blocker) Receive([]Input, bool) actor.Next { <-b.release; return actor.Next{} }
func (b *blocker) Stopped()                         {}
