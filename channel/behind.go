package channel

import "time"

// An owner that has lost whoever kept its copy goes on without one. What it acknowledges then is in no copy, and a copy that
// was whole until then still looks it. So, before the first such acknowledgement, it tells all members that its copies up
// to that one are behind, and whoever owns the partition next hears it from any of them. Publishes wait for the copy that is
// lost until one of the members has confirmed that: an owner that reaches nobody acknowledges nothing.

// CopyBehind says that the owner's copies up to that of Stream miss something that it acknowledged.
type CopyBehind struct {
	Stream uint64
}

func (*CopyBehind) toHost() {}

// CopyKnown confirms a CopyBehind.
type CopyKnown struct {
	Stream uint64
}

func (*CopyKnown) toHost() {}

// behindAgain is after how long without an answer a CopyBehind is repeated.
const behindAgain = 200 * time.Millisecond

// behind is what was said of the copies of a tenure.
type behind struct {
	epoch  uint64
	stream uint64
}

// of is the last copy of an epoch's tenure that is behind; 0 for none.
func (b behind) of(epoch uint64) uint64 {
	if b.epoch != epoch {
		return 0
	}
	return b.stream
}

// orphan is a copy that was whole and gets nothing any more. Publishes still wait for it. It is guarded by partition.mu.
type orphan struct {
	feed    *feed // nil: there is none
	telling bool  // that it is behind
	againAt time.Duration
}

// bereave takes note that nothing reaches the whole copy any more; p.mu is held.
func (p *partition) bereave(f *feed) {
	t := p.tenure
	if t.orphan.feed == f {
		return
	}
	t.orphan = orphan{feed: f}
	waits := false
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		waits = a.state.past.pending()
		return !waits
	})
	if waits {
		p.tellBehind()
	}
}

// tellBehind says that the copy which is lost will miss something; p.mu is held.
func (p *partition) tellBehind() {
	t, h := p.tenure, p.host
	t.orphan.telling, t.orphan.againAt = true, h.elapsed()+behindAgain
	others := false
	roster := h.roster.Load()
	for _, g := range roster.live {
		if id := roster.ids[g-1]; id != h.cfg.Self {
			others = true
			h.cfg.Hosts.ToHost(id, 0, p.id, t.epoch, &CopyBehind{Stream: t.orphan.feed.stream})
		}
	}
	if !others {
		p.goOnWithout()
		return
	}
	p.nudge() // to say it again
}

// fellBehind takes an owner's word.
func (p *partition) fellBehind(from GatewayID, epoch uint64, m *CopyBehind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch > p.behind.epoch {
		p.behind = behind{epoch: epoch}
	}
	if epoch == p.behind.epoch {
		p.behind.stream = max(p.behind.stream, m.Stream)
	}
	p.host.cfg.Hosts.ToHost(from, 0, p.id, epoch, &CopyKnown{Stream: m.Stream})
}

// behindKnown takes the answer to it.
func (p *partition) behindKnown(epoch uint64, m *CopyKnown) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tenure; t != nil && t.epoch == epoch && t.orphan.telling && t.orphan.feed.stream == m.Stream {
		p.goOnWithout()
	}
}

// goOnWithout lets nothing wait for the copy that is lost any more; p.mu is held.
func (p *partition) goOnWithout() {
	t := p.tenure
	t.orphan = orphan{}
	t.feeds.Store(&feeds{growing: t.feeds.Load().growing})
	p.tellPending(Input{Kind: InCopied})
}
