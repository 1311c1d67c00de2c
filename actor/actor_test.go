package actor

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// script is a handler made of a function.
type script struct {
	Actor[int]
	receive func(batch []int, woken bool) Next
	stopped func()
}

func (s *script) Receive(batch []int, woken bool) Next { return s.receive(batch, woken) }
func (s *script) Stopped() {
	if s.stopped != nil {
		s.stopped()
	}
}

func newScript(sys *System[int], receive func([]int, bool) Next) *script {
	s := &script{receive: receive}
	s.Init(sys, s)
	return s
}

func TestMessagesComeInOrderAndInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := NewSystem[int](2)
		defer sys.Close()
		var got []int
		batches := 0
		gate := make(chan struct{})
		a := newScript(sys, func(batch []int, _ bool) Next {
			batches++
			got = append(got, batch...)
			if batches == 1 {
				<-gate // what comes meanwhile must come as one batch
			}
			return Next{}
		})
		a.Offer(0, NoLimit)
		synctest.Wait()
		for i := 1; i < 100; i++ {
			a.Offer(i, NoLimit)
		}
		close(gate)
		synctest.Wait()
		if batches != 2 || len(got) != 100 {
			t.Fatalf("got %d messages in %d batches, want 100 in 2", len(got), batches)
		}
		for i, v := range got {
			if v != i {
				t.Fatalf("message %d is %d", i, v)
			}
		}
	})
}

func TestReceiveNeverRunsTwiceAtOnce(t *testing.T) {
	sys := NewSystem[int](4)
	defer sys.Close()
	var inside, sum atomic.Int64
	done := make(chan struct{})
	const senders, each = 8, 2000
	a := newScript(sys, func(batch []int, _ bool) Next {
		if inside.Add(1) != 1 {
			t.Error("two Receives at once")
		}
		inside.Add(-1)
		if sum.Add(int64(len(batch))) == senders*each {
			close(done)
		}
		return Next{}
	})
	for range senders {
		go func() {
			for i := range each {
				a.Offer(i, NoLimit)
			}
		}()
	}
	<-done
}

func TestFullMailboxRefusesButTakesWhatMustNotBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := NewSystem[int](1)
		defer sys.Close()
		gate := make(chan struct{})
		var got []int
		a := newScript(sys, func(batch []int, _ bool) Next {
			<-gate
			got = append(got, batch...)
			return Next{}
		})
		a.Offer(0, 2)
		synctest.Wait() // 0 is being received and no longer waits
		for i, want := range []Outcome{Accepted, Accepted, Full} {
			if out := a.Offer(i+1, 2); out != want {
				t.Fatalf("offer %d: %v, want %v", i+1, out, want)
			}
		}
		if out := a.Offer(9, NoLimit); out != Accepted {
			t.Fatalf("without limit: %v", out)
		}
		close(gate)
		synctest.Wait()
		if fmt.Sprint(got) != "[0 1 2 9]" {
			t.Fatalf("got %v", got)
		}
	})
}

func TestIdleActorsHoldNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		sys := NewSystem[int](8)
		defer sys.Close()
		for range 100 {
			newScript(sys, func([]int, bool) Next { return Next{Wake: time.Duration(time.Hour)} }).Offer(1, NoLimit)
		}
		synctest.Wait()
		if now := runtime.NumGoroutine(); now != before {
			t.Fatalf("%d goroutines with 100 idle actors and their timers, %d before", now, before)
		}
	})
}

func TestWakeUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := NewSystem[int](2)
		defer sys.Close()
		start := sys.Now()
		type call struct {
			at    time.Duration
			batch int
			woken bool
		}
		var calls []call
		var mu sync.Mutex
		wants := []time.Duration{10 * time.Second, 4 * time.Second, 20 * time.Second, 0}
		a := newScript(sys, func(batch []int, woken bool) Next {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, call{sys.Now() - start, len(batch), woken})
			if want := wants[min(len(calls)-1, 3)]; want > 0 {
				return Next{Wake: start + want}
			}
			return Next{}
		})
		a.Offer(1, NoLimit) // asks for 10 s
		synctest.Wait()
		a.Offer(1, NoLimit) // moves it to 4 s
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []call{{0, 1, false}, {0, 1, false}, {4 * time.Second, 0, true}, {20 * time.Second, 0, true}}
		if fmt.Sprint(calls) != fmt.Sprint(want) {
			t.Fatalf("calls %v, want %v", calls, want)
		}
	})
}

// Every actor must be woken at its time whatever the order of arming, moving and dropping.
func TestTimersAgainstAModel(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			sys := NewSystem[int](2)
			defer sys.Close()
			start := sys.Now()
			type one struct {
				*script
				want, got time.Duration
			}
			var mu sync.Mutex
			all := make([]*one, 200)
			for i := range all {
				o := &one{}
				o.script = newScript(sys, func(batch []int, woken bool) Next {
					mu.Lock()
					defer mu.Unlock()
					now := sys.Now()
					if woken && o.want > 0 && now >= o.want {
						o.got, o.want = now, -1
					}
					for _, ms := range batch {
						o.want, o.got = now+time.Duration(ms)*time.Millisecond, 0
					}
					return Next{Wake: max(o.want, 0)}
				})
				all[i] = o
			}
			planned := make(map[*one]time.Duration)
			for range 1000 {
				o := all[rnd.IntN(len(all))]
				ms := 1 + rnd.IntN(5000)
				if rnd.IntN(50) == 0 {
					o.Drop()
					delete(planned, o)
					continue
				}
				if o.Offer(ms, NoLimit) == Accepted {
					planned[o] = sys.Now() + time.Duration(ms)*time.Millisecond
				}
				synctest.Wait()
				if rnd.IntN(10) == 0 {
					time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
				}
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			for o, at := range planned {
				if o.got != at {
					t.Fatalf("seed %d: woken at %v, planned %v", seed, o.got-start, at-start)
				}
			}
			if n := len(sys.timers.heap); n != 0 {
				t.Fatalf("seed %d: %d wake-ups left over", seed, n)
			}
		})
	}
}

func TestStopIsRefusedWhenAMessageRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := NewSystem[int](1)
		defer sys.Close()
		deciding, goOn := make(chan struct{}), make(chan struct{})
		var got []int
		ended := 0
		a := newScript(sys, func(batch []int, _ bool) Next {
			got = append(got, batch...)
			deciding <- struct{}{}
			<-goOn
			return Next{Stop: true}
		})
		a.stopped = func() { ended++ }
		a.Offer(1, NoLimit)
		<-deciding
		if out := a.Offer(2, NoLimit); out != Accepted { // (a): before the decision is made good
			t.Fatal(out)
		}
		goOn <- struct{}{}
		<-deciding
		goOn <- struct{}{}
		synctest.Wait()
		if len(got) != 2 || ended != 1 {
			t.Fatalf("received %v, ended %d times", got, ended)
		}
		if out := a.Offer(3, NoLimit); out != Stopped { // (b): after it
			t.Fatalf("offer to a stopped actor: %v", out)
		}
	})
}

func TestDropReturnsWhatNobodyWillReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := NewSystem[int](1)
		defer sys.Close()
		gate := make(chan struct{})
		received := 0
		a := newScript(sys, func(batch []int, _ bool) Next {
			received += len(batch)
			<-gate
			return Next{Wake: sys.Now() + time.Second, Stop: true}
		})
		a.stopped = func() { t.Error("Stopped was called for a dropped actor") }
		a.Offer(1, NoLimit)
		synctest.Wait()
		a.Offer(2, NoLimit)
		a.Offer(3, NoLimit)
		left := a.Drop()
		close(gate)
		time.Sleep(time.Minute)
		if fmt.Sprint(left) != "[2 3]" || received != 1 || a.Offer(4, NoLimit) != Stopped {
			t.Fatalf("left %v, received %d", left, received)
		}
		if again := a.Drop(); again != nil {
			t.Fatalf("dropped twice: %v", again)
		}
	})
}

func TestCloseWaitsAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := NewSystem[int](2)
		finished := false
		a := newScript(sys, func([]int, bool) Next {
			time.Sleep(3 * time.Second)
			finished = true
			return Next{Wake: sys.Now() + time.Second}
		})
		idle := newScript(sys, func([]int, bool) Next { t.Error("ran after Close"); return Next{} })
		a.Offer(1, NoLimit)
		synctest.Wait()
		sys.Close()
		if !finished {
			t.Fatal("Close did not wait")
		}
		if out := idle.Offer(1, NoLimit); out != Stopped {
			t.Fatalf("offer after Close: %v", out)
		}
		time.Sleep(time.Minute)
	})
}

func TestCloseRacesWithTimers(t *testing.T) {
	for i := range 200 {
		sys := NewSystem[int](2)
		for j := range 20 {
			newScript(sys, func([]int, bool) Next {
				return Next{Wake: sys.Now() + time.Duration(i*j%7)*time.Microsecond}
			}).Offer(1, NoLimit)
		}
		sys.Close()
		if s := sys; s.workers != 0 || len(s.timers.heap) != 0 {
			t.Fatalf("%d workers, %d wake-ups after Close", s.workers, len(s.timers.heap))
		}
	}
}

// directory is how actors are found by name: the use that the package comment describes.
type directory struct {
	sys *System[int]
	mu  sync.Mutex
	m   map[int]*script
	sum atomic.Int64 // of everything received
	n   atomic.Int64 // activations
}

func (d *directory) tell(name, v int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.m[name]; a != nil && a.Offer(v, NoLimit) == Accepted {
		return
	}
	d.n.Add(1)
	a := newScript(d.sys, nil)
	a.receive = func(batch []int, _ bool) Next {
		for _, v := range batch {
			d.sum.Add(int64(v))
		}
		return Next{Stop: true} // as eager to stop as can be
	}
	a.stopped = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.m[name] == a {
			delete(d.m, name)
		}
	}
	d.m[name] = a
	if a.Offer(v, NoLimit) != Accepted {
		panic("a new actor refuses its first message")
	}
}

func TestPassivationLosesNoMessage(t *testing.T) {
	sys := NewSystem[int](4)
	d := &directory{sys: sys, m: make(map[int]*script)}
	const senders, each = 4, 20000
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				d.tell((i+s)%3, 1)
			}
		})
	}
	wg.Wait()
	for d.sum.Load() < senders*each {
		runtime.Gosched()
	}
	if got := d.sum.Load(); got != senders*each {
		t.Fatalf("received %d of %d", got, senders*each)
	}
	if d.n.Load() < 10 {
		t.Fatalf("only %d activations: the race was not there", d.n.Load())
	}
	sys.Close()
	if len(d.m) != 0 {
		t.Fatalf("%d stopped actors still in the directory", len(d.m))
	}
}

func BenchmarkOffer(b *testing.B) {
	sys := NewSystem[int](0)
	defer sys.Close()
	var seen atomic.Int64
	actors := make([]*script, 64)
	for i := range actors {
		actors[i] = newScript(sys, func(batch []int, _ bool) Next { seen.Add(int64(len(batch))); return Next{} })
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		actors[i%64].Offer(i, NoLimit)
	}
	for seen.Load() < int64(b.N) {
		runtime.Gosched()
	}
}

// BenchmarkBytesPerIdleActor reports what the bare mailbox takes once it has been used and is idle again.
func BenchmarkBytesPerIdleActor(b *testing.B) {
	for b.Loop() {
		sys := NewSystem[int](0)
		const n = 100_000
		before := heapInUse()
		keep := make([]Actor[int], n)
		h := newScript(sys, func([]int, bool) Next { return Next{} })
		for i := range keep {
			keep[i].Init(sys, h)
			keep[i].Offer(1, NoLimit)
		}
		sys.Close()
		b.ReportMetric(float64(heapInUse()-before)/n, "B/actor")
		runtime.KeepAlive(keep)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
