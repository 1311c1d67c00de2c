package dispatch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"innkeeper/channel"
)

// Rules about messages, presence and occupancy are served by the nodes that own the channels, beside the dispatcher that
// serves those about the log's events: what is to be told is read from the channel's history, and how far it was told is
// kept with that history and its copy.

// ChannelSource is the channels of a node as rules read them. Methods with a context end soon after it.
type ChannelSource interface {
	History(ctx context.Context, app, name string, q channel.History) (channel.HistoryResult, error)
	Query(ctx context.Context, app, name string) (channel.QueryResult, error)
	// Told notes how far a channel was told to all its rules. It never blocks.
	Told(part uint32, epoch uint64, app, name, serial string)
	// Counted notes which counts of a channel all its rules were told last. It never blocks.
	Counted(part uint32, epoch uint64, app, name string, counts channel.Counts)
}

// TapsConfig is what Taps need.
type TapsConfig struct {
	Source ChannelSource
	Dial   DialFunc      // as in Config
	Client *http.Client  // as in Config
	Site   func() string // as in Config
	// LeaseTTL as in Config: 4 s when zero.
	LeaseTTL time.Duration
	Debounce time.Duration // least time between two tellings of a channel's occupancy; 1 s when zero
	Rand     func() float64
	Logger   *slog.Logger
	Complain func(app, rule string, failure error) // as in Config
}

const (
	tapTurns  = 50  // channels that one turn reads at most
	tapReads  = 100 // messages that one turn reads of a channel
	readAgain = 250 * time.Millisecond
)

// Taps serves the rules of channels that this node owns. It implements channel.Tap; its methods may be called from any
// goroutine, and only Set and Close block.
type Taps struct {
	cfg  TapsConfig
	ctx  context.Context
	stop context.CancelFunc

	counting sync.Mutex // above mu: what the source is told of counts comes in the order in which it was found

	mu      sync.Mutex // also guards the queues of all tappers
	tappers []*tapper
}

// tapper serves one rule.
type tapper struct {
	taps  *Taps
	rule  Rule
	sink  *httpSink
	what  channel.Taps
	wake  chan struct{} // nudge
	ctx   context.Context
	stop  context.CancelFunc
	done  chan struct{}
	tally tally
	limp  bool // guarded by Taps.mu

	queue *tapQueue // guarded by Taps.mu; handed on when the rule changes
}

// NewTaps makes Taps that serve no rule yet.
func NewTaps(c TapsConfig) *Taps {
	def(&c.LeaseTTL, defaultLeaseTTL)
	def(&c.Debounce, time.Second)
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = hostDial
	}
	t := &Taps{cfg: c}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t
}

// IsTap says whether a source is one of those that Taps serve.
func IsTap(source string) bool { return tapsOf[source] != 0 }

var tapsOf = map[string]channel.Taps{
	SourceChannelMessage:   channel.TapHistory,
	SourceChannelPresence:  channel.TapHistory,
	SourceChannelOccupancy: channel.TapOccupancy,
}

// Set replaces the rules. One that stays, by app and id, goes on with what waits for it; one in which nothing has changed does
// not notice. It gives up the requests of the others and waits until they have ended. No two calls at the same time.
func (t *Taps) Set(rules []Rule) error {
	c := Config{Dial: t.cfg.Dial, Client: t.cfg.Client, LeaseTTL: t.cfg.LeaseTTL, Lanes: defaultLanes, Batch: defaultBatch, Site: t.cfg.Site}
	t.mu.Lock()
	before := t.tappers
	t.mu.Unlock()
	var next, fresh []*tapper
	for _, r := range rules {
		r = r.withDefaults(&c)
		if err := r.validate(c.LeaseTTL); err != nil {
			return err
		}
		if i := slices.IndexFunc(before, func(k *tapper) bool { return k.rule.same(&r) }); i >= 0 {
			next = append(next, before[i])
			continue
		}
		sink, err := openSink(&c, &r)
		if err != nil {
			return err
		}
		k := &tapper{taps: t, rule: r, what: tapsOf[r.Source], wake: make(chan struct{}, 1), done: make(chan struct{})}
		k.sink = sink.(*httpSink)
		k.sink.rule = &k.rule
		rest := time.Duration(0)
		if k.what&channel.TapOccupancy != 0 {
			rest = t.cfg.Debounce
		}
		k.queue = newTapQueue(r.Lanes, min(tapTurns, r.Batch), rest)
		k.ctx, k.stop = context.WithCancel(t.ctx)
		fresh = append(fresh, k)
	}
	gone := slices.DeleteFunc(slices.Clone(before), func(k *tapper) bool { return slices.Contains(next, k) })
	t.mu.Lock()
	// At no time may a rule that changes look as if it owed nothing: the others would bring the owner's position past what it
	// does owe. So its queue serves on, while the requests of the old rule end and after.
	for _, was := range gone {
		i := slices.IndexFunc(fresh, func(k *tapper) bool {
			return was.rule.Cursor() == k.rule.Cursor() && was.rule.Source == k.rule.Source
		})
		if i >= 0 {
			was.queue.lanes, was.queue.turns = fresh[i].queue.lanes, fresh[i].queue.turns
			fresh[i].queue = was.queue
		}
	}
	t.tappers = append(next, fresh...)
	t.mu.Unlock()
	for _, k := range gone {
		k.stop()
	}
	for _, k := range gone {
		<-k.done
	}
	t.mu.Lock()
	for _, k := range fresh {
		k.queue.failures = 0 // its target may be another
	}
	t.mu.Unlock()
	for _, k := range fresh {
		go k.run()
	}
	return nil
}

// Wants says what is to be told of a channel.
func (t *Taps) Wants(app, name string) (what channel.Taps) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.tappers {
		if k.matches(app, name) {
			what |= k.what
		}
	}
	return what
}

func (k *tapper) matches(app, name string) bool {
	return k.rule.App == app && (k.rule.Channels == nil || k.rule.Channels.MatchString(name))
}

// News implements channel.Tap.
func (t *Taps) News(n channel.News) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.tappers {
		if what := k.what & n.What; what != 0 && k.matches(n.App, n.Name) {
			k.queue.news(&n, what)
			k.nudge()
		}
	}
}

// Over implements channel.Tap.
func (t *Taps) Over(part uint32, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.tappers {
		k.queue.end(part, epoch)
	}
}

// Close ends all requests and waits for them.
func (t *Taps) Close() {
	t.stop()
	t.mu.Lock()
	tappers := t.tappers
	t.tappers = nil
	t.mu.Unlock()
	for _, k := range tappers {
		<-k.done
	}
}

// Status is how the rules fare on this node.
func (t *Taps) Status() []RuleStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []RuleStatus
	for _, k := range t.tappers {
		s := k.tally.copy()
		s.App, s.Rule, s.Format = k.rule.App, k.rule.ID, k.rule.Format
		s.Held, s.InFlight, s.InBackoff = len(k.queue.entries), k.queue.inFlight, k.queue.failures > 0
		list = append(list, s)
	}
	return list
}

func (k *tapper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run makes requests while there is something to tell, until the rule is gone. All it started has ended when it closes
// done.
func (k *tapper) run() {
	var requests sync.WaitGroup
	defer func() {
		requests.Wait()
		k.sink.close()
		close(k.done)
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	linger := time.Time{} // batched requests wait a moment for company
	for {
		now := time.Now()
		k.taps.mu.Lock()
		var turns []tapTurn
		if !now.Before(linger) {
			turns = k.queue.next(now)
		}
		wake := k.queue.wake()
		k.taps.mu.Unlock()
		if turns != nil {
			linger = now.Add(max(k.rule.Linger, 0))
			requests.Go(func() { k.turn(turns) })
			continue
		}
		if wake.IsZero() && now.Before(linger) {
			wake = linger
		}
		if wake.IsZero() {
			wake = now.Add(time.Hour)
		}
		timer.Reset(time.Until(wake))
		select {
		case <-k.wake:
		case <-timer.C:
		case <-k.ctx.Done():
			return
		}
	}
}

// news reads what there is to tell of a channel. d says how far it goes; it is not ok when it could not be read.
func (k *tapper) news(turn *tapTurn, d *tapDone) (items []Item) {
	ctx, cancel := context.WithTimeout(k.ctx, k.rule.Timeout)
	defer cancel()
	again := func(err error) {
		d.more = true // it is read again, a little later
		if k.ctx.Err() == nil && err != nil {
			k.taps.cfg.Logger.Debug("cannot read a channel for a rule", "app", turn.app, "channel", turn.channel, "rule", k.rule.ID, "err", err)
		}
		sleep(k.ctx, readAgain)
	}
	if turn.what&channel.TapOccupancy != 0 {
		r, err := k.taps.cfg.Source.Query(ctx, turn.app, turn.channel)
		if err != nil || r.Refusal != channel.Accepted {
			again(err)
			return nil
		}
		d.ok, d.counts = true, r.Counts
		return []Item{occupancyItem(&k.rule, turn.channel, time.Now().UnixMilli(), r.Active, &r.Counts)}
	}
	of := channel.OnlyMessages
	if k.rule.Source == SourceChannelPresence {
		of = channel.OnlyPresence
	}
	r, err := k.taps.cfg.Source.History(ctx, turn.app, turn.channel, channel.History{After: turn.cursor, Limit: tapReads, Of: of, Raw: true})
	if err != nil || r.Refusal != channel.Accepted {
		again(err)
		return nil
	}
	if !r.Complete && turn.cursor != "" {
		items = append(items, gapItem(&k.rule, turn.channel, turn.cursor))
		k.tally.gap()
	}
	d.ok, d.more = true, r.More
	if r.More && len(r.Deliveries) > 0 {
		d.told = channel.SerialPosition(r.Deliveries[len(r.Deliveries)-1].Serial)
	} else if r.Serial != "" {
		d.told = channel.SerialPosition(r.Serial)
	}
	return append(items, itemsOf(&k.rule, k.site(), r.Deliveries)...)
}

// site is the name of this cluster towards targets.
func (k *tapper) site() string {
	if k.taps.cfg.Site == nil {
		return ""
	}
	return k.taps.cfg.Site()
}

// progress notes how far a channel was told to one rule, and lets the owner know how far it was told to all of them.
func (t *Taps) progress(k *tapper, d *tapDone) {
	if d.told == d.cursor || d.told == "" {
		return
	}
	t.mu.Lock()
	k.queue.advance(d.tapKey, d.told)
	least := t.least(d.tapKey, d.told)
	t.mu.Unlock()
	if least != "" {
		t.cfg.Source.Told(d.part, d.epoch, d.app, d.channel, least)
	}
}

// settle notes how a turn ended.
func (k *tapper) settle(results []tapDone, failure error) {
	t := k.taps
	now := time.Now()
	t.counting.Lock()
	var counted []*tapDone
	t.mu.Lock()
	k.queue.done(now, results, failure != nil, t.cfg.Rand())
	for i := range results {
		d := &results[i]
		t.forget(d.tapKey)
		if d.ok && k.what&channel.TapOccupancy != 0 && t.counted(d.tapKey) {
			counted = append(counted, d)
		}
	}
	limped := k.limp
	k.limp = failure != nil
	t.mu.Unlock()
	for _, d := range counted {
		t.cfg.Source.Counted(d.part, d.epoch, d.app, d.channel, d.counts)
	}
	t.counting.Unlock()
	k.report(now, limped, failure)
	k.nudge()
}

// counted says whether all rules were told the counts of a channel as they were when there were news of them last. mu is held.
func (t *Taps) counted(key tapKey) bool {
	for _, k := range t.tappers {
		if k.what&channel.TapOccupancy != 0 && k.matches(key.app, key.channel) && !k.queue.idle(key) {
			return false
		}
	}
	return true
}

// least is how far a channel was told to all rules of its history; mu is held.
func (t *Taps) least(key tapKey, told string) string {
	for _, k := range t.tappers {
		if k.what&channel.TapHistory == 0 || !k.matches(key.app, key.channel) {
			continue
		}
		if cursor, known := k.queue.told(key); known {
			told = min(told, cursor)
		}
	}
	return told
}

// forget drops a channel of which every rule was told all: the owner keeps the position. Until then each remembers its
// own, so that one target that is down does not have the others told again. mu is held.
func (t *Taps) forget(key tapKey) {
	for _, k := range t.tappers {
		if k.what&channel.TapHistory != 0 && !k.queue.idle(key) {
			return
		}
	}
	for _, k := range t.tappers {
		if k.what&channel.TapHistory != 0 {
			k.queue.forget(key)
		}
	}
}

// report tells operators when the target begins to fail and when it is well again.
func (k *tapper) report(now time.Time, limped bool, failure error) {
	log := k.taps.cfg.Logger
	switch {
	case failure != nil:
		k.tally.failed(now, failure)
		if !limped {
			log.Warn("target does not accept what channels tell; trying again while it is kept", "app", k.rule.App, "rule", k.rule.ID, "err", failure)
		}
	case limped:
		log.Info("target accepts what channels tell again", "app", k.rule.App, "rule", k.rule.ID)
	}
	if c := k.taps.cfg.Complain; c != nil && limped != (failure != nil) {
		c(k.rule.App, k.rule.ID, failure)
	}
}
