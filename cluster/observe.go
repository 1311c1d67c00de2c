package cluster

import (
	"maps"
	"slices"
	"time"

	"innkeeper/cluster/ring"
)

// leasePoll is how often the lease is looked at while it is held: timers stand still while the machine sleeps, the
// lease does not.
const leasePoll = 200 * time.Millisecond

// runObserver tells the observer what changed, until the cluster stops.
func (c *Cluster) runObserver() {
	told := told{observer: c.cfg.Observer, me: c.me}
	timer := time.NewTimer(leasePoll)
	defer timer.Stop()
	up := c.links.sessions()
	for {
		now := c.cfg.Boottime()
		left := c.lease.left(now)
		held := left > 0
		if told.held && !held {
			c.count.leasesLost.Add(1)
			if c.leaving.Load() {
				c.log.Debug("the lease is given back")
			} else {
				c.log.Warn("the lease is lost")
			}
		}
		told.bring(c.cfg.Log.View(), up, held, c.dead.Load())
		if held {
			timer.Reset(min(leasePoll, left))
		} else {
			timer.Stop()
		}
		select {
		case <-c.ctx.Done():
			return
		case <-c.observe:
			up = c.links.sessions() // what changes them pokes
		case <-timer.C:
		}
	}
}

// told is what the observer has been told so far.
type told struct {
	observer Observer
	me       Peer

	members []Peer
	began   uint64   // epoch that the layout began with
	owned   []uint64 // by partition: the epoch this node owns it under, 0 when it does not
	routes  []Route  // by partition; the zero Route when it has none
	follows []follow // by partition
	held    bool
	dead    bool

	// What all that was told followed from: the lease is looked at often, and mostly nothing else is new.
	view *View
	up   map[string]standing
}

// follow is what an observer was told of an owned partition's follower.
type follow struct {
	to      Peer
	session uint64
}

// bring tells the observer whatever is new.
func (t *told) bring(view *View, up map[string]standing, held, dead bool) {
	if view == t.view && held == t.held && dead == t.dead && maps.Equal(up, t.up) {
		return
	}
	was := t.up
	t.view, t.up = view, up
	if t.held && !held {
		t.held = false
		t.observer.Lease(false)
	}
	live := view.live()
	if !slices.Equal(live, t.members) {
		t.members = live
		t.observer.Members(slices.Clone(live))
	}
	t.lay(view.Table)
	mine := view.holds(t.me)
	for part, slot := range view.Table.Slots {
		was, is := t.owned[part], uint64(0)
		if mine && slot.Owner == t.me.Node {
			is = slot.Epoch
		}
		if was == is {
			continue
		}
		t.owned[part], t.follows[part] = is, follow{}
		if was != 0 {
			ended := slot.Epoch
			if is != 0 {
				ended-- // somebody else had it in between, or another boot of this node
			}
			t.observer.Release(uint32(part), ended)
		}
		if is != 0 {
			t.observer.Acquire(uint32(part), is)
		}
	}
	boots := map[string]string{}
	for _, p := range live {
		boots[p.Node] = p.Boot
	}
	t.bringPartings(was, up)
	t.bringFollowers(view, up, boots)
	for part, slot := range view.Table.Slots {
		var r Route
		if s, ok := up[slot.Owner]; ok && slot.Owner != "" && s.boot == boots[slot.Owner] {
			r = Route{Node: slot.Owner, Epoch: slot.Epoch, Session: s.session}
		}
		if r == t.routes[part] {
			continue
		}
		t.routes[part] = r
		if r == (Route{}) {
			t.observer.Unrouted(uint32(part))
		} else {
			t.observer.Routed(uint32(part), r)
		}
	}
	if held && mine && !t.held {
		t.held = true
		t.observer.Lease(true)
	}
	if dead && !t.dead {
		t.dead = true
		t.observer.DeclaredDead()
	}
}

// bringPartings tells which sessions have ended.
func (t *told) bringPartings(was, up map[string]standing) {
	observer, wants := t.observer.(FollowObserver)
	if !wants {
		return
	}
	for _, node := range slices.Sorted(maps.Keys(was)) {
		if s := was[node]; up[node] != s && node != t.me.Node {
			observer.Parted(Peer{node, s.boot}, s.session)
		}
	}
}

// bringFollowers tells where the copies of owned partitions are to be kept.
func (t *told) bringFollowers(view *View, up map[string]standing, boots map[string]string) {
	observer, wants := t.observer.(FollowObserver)
	if !wants {
		return
	}
	for part, slot := range view.Table.Slots {
		if t.owned[part] == 0 {
			continue
		}
		var f follow
		if s, ok := up[slot.Follower]; ok && slot.Follower != "" && slot.Follower != t.me.Node && s.boot == boots[slot.Follower] {
			f = follow{Peer{slot.Follower, s.boot}, s.session}
		}
		if f != t.follows[part] {
			t.follows[part] = f
			observer.Follow(uint32(part), f.to, f.session)
		}
	}
}

// lay follows a new layout. All that was told of the one before is over with it.
func (t *told) lay(table ring.Table) {
	n := len(table.Slots)
	if n == len(t.owned) && table.Began == t.began {
		return
	}
	t.began = table.Began
	t.owned, t.routes, t.follows = make([]uint64, n), make([]Route, n), make([]follow, n)
	t.observer.Layout(table)
}
