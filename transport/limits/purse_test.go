package limits

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A limit is set on all nodes at once, nearly: what a leader that has not heard of it gives is not taken, and what it says
// of a higher one refuses nobody.
func TestGrantUnderAnotherLimit(t *testing.T) {
	g := gated(map[Scope]Set{townKey.Scope: {Channels: {Hard: 2}}})
	open := int64(0)
	p := NewPurse(g, func(Name, func(string) bool) int64 { return open }, func() {})
	known, l := int64(0), NewLedger()
	c := Cluster{Live: []string{"x"}, Hard: func(Key) int64 { return known }, Open: func(Key) int64 { return 0 }}
	var verdicts []Verdict
	sync := func() {
		holds, _ := p.Begin()
		p.End(time.Time{}, l.Sync("x", holds, c))
	}
	for range 4 {
		p.Ask(time.Now(), Channels, "a", func(v Verdict, _ Scope) { verdicts = append(verdicts, v) })
	}
	for _, known = range []int64{0, 1, 100} {
		if sync(); len(verdicts) > 0 {
			t.Fatalf("a leader that knows of a limit of %d says %v to a node whose limit is 2", known, verdicts)
		}
	}
	known = 2
	if sync(); len(verdicts) != 4 || verdicts[0] != Granted || verdicts[1] != Granted || verdicts[2] != Full || verdicts[3] != Full {
		t.Fatalf("4 want to open, 2 may, and they hear %v", verdicts)
	}
}

// Whoever looks while channels open sees each of them once: as leave, or as open.
func TestWhatOpensCountsOnce(t *testing.T) {
	const hard = 200
	g := gated(map[Scope]Set{townKey.Scope: {Channels: {Hard: hard}}})
	var open atomic.Int64
	p := NewPurse(g, func(Name, func(string) bool) int64 { return open.Load() }, func() {})
	l := NewLedger()
	c := Cluster{Live: []string{"x"}, Hard: func(Key) int64 { return hard }, Open: func(Key) int64 { return 0 }}
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range hard {
				answer := make(chan Verdict, 1)
				p.Ask(time.Now(), Channels, "a", func(v Verdict, _ Scope) { answer <- v })
				if <-answer == Granted {
					p.Settle(Channels, "a", func() { open.Add(1) })
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); asking.Wait() }()
	for {
		holds, _ := p.Begin()
		if len(holds) != 1 || holds[0].Used > hard {
			t.Fatalf("with a limit of %d the node holds %+v", hard, holds)
		}
		p.End(time.Now(), l.Sync("x", holds, c))
		select {
		case <-done:
			if open.Load() != hard {
				t.Fatalf("%d are open, want %d", open.Load(), hard)
			}
			return
		default:
		}
	}
}
