package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"innkeeper/cmd/checker"
)

// blow is a fault as it came: to whom and when.
type blow struct {
	fault
	nodes    []int     // hit; none for the receiver
	peer     int       // of pairs
	wasLead  bool      // one of nodes led when it came
	from, to time.Time // begun, taken back
	ready    time.Time // all nodes hit were ready again
	wrong    string    // what did not go as it must
}

const (
	hurtMost = 2                // of five nodes at once
	readyMax = 60 * time.Second // from the end of a fault until the node serves again
	exitMax  = 25 * time.Second // from SIGTERM, drain or a full disk until the process ends
)

// striker carries out a schedule.
type striker struct {
	ps      *processes
	recv    *receiver
	network bool
	minor   int // how many may be hurt at once
	began   time.Time
	say     func(format string, args ...any)

	mu      sync.Mutex
	hurt    map[int]bool
	asleep  bool // the receiver is in a mood
	changed chan struct{}
	blows   []*blow
	outages []checker.Outage
	wanted  map[int]bool // processes that must run: another end of theirs is a crash
	deaths  []string
}

func newStriker(ps *processes, recv *receiver, network bool, say func(string, ...any)) *striker {
	s := &striker{ps: ps, recv: recv, network: network, minor: min(hurtMost, (len(ps.procs)-1)/2), say: say,
		hurt: map[int]bool{}, changed: make(chan struct{}), wanted: map[int]bool{}}
	for i := range ps.procs {
		s.wanted[i] = true
	}
	return s
}

// run carries out all faults and waits until each is taken back. A fault waits for its turn where too much is hurt.
func (s *striker) run(ctx context.Context, faults []fault) {
	s.began = time.Now()
	var under sync.WaitGroup
	defer under.Wait()
	for _, f := range faults {
		select {
		case <-time.After(time.Until(s.began.Add(f.at))):
		case <-ctx.Done():
			return
		}
		b, ok := s.reserve(ctx, f)
		if !ok {
			return
		}
		under.Go(func() {
			s.strike(ctx, b)
			s.release(b)
			s.say("%s", b.line(s.began))
		})
	}
}

// reserve waits until the fault may come and decides whom it hits.
func (s *striker) reserve(ctx context.Context, f fault) (*blow, bool) {
	for {
		lead := -1
		if p, err := s.ps.leading(); err == nil {
			lead = p.index
		}
		s.mu.Lock()
		b := s.aim(f, lead)
		changed := s.changed
		if b != nil {
			s.blows = append(s.blows, b)
			for _, i := range b.nodes {
				s.hurt[i] = true
			}
			if len(b.nodes) == 0 {
				s.asleep = true
			}
		}
		s.mu.Unlock()
		if b != nil {
			return b, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// aim returns nil when the fault must wait. The caller holds the lock.
func (s *striker) aim(f fault, lead int) *blow {
	b := &blow{fault: f}
	switch f.kind {
	case hookFails, hookHangs, hookCuts:
		if s.asleep {
			return nil
		}
		return b
	case powerCut, rolling:
		if len(s.hurt) > 0 {
			return nil
		}
		for i := range s.ps.procs {
			b.nodes = append(b.nodes, i)
		}
		b.wasLead = true
		return b
	}
	if len(s.hurt) >= s.minor {
		return nil
	}
	var free []int
	for i := range s.ps.procs {
		if !s.hurt[i] && (f.kind != diskFull || s.ps.procs[i].small) {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return nil
	}
	hit := free[f.pick%len(free)]
	if f.lead && lead >= 0 && !s.hurt[lead] && f.kind != diskFull {
		hit = lead
	}
	b.nodes, b.wasLead = []int{hit}, hit == lead
	b.peer = (hit + 1 + f.pick/len(s.ps.procs)%(len(s.ps.procs)-1)) % len(s.ps.procs)
	return b
}

// release lets the nodes be hit again.
func (s *striker) release(b *blow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range b.nodes {
		delete(s.hurt, i)
	}
	if len(b.nodes) == 0 {
		s.asleep = false
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// strike does one fault and takes it back, whatever happens.
func (s *striker) strike(ctx context.Context, b *blow) {
	b.from = time.Now()
	var err error
	switch b.kind {
	case hookFails, hookHangs, hookCuts:
		s.recv.answer(map[kind]mood{hookFails: fails, hookHangs: hangs, hookCuts: cuts}[b.kind])
		pass(ctx, b.lasts)
		s.recv.answer(takes)
		b.to = time.Now()
		b.ready = b.to
		return
	case kill, powerCut:
		err = s.kill(ctx, b)
	case pause:
		err = s.pause(ctx, b)
	case term:
		err = s.term(ctx, b, s.ps.procs[b.nodes[0]])
	case drain:
		err = s.drain(ctx, b, s.ps.procs[b.nodes[0]])
	case rolling:
		for _, i := range b.nodes {
			p := s.ps.procs[i]
			if err = errors.Join(s.term(ctx, b, p), s.serving(ctx, p)); err != nil {
				break
			}
		}
	case diskFull:
		err = s.fill(ctx, b)
	default:
		err = s.disconnect(ctx, b)
	}
	b.to = time.Now()
	for _, i := range b.nodes {
		err = errors.Join(err, s.serving(ctx, s.ps.procs[i]))
	}
	b.ready = time.Now()
	if err != nil && ctx.Err() == nil {
		b.wrong = err.Error()
	}
}

// pass waits, at most until ctx ends.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// note writes an outage down and returns what sets its end.
func (s *striker) note(b *blow, harm checker.Harm) (over func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := len(s.outages)
	for _, i := range b.nodes {
		s.outages = append(s.outages, checker.Outage{Node: s.ps.procs[i].name, Harm: harm, From: time.Now()})
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for k := range b.nodes {
			s.outages[first+k].To = time.Now()
		}
	}
}

// expectEnd says whether an end of the process is what we want.
func (s *striker) expectEnd(p *proc, expected bool) {
	s.mu.Lock()
	s.wanted[p.index] = !expected
	s.mu.Unlock()
}

// restart starts a process that has ended.
func (s *striker) restart(p *proc) error {
	if err := s.ps.start(p); err != nil {
		return err
	}
	s.expectEnd(p, false)
	return nil
}

func (s *striker) kill(ctx context.Context, b *blow) error {
	over := s.note(b, checker.Dead)
	var procs []*proc
	for _, i := range b.nodes {
		s.expectEnd(s.ps.procs[i], true)
		procs = append(procs, s.ps.procs[i])
	}
	s.ps.kill9(procs...)
	pass(ctx, b.lasts)
	var err error
	for _, p := range procs {
		err = errors.Join(err, s.restart(p))
	}
	over()
	return err
}

func (s *striker) pause(ctx context.Context, b *blow) error {
	p := s.ps.procs[b.nodes[0]]
	over := s.note(b, checker.Paused)
	defer over()
	err := p.signal(syscall.SIGSTOP)
	pass(ctx, b.lasts)
	return errors.Join(err, p.signal(syscall.SIGCONT))
}

func (s *striker) term(ctx context.Context, b *blow, p *proc) error {
	s.expectEnd(p, true)
	p.signal(syscall.SIGTERM)
	return s.leaves(ctx, b, p)
}

// drain has the node told to hand over what it has and end.
func (s *striker) drain(ctx context.Context, b *blow, p *proc) error {
	s.expectEnd(p, true)
	res, err := ask.Post("http://"+p.admin+"/cluster/drain", "", nil)
	if err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s answers %s to drain", p.name, res.Status)
		}
	}
	if err != nil {
		s.expectEnd(p, false)
		return err
	}
	return s.leaves(ctx, b, p)
}

// leaves waits for the end of a process that was asked to end, and starts it again.
func (s *striker) leaves(ctx context.Context, b *blow, p *proc) error {
	var err error
	select {
	case <-p.gone():
	case <-time.After(exitMax):
		err = fmt.Errorf("%s has not ended %v after %s", p.name, exitMax, b.kind)
		s.ps.kill9(p)
	}
	pass(ctx, b.lasts)
	return errors.Join(err, s.restart(p))
}

// broke notes what must not be.
func (s *striker) broke(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaths = append(s.deaths, fmt.Sprintf(format, args...))
}

// fill takes all room on the node's small file system, and starts the node again when that made it end.
func (s *striker) fill(ctx context.Context, b *blow) error {
	p := s.ps.procs[b.nodes[0]]
	s.expectEnd(p, true)
	defer s.note(b, checker.Cut)()
	ballast := filepath.Join(p.dir, "data", "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return err
	}
	chunk := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(chunk)
	}
	f.Close()
	ended := false
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	select {
	case <-p.gone():
		ended = true
	case <-time.After(b.lasts):
	case <-ctx.Done():
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	select { // the write that failed may have been the last thing before
	case <-p.gone():
		ended = true
	case <-time.After(time.Second):
	}
	if ended {
		return errors.Join(err, s.restart(p))
	}
	s.expectEnd(p, false)
	return err
}

// disconnect does the faults of the network.
func (s *striker) disconnect(ctx context.Context, b *blow) error {
	i := b.nodes[0]
	harm := checker.Cut
	var w wires
	var undo func() error
	var err error
	pair, back := append(from(i), to(b.peer)...), append(from(b.peer), to(i)...)
	if b.kind == dark {
		harm = checker.Dark
	}
	over := s.note(b, harm)
	defer over()
	switch b.kind {
	case cut:
		undo, err = w.apply(drop(from(i)...), drop(to(i)...))
	case cutPair:
		undo, err = w.apply(drop(pair...), drop(back...))
	case mute:
		undo, err = w.apply(drop(from(i)...))
	case deaf:
		undo, err = w.apply(drop(to(i)...))
	case refuse:
		undo, err = w.apply(append(reject(from(i)...), reject(to(i)...)...)...)
	case refusePair:
		undo, err = w.apply(append(reject(pair...), reject(back...)...)...)
	case dark:
		undo, err = w.unplug(i)
	case loss:
		undo, err = w.apply(lose(b.share, from(i)...), lose(b.share, to(i)...))
	case slow:
		undo, err = w.narrow(i)
	default:
		err = fmt.Errorf("no such fault: %s", b.kind)
	}
	if err != nil {
		return err
	}
	pass(ctx, b.lasts)
	return undo()
}

// serving waits until a node is ready. One that ended by itself meanwhile is a crash, and is started again.
func (s *striker) serving(ctx context.Context, p *proc) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	for !p.isReady() {
		select {
		case <-p.gone():
			err := fmt.Errorf("%s ended by itself; its log says why", p.name)
			return errors.Join(err, s.restart(p))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready %v after the fault", p.name, readyMax)
		case <-time.After(50 * time.Millisecond): // another process has no other way to tell
		}
	}
	return nil
}

// watch notes processes that end unasked, until stop is closed.
func (s *striker) watch(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(200 * time.Millisecond):
		}
		for i, p := range s.ps.procs {
			s.mu.Lock()
			select {
			case <-p.gone():
				if s.wanted[i] {
					s.deaths = append(s.deaths, fmt.Sprintf("%s ended by itself at %s", p.name, time.Now().UTC().Format("15:04:05.000")))
					s.wanted[i] = false
				}
			default:
			}
			s.mu.Unlock()
		}
	}
}

// line describes a blow for those who watch.
func (b *blow) line(began time.Time) string {
	whom := "the receiver"
	for k, i := range b.nodes {
		if k == 0 {
			whom = ""
		} else {
			whom += ", "
		}
		whom += fmt.Sprintf("n%d", i+1)
	}
	if b.kind == cutPair || b.kind == refusePair {
		whom += fmt.Sprintf(" and n%d", b.peer+1)
	}
	if b.wasLead {
		whom += " (leader)"
	}
	text := fmt.Sprintf("%6.1f s  %-13s %s for %.1f s", b.from.Sub(began).Seconds(), b.kind, whom, b.to.Sub(b.from).Seconds())
	if len(b.nodes) > 0 {
		text += fmt.Sprintf(", ready %.1f s later", b.ready.Sub(b.to).Seconds())
	}
	if b.wrong != "" {
		text += "; WRONG: " + b.wrong
	}
	return text
}
