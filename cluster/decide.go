package cluster

import (
	"context"
	"iter"
	"slices"
	"time"
)

// decide plans, and commits what it planned. One change is under way at a time.
func (d *desk) decide(now time.Duration) {
	if d.busy.commit {
		return
	}
	view := d.c.cfg.Log.View()
	causes := d.deaths(view, now)
	f := findings{dead: map[Peer]bool{}, joined: map[string]Member{}, moved: map[string]Member{}, leaves: d.withdraws, cold: &d.cold}
	for p := range causes {
		f.dead[p] = true
	}
	d.newcomers(view, now, f)
	if len(f.dead)+len(f.joined)+len(f.moved)+len(f.leaves) > 0 || d.settled != view.Version {
		if change := plan(view, f); !change.empty() {
			change.TimeMs = time.Now().UnixMilli()
			d.commit(change, causes)
			return
		}
		d.settled = view.Version
	}
	d.move(view)
}

// deaths names the live boots that are surely gone, and why.
func (d *desk) deaths(view *View, now time.Duration) map[Peer]string {
	cfg := &d.c.cfg
	reports := d.reports
	reports[d.c.me.Node] = report{boot: d.c.me.Boot, gone: d.c.links.gone(cfg.RefusedFor), at: now}
	causes := map[Peer]string{}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range view.live() {
		switch {
		case len(d.leaving[p]) > 0:
			causes[p] = "it left"
		case p == d.c.me:
		case d.overtaken(p, now):
			causes[p] = "another boot of the node runs"
		case cfg.TrustRefused && refused(refusers(view, reports, p, now), d.c.me.Node, p,
			d.rosters.known(p, reports[p.Node], now, cfg.LeaseTTL+cfg.LeaseMargin)):
			causes[p] = "its connections broke and its address refuses new ones"
		case now >= max(d.heard[p], d.since)+cfg.LeaseTTL+cfg.LeaseMargin:
			causes[p] = "its lease ran out"
		}
	}
	return causes
}

// refused says whether the leader and a majority of the others hold p to be gone, by each of the rosters.
func refused(refusers []string, leader string, p Peer, rosters iter.Seq[[]string]) bool {
	if !slices.Contains(refusers, leader) {
		return false
	}
	for nodes := range rosters {
		say, of := 0, 0
		for _, n := range nodes {
			if n != p.Node {
				of++
				if slices.Contains(refusers, n) {
					say++
				}
			}
		}
		if say < majority(of) {
			return false
		}
	}
	return true
}

// overtaken says that p's node runs under another boot that has proved it, but is not yet fit to take over.
func (d *desk) overtaken(p Peer, now time.Duration) bool {
	j := d.joiners[p.Node]
	return j != nil && j.replaces == p.Boot && j.member.Boot != p.Boot && now-j.first >= catchUp && !d.fit(j)
}

// fit says whether a joiner has the log that a member needs: as a server of the group, caught up with the view.
func (d *desk) fit(j *joiner) bool {
	s, ok := d.serverOf(j.member.Node)
	return ok && s.Addr == j.member.Cluster && j.version >= j.target
}

func (d *desk) serverOf(id string) (Server, bool) {
	for _, s := range d.c.cfg.Log.Servers() {
		if s.ID == id {
			return s, true
		}
	}
	return Server{}, false
}

// newcomers sorts the joiners into those that can become members now and members that moved.
func (d *desk) newcomers(view *View, now time.Duration, f findings) {
	for node, j := range d.joiners {
		m, known := view.Member(node)
		switch {
		case now-j.last > joinFresh, !known && j.replaces != "": // the member that it was to stand for was forgotten
			delete(d.joiners, node)
		case known && m.Boot == j.member.Boot:
			f.moved[node] = j.member
		case d.fit(j):
			f.joined[node] = j.member
		}
	}
}

// commit commits a change in the background. Until its outcome is known, nobody it declares dead gets a lease; when it
// stays unknown, nobody at all until the view is known to be complete again.
func (d *desk) commit(change MembershipChange, causes map[Peer]string) {
	d.commitThen(change, causes, func() {})
}

// commitThen does the same, and calls then when the change is committed and this node still leads.
func (d *desk) commitThen(change MembershipChange, causes map[Peer]string, then func()) {
	d.busy.commit = true
	d.condemned = map[Peer]bool{}
	for p := range causes {
		d.condemned[p] = true
	}
	// Replaced boots as well: their successors hold what they held.
	for _, m := range change.Members {
		if old, ok := d.c.cfg.Log.View().Member(m.Node); ok && old.Boot != m.Boot {
			d.condemned[old.Peer()] = true
		}
	}
	term := d.term
	d.background(commitFor, func(ctx context.Context) func() {
		err := d.c.cfg.Log.Commit(ctx, change)
		return func() { d.committed(term, change, causes, err, then) }
	})
}

func (d *desk) committed(term uint64, change MembershipChange, causes map[Peer]string, err error, then func()) {
	d.busy.commit = false
	switch {
	case err == nil:
		d.c.count.plansCommitted.Add(1)
		d.c.count.deathsCommitted.Add(uint64(len(causes)))
		d.announce(change, causes)
	case err == ErrConflict:
		d.c.count.plansConflicted.Add(1)
	default:
		d.c.log.Warn("the outcome of a membership change is unknown", "reason", err)
	}
	if term != d.term {
		return
	}
	d.condemned = nil
	if err != nil && err != ErrConflict {
		d.ready = false
		d.retry = time.Now().Add(retryAfter)
		return
	}
	if err != nil {
		return
	}
	if change.Cold {
		d.cold.done()
	}
	for p := range causes {
		for _, a := range d.leaving[p] {
			a.reply <- answer{verdict: verdictGranted}
		}
		delete(d.leaving, p)
	}
	for _, m := range change.Members {
		if m.State == Alive {
			delete(d.joiners, m.Node)
			d.hear(m.Peer(), d.c.cfg.Boottime()) // its silence counts from here
		}
		delete(d.withdraws, m.Peer())
	}
	then()
}

// announce logs a committed change.
func (d *desk) announce(change MembershipChange, causes map[Peer]string) {
	for _, m := range change.Members {
		if m.State == Alive {
			d.c.log.Info("member of the cluster", "member", m.Node, "boot", m.Boot, "address", m.Cluster)
		}
		if m.State == Leaving {
			d.c.log.Info("member hands over what it owns", "member", m.Node, "boot", m.Boot)
		}
	}
	for p, cause := range causes {
		d.c.log.Warn("member is dead", "member", p.Node, "boot", p.Boot, "reason", cause)
	}
	if len(change.Slots) > 0 {
		d.c.log.Info("partitions placed", "changed", len(change.Slots), "cold", change.Cold)
	}
}
