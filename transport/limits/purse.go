package limits

import (
	"sync"
	"time"
)

// Verdict is the answer to who asked for leave.
type Verdict uint8

// The verdicts.
const (
	Granted Verdict = iota
	Full            // the limit is used up
	Unknown         // nobody who knows could be asked in time
)

// patienceMax bounds how long somebody waits for leave. It is above the time in which a leader is replaced, and below that
// in which clients give up.
const patienceMax = 7 * time.Second

// Purse is what one node may have open of what is limited for the whole cluster. It is safe for concurrent use; nothing is
// called with its lock held but used, and what Settle is given.
type Purse struct {
	gates *Gates
	// used is how much is open here now, of all apps that a scope has.
	used func(n Name, has func(app string) bool) int64
	// short is a nudge: somebody waits, so a Sync is due.
	short func()

	mu      sync.Mutex
	pending [NumNames]map[string]int64 // by app: has leave, is not open yet
	leave   map[Key]*leave
	waiting []*waiter
	asking  bool // a Sync is on its way
	closed  bool
}

type leave struct {
	most  int64 // that may be open here
	spare int64 // of it, worth keeping without use
	said  int64 // used and kept, in the last Hold
	hard  int64 // the threshold under which it was given
}

// under takes leave back that was given when the limit was higher.
func (l *leave) under(hard int64) {
	if hard < l.hard {
		l.most, l.spare = 0, 0
	}
	l.hard = hard
}

type waiter struct {
	name  Name
	app   string
	until time.Time
	done  func(Verdict, Scope)
}

// NewPurse makes an empty one.
func NewPurse(gates *Gates, used func(n Name, has func(app string) bool) int64, short func()) *Purse {
	p := &Purse{gates: gates, used: used, short: short, leave: map[Key]*leave{}}
	for i := range p.pending {
		p.pending[i] = map[string]int64{}
	}
	return p
}

// Limited says whether an app has to ask before it opens one more.
func (p *Purse) Limited(n Name, app string) bool {
	v := p.gates.Of(app).view.Load()
	return v != nil && v.atOnce[n]
}

// Ask asks for leave to open one more. done is called exactly once, perhaps before Ask returns, with the scope whose limit
// is Full. Who was granted calls Settle.
func (p *Purse) Ask(now time.Time, n Name, app string, done func(Verdict, Scope)) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		done(Unknown, "")
		return
	}
	if p.take(n, app) == "" {
		p.mu.Unlock()
		done(Granted, "")
		return
	}
	p.waiting = append(p.waiting, &waiter{name: n, app: app, until: now.Add(patienceMax), done: done})
	p.mu.Unlock()
	p.short()
}

// Settle ends what Granted began. open makes it count as open; nil: it will not be opened. It runs with the lock held, so that
// whoever counts sees either the leave or what came of it.
func (p *Purse) Settle(n Name, app string, open func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open != nil {
		open()
	}
	if p.pending[n][app]--; p.pending[n][app] <= 0 {
		delete(p.pending[n], app)
	}
}

// take takes one if there is leave in every scope that has a limit; else it says which one is short. p.mu is held.
func (p *Purse) take(n Name, app string) (short Scope) {
	v := p.gates.Of(app).view.Load()
	if v != nil {
		for _, s := range v.scopes {
			if s.limits[n].Hard == 0 {
				continue
			}
			l := p.leave[Key{s.id, n}]
			if l == nil {
				return s.id
			}
			if l.under(s.limits[n].Hard); p.open(n, s) >= l.most {
				return s.id
			}
		}
	}
	p.pending[n][app]++
	return ""
}

// open is how much a scope has open here, or has leave for. p.mu is held.
func (p *Purse) open(n Name, s *scope) (sum int64) {
	for app, pending := range p.pending[n] {
		if s.has(app) {
			sum += pending
		}
	}
	return sum + p.used(n, s.has)
}

// Begin says what the leader has to know, and hands back what is not worth keeping. End follows, whatever comes of it;
// false: the last one has not ended.
func (p *Purse) Begin() (holds []Hold, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asking {
		return nil, false
	}
	p.asking = true
	limited := map[Key]bool{}
	for _, s := range p.gates.scopes() {
		for n := range NumNames {
			if !n.AtOnce() || s.limits[n].Hard == 0 {
				continue
			}
			key := Key{s.id, n}
			limited[key] = true
			l := p.leave[key]
			if l == nil {
				l = &leave{}
				p.leave[key] = l
			}
			l.under(s.limits[n].Hard)
			h := Hold{Key: key, Used: p.open(n, s)}
			h.Keep = max(min(l.most-h.Used, l.spare), 0)
			l.said = h.Used + h.Keep
			l.most = min(l.most, l.said)
			for _, w := range p.waiting {
				if w.name == n && s.has(w.app) {
					h.Want++
				}
			}
			holds = append(holds, h)
		}
	}
	for key := range p.leave {
		if !limited[key] {
			delete(p.leave, key)
		}
	}
	return holds, true
}

// End takes in the leader's answer; nil grants: there was none.
func (p *Purse) End(now time.Time, grants []Grant) {
	full := map[Key]bool{}
	p.mu.Lock()
	p.asking = false
	for _, g := range grants {
		l := p.leave[g.Key]
		if l == nil || l.hard != g.Hard {
			continue // the leader, or this node, has not heard of a change yet: nobody is let in under the limit that was
		}
		if !g.Unheard {
			if l.most, l.spare = l.said+g.Give, g.Spare; g.Over {
				l.most = 0
			}
		}
		full[g.Key] = g.Full
	}
	var told []func()
	left := p.waiting[:0]
	for _, w := range p.waiting {
		short := p.take(w.name, w.app)
		switch {
		case short == "":
			told = append(told, func() { w.done(Granted, "") })
		case full[Key{short, w.name}]:
			told = append(told, func() { w.done(Full, short) })
		case !now.Before(w.until):
			told = append(told, func() { w.done(Unknown, short) })
		default:
			left = append(left, w)
		}
	}
	clear(p.waiting[len(left):])
	p.waiting = left
	p.mu.Unlock()
	for _, tell := range told {
		tell()
	}
}

// Waiting says whether somebody waits.
func (p *Purse) Waiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting) > 0
}

// Close refuses all who wait, and all who come.
func (p *Purse) Close() {
	p.mu.Lock()
	waiting := p.waiting
	p.waiting, p.closed = nil, true
	p.mu.Unlock()
	for _, w := range waiting {
		w.done(Unknown, "")
	}
}
