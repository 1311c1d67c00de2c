package limits

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// town is some nodes with purses, a leader with a ledger, and what they have open. Messages between them are lost, and
// leaders change.
type town struct {
	t      *rapid.T
	hard   int64
	ledger *Ledger
	nodes  []*townNode
	now    time.Time
}

type townNode struct {
	name    string
	gates   *Gates
	purse   *Purse
	open    int64
	granted int // of those who asked and have not opened yet
	refused int
	unknown int
}

var townKey = Key{AppScope("a"), Channels}

func newTown(t *rapid.T, nodes int, hard int64) *town {
	w := &town{t: t, hard: hard, ledger: NewLedger(), now: time.Unix(1_000_000, 0)}
	for i := range nodes {
		n := &townNode{name: fmt.Sprint("n", i), gates: NewGates()}
		n.purse = NewPurse(n.gates, func(_ Name, has func(string) bool) int64 {
			if !has("a") {
				t.Fatal("the scope of app a has not app a")
			}
			return n.open
		}, func() {})
		w.nodes = append(w.nodes, n)
	}
	w.set(hard)
	return w
}

func (w *town) set(hard int64) {
	w.hard = hard
	for _, n := range w.nodes {
		n.gates.Set(Config{
			Sets: map[Scope]Set{AppScope("a"): {Channels: {Hard: hard}}}, Account: func(string) string { return "acc" },
		})
	}
}

func (w *town) total() (sum int64) {
	for _, n := range w.nodes {
		sum += n.open + int64(n.granted)
	}
	return sum
}

func (w *town) ask(n *townNode) {
	n.purse.Ask(w.now, Channels, "a", func(v Verdict, s Scope) {
		switch v {
		case Granted:
			n.granted++
		case Full:
			n.refused++
			if s != AppScope("a") {
				w.t.Fatalf("refused by %s", s)
			}
		default:
			n.unknown++
		}
	})
}

func (n *townNode) settle() {
	if n.granted > 0 {
		n.granted--
		n.purse.Settle(Channels, "a", func() { n.open++ })
	}
}

func (w *town) cluster() Cluster {
	c := Cluster{Hard: func(Key) int64 { return w.hard }, Open: func(Key) int64 { return 0 }}
	for _, n := range w.nodes {
		c.Live = append(c.Live, n.name)
	}
	return c
}

// sync lets a node talk to the leader; the question or the answer may be lost.
func (w *town) sync(n *townNode, loseQuestion, loseAnswer bool) {
	holds, ok := n.purse.Begin()
	if !ok {
		w.t.Fatal("a Sync is on its way in a town where none is")
	}
	var grants []Grant
	if !loseQuestion {
		grants = w.ledger.Sync(n.name, holds, w.cluster())
	}
	if loseAnswer {
		grants = nil
	}
	n.purse.End(w.now, grants)
}

// Whatever is lost and whoever leads, no more than the limit is open; when all is quiet again and some is free, who asks
// gets it; and nobody is refused while something is free.
func TestNeverMoreThanTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTown(t, rapid.IntRange(1, 4).Draw(t, "nodes"), rapid.Int64Range(1, 60).Draw(t, "hard"))
		top := w.hard
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			n := rapid.SampledFrom(w.nodes).Draw(t, "node")
			refused := 0
			for _, n := range w.nodes {
				refused += n.refused
			}
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3:
				w.ask(n)
			case 4:
				n.settle()
			case 5:
				n.open = max(n.open-1, 0)
			case 6:
				w.sync(n, rapid.Bool().Draw(t, "question lost"), rapid.Bool().Draw(t, "answer lost"))
			case 7, 8:
				w.sync(n, false, false)
			case 9:
				if rapid.IntRange(0, 4).Draw(t, "leader dies") == 0 {
					w.ledger = NewLedger()
				} else if hard := rapid.Int64Range(1, 60).Draw(t, "new limit"); rapid.Bool().Draw(t, "set") {
					w.set(hard)
					top = max(hard, w.total()) // what was open stays
				}
			}
			if sum := w.total(); sum > top {
				t.Fatalf("%d open, the limit was never more than %d", sum, top)
			}
			after := 0
			for _, n := range w.nodes {
				after += n.refused
			}
			// Leave that waits to be handed back is free: only a limit that is really used up refuses. What closed since
			// it was reported is the exception.
			if after > refused && w.heldAsReported() < w.hard {
				t.Fatalf("refused with %d of %d open as reported", w.heldAsReported(), w.hard)
			}
		}
		for range 3 {
			for _, n := range w.nodes {
				for n.granted > 0 {
					n.settle()
				}
				w.sync(n, false, false)
			}
		}
		w.set(w.total() + 1)
		got := w.total()
		n := w.nodes[0]
		w.ask(n)
		for range 4 {
			for _, n := range w.nodes {
				w.sync(n, false, false)
			}
		}
		if n.unknown > 0 || w.total() != got+1 {
			t.Fatalf("one was free, and who asked for it did not get it: %d open, %d before", w.total(), got)
		}
	})
}

func (w *town) heldAsReported() (sum int64) {
	for _, n := range w.nodes {
		if r := w.ledger.boots[n.name][townKey]; r != nil {
			sum += r.leave
		}
	}
	return sum
}

func TestDeadBootsHoldNothing(t *testing.T) {
	l := NewLedger()
	c := Cluster{Live: []string{"a", "b"}, Hard: func(Key) int64 { return 10 }, Open: func(Key) int64 { return 0 }}
	l.Sync("b", []Hold{{Key: townKey, Used: 10}}, c)
	hold := []Hold{{Key: townKey, Want: 1}}
	if g := l.Sync("a", hold, c)[0]; g.Give != 0 || !g.Full {
		t.Errorf("with 10 of 10 open on b, a gets %+v", g)
	}
	c.Live = []string{"a"}
	if g := l.Sync("a", hold, c)[0]; g.Give < 1 {
		t.Errorf("b is dead, and a gets %+v", g)
	}
	c.Open = func(Key) int64 { return 10 } // its partitions move: what was open there still is
	if g := l.Sync("a", []Hold{{Key: townKey, Want: 1}}, c)[0]; g.Give != 0 || g.Full {
		t.Errorf("what b had open is on its way to a, which gets %+v; want neither leave nor a refusal", g)
	}
}

func TestNewLeaderWaitsForEverybody(t *testing.T) {
	l := NewLedger()
	c := Cluster{Live: []string{"a", "b"}, Hard: func(Key) int64 { return 10 }, Open: func(Key) int64 { return 0 }}
	if g := l.Sync("a", []Hold{{Key: townKey, Want: 3}}, c)[0]; g.Give != 0 || g.Full {
		t.Errorf("b was not heard, and a gets %+v", g)
	}
	l.Sync("b", []Hold{{Key: townKey, Used: 9}}, c)
	if g := l.Sync("a", []Hold{{Key: townKey, Want: 3}}, c)[0]; g.Give != 1 {
		t.Errorf("9 of 10 are open on b, and a gets %+v", g)
	}
}

func TestSharesSumUpToTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := rapid.SliceOfN(rapid.Float64Range(0, 1000), 1, 8).Draw(t, "asked")
		rate := rapid.Float64Range(0.1, 2000).Draw(t, "rate")
		shares := Shares(rate, asked)
		sum, need := 0.0, 0.0
		for i, s := range shares {
			sum += s
			need += asked[i]
			if equal := rate / float64(len(asked)); s < min(asked[i], equal)-1e-6 {
				t.Fatalf("node %d asked for %v and gets %v, less than an equal part %v", i, asked[i], s, equal)
			}
		}
		if sum < rate-1e-6 || sum > rate+1e-6 {
			t.Fatalf("shares %v of %v sum up to %v", shares, rate, sum)
		}
		if need <= rate {
			for i, s := range shares {
				if s < asked[i]-1e-6 {
					t.Fatalf("there is enough, and node %d gets %v of %v", i, s, asked[i])
				}
			}
		}
	})
}

func TestBucketKeepsItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := float64(rapid.IntRange(1, 500).Draw(t, "rate"))
		var b Bucket
		now, taken := time.Hour, 0
		start := now
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond
			n := rapid.IntRange(1, max(int(rate), 1)).Draw(t, "n")
			wait, ok := b.Take(now, n, rate, rate)
			if ok {
				taken += n
			} else {
				copied := b
				if _, ok := copied.Take(now+wait+time.Millisecond, n, rate, rate); !ok {
					t.Fatalf("not there after the %v it was said to take", wait)
				}
			}
			if most := rate*(now-start).Seconds() + rate; float64(taken) > most+1e-6 {
				t.Fatalf("%d taken in %v, at most %v may be", taken, now-start, most)
			}
		}
	})
}
