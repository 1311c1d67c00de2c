package dispatch

import "time"

// gap is what a pass knows about events that the log gave up, or that came while the rule was off. The sink is told of the whole range, alone, before it is
// sent anything of it; meanwhile nothing is read. Lanes go on with what is from before.
type gap struct {
	to       uint64    // the sink was told of gaps up to here
	marker   *Event    // it is to be told of this one; nil when there is none
	flying   bool      // a request is under way
	failures int       // in a row
	at       time.Time // not before
}

// told says whether the sink knows that the range of g is not whole.
func (g *gap) told(e *Event) bool { return e.To <= g.to }

func (g *gap) open(e *Event, app string, now time.Time) {
	marker := *e
	marker.App = app
	*g = gap{to: g.to, marker: &marker, at: now}
}

// waits says whether there is something to do when the time comes.
func (g *gap) waits() bool { return g.marker != nil && !g.flying }

// tellGap sends the marker if it is time to. The formats of others have no word for it: there it is only noted.
func (w *work) tellGap(now time.Time) {
	g := &w.gap
	if !g.waits() || now.Before(g.at) {
		return
	}
	if g.failures == 0 {
		w.config.Logger.Warn("a sink is not sent all events: the log gave them up before it accepted them, or its rule was off",
			"app", w.rule.App, "rule", w.rule.ID, "from", g.marker.From, "to", g.marker.To)
	}
	g.flying = true
	if w.rule.Format != Innkeeper {
		w.reports <- gapDone{}
		return
	}
	w.tally.attempt()
	batch := []Event{*g.marker}
	w.helpers.Go(func() { w.reports <- gapDone{w.sink.send(w.ctx, batch)} })
}

func (w *work) onGapTold(now time.Time, err error) {
	g := &w.gap
	g.flying = false
	if err == nil {
		w.tally.gap()
		*g = gap{to: g.marker.To}
		w.recovered()
		return
	}
	if w.ctx.Err() != nil {
		return // cancelled by us
	}
	g.failures++
	g.at = now.Add(backoff(g.failures, w.config.Rand()))
	w.complain(now, err)
}
