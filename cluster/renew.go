package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	retryEvery = 100 * time.Millisecond // after an ask that brought nothing
	asksMax    = 4                      // under way at once, to one node: one that is silent takes nothing from the others
	// urgentFor is how long a node that most others refuse may wait for a leader that it can still reach to renew its
	// lease. It is shorter than RefusedFor, after which the others may take it for dead.
	urgentFor = 250 * time.Millisecond
)

// renewer keeps this node's lease: it finds the leader, asks, and gives the lease back when the others may be about to take
// this node for dead. One goroutine (run) owns the state; each ask has a goroutine of its own while it is under way.
type renewer struct {
	c       *Cluster
	wake    nudge // links or evidence changed
	leader  nudge // leadership changed
	results chan renewed

	// Owned by run.
	asking   map[string]int // asks under way, by node
	next     time.Time      // of the next ask
	last     time.Time      // of the last one
	hint     string         // node that somebody named as leader, "" for none
	turn     int            // whose turn it is to be asked who leads
	replaces string
	said     []Peer // evidence in the last ask
	outcast  bool
	urgent   urgency

	mu   sync.Mutex // guards what others read
	lead string     // node that granted last
	cold recoveryWord
}

// recoveryWord is what the leader said last about a stop of the whole cluster.
type recoveryWord struct {
	recovering bool
	coldMs     int64
}

// urgency is a lease that goes back unless it is renewed in time.
type urgency struct {
	on    bool
	since time.Duration // boottime: only an ask from then on counts
	until time.Time
}

// renewed is how an ask ended.
type renewed struct {
	ticket ticket
	node   string
	answer answer
	err    error
}

func newRenewer(c *Cluster) *renewer {
	return &renewer{c: c, wake: newNudge(), leader: newNudge(), results: make(chan renewed, asksMax), asking: map[string]int{}}
}

func (r *renewer) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.c.ctx.Done():
			for len(r.asking) > 0 {
				r.ended((<-r.results).node) // their contexts ended with ours
			}
			return
		case res := <-r.results:
			r.ended(res.node)
			r.take(res)
		case <-r.leader:
			r.hint = ""
			r.soon(0)
		case <-r.wake:
			r.look()
		case <-timer.C:
		}
		now := time.Now()
		if r.urgent.on && !now.Before(r.urgent.until) {
			r.giveBack()
		}
		if !now.Before(r.next) {
			r.ask(now)
		}
		at := r.next
		if r.urgent.on && r.urgent.until.Before(at) {
			at = r.urgent.until
		}
		timer.Reset(max(0, time.Until(at)))
	}
}

// ended counts an ask that is over.
func (r *renewer) ended(node string) {
	if r.asking[node]--; r.asking[node] == 0 {
		delete(r.asking, node)
	}
}

// soon makes the next ask due in d, if it was not due before.
func (r *renewer) soon(d time.Duration) {
	if at := time.Now().Add(d); at.Before(r.next) {
		r.next = at
	}
}

// look acts on what changed about links.
func (r *renewer) look() {
	c := r.c
	if gone := c.links.gone(c.cfg.RefusedFor); !slices.Equal(gone, r.said) {
		if len(gone) > 0 && time.Since(r.last) >= retryEvery/2 {
			r.soon(0)
		} else if len(gone) > 0 {
			r.soon(retryEvery / 2)
		}
	}
	if !c.lease.heldAt(c.cfg.Boottime()) {
		if c.admitted.Load() == 0 || len(r.asking) == 0 {
			r.soon(retryEvery / 2) // a link more may be the leader's
		}
	}
	r.lookOutcast()
}

// lookOutcast begins to give the lease back when most live members refuse this node.
func (r *renewer) lookOutcast() {
	c := r.c
	live := c.cfg.Log.View().live()
	was := r.outcast
	r.outcast = c.cfg.TrustRefused && outcast(c.links.refusing(live), len(live))
	if !r.outcast || was || !c.lease.heldAt(c.cfg.Boottime()) {
		return
	}
	r.urgent = urgency{on: true, since: c.cfg.Boottime(), until: time.Now().Add(urgentFor)}
	if !c.cfg.Log.IsLeader() && c.links.sessionOf(c.cfg.Log.Leader()) == 0 {
		r.giveBack()
		return
	}
	r.next = time.Now()
}

func (r *renewer) giveBack() {
	r.urgent.on = false
	r.c.log.Warn("most members refuse this node: it gives its lease back")
	r.c.loseLease(r.c.lease.giveBack)
	r.soon(retryEvery)
}

// ask sends one renewal, if there is anybody to ask.
func (r *renewer) ask(now time.Time) {
	c := r.c
	r.next = now.Add(untilNext(now, c.cfg.RenewEvery))
	if c.dead.Load() || c.leaving.Load() {
		return
	}
	node := r.target()
	if node == "" || r.asking[node] >= asksMax || c.mayHaveTwin() {
		r.next = now.Add(retryEvery)
		return
	}
	r.last = now
	r.said = c.links.gone(c.cfg.RefusedFor)
	word := r.word()
	body := appendRenewal(nil, renewal{
		member: c.member(), replaces: r.replaces, version: c.cfg.Log.View().Version, gone: r.said,
		recovering: word.recovering, coldMs: word.coldMs,
	})
	t := c.lease.ask(c.cfg.Boottime())
	r.asking[node]++
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.cfg.LeaseTTL)
		defer cancel()
		res := renewed{ticket: t, node: node}
		var b []byte
		if b, res.err = c.links.request(ctx, node, kindRenew, body); res.err == nil {
			res.answer, res.err = decodeAnswer(b)
		}
		r.results <- res
	})
}

// untilNext is how long it takes until the clock is at a multiple of every, and every at most. Members whose clocks agree
// ask together, so that one proof of leadership serves them all.
func untilNext(now time.Time, every time.Duration) time.Duration {
	return now.Truncate(every).Add(every).Sub(now)
}

// target is whom to ask: the leader, as far as this node knows; else anybody, who may know more. "" when nobody is linked.
func (r *renewer) target() string {
	c := r.c
	if c.cfg.Log.IsLeader() {
		return c.me.Node
	}
	named := slices.DeleteFunc([]string{r.hint, c.cfg.Log.Leader()}, func(node string) bool {
		return node == "" || node == c.me.Node || c.links.sessionOf(node) == 0
	})
	if len(named) > 0 {
		return leastAsked(named, r.asking)
	}
	var linked []string
	for node := range c.links.sessions() {
		if node != c.me.Node {
			linked = append(linked, node)
		}
	}
	if len(linked) == 0 {
		return ""
	}
	slices.Sort(linked)
	r.turn++
	return linked[r.turn%len(linked)]
}

// leastAsked is the first of those with the fewest asks under way. A leader that stands still keeps its links for seconds and
// is named as long; who was not asked yet, or answers, comes before it.
func leastAsked(nodes []string, asking map[string]int) string {
	return slices.MinFunc(nodes, func(a, b string) int { return cmp.Compare(asking[a], asking[b]) })
}

// take acts on how an ask ended.
func (r *renewer) take(res renewed) {
	c := r.c
	if res.err != nil {
		c.log.Debug("no answer to a renewal", "peer", res.node, "reason", res.err)
		r.hint = ""
		r.soon(retryEvery)
		return
	}
	switch a := res.answer; a.verdict {
	case verdictGranted:
		r.granted(res)
	case verdictWait:
		r.soon(retryEvery)
	case verdictNotLeader:
		if a.node != "" && a.node != c.me.Node && a.node != res.node {
			r.hint = a.node
			c.links.ensure(a.node, a.addr)
			r.soon(retryEvery / 5)
			return
		}
		r.hint = ""
		r.soon(retryEvery)
	case verdictDead:
		c.condemn("the leader says so")
	case verdictChallenge:
		switch at := c.admitted.Load(); {
		case at == 0 && a.boot != c.me.Boot:
			r.replaces = a.boot
			r.soon(0)
		case at != 0 && int64(res.ticket.at) > at:
			c.condemn("another boot of this node was made a member")
		default:
			r.soon(retryEvery)
		}
	}
}

func (r *renewer) granted(res renewed) {
	c, a := r.c, res.answer
	r.mu.Lock()
	r.lead, r.cold = res.node, recoveryWord{a.recovering, a.coldMs}
	r.mu.Unlock()
	c.admitted.CompareAndSwap(0, max(1, int64(res.ticket.at)))
	if r.urgent.on && res.ticket.at >= r.urgent.since {
		r.urgent.on = false
	}
	if c.lease.grant(res.ticket, min(a.ttl, c.cfg.LeaseTTL)) {
		c.observe.poke()
	}
}

// word is what the last grant said about a stop of the whole cluster.
func (r *renewer) word() recoveryWord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cold
}

// tellLeader tells whoever should lead that this node leaves, or wants to.
func (r *renewer) tellLeader(ctx context.Context, kind byte) (answer, error) {
	c := r.c
	r.mu.Lock()
	node := r.lead
	r.mu.Unlock()
	if c.cfg.Log.IsLeader() {
		node = c.me.Node
	} else if l := c.cfg.Log.Leader(); l != "" && l != c.me.Node {
		node = l
	}
	if node == "" {
		return answer{verdict: verdictGranted}, nil // never been a member
	}
	b, err := c.links.request(ctx, node, kind, nil)
	if err != nil {
		return answer{}, err
	}
	return decodeAnswer(b)
}
