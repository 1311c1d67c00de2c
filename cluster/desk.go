package cluster

import (
	"context"
	"maps"
	"sync"
	"time"
)

// desk is where a leader works: it grants leases, declares deaths, places partitions and cares for the servers of the
// log. It exists on every node and is idle where the node does not lead.
//
// One goroutine (run) owns the state and never blocks; what takes time (a proof of leadership, a commit) runs on a
// goroutine of its own, one of each at a time, and comes back through done.
type desk struct {
	c    *Cluster
	asks chan ask
	done chan func()
	wake nudge // links or the view changed

	// Owned by run.
	term      uint64 // 0: not leading
	ready     bool   // the view shows everything committed before this term
	tend      bool   // it is time to look after the servers of the log
	busy      struct{ barrier, verify, commit, server, move bool }
	retry     time.Time     // no barrier or server change before
	since     time.Duration // boottime from which silence counts
	stepped   time.Duration // boottime of the last step
	rosters   rosters       // kept through all terms
	waiting   []ask         // for the next proof of leadership
	early     []ask         // came before ready
	reports   map[string]report
	joiners   map[string]*joiner
	leaving   map[Peer][]ask
	withdraws map[Peer]bool // want to hand over what they own
	prepared  *batch        // of moves, to be committed; nil for none
	condemned map[Peer]bool // in the commit under way
	stuck     string        // what tellStuck logged last
	cold      coldWatch
	settled   uint64 // version of the view for which there was nothing to plan
	rested    uint64 // version of the view for which there was nothing to move

	mu    sync.Mutex
	heard map[Peer]time.Duration // last ask of each boot; read by Status
}

// ask is one request to the desk.
type ask struct {
	from     Peer
	renewal  renewal
	leave    bool
	withdraw bool
	arrived  time.Duration
	reply    chan answer // cap 1
}

// joiner is a boot that asks to become a member.
type joiner struct {
	member   Member
	replaces string        // committed boot it stands for
	first    time.Duration // its first such ask
	last     time.Duration
	target   uint64 // version of the view it must have applied
	version  uint64 // that it has applied
}

const (
	deskTick   = 100 * time.Millisecond
	earlyMax   = 4096
	verifyFor  = 2 * time.Second
	commitFor  = 5 * time.Second
	serverFor  = 5 * time.Second
	retryAfter = 250 * time.Millisecond
	// catchUp is how long a new boot may take to catch up with the log before its predecessor is declared dead without
	// it. Until then the new boot can take over the partitions where they are.
	catchUp = time.Second
	// joinFresh is how long a joiner counts after its last ask.
	joinFresh = 3 * time.Second
)

func newDesk(c *Cluster) *desk {
	d := &desk{c: c, asks: make(chan ask, 64), done: make(chan func(), 8), wake: newNudge()}
	d.clear()
	return d
}

// serveRenewal takes a member's ask for its lease.
func (d *desk) serveRenewal(ctx context.Context, from Peer, body []byte) ([]byte, error) {
	r, err := decodeRenewal(body)
	if err != nil {
		return nil, err
	}
	if r.member.Peer() != from {
		return nil, errWire // nobody asks for another
	}
	return d.serve(ctx, ask{from: from, renewal: r})
}

// serveLeave takes a member's word that it goes.
func (d *desk) serveLeave(ctx context.Context, from Peer, _ []byte) ([]byte, error) {
	return d.serve(ctx, ask{from: from, leave: true})
}

func (d *desk) serve(ctx context.Context, a ask) ([]byte, error) {
	a.arrived = d.c.cfg.Boottime()
	a.reply = make(chan answer, 1)
	select {
	case d.asks <- a:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.c.ctx.Done():
		return nil, ErrClosed
	}
	select {
	case answer := <-a.reply:
		return appendAnswer(nil, answer), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.c.ctx.Done():
		return nil, ErrClosed
	}
}

func (d *desk) run() {
	tick := time.NewTicker(deskTick)
	defer tick.Stop()
	for {
		d.step()
		ticks := tick.C
		if d.term == 0 {
			ticks = nil // who begins to lead is woken
		}
		select {
		case <-d.c.ctx.Done():
			return
		case a := <-d.asks:
			d.receive(a)
			for more := true; more; {
				select {
				case a := <-d.asks:
					d.receive(a)
				default:
					more = false
				}
			}
		case fn := <-d.done:
			fn()
		case <-d.wake:
		case <-ticks:
			d.tend = true
		}
	}
}

// background runs work on a goroutine of its own and then, on the desk's, what it returned.
func (d *desk) background(limit time.Duration, work func(context.Context) func()) {
	d.c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(d.c.ctx, limit)
		defer cancel()
		fn := work(ctx)
		select {
		case d.done <- fn:
		case <-d.c.ctx.Done():
		}
	})
}

// clear forgets everything about a term.
func (d *desk) clear() {
	d.term, d.ready, d.settled, d.rested = 0, false, 0, 0
	d.waiting, d.early = nil, nil
	d.reports, d.joiners, d.leaving = map[string]report{}, map[string]*joiner{}, map[Peer][]ask{}
	d.withdraws, d.prepared = map[Peer]bool{}, nil
	d.condemned = nil
	d.cold = coldWatch{}
	d.mu.Lock()
	d.heard = map[Peer]time.Duration{}
	d.mu.Unlock()
}

// step does what can be done now.
func (d *desk) step() {
	// One reading of the clock: if the machine slept between two, the second would blame the others for it.
	now := d.c.cfg.Boottime()
	d.excuse(now)
	log := d.c.cfg.Log
	d.rosters.look(log.View(), now)
	leads := log.IsLeader()
	term := log.Term() // after IsLeader: a term of somebody else at worst, which the barrier finds out
	if !leads || term != d.term {
		if d.term != 0 {
			d.resign()
		}
		if !leads || log.View().ClusterID == "" {
			return
		}
		d.term, d.since = term, now
	}
	if !d.ready {
		d.barrier()
		return
	}
	d.verify()
	d.decide(now)
	d.serverChange()
}

// resign ends a term.
func (d *desk) resign() {
	for _, a := range append(d.waiting, d.early...) {
		a.reply <- d.notLeader()
	}
	for _, asks := range d.leaving {
		for _, a := range asks {
			a.reply <- d.notLeader()
		}
	}
	d.clear()
}

func (d *desk) notLeader() answer {
	a := answer{verdict: verdictNotLeader, node: d.c.cfg.Log.Leader()}
	if m, ok := d.c.cfg.Log.View().Member(a.node); ok {
		a.addr = m.Cluster
	}
	for _, n := range d.c.gossip.nodes() {
		if n.Node == a.node {
			a.addr = n.addr
		}
	}
	return a
}

// barrier makes sure that the view shows all that earlier leaders committed: on an older one, a boot that is dead by
// now could be granted a lease.
func (d *desk) barrier() {
	if d.busy.barrier || d.busy.commit || time.Now().Before(d.retry) {
		return
	}
	d.busy.barrier = true
	term, log := d.term, d.c.cfg.Log
	d.background(commitFor, func(ctx context.Context) func() {
		err := log.Commit(ctx, MembershipChange{IfVersion: log.View().Version, TimeMs: time.Now().UnixMilli()})
		return func() {
			d.busy.barrier = false
			switch {
			case term != d.term || d.ready:
			case err != nil:
				if err != ErrConflict {
					d.retry = time.Now().Add(retryAfter)
				}
			default:
				d.open()
			}
		}
	})
}

// open begins to answer.
func (d *desk) open() {
	d.ready, d.tend = true, true
	view := d.c.cfg.Log.View()
	if d.cold.old == nil {
		word := d.c.renew.word()
		d.cold = newColdWatch(view, d.c.me, word.recovering && word.coldMs == view.ColdMs)
	}
	early := d.early
	d.early = nil
	for _, a := range early {
		d.receive(a)
	}
}

// excuse gives everybody another lease's time when this node itself was not running, because the machine slept or the
// process was stopped: it cannot tell who was silent meanwhile.
func (d *desk) excuse(now time.Duration) {
	if now-d.stepped > d.c.cfg.LeaseMargin {
		d.since = now
	}
	d.stepped = now
}

// receive takes an ask.
func (d *desk) receive(a ask) {
	switch {
	case d.term == 0 || !d.c.cfg.Log.IsLeader():
		a.reply <- d.notLeader()
		return
	case !d.ready && len(d.early) >= earlyMax:
		a.reply <- answer{verdict: verdictWait}
		return
	case !d.ready:
		d.early = append(d.early, a)
		return
	}
	view := d.c.cfg.Log.View()
	m, known := view.Member(a.from.Node)
	switch {
	case known && m.Boot == a.from.Boot && m.State == Dead:
		a.reply <- answer{verdict: verdictDead}
	case known && m.Boot == a.from.Boot && a.leave:
		d.leave(view, a)
	case known && m.Boot == a.from.Boot && a.withdraw:
		d.withdraws[a.from] = true
		a.reply <- answer{verdict: verdictGranted}
	case known && m.Boot == a.from.Boot:
		d.member(view, m, a)
	case a.leave || a.withdraw:
		a.reply <- answer{verdict: verdictGranted} // never was a member, or is replaced
	default:
		d.join(view, m.Boot, a)
	}
}

// member takes the ask of a committed live boot.
func (d *desk) member(view *View, m Member, a ask) {
	r := a.renewal
	d.hear(a.from, a.arrived)
	d.reports[a.from.Node] = report{boot: a.from.Boot, gone: r.gone, at: a.arrived, version: r.version}
	d.cold.renewed(a.from, r.recovering && r.coldMs == view.ColdMs)
	delete(d.joiners, a.from.Node)
	if want := r.member; want.Cluster != m.Cluster || want.Gossip != m.Gossip || want.Client != m.Client || want.Admin != m.Admin {
		d.joiners[a.from.Node] = &joiner{member: want, last: a.arrived}
	}
	d.waiting = append(d.waiting, a)
}

// join takes the ask of a boot that is not a member. committed is the boot that is, "" for a node that never had one.
func (d *desk) join(view *View, committed string, a ask) {
	if a.renewal.replaces != committed {
		a.reply <- answer{verdict: verdictChallenge, boot: committed}
		return
	}
	j := d.joiners[a.from.Node]
	if j == nil || j.member.Boot != a.from.Boot || j.replaces != committed {
		j = &joiner{replaces: committed, first: a.arrived, target: view.Version}
		d.joiners[a.from.Node] = j
	}
	j.member, j.last, j.version = a.renewal.member, a.arrived, a.renewal.version
	a.reply <- answer{verdict: verdictWait}
}

// leave takes the word of a committed live boot that it goes. The answer comes when that is committed.
func (d *desk) leave(view *View, a ask) {
	if len(view.live()) == 1 {
		a.reply <- answer{verdict: verdictGranted} // nobody would take over: it stays a member until it comes back
		return
	}
	d.leaving[a.from] = append(d.leaving[a.from], a)
}

func (d *desk) hear(p Peer, at time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard[p] = max(d.heard[p], at)
}

// ages gives, for each boot this leader has heard, how long ago; nil when this node does not lead.
func (d *desk) ages() map[Peer]time.Duration {
	d.mu.Lock()
	ages := maps.Clone(d.heard)
	d.mu.Unlock()
	now := d.c.cfg.Boottime()
	for p, at := range ages {
		ages[p] = now - at
	}
	return ages
}

// verify proves leadership for all asks that wait, and then grants them. The proof begins after they arrived, so no other
// leader can have declared their boots dead before.
func (d *desk) verify() {
	if d.busy.verify || len(d.waiting) == 0 {
		return
	}
	d.busy.verify = true
	term, batch := d.term, d.waiting
	d.waiting = nil
	d.background(verifyFor, func(ctx context.Context) func() {
		err := d.c.cfg.Log.Verify(ctx)
		return func() {
			d.busy.verify = false
			for _, a := range batch {
				if err != nil || term != d.term || !d.ready {
					a.reply <- answer{verdict: verdictWait}
				} else {
					a.reply <- d.grant(a.from)
				}
			}
		}
	})
}

func (d *desk) grant(p Peer) answer {
	view := d.c.cfg.Log.View()
	switch {
	case d.condemned[p] || len(d.leaving[p]) > 0:
		return answer{verdict: verdictWait}
	case !view.holds(p):
		if m, _ := view.Member(p.Node); m.Boot == p.Boot {
			return answer{verdict: verdictDead}
		}
		return answer{verdict: verdictWait}
	}
	d.c.count.leasesGranted.Add(1)
	return answer{verdict: verdictGranted, ttl: d.c.cfg.LeaseTTL, recovering: d.cold.open, coldMs: view.ColdMs}
}
