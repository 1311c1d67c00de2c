package main

import (
	"slices"
	"sync"
	"time"

	"innkeeper/cmd/checker"
)

// witness writes down what clients see. Its methods may be called from any goroutine.
type witness struct {
	mu  sync.Mutex
	all []*checker.Attachment
	// when how many attachments were held, for the picture
	held    int
	heldLog []sample
	sent    []farewell
}

// farewell is a connection that did not end by the client's own wish.
type farewell struct {
	at       time.Time
	node     string
	channels map[string]time.Time // it held, since when
	told     bool                 // by DISCONNECTED, not only by a socket that closed
}

// held says whether it held a channel at an instant, and until its end.
func (f farewell) held(channel string, at time.Time) bool {
	since, ok := f.channels[channel]
	return ok && since.Before(at)
}

// sample is a number at an instant.
type sample struct {
	at time.Time
	n  int
}

func (w *witness) asked(client, node, channel string, at time.Time) *checker.Attachment {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &checker.Attachment{Client: client, Node: node, Channel: channel, Asked: at}
	w.all = append(w.all, a)
	return a
}

func (w *witness) confirmed(a *checker.Attachment, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.Confirmed.IsZero() && a.Left.IsZero() {
		a.Confirmed = at
		w.count(at, 1)
	}
}

func (w *witness) left(a *checker.Attachment, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !a.Left.IsZero() {
		return
	}
	a.Left = at
	if !a.Confirmed.IsZero() {
		w.count(at, -1)
	}
}

func (w *witness) sentAway(f farewell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, f)
}

func (w *witness) count(at time.Time, n int) {
	w.held += n
	w.heldLog = append(w.heldLog, sample{at, w.held})
}

// attachments is a copy of all that was written down.
func (w *witness) attachments() []checker.Attachment {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]checker.Attachment, len(w.all))
	for i, a := range w.all {
		out[i] = *a
	}
	return out
}

// held is how many hold each channel now.
func (w *witness) holders() map[string]int {
	held := map[string]int{}
	for _, a := range w.attachments() {
		if !a.Confirmed.IsZero() && a.Left.IsZero() {
			held[a.Channel]++
		}
	}
	return held
}

// pulse notices when this machine was too busy to run us: then clients learn late what happened.
type pulse struct {
	mu    sync.Mutex
	skips []skip
}

type skip struct {
	at   time.Time
	late time.Duration
}

const (
	pulseEvery = 10 * time.Millisecond
	pulseNoted = 50 * time.Millisecond
)

// run measures until stop is closed.
func (p *pulse) run(stop <-chan struct{}) {
	t := time.NewTicker(pulseEvery)
	defer t.Stop()
	for last := time.Now(); ; {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		now := time.Now()
		if late := now.Sub(last) - pulseEvery; late > pulseNoted {
			p.mu.Lock()
			p.skips = append(p.skips, skip{now, late})
			p.mu.Unlock()
		}
		last = now
	}
}

// worst is the longest delay seen between two instants.
func (p *pulse) worst(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, _ := slices.BinarySearchFunc(p.skips, from, func(s skip, t time.Time) int { return s.at.Compare(t) })
	var most time.Duration
	for ; i < len(p.skips) && p.skips[i].at.Add(-p.skips[i].late).Before(to); i++ {
		most = max(most, p.skips[i].late)
	}
	return most
}
