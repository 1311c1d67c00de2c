package channel

import (
	"sync"
	"sync/atomic"
)

// OpenChannels is how many channels of each app are open in one partition that this node serves.
type OpenChannels struct {
	Part  uint32
	Epoch uint64
	Apps  map[string]int64 // those that have some
}

// Metered is what a host has open, and how many channels of each app were opened here since NewHost: those that were open
// already when their partition came here are not among them.
type Metered struct {
	Layout     uint64 // epoch that the layout began with which the partitions are of
	Partitions []OpenChannels
	Opened     map[string]uint64
}

// Meter reads what is open. Partitions that are being rebuilt are left out, and so are those whose channels have not all
// looked at what the gateways hold. It takes time by partitions and apps, not by channels.
func (h *Host) Meter() Metered {
	m := Metered{Opened: map[string]uint64{}}
	l := h.layout.Load()
	m.Layout = l.began
	for i := range l.parts {
		if open, ok := l.parts[i].meter(); ok {
			m.Partitions = append(m.Partitions, open)
		}
	}
	h.opened.Range(func(app, n any) bool {
		m.Opened[app.(string)] = n.(*atomic.Uint64).Load()
		return true
	})
	return m
}

// tallies are the open channels of a tenure by app.
type tallies struct {
	byApp    map[string]*tally // guarded by partition.mu
	settling atomic.Int64      // channels that were there before the tenure served and have not counted themselves yet
}

// tally is one app's share. The channels of the app move it.
type tally struct {
	open   atomic.Int64
	opened *atomic.Uint64 // of the host
	now    *atomic.Int64  // of the host, over all its partitions
}

// of is an app's tally; partition.mu is held.
func (t *tallies) of(h *Host, app string) *tally {
	one := t.byApp[app]
	if one == nil {
		if t.byApp == nil {
			t.byApp = map[string]*tally{}
		}
		n, _ := h.opened.LoadOrStore(app, new(atomic.Uint64))
		now, _ := h.openNow.LoadOrStore(app, new(atomic.Int64))
		one = &tally{opened: n.(*atomic.Uint64), now: now.(*atomic.Int64)}
		t.byApp[app] = one
	}
	return one
}

// openedHere is Host.opened: app → *atomic.Uint64.
type openedHere = sync.Map

// meter is what is open in a partition; false while that is not known.
func (p *partition) meter() (open OpenChannels, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at != serving || p.tenure.tallies.settling.Load() > 0 {
		return open, false
	}
	open = OpenChannels{Part: p.id, Epoch: p.tenure.epoch}
	for app, t := range p.tenure.tallies.byApp {
		if n := t.open.Load(); n > 0 {
			if open.Apps == nil {
				open.Apps = map[string]int64{}
			}
			open.Apps[app] = n
		}
	}
	return open, true
}

// tallied counts a channel for its app. What was open before the tenure served is not opened; a.mu is held.
func (a *activation) tallied(was, is bool) {
	if a.tally == nil {
		return
	}
	if is && !was && !a.settling {
		a.tally.opened.Add(1)
	}
	a.tally.open.Add(delta(was, is))
	a.tally.now.Add(delta(was, is))
}

// settled notes that a channel has counted itself for the first time; a.mu is held.
func (a *activation) settled() {
	if a.settling {
		a.settling = false
		a.tenure.tallies.settling.Add(-1)
	}
}

// OpenNow is how many channels this node has open now of the apps that has says yes to.
func (h *Host) OpenNow(has func(app string) bool) (n int64) {
	h.openNow.Range(func(app, now any) bool {
		if has(app.(string)) {
			n += now.(*atomic.Int64).Load()
		}
		return true
	})
	return n
}
