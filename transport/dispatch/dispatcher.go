package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"innkeeper/channel"
)

// What the zero value of a setting means.
const (
	defaultTimeout     = 3 * time.Second
	defaultLeaseTTL    = 4 * time.Second
	defaultLanes       = 8
	defaultBatch       = 100
	defaultWindow      = 8192
	defaultLinger      = 5 * time.Millisecond
	defaultCommitEvery = 100 * time.Millisecond
	defaultCommitAfter = 1000
)

// Config is what a Dispatcher needs and what can be tuned.
type Config struct {
	Log   EventLog
	Rules []Rule // that there are from the beginning; Put and Remove change them
	// Settled returns when all rules were Put here that were made anywhere before the call; before, no cursor is taken for one
	// that nobody needs. nil: Rules and Put are all there is.
	Settled func(ctx context.Context) error
	// Dial opens the connections to sinks; nil is TCP of the machine. Proxy settings of the
	// environment are not used.
	Dial DialFunc
	// Client, when set, sends the HTTP requests instead of clients of the dispatcher's own; its
	// timeout and its redirect policy are not used, Dial and the rules' TLS settings not
	// either, and its idle connections are closed when a term ends.
	Client *http.Client
	// Counts gives a channel's occupancy, for formats that tell it; nil: they tell none. Site is the name of this cluster
	// there.
	Counts func(ctx context.Context, app, channel string) (channel.Counts, error)
	Site   func() string
	// Complain is told when a rule's sink begins to fail, and with nil when it is well again. It must not block. May be nil.
	Complain func(app, rule string, failure error)
	// LeaseTTL is how long a node may act without hearing from the cluster: 4 s when zero. Timeouts of rules must be less.
	LeaseTTL time.Duration

	// For rules that do not say otherwise.
	Lanes  int           // requests in flight per rule at most; 8 when zero
	Batch  int           // events per request at most; 100 when zero
	Linger time.Duration // how long the first event of a batch waits for more; 5 ms when zero, none when negative

	Window      int           // events a rule holds in memory at most; 8,192 when zero
	CommitEvery time.Duration // least time between commits of a cursor; 100 ms when zero
	CommitAfter int           // events after which a cursor is committed sooner; 1,000 when zero

	Rand   func() float64 // jitter in [0, 1); math/rand/v2 when nil. Called from several goroutines
	Logger *slog.Logger   // nil discards
}

// withDefaults fills what was left out.
func (c Config) withDefaults() Config {
	def(&c.LeaseTTL, defaultLeaseTTL)
	def(&c.Lanes, defaultLanes)
	def(&c.Batch, defaultBatch)
	def(&c.Window, defaultWindow)
	def(&c.Linger, defaultLinger)
	def(&c.CommitEvery, defaultCommitEvery)
	def(&c.CommitAfter, defaultCommitAfter)
	if c.Dial == nil {
		c.Dial = hostDial
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func def[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// validate says what is wrong with the settings.
func (c *Config) validate() error {
	if c.Log == nil {
		return fmt.Errorf("dispatch: no event log")
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"lanes", c.Lanes}, {"batch", c.Batch}, {"window", c.Window}, {"commit after", c.CommitAfter}} {
		if n.value < 1 {
			return fmt.Errorf("dispatch: %s %d is out of range (1 or more)", n.name, n.value)
		}
	}
	if c.CommitEvery < 0 || c.LeaseTTL < 0 {
		return fmt.Errorf("dispatch: negative duration")
	}
	return nil
}

// Dispatcher sends events while its node leads. Its methods may be called from any goroutine.
type Dispatcher struct {
	// Static after construction.
	config Config

	// Guarded by mu, which is never held while waiting.
	mu     sync.Mutex
	rules  []*sender // replaced, never written to
	term   *term     // the current one; nil while the node does not lead
	ended  chan struct{}
	closed bool
}

// term is one span of leadership.
type term struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when all goroutines have ended

	// Guarded by Dispatcher.mu.
	begun   bool // the term before has ended
	running map[*sender]running
	all     sync.WaitGroup
}

// running is a sender in a term.
type running struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// New checks the rules and returns a dispatcher that does nothing until the node leads.
func New(c Config) (*Dispatcher, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	d := &Dispatcher{config: c, ended: make(chan struct{})}
	close(d.ended)
	for _, r := range c.Rules {
		s, err := d.open(r)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(d.rules, func(o *sender) bool { return o.rule.Cursor() == s.rule.Cursor() }) {
			return nil, fmt.Errorf("dispatch: two rules have the cursor %q (app id, slash, rule id)", s.rule.Cursor())
		}
		d.rules = append(d.rules, s)
	}
	return d, nil
}

// open makes the sender of a rule.
func (d *Dispatcher) open(r Rule) (*sender, error) {
	r = r.withDefaults(&d.config)
	if err := r.validate(d.config.LeaseTTL); err != nil {
		return nil, err
	}
	return newSender(&d.config, r)
}

// Put adds a rule, or takes it in the place of the one with its app and id, which ends first. It does nothing if that one comes
// to the same requests. It does not wait.
func (d *Dispatcher) Put(r Rule) error {
	s, err := d.open(r)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var before <-chan struct{}
	rules := make([]*sender, 0, len(d.rules)+1)
	for _, old := range d.rules {
		if old.rule.same(&s.rule) {
			return nil
		}
		if old.rule.Cursor() == s.rule.Cursor() {
			before = d.end(old)
		} else {
			rules = append(rules, old)
		}
	}
	d.rules = append(rules, s)
	if d.term != nil && d.term.begun {
		d.term.start(s, before)
	}
	return nil
}

// Remove takes a rule away, and its cursor with it. It does not wait.
func (d *Dispatcher) Remove(app, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var rules []*sender
	for _, old := range d.rules {
		if old.rule.App == app && old.rule.ID == id {
			d.end(old)
		} else {
			rules = append(rules, old)
		}
	}
	d.rules = rules
	if t := d.term; t != nil && t.begun {
		t.all.Go(func() { d.dropOld(t.ctx) })
	}
}

// end ends a sender of the current term and says when it will have ended, nil if it does not run. d.mu is held.
func (d *Dispatcher) end(s *sender) <-chan struct{} {
	if d.term == nil {
		return nil
	}
	r, ok := d.term.running[s]
	if !ok {
		return nil
	}
	delete(d.term.running, s)
	r.cancel()
	return r.done
}

// start lets a sender run until the term ends; before, if it is not nil, has to end first. Dispatcher.mu is held.
func (t *term) start(s *sender, before <-chan struct{}) {
	ctx, cancel := context.WithCancel(t.ctx)
	r := running{cancel: cancel, done: make(chan struct{})}
	t.running[s] = r
	t.all.Go(func() {
		defer close(r.done)
		defer cancel()
		if before != nil {
			<-before
		}
		if ctx.Err() == nil {
			s.run(ctx)
		}
	})
}

// Lead says whether this node leads. It never blocks: a term ends in the background, soon, and the next one begins only
// when it has.
func (d *Dispatcher) Lead(leads bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || leads == (d.term != nil) {
		return
	}
	if !leads {
		d.term.cancel()
		d.term = nil
		return
	}
	t := &term{done: make(chan struct{}), running: map[*sender]running{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	before := d.ended
	d.term, d.ended = t, t.done
	go d.run(t, before)
}

// Wants returns what a rule wants of the log; ok is false if there is no such rule.
func (d *Dispatcher) Wants(app, id string) (want func(*Event) bool, ok bool) {
	if s := d.sender(app, id); s != nil {
		return s.rule.Matches, true
	}
	return nil, false
}

// sender is the one of a rule, nil if there is none.
func (d *Dispatcher) sender(app, id string) *sender {
	for _, s := range d.senders() {
		if s.rule.App == app && s.rule.ID == id {
			return s
		}
	}
	return nil
}

func (d *Dispatcher) senders() []*sender {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rules
}

// Close ends the current term and waits until no goroutine is left. Lead does nothing afterwards.
func (d *Dispatcher) Close() {
	d.mu.Lock()
	d.closed = true
	if d.term != nil {
		d.term.cancel()
		d.term = nil
	}
	ended := d.ended
	d.mu.Unlock()
	<-ended
}

// run is one term: a goroutine per rule, and one that clears away old cursors.
func (d *Dispatcher) run(t *term, before <-chan struct{}) {
	defer close(t.done)
	defer t.cancel()
	<-before
	d.mu.Lock()
	if d.term == t {
		t.begun = true
		for _, s := range d.rules {
			t.start(s, nil)
		}
		t.all.Go(func() { d.dropOld(t.ctx) })
	}
	d.mu.Unlock()
	<-t.ctx.Done()
	t.all.Wait()
}

// dropOld drops the cursors of rules that are not there any more: a cursor keeps the log from forgetting events.
func (d *Dispatcher) dropOld(ctx context.Context) {
	if d.config.Settled != nil && insist(ctx, &d.config, "know all rules", d.config.Settled) != nil {
		return
	}
	for name := range d.config.Log.Cursors() {
		dropped := false
		err := insist(ctx, &d.config, "drop cursor", func(ctx context.Context) (err error) {
			if d.serves(name) { // asked before each attempt: the rule may come back meanwhile
				return nil
			}
			err = d.config.Log.DropCursor(ctx, name)
			dropped = err == nil
			return err
		})
		if err != nil {
			return
		}
		if !dropped {
			continue
		}
		d.config.Logger.Info("dropped the cursor of a rule that is not there any more", "cursor", name)
	}
}

// serves says whether there is a rule with that cursor.
func (d *Dispatcher) serves(cursor string) bool {
	return slices.ContainsFunc(d.senders(), func(s *sender) bool { return s.rule.Cursor() == cursor })
}

// insist calls fn until it succeeds or ctx ends.
func insist(ctx context.Context, c *Config, what string, fn func(context.Context) error) error {
	for failures := 1; ; failures++ {
		err := bounded(ctx, fn)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.Logger.Warn("the log did not answer; trying again", "op", what, "err", err)
		if !sleep(ctx, backoff(failures, c.Rand())) {
			return ctx.Err()
		}
	}
}

// logTimeout bounds one operation on the log: a future of a log that is shutting down may never end by itself.
const logTimeout = 10 * time.Second

func bounded(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	return fn(ctx)
}

// sleep waits and says whether ctx is still on.
func sleep(ctx context.Context, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
