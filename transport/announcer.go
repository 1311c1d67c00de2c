package transport

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"innkeeper/channel"
)

// What is announced on metachannels for whoever watches: it costs nothing while nobody does. An announcement is a report
// for people, not a record: when more happens than can be told, some of it is not, and counted.

const (
	announceQueue    = 4096
	interestTTL      = 2 * time.Second // how soon a new watcher is noticed
	interestsMax     = 10_000          // apps × metachannels remembered
	announceDeadline = 5 * time.Second // for one announcement
)

// announcement is an event for a metachannel, if anybody watches it.
type announcement struct {
	app, meta, event string
	data             any
	id               string // of one that is kept for those who come later; "" for one that only watchers are told
}

type interestKey struct{ app, meta string }

// interest is what was last known of a metachannel's watchers.
type interest struct {
	watched bool
	until   time.Time
}

// announcer is a queue of announcements with a goroutine that asks whether anybody watches and publishes them in order.
type announcer struct {
	g     *Gateway
	queue chan announcement
	done  chan struct{} // closed by the goroutine at its end
	ctx   context.Context
	stop  context.CancelFunc // ends the goroutine

	mu        sync.Mutex
	interests map[interestKey]interest

	n uint64 // of the last announcement; owned by the goroutine
}

func newAnnouncer(g *Gateway) *announcer {
	a := &announcer{
		g: g, queue: make(chan announcement, announceQueue), done: make(chan struct{}), interests: map[interestKey]interest{},
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a
}

// Announce tells an app's metachannel of an event, if somebody watches it. data is encoded as JSON later: it must not be
// changed any more. It never blocks.
func (g *Gateway) Announce(app, meta, event string, data any) {
	a := g.announcer
	if i := a.known(app, meta, time.Now()); i != nil && !i.watched {
		return
	}
	a.put(announcement{app: app, meta: meta, event: event, data: data})
}

// AnnounceKept is Announce whether anybody watches or not: clients that attach with rewind find it. Announcements of one id
// are one.
func (g *Gateway) AnnounceKept(app, meta, event, id string, data any) {
	g.announcer.put(announcement{app, meta, event, data, id})
}

func (a *announcer) put(one announcement) {
	select {
	case a.queue <- one:
	default:
		a.g.count.unannounced.Add(1)
	}
}

// idle says that nobody watches any of these metachannels of an app, as far as is known.
func (a *announcer) idle(app string, metas ...string) bool {
	now := time.Now()
	for _, meta := range metas {
		if i := a.known(app, meta, now); i == nil || i.watched {
			return false
		}
	}
	return true
}

// known is what was heard of a metachannel's watchers a moment ago, nil if that is too long.
func (a *announcer) known(app, meta string, now time.Time) *interest {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, ok := a.interests[interestKey{app, meta}]; ok && now.Before(i.until) {
		return &i
	}
	return nil
}

func (a *announcer) run() {
	defer close(a.done)
	for {
		select {
		case one := <-a.queue:
			a.tell(one)
		case <-a.ctx.Done():
			return
		}
	}
}

func (a *announcer) tell(one announcement) {
	ctx, cancel := context.WithTimeout(a.ctx, announceDeadline)
	defer cancel()
	id := one.id
	if id == "" {
		if watched, err := a.ask(ctx, one.app, one.meta); err != nil || !watched {
			return
		}
		a.n++
		id = a.g.cfg.Boot + "-" + strconv.FormatUint(a.n, 36) + "_A"
	}
	if err := a.g.PublishMeta(ctx, one.app, one.meta, one.event, id, one.data); err != nil {
		a.g.count.unannounced.Add(1)
		if !errors.Is(err, context.Canceled) {
			a.g.log.Debug("not announced", "app", one.app, "metachannel", one.meta, "event", one.event, "err", err)
		}
	}
}

// ask says whether anybody in the cluster watches a metachannel.
func (a *announcer) ask(ctx context.Context, app, meta string) (bool, error) {
	if i := a.known(app, meta, time.Now()); i != nil {
		return i.watched, nil
	}
	r, err := a.g.Query(ctx, app, metaPrefix+meta)
	if err != nil {
		return false, err
	}
	watched := r.Counts[channel.Subscribers] > 0
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.interests) >= interestsMax {
		clear(a.interests)
	}
	a.interests[interestKey{app, meta}] = interest{watched, time.Now().Add(interestTTL)}
	return watched, nil
}
