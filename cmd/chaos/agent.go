package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"

	"innkeeper/cmd/checker"
)

// agent is a client that comes, goes and moves between nodes for as long as a campaign runs.
type agent struct {
	id       string
	rng      *rand.Rand // of run alone
	channels []string
	procs    []*proc
	home     *proc // where it connects first; nil: anywhere
	steady   bool  // holds all its channels and comes back at once, to another node, when it is sent away
	stays    bool  // keeps what it holds when calm is closed; the others leave
	witness  *witness
}

const (
	dialMax = 3 * time.Second
	askMax  = 15 * time.Second // for ATTACHED or DETACHED; then the connection is given up
	hush    = 20 * time.Second // of a server that says something every 15 s
)

// run lives until ctx ends. After calm is closed it changes nothing any more.
func (a *agent) run(ctx context.Context, calm <-chan struct{}) {
	var p *proc
	for {
		select {
		case <-calm:
			return
		case <-ctx.Done():
			return
		default:
		}
		p = a.next(p)
		dial, cancel := context.WithTimeout(ctx, dialMax)
		ws, err := connect(dial, p.listen, demoKey)
		cancel()
		if err != nil {
			a.sleep(ctx, calm, nil, 50, 500)
			continue
		}
		s := &session{agent: a, node: p.name, ws: ws, channels: map[string]*slot{}, gone: make(chan struct{})}
		go s.read()
		a.use(ctx, calm, s)
		s.end()
		<-s.gone
		if a.steady {
			a.sleep(ctx, calm, nil, 20, 200)
		} else {
			a.sleep(ctx, calm, nil, 0, 5000)
		}
	}
}

// next is the node to connect to after last, which is nil at first.
func (a *agent) next(last *proc) *proc {
	if last == nil && a.home != nil {
		return a.home
	}
	p := a.procs[a.rng.IntN(len(a.procs))]
	if a.steady && p == last {
		p = a.procs[(p.index+1)%len(a.procs)]
	}
	return p
}

// sleep waits for a random time of that many milliseconds, or less when gone is closed. It is false when the play is over.
func (a *agent) sleep(ctx context.Context, calm, gone <-chan struct{}, least, most int) bool {
	t := time.NewTimer(time.Duration(least+a.rng.IntN(most-least)) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-gone:
		return true
	case <-calm:
	case <-ctx.Done():
	}
	return false
}

// use plays with one connection until it is gone, or the agent is done with it.
func (a *agent) use(ctx context.Context, calm <-chan struct{}, s *session) {
	for !s.isGone() {
		if a.steady {
			for _, c := range a.channels {
				s.attach(ctx, c)
			}
		}
		if !a.sleep(ctx, calm, s.gone, 50, 1500) {
			break
		}
		if s.isGone() || s.late() {
			return
		}
		if a.steady {
			continue
		}
		switch n := a.rng.IntN(40); {
		case n == 0:
			return // as a crash
		case n == 1:
			s.bye(ctx)
			return
		default:
			s.toggle(ctx, a.channels[a.rng.IntN(len(a.channels))])
		}
	}
	if !a.stays {
		return
	}
	select {
	case <-s.gone:
	case <-ctx.Done():
	}
}

// slot is one channel of a session.
type slot struct {
	since    time.Time // of the last request
	asking   bool
	leaving  bool
	attached bool
	seen     *checker.Attachment
}

// session is one connection of an agent.
type session struct {
	agent *agent
	node  string
	ws    *websocket.Conn
	gone  chan struct{}

	mu       sync.Mutex
	channels map[string]*slot
	over     bool
}

func (s *session) isGone() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

// read ends when the socket does, or the server says that it is over.
func (s *session) read() {
	defer close(s.gone)
	defer s.ws.CloseNow()
	told := false
	defer func() {
		now := time.Now()
		if held, first := s.forget(now); first && len(held) > 0 {
			s.agent.witness.sentAway(farewell{now, s.node, held, told})
		}
	}()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), hush)
		f, err := read(ctx, s.ws)
		cancel()
		if err != nil || f.Action == actDisconnected || f.Action == actError && f.Channel == "" {
			told = err == nil
			return
		}
		s.take(f, time.Now())
	}
}

func (s *session) take(f frame, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[f.Channel]
	if c == nil || s.over {
		return
	}
	switch f.Action {
	case actAttached:
		if c.asking {
			c.asking, c.attached = false, true
			s.agent.witness.confirmed(c.seen, now)
		}
	case actDetached, actError:
		if c.seen != nil {
			s.agent.witness.left(c.seen, now)
		}
		*c = slot{}
	}
}

// forget notes that everything is over. It returns what was held, and whether this is the first time.
func (s *session) forget(now time.Time) (held map[string]time.Time, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, s.over = !s.over, true
	held = map[string]time.Time{}
	for name, c := range s.channels {
		if c.seen != nil {
			s.agent.witness.left(c.seen, now)
		}
		if c.attached {
			held[name] = c.seen.Confirmed
		}
	}
	return held, first
}

// end ends the socket without a word, as a client that crashed would.
func (s *session) end() {
	s.forget(time.Now())
	s.ws.CloseNow()
}

// bye takes leave and ends the socket.
func (s *session) bye(ctx context.Context) {
	s.forget(time.Now())
	s.send(ctx, map[string]any{"action": actClose})
}

func (s *session) send(ctx context.Context, f map[string]any) {
	b, _ := json.Marshal(f) // strings and numbers
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	s.ws.Write(ctx, websocket.MessageText, b) // an error ends the reader as well
}

// attach asks for a channel, unless it has it or waits for an answer.
func (s *session) attach(ctx context.Context, channel string) {
	s.mu.Lock()
	c := s.channels[channel]
	if c == nil {
		c = &slot{}
		s.channels[channel] = c
	}
	if s.over || c.asking || c.leaving || c.attached {
		s.mu.Unlock()
		return
	}
	now := time.Now()
	*c = slot{since: now, asking: true, seen: s.agent.witness.asked(s.agent.id, s.node, channel, now)}
	s.mu.Unlock()
	s.send(ctx, map[string]any{"action": actAttach, "channel": channel})
}

// toggle lets a channel go that it holds, and asks for one that it does not.
func (s *session) toggle(ctx context.Context, channel string) {
	s.mu.Lock()
	c := s.channels[channel]
	if c == nil || !c.attached {
		s.mu.Unlock()
		s.attach(ctx, channel)
		return
	}
	now := time.Now()
	s.agent.witness.left(c.seen, now)
	*c = slot{since: now, leaving: true}
	s.mu.Unlock()
	s.send(ctx, map[string]any{"action": actDetach, "channel": channel})
}

// late says whether an answer is overdue.
func (s *session) late() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.channels {
		if (c.asking || c.leaving) && time.Since(c.since) > askMax {
			return true
		}
	}
	return false
}
