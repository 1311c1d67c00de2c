package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// readMax is how many events are read from the log at once.
const readMax = 1000

// sender serves one rule. It is the shell around a pump: run owns the pump of the term and performs what it asks for.
type sender struct {
	// Static after construction.
	config *Config
	rule   Rule

	replays chan replay // not buffered: taken by a pass
	tally   tally       // what Status shows; over all terms
}

// replay is a request to move the cursor back.
type replay struct {
	cursor uint64
	done   chan<- error // has room
}

// newSender takes a validated rule.
func newSender(c *Config, r Rule) (*sender, error) {
	s := &sender{config: c, rule: r, replays: make(chan replay)}
	sink, err := openSink(c, &s.rule) // what cannot be opened shall show now, not when this node leads
	if err != nil {
		return nil, fmt.Errorf("dispatch: rule %q of app %q: %w", r.ID, r.App, err)
	}
	sink.close()
	return s, nil
}

// What the helpers of run report.
type (
	readDone struct {
		last   uint64 // of the log
		end    uint64 // what was read goes up to here
		events []Event
		gap    *Event // what was read is of a range that is not whole
		err    error
	}
	sendDone struct {
		lane int
		n    int    // events in the batch
		last uint64 // seq of the last of them
		err  error
	}
	commitDone struct {
		seq uint64
		err error
	}
	gapDone struct{ err error }
)

// work is the state of one pass; touched by run's goroutine alone, except where said.
type work struct {
	*sender
	ctx     context.Context // ends with the pass
	term    context.Context // ends with the term
	pump    *pump
	sink    sink
	reports chan any // room for a report of every helper that can be running
	helpers sync.WaitGroup
	reading bool
	readAt  time.Time // not before, after a failed read
	badRead int       // failed reads in a row
	limp    bool      // some request failed and none has been accepted since
	gap     gap
	skip    uint64 // events up to here belong to a gap of which nothing is sent
	dropped uint64 // what the cursor was to be set to when it turned out to be gone; 0 while it is there
}

// run sends the rule's events until ctx ends. All it started has ended when it returns.
func (s *sender) run(ctx context.Context) {
	defer s.tally.leave()
	sink, err := openSink(s.config, &s.rule)
	if err != nil { // it was opened before
		s.config.Logger.Error("cannot open the sink of a rule", "app", s.rule.App, "rule", s.rule.ID, "err", err)
		return
	}
	defer sink.close()
	for after := s.anew(); ctx.Err() == nil; {
		after = s.pass(ctx, sink, after)
	}
}

// pass sends what is behind the cursor in the log, until ctx ends or somebody moves the cursor back or drops it. For that
// everything in flight must have ended: it knows only the way forward. It returns where the next one begins.
func (s *sender) pass(ctx context.Context, sink sink, from begin) begin {
	cursor, missed, err := s.place(ctx, from)
	if err != nil {
		return from
	}
	working, stop := context.WithCancel(ctx)
	w := &work{
		sender: s, ctx: working, term: ctx, pump: newPump(s.rule.limits(s.config), cursor), sink: sink,
		reports: make(chan any, s.rule.Lanes+3),
	}
	if missed.To > 0 {
		w.gap.open(&missed, s.rule.App, time.Now())
		if !from.moved {
			w.skip = missed.To
		}
	}
	replay := w.loop()
	stop()
	w.helpers.Wait()
	next := s.anew()
	switch {
	case replay != nil:
		next = begin{after: s.rule.After, moved: true}
		if !w.gap.told(&missed) {
			next.after, next.gap = missed.To, missed.From
		}
		replay.done <- bounded(ctx, func(ctx context.Context) error {
			return s.config.Log.RewindCursor(ctx, s.rule.Cursor(), replay.cursor)
		})
	case w.dropped > next.after:
		next = begin{after: w.dropped}
	}
	return next
}

// loop does what there is to do, then waits for a report or for the time the pump asked for. It returns when ctx ends or
// the cursor is gone, or with a request to replay.
func (w *work) loop() *replay {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		w.act(time.Now())
		w.tally.watch(w.pump)
		wait := timer.C
		if at := w.wake(); at.IsZero() {
			wait = nil
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-w.ctx.Done():
			return nil
		case r := <-w.replays:
			return &r
		case r := <-w.reports:
			w.report(time.Now(), r)
			if w.dropped > 0 {
				return nil
			}
		case <-wait:
		}
	}
}

// act starts everything that may be started now.
func (w *work) act(now time.Time) {
	if n := min(w.pump.room(), readMax); n > 0 && !w.reading && !now.Before(w.readAt) && w.gap.marker == nil {
		w.reading = true
		after, bound := w.pump.position(), w.pump.reach()
		w.helpers.Go(func() { w.reports <- w.read(after, bound, n) })
	}
	w.tellGap(now)
	for {
		lane, batch, ok := w.pump.next(now)
		if !ok {
			break
		}
		w.tally.attempt()
		w.helpers.Go(func() {
			err := w.sink.send(w.ctx, batch)
			w.reports <- sendDone{lane, len(batch), batch[len(batch)-1].Seq, err}
		})
	}
	if seq, ok := w.pump.commit(now); ok {
		w.helpers.Go(func() {
			// Not given up when the pass ends: it must not happen after the cursor was moved back.
			err := bounded(w.term, func(ctx context.Context) error {
				return w.config.Log.SetCursor(ctx, w.rule.Cursor(), seq)
			})
			w.reports <- commitDone{seq, err}
		})
	}
}

// wake is when act may have something to do without a report; the zero time if never.
func (w *work) wake() time.Time {
	at := w.pump.wake()
	if !w.reading && w.badRead > 0 && (at.IsZero() || w.readAt.Before(at)) {
		at = w.readAt
	}
	if w.gap.waits() && (at.IsZero() || w.gap.at.Before(at)) {
		at = w.gap.at
	}
	return at
}

// read waits for events behind after and returns some, none above bound. Helper goroutine.
func (w *work) read(after, bound uint64, limit int) readDone {
	if err := w.config.Log.WaitEvents(w.ctx, after); err != nil {
		return readDone{err: err}
	}
	first, last, events, err := w.config.Log.Events(after, limit)
	r := readDone{last: last, end: last, err: err}
	if first > after+1 {
		var gap Event
		if gap, events, r.err = w.config.Log.Folded(after, limit); gap.From <= gap.To {
			r.gap, r.end = &gap, gap.To
		} else {
			r.end = after // the log has it after all
			return r
		}
	}
	if r.err != nil {
		return r
	}
	if len(events) == limit || r.gap == nil && len(events) > 0 {
		r.end = events[len(events)-1].Seq
	}
	r.end = min(r.end, bound)
	for len(events) > 0 && events[len(events)-1].Seq > bound {
		events = events[:len(events)-1]
	}
	r.events = events
	return r
}

// report takes in what a helper did.
func (w *work) report(now time.Time, r any) {
	switch r := r.(type) {
	case readDone:
		w.reading = false
		w.onRead(now, r)
	case sendDone:
		w.onSend(now, r)
	case gapDone:
		w.onGapTold(now, r.err)
	case commitDone:
		w.pump.settled(now, r.seq, r.err, w.config.Rand())
		if errors.Is(r.err, ErrNoCursor) {
			w.dropped = r.seq
		}
		if r.err != nil && w.ctx.Err() == nil {
			w.config.Logger.Warn("cannot commit a cursor; trying again",
				"cursor", w.rule.Cursor(), "seq", r.seq, "err", r.err)
		}
	}
}

func (w *work) onRead(now time.Time, r readDone) {
	if r.err != nil {
		w.badRead++
		w.readAt = now.Add(backoff(w.badRead, w.config.Rand()))
		if w.ctx.Err() == nil {
			w.config.Logger.Warn("cannot read events; trying again", "cursor", w.rule.Cursor(), "err", r.err)
		}
		return
	}
	w.badRead = 0
	w.tally.see(r.last)
	if r.gap != nil {
		if !w.gap.told(r.gap) { // before anything of its range; then it is read again
			w.gap.open(r.gap, w.rule.App, now)
			return
		}
		w.tally.skip(r.end - w.pump.position() - uint64(len(r.events)))
	}
	for i := range r.events {
		if e := &r.events[i]; e.Seq > w.skip && w.rule.Matches(e) {
			w.pump.take(now, *e)
		} else {
			w.pump.drop(e.Seq)
		}
	}
	w.pump.drop(r.end)
}

func (w *work) onSend(now time.Time, r sendDone) {
	if r.err == nil {
		w.pump.sent(now, r.lane)
		w.tally.accepted(r.n, r.last)
		w.recovered()
		return
	}
	if w.ctx.Err() != nil {
		return // cancelled by us: nobody's fault
	}
	w.pump.failed(now, r.lane, w.config.Rand())
	w.complain(now, r.err)
}

// recovered notes that the sink accepted something.
func (w *work) recovered() {
	if w.limp {
		w.limp = false
		w.config.Logger.Info("sink accepts events again", "app", w.rule.App, "rule", w.rule.ID)
		if w.config.Complain != nil {
			w.config.Complain(w.rule.App, w.rule.ID, nil)
		}
	}
}

// complain notes that the sink did not accept something.
func (w *work) complain(now time.Time, err error) {
	w.tally.failed(now, err)
	if !w.limp {
		w.limp = true
		w.config.Logger.Warn("sink does not accept events; trying again without end",
			"app", w.rule.App, "rule", w.rule.ID, "err", err)
		if w.config.Complain != nil {
			w.config.Complain(w.rule.App, w.rule.ID, err)
		}
	}
}
