package channel

import "innkeeper/actor"

// Taps are what the settings of a channel want told to a Tap.
type Taps uint8

// The things a Tap is told of.
const (
	TapHistory   Taps = 1 << iota // what is published, presence included
	TapOccupancy                  // counts
)

// Tap is told on the owner of a channel that there is news; it reads the news itself, as a History or a Query, and says
// with Host.Told how far it has got. So nothing is queued here: what waits is the channel's history, which the follower has
// as well, with the position that was told. Its methods never block and are called from many goroutines.
type Tap interface {
	// News says that a channel has publishes behind the serial told ("": nobody knows what was told), or other counts. It
	// is said of every tapped channel with a past when a tenure begins.
	//
	// The host's locks are held here and in Over: neither must call back.
	News(n News)
	// Over says that a tenure ended: its channels are another owner's business.
	Over(part uint32, epoch uint64)
}

// News is what a Tap is told.
type News struct {
	Part      uint32
	Epoch     uint64
	App, Name string
	Told      string // serial
	What      Taps
}

// tapped is what an activation knows about the tap of its channel. Guarded by activation.mu.
type tapped struct {
	what       Taps   // of which there is news
	told       Stamp  // by this tenure or those before it; zero: nobody knows
	shown      Stamp  // news up to here were said
	sum        Counts // likewise
	toldCounts Counts // that were told; unknownCounts: nobody knows
	begun      bool
}

// unknownCounts are counts that no channel has.
var unknownCounts = Counts{-1}

func newTapped(s *State) *tapped {
	t := &tapped{what: s.profile.Taps}
	t.listen(s)
	return t
}

// listen has the state know what was told of its counts.
func (t *tapped) listen(s *State) {
	if s.toldCounts = nil; t.what&TapOccupancy != 0 {
		s.toldCounts = &t.toldCounts
	}
}

// retap takes in what is wanted of a channel that is served already, and says whether that has changed. Whoever begins to want
// something begins with what comes: with the publishes behind the position that is returned, zero when there is none to keep,
// and with the next change of the counts. a.mu is held.
func (a *activation) retap(now Moment) (from Stamp, changed bool) {
	s, wanted, had := &a.state, Taps(0), Taps(0)
	if a.tenure.partition.host.cfg.Tap != nil {
		wanted = s.profile.Taps
	}
	if a.tap != nil {
		had = a.tap.what
	}
	switch {
	case wanted == had || s.waiting:
		return Stamp{}, false
	case wanted == 0:
		a.tap, s.toldCounts = nil, nil
		return Stamp{}, true
	case a.tap == nil:
		a.tap = &tapped{begun: true}
	}
	a.tap.what = wanted
	a.tap.listen(s)
	begins := wanted &^ had
	if begins&TapHistory != 0 {
		from = s.point(now)
		a.tap.told, a.tap.shown = from, from
	}
	if begins&TapOccupancy != 0 {
		a.tap.sum, a.tap.toldCounts = s.sum, s.sum
	}
	return from, true
}

// news looks whether there are any since the last time.
func (a *activation) news() (n News) {
	t, s := a.tap, &a.state
	if t == nil || s.waiting || a.retired {
		return n
	}
	if t.what&TapHistory != 0 && s.past != nil && s.past.shown > 0 && t.shown.less(s.shown) {
		t.shown = s.shown
		n.What |= TapHistory
	}
	if t.what&TapOccupancy != 0 && (s.life == said || !s.profile.Lifecycle) { // what the next owner would not tell again waits
		if t.sum != s.sum || !t.begun && s.open {
			t.sum = s.sum
			n.What |= TapOccupancy
		}
		t.begun = true
	}
	n.Part, n.Epoch, n.App, n.Name = a.tenure.partition.id, a.tenure.epoch, s.app, s.name
	return n
}

// say tells the tap. What was told meanwhile counts, and nothing comes between it and the news: a tap that has told
// everything forgets the channel, and would tell again all that is behind an older position.
func (a *activation) say(n News) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if told := a.tap.told; told != (Stamp{}) {
		n.Told = told.position()
	}
	a.tenure.partition.host.cfg.Tap.News(n)
}

// Told says that everything of a channel up to a serial has been told, for whoever owns the channel next. It never blocks;
// under another epoch it does nothing.
func (h *Host) Told(part uint32, epoch uint64, app, name, serial string) {
	h.tapOf(part, epoch, app, name, func(p *partition, a *activation) (then func()) {
		a.tap.told = maxStamp(a.tap.told, parseSerial(serial))
		return func() {
			p.tenure.feeds.Load().each(func(f *feed) {
				p.sendHost(f, &TapTold{Stream: f.stream, App: app, Name: name, Serial: serial})
			})
		}
	})
}

// Counted says which counts of a channel were the last to be told to everybody who wants to know. The log goes on knowing a
// channel that is closed until they are those that it has. It never blocks; under another epoch it does nothing.
func (h *Host) Counted(part uint32, epoch uint64, app, name string, counts Counts) {
	h.tapOf(part, epoch, app, name, func(_ *partition, a *activation) (then func()) {
		if a.tap.toldCounts = counts; a.state.life != said || a.state.open {
			return nil
		}
		return func() { a.Offer(Input{Kind: InTick}, actor.NoLimit) }
	})
}

// tapOf runs f on the tap of a channel that is served here under this epoch, with its lock held, and what f returns with the
// partition's alone.
func (h *Host) tapOf(part uint32, epoch uint64, app, name string, f func(*partition, *activation) (then func())) {
	p := h.layout.Load().part(part)
	if p == nil {
		return
	}
	pos, ok := p.place(app, name)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.owns(epoch) {
		return
	}
	a := p.channels.find(pos)
	if a == nil {
		return
	}
	var then func()
	a.mu.Lock()
	if a.tap != nil {
		then = f(p, a)
	}
	a.mu.Unlock()
	if then != nil {
		then()
	}
}

// TapTold is a position that was told of a channel, for the copy of a stream.
type TapTold struct {
	Stream    uint64
	App, Name string
	Serial    string
}

func (*TapTold) toHost() {}

// takeTold keeps a position with the copy that it belongs to.
func (p *partition) takeTold(from GatewayID, epoch uint64, m *TapTold) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.copyOf(from, epoch, m.Stream)
	if r == nil {
		return
	}
	if c := r.channels[replicaKey{m.App, m.Name}]; c != nil { // else there is nothing left that could be told again
		c.told = maxStamp(c.told, parseSerial(m.Serial))
	}
}

// tellTold sends what was told of a channel, behind its part of a copy.
func (p *partition) tellTold(f *feed, app, name string, told Stamp) {
	if told != (Stamp{}) {
		p.sendHost(f, &TapTold{Stream: f.stream, App: app, Name: name, Serial: told.position()})
	}
}
