package limits

import (
	"sync"
	"sync/atomic"
	"time"
)

// Gates are the limits of all apps as one node applies them. They are safe for concurrent use.
type Gates struct {
	start   time.Time
	byApp   sync.Map // app → *Gate
	refused sync.Map // Key → *atomic.Uint64, since the start

	limited atomic.Bool // something is

	mu     sync.Mutex
	config Config
	known  map[Scope]*scope
}

// Config is what limits there are.
type Config struct {
	Sets map[Scope]Set
	// Account is whose an app is.
	Account func(app string) string
}

// scope is one app's or account's limits and what is left of its rates.
type scope struct {
	id      Scope
	limits  Set
	buckets [NumNames]*meteredBucket // of those that are Rate

	account func(app string) string
}

// has says whether an app is in the scope.
func (s *scope) has(app string) bool {
	if s.id.Kind() == "app" {
		return s.id.ID() == app
	}
	return s.id.ID() == s.account(app)
}

// Gate is the limits of one app on one node.
type Gate struct {
	app   string
	gates *Gates
	view  atomic.Pointer[view] // nil: nothing is limited
}

type view struct {
	scopes []*scope // with limits: the app's, the account's
	atOnce [NumNames]bool
	rates  [NumNames]bool  // limited or watched
	single [NumNames]int64 // the tighter hard threshold
	tight  [NumNames]Scope // whose it is
}

// NewGates makes gates that let everything through.
func NewGates() *Gates {
	return &Gates{start: time.Now(), config: Config{Account: func(string) string { return "" }}, known: map[Scope]*scope{}}
}

// Of is an app's gate. It stays the same for ever.
func (g *Gates) Of(app string) *Gate {
	if one, ok := g.byApp.Load(app); ok {
		return one.(*Gate)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if one, ok := g.byApp.Load(app); ok {
		return one.(*Gate)
	}
	one := &Gate{app: app, gates: g}
	g.look(one)
	g.byApp.Store(app, one)
	return one
}

// Set exchanges all limits. What is left of a rate stays.
func (g *Gates) Set(c Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.config = c
	before := g.known
	g.known = map[Scope]*scope{}
	for id, set := range c.Sets {
		if set.Empty() {
			continue
		}
		s := &scope{id: id, limits: set, account: c.Account}
		old := before[id]
		for n := range NumNames {
			if !n.Rate() || set[n] == (Limit{}) {
				continue
			}
			if old != nil && old.buckets[n] != nil {
				s.buckets[n] = old.buckets[n]
			} else {
				s.buckets[n] = &meteredBucket{}
			}
			s.buckets[n].limit(float64(set[n].Hard))
		}
		g.known[id] = s
	}
	g.byApp.Range(func(_, one any) bool {
		g.look(one.(*Gate))
		return true
	})
	g.limited.Store(len(g.known) > 0)
}

// look brings a gate up to date; g.mu is held.
func (g *Gates) look(one *Gate) {
	var v view
	for _, id := range []Scope{AppScope(one.app), AccountScope(g.config.Account(one.app))} {
		s := g.known[id]
		if s == nil {
			continue
		}
		v.scopes = append(v.scopes, s)
		for n := range NumNames {
			hard := s.limits[n].Hard
			switch {
			case n.Single():
				if hard > 0 && (v.single[n] == 0 || hard < v.single[n]) {
					v.single[n], v.tight[n] = hard, id
				}
			case n.AtOnce():
				v.atOnce[n] = v.atOnce[n] || hard > 0
			default:
				v.rates[n] = v.rates[n] || s.limits[n] != (Limit{})
			}
		}
	}
	if v.scopes == nil {
		one.view.Store(nil)
	} else {
		one.view.Store(&v)
	}
}

// scopes are all that have limits.
func (g *Gates) scopes() []*scope {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]*scope, 0, len(g.known))
	for _, id := range sortedScopes(g.known) {
		list = append(list, g.known[id])
	}
	return list
}

// Any says whether anything is limited at all.
func (g *Gates) Any() bool { return g.limited.Load() }

// MustAsk says whether an app may not open one more of n without leave, or not as fast as it likes.
func (g *Gates) MustAsk(n, rate Name, app string) bool {
	if !g.limited.Load() {
		return false
	}
	v := g.Of(app).view.Load()
	return v != nil && (v.atOnce[n] || v.rates[rate])
}

// Refusal is a limit that was met.
type Refusal struct {
	Name  Name
	Scope Scope
	Hard  int64
	Wait  time.Duration // until it is worth trying again
}

// Spend takes n of a rate, in all scopes that limit it, or of none. nil: they are there. The refusal is counted.
func (o *Gate) Spend(name Name, n int) *Refusal {
	v := o.view.Load()
	if v == nil || !v.rates[name] {
		return nil
	}
	now := time.Since(o.gates.start)
	for i, s := range v.scopes {
		b := s.buckets[name]
		if b == nil {
			continue
		}
		if wait, ok := b.take(now, n); !ok {
			for _, before := range v.scopes[:i] {
				if b := before.buckets[name]; b != nil {
					b.give(n)
				}
			}
			o.gates.Refused(Key{s.id, name})
			return &Refusal{name, s.id, s.limits[name].Hard, wait}
		}
	}
	return nil
}

// Single is the hard threshold of what is of one channel, connection or publish; 0 is none.
func (o *Gate) Single(name Name) int64 {
	if v := o.view.Load(); v != nil {
		return v.single[name]
	}
	return 0
}

// Refuse counts that the limit of one channel, connection or publish was met, and says what it was.
func (o *Gate) Refuse(name Name) *Refusal {
	v := o.view.Load()
	if v == nil || v.single[name] == 0 { // taken away meanwhile
		return &Refusal{Name: name, Scope: AppScope(o.app)}
	}
	o.gates.Refused(Key{v.tight[name], name})
	return &Refusal{Name: name, Scope: v.tight[name], Hard: v.single[name]}
}

// MaxMessageSize is what one publish may have, in bytes, on a node that takes most.
func (o *Gate) MaxMessageSize(most int) int {
	return int(Tighter(int64(most), o.Single(MessageSize)))
}

// TooLarge counts a publish that was larger than that, if the limit is what it met.
func (o *Gate) TooLarge(most int) {
	if hard := o.Single(MessageSize); hard > 0 && hard <= int64(most) {
		o.Refuse(MessageSize)
	}
}

// Refused counts that a limit was met.
func (g *Gates) Refused(k Key) {
	n, ok := g.refused.Load(k)
	if !ok {
		n, _ = g.refused.LoadOrStore(k, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

// Refusals is how often each limit was met on this node, since the start.
func (g *Gates) Refusals() map[Scope][NumNames]uint64 {
	all := map[Scope][NumNames]uint64{}
	g.refused.Range(func(key, n any) bool {
		k := key.(Key)
		list := all[k.Scope]
		list[k.Name] = n.(*atomic.Uint64).Load()
		all[k.Scope] = list
		return true
	})
	return all
}

// Demand is how much a node was asked for of a rate.
type Demand struct {
	Key
	Asked uint64 `json:"asked"`
}

// Demands are those since the last call.
func (g *Gates) Demands() (list []Demand) {
	for _, s := range g.scopes() {
		for n, b := range s.buckets {
			if b != nil {
				list = append(list, Demand{Key{s.id, Name(n)}, b.demand()})
			}
		}
	}
	return list
}

// Share is what a node may let through of a rate, per second, and what all nodes together are asked for.
type Share struct {
	Key
	Rate  float64 `json:"rate"`
	Asked float64 `json:"asked"`
}

// Share sets this node's part of rates.
func (g *Gates) Share(list []Share) {
	for _, s := range list {
		g.mu.Lock()
		sc := g.known[s.Scope]
		g.mu.Unlock()
		if sc != nil && s.Name < NumNames && sc.buckets[s.Name] != nil {
			sc.buckets[s.Name].share(s.Rate)
		}
	}
}

func sortedScopes(m map[Scope]*scope) []Scope {
	text := map[string]bool{}
	for id := range m {
		text[string(id)] = true
	}
	list := make([]Scope, 0, len(m))
	for _, id := range sortedKeys(text) {
		list = append(list, Scope(id))
	}
	return list
}

// Hard is the hard threshold of a scope; 0 is none.
func (g *Gates) Hard(s Scope, n Name) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if sc := g.known[s]; sc != nil {
		return sc.limits[n].Hard
	}
	return 0
}

// Account is the scope of an app's account.
func (g *Gates) Account(app string) Scope {
	g.mu.Lock()
	defer g.mu.Unlock()
	return AccountScope(g.config.Account(app))
}

// ScopeLimits are the limits of one scope.
type ScopeLimits struct {
	ID     Scope
	Limits Set
	Has    func(app string) bool // whether an app is in the scope
}

// Scopes are all that have limits, in order.
func (g *Gates) Scopes() []ScopeLimits {
	var list []ScopeLimits
	for _, s := range g.scopes() {
		list = append(list, ScopeLimits{s.id, s.limits, s.has})
	}
	return list
}
