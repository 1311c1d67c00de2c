package channel

// An owner that has lost whoever kept its copy goes on without one. What it acknowledges then is in no copy, and a copy that
// was whole until then still looks it. So, before the first such acknowledgement, it tells all members that its copies up
// to that one are behind, and whoever owns the partition next hears it from any of them.

// CopyBehind says that the owner's copies up to that of Stream miss something that it acknowledged.
type CopyBehind struct {
	Stream uint64
}

func (*CopyBehind) toHost() {}

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

// tellBehind says it, unless that was done.
func (t *tenure) tellBehind() {
	stream := t.behind.Swap(0)
	if stream == 0 {
		return
	}
	p := t.partition
	roster := p.host.roster.Load()
	for _, g := range roster.live {
		if id := roster.ids[g-1]; id != p.host.cfg.Self {
			p.host.cfg.Hosts.ToHost(id, 0, p.id, t.epoch, &CopyBehind{Stream: stream})
		}
	}
}

// fellBehind takes an owner's word.
func (p *partition) fellBehind(epoch uint64, m *CopyBehind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch > p.behind.epoch {
		p.behind = behind{epoch: epoch}
	}
	if epoch == p.behind.epoch {
		p.behind.stream = max(p.behind.stream, m.Stream)
	}
}
