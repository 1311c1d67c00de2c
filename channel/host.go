package channel

import (
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/actor"
	"innkeeper/cluster/ring"
)

const (
	mailboxDefault = 512
	// Registers find room long after publishes do not: refusing one costs a whole Snapshot.
	registerRoom = 16
	// Effects kept for reuse.
	scratchMax = 4096
	// Registers that may follow a Snapshot while its gateway or partition is not served yet.
	bufferedMax = 1 << 16
	// Channels in one answer to a List.
	listMax = 1000
)

// Host runs the channels of the partitions this node owns.
//
// SetMembers, Acquire and Release are called in order by one goroutine; all else from any. Nothing blocks except Close.
type Host struct {
	cfg      HostConfig // static
	log      *slog.Logger
	sys      *actor.System[Input]
	layout   atomic.Pointer[layout] // replaced, under cutting
	scratch  sync.Pool              // *[]Effect
	counters counters
	opened   openedHere
	openNow  sync.Map // app → *atomic.Int64: open channels in all partitions of this node

	roster atomic.Pointer[roster] // replaced, never written to, under mu

	mu       sync.Mutex // the lock below partition.mu
	profiles map[Settings]*Profile
	apps     map[string]string
	floor    Stamp // greatest serial of any channel that was closed here
	feeding  int   // partitions that send what is old
	hungry   []*partition

	streams atomic.Uint64 // the last copy's number

	cutting sync.RWMutex // above partition.mu; held to write while the ring is cut anew
	early   map[earlyKey]*session
	asks    []earlyAsk
}

// roster is who the gateways are. It is immutable.
type roster struct {
	generation uint64 // counts SetMembers
	ids        []GatewayID
	byID       map[GatewayID]Gateway
	live       []Gateway
	gone       map[Gateway]struct{} // were live and are no more: nothing they say counts
}

// NewHost makes a host that owns nothing yet.
func NewHost(cfg HostConfig) *Host {
	if cfg.Mailbox <= 0 {
		cfg.Mailbox = mailboxDefault
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Host{
		cfg:      cfg,
		log:      log,
		sys:      actor.NewSystem[Input](cfg.Workers),
		profiles: make(map[Settings]*Profile),
		apps:     make(map[string]string),
	}
	h.scratch.New = func() any { return new([]Effect) }
	h.roster.Store(&roster{})
	h.layout.Store(newLayout(h, ring.Table{Slots: make([]ring.Slot, cfg.Partitions)}))
	return h
}

// SetMembers says which gateway boots are committed and live. What other boots held is dropped.
func (h *Host) SetMembers(live []GatewayID) {
	h.mu.Lock()
	next := h.roster.Load().clone()
	next.generation++
	was := next.live
	next.live = make([]Gateway, 0, len(live))
	for _, id := range live {
		g := next.intern(id)
		next.live = append(next.live, g)
		delete(next.gone, g)
	}
	for _, g := range was {
		if !contains(next.live, g) {
			next.gone[g] = struct{}{}
		}
	}
	h.roster.Store(next)
	h.mu.Unlock()
	parts := h.layout.Load().parts
	for i := range parts {
		parts[i].nudge()
	}
}

// Acquire begins a tenure of a partition: it is rebuilt from what the gateways say, then served.
func (h *Host) Acquire(part uint32, epoch uint64) { h.layout.Load().parts[part].acquire(epoch) }

// Release ends the tenure: another member owns the partition at this epoch. When it returns nothing more is sent or
// proposed for the partition, except by a batch that was under way, whose epoch fences it.
func (h *Host) Release(part uint32, epoch uint64) { h.layout.Load().parts[part].release(epoch) }

// FromGateway takes one frame of a gateway for a partition at an epoch; the host owns m from now on. Frames of one
// gateway come in order. Requests are always answered, if with a refusal. False: a registration could not be kept; the
// caller makes the gateway send everything again (a new session).
func (h *Host) FromGateway(from GatewayID, part uint32, epoch uint64, m ToOwner) bool {
	l, g := h.layout.Load(), h.gateway(from)
	switch m.(type) {
	case *Snapshot, *Register:
		return h.registration(l, g, part, epoch, m)
	}
	p := l.part(part)
	if p == nil {
		h.refuse(from, part, epoch, m, NotOwner)
		return true
	}
	switch m := m.(type) {
	case *Publish:
		if refusal := p.put(g, epoch, m.App, m.Name, Input{Kind: InPublish, Publish: m}); refusal != Accepted {
			h.refuse(from, part, epoch, m, refusal)
		}
	case *Query:
		if result := p.query(g, epoch, m); result != nil {
			h.answer(from, part, epoch, result)
		}
	case *History:
		if result := p.history(g, epoch, m); result != nil {
			h.answer(from, part, epoch, result)
		}
	case *PresenceChange:
		if refusal := p.put(g, epoch, m.App, m.Name, Input{Kind: InPresence, Presence: m}); refusal != Accepted {
			h.refuse(from, part, epoch, m, refusal)
		}
	case *PresenceQuery:
		if refusal, passed := p.ask(g, epoch, m.App, m.Name, Input{Kind: InMembers, Members: m}); !passed {
			h.answer(from, part, epoch, &PresencePage{Req: m.Req, Refusal: refusal})
		}
	case *Lookup:
		if result := p.lookup(g, epoch, m); result != nil {
			h.answer(from, part, epoch, result)
		}
	case *List:
		h.answer(from, part, epoch, p.list(epoch, m))
	}
	return true
}

// Close drops everything and waits for the channels that are busy.
func (h *Host) Close() {
	h.cutting.Lock()
	defer h.cutting.Unlock()
	l := h.layout.Load()
	for i := range l.parts {
		l.parts[i].close()
	}
	h.sys.Close()
}

// gateway is the short name of a boot.
func (h *Host) gateway(id GatewayID) Gateway {
	if g, ok := h.roster.Load().byID[id]; ok {
		return g
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.roster.Load().clone()
	g := next.intern(id)
	h.roster.Store(next)
	return g
}

func (r *roster) clone() *roster {
	c := &roster{
		generation: r.generation,
		ids:        append([]GatewayID(nil), r.ids...),
		byID:       maps.Clone(r.byID),
		live:       r.live,
		gone:       maps.Clone(r.gone),
	}
	if c.byID == nil {
		c.byID = make(map[GatewayID]Gateway)
	}
	if c.gone == nil {
		c.gone = make(map[Gateway]struct{})
	}
	return c
}

func (r *roster) intern(id GatewayID) Gateway {
	g, ok := r.byID[id]
	if !ok {
		r.ids = append(r.ids, id)
		g = Gateway(len(r.ids)) // 0 is none
		r.byID[id] = g
	}
	return g
}

func (r *roster) isGone(g Gateway) bool {
	_, ok := r.gone[g]
	return ok
}

// send carries one frame of a channel to a gateway.
func (h *Host) send(to Gateway, part uint32, epoch uint64, m ToGateway) {
	h.answer(h.roster.Load().ids[to-1], part, epoch, m)
}

func (h *Host) answer(to GatewayID, part uint32, epoch uint64, m ToGateway) {
	if !h.cfg.Gateways.ToGateway(to, part, epoch, m) {
		h.counters.unsent.Add(1)
	}
}

// refuse answers a request that is not done. Registrations have no answer.
func (h *Host) refuse(to GatewayID, part uint32, epoch uint64, m ToOwner, why Refusal) {
	var answer ToGateway
	switch m := m.(type) {
	case *Publish:
		answer = &Published{Req: m.Req, Refusal: why}
	case *Query:
		answer = &QueryResult{Req: m.Req, Refusal: why}
	case *List:
		answer = &ListResult{Req: m.Req, Refusal: why}
	case *History:
		answer = &HistoryResult{Req: m.Req, Refusal: why}
	case *PresenceChange:
		answer = &Published{Req: m.Req, Refusal: why}
	case *PresenceQuery:
		answer = &PresencePage{Req: m.Req, Refusal: why}
	case *Lookup:
		answer = &HistoryResult{Req: m.Req, Refusal: why}
	default:
		return
	}
	if why == Busy {
		h.counters.full.Add(1)
	} else {
		h.counters.refused.Add(1)
	}
	h.answer(to, part, epoch, answer)
}

// elapsed is the clock that delays are measured on.
func (h *Host) elapsed() time.Duration { return h.sys.At(time.Now()) }

func (h *Host) moment() Moment {
	t := time.Now()
	return Moment{Since: h.sys.At(t), UnixMs: t.UnixMilli(), Leased: h.cfg.Lease.Held()}
}

// now is the stamp of this moment, above all that channels here were closed with.
func (h *Host) now() Stamp {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maxStamp(h.floor, Stamp{ms: time.Now().UnixMilli()})
}

// grace is how much of the time after a restart is left.
func (h *Host) grace() time.Duration {
	if h.cfg.RestartGraceUntil == nil {
		return 0
	}
	until := h.cfg.RestartGraceUntil()
	if until.IsZero() {
		return 0
	}
	return max(time.Until(until), 0)
}

// newState makes a channel's state. Names are copied, so that the frame they came in can go.
func (h *Host) newState(app, name string, since Stamp) State {
	settings := h.cfg.Settings(app, name)
	unixMs := time.Now().UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	profile := h.profile(settings)
	kept, ok := h.apps[app]
	if !ok {
		kept = strings.Clone(app)
		h.apps[kept] = kept
	}
	s := NewState(kept, strings.Clone(name), profile, h.floor)
	s.Remember(since, unixMs)
	return s
}

func (h *Host) raiseFloor(p Stamp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.floor.less(p) {
		h.floor = p
	}
}

// profile is the one of these settings; h.mu is held.
func (h *Host) profile(settings Settings) *Profile {
	profile := h.profiles[settings]
	if profile == nil {
		profile = &Profile{Settings: settings, Series: h.cfg.Series}
		h.profiles[settings] = profile
	}
	return profile
}

// Reconfigure asks for the settings of all channels again and lets them go on with what has changed. It may be called by
// any goroutine.
func (h *Host) Reconfigure() {
	l := h.layout.Load()
	for i := range l.parts {
		l.parts[i].reconfigure()
	}
}

func (p *partition) reconfigure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		app, name, was := a.state.app, a.state.name, a.state.profile
		a.mu.Unlock()
		settings := p.host.cfg.Settings(app, name)
		if settings == was.Settings {
			return true
		}
		p.host.mu.Lock()
		profile := p.host.profile(settings)
		p.host.mu.Unlock()
		a.Offer(Input{Kind: InSettings, Profile: profile}, actor.NoLimit)
		return true
	})
}
