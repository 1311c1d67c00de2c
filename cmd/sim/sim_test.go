package sim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds   = flag.Int("seeds", 24, "how many schedules TestSeeds plays")
	first   = flag.Int("first", 0, "the first of them")
	oneSeed = flag.Int64("seed", -1, "play this schedule alone and print its timeline")
	simLog  = flag.Bool("simlog", false, "with -seed: print what the nodes say")
	span    = flag.Duration("span", 40*time.Second, "simulated time in which faults happen")
)

// brief says to do less of what takes long. Races show in a few runs; what shows only in many is played without the race
// detector, which makes everything several times slower.
func brief() bool { return testing.Short() || raced }

// TestSeeds plays one schedule of faults after another, each on a cluster of its own, and has every promise judged.
//
//	go test ./cmd/sim -run TestSeeds -seeds 1000        more of them
//	go test ./cmd/sim -run TestSeeds -seed 17 -v        one again, with its timeline
func TestSeeds(t *testing.T) {
	if *oneSeed >= 0 {
		play(t, uint64(*oneSeed))
		return
	}
	n := *seeds
	if brief() {
		n = min(n, 16)
	}
	p := &progress{all: n, began: time.Now(), running: make(map[int]time.Time)}
	stop := p.print(10 * time.Second)
	defer stop()
	next := make(chan int, n)
	for i := range n {
		next <- *first + i
	}
	close(next)
	// Workers instead of parallel subtests: a run's result is printed when it is there, and names stay in order.
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				p.start(i)
				ok := t.Run(fmt.Sprint(i), func(t *testing.T) { play(t, uint64(i)) })
				p.done(i, ok)
			}
		})
	}
	wg.Wait()
}

// play runs what a seed stands for.
func play(t *testing.T, seed uint64) {
	var schedule Schedule
	var title string
	h, found := inBubble(t, seed, optionsOf(seed), func(s *Sim) (*History, []Violation) {
		switch seed % 8 {
		case 0:
			role := Role(seed / 8 % 3)
			title = fmt.Sprintf("a node (%v) is killed with its clients\n", role)
			return s.KilledWithItsClients(role)
		case 4:
			title = "all nodes are killed\n"
			return s.AllKilled()
		}
		schedule = Random(s.random(1), *span, s.Options)
		return s.Run(schedule)
	})
	var out bytes.Buffer
	if len(found) > 0 || *oneSeed >= 0 {
		Report(&out, seed, schedule, h, found)
	}
	if len(found) > 0 {
		t.Errorf("%s%sreplay: go test ./cmd/sim -run TestSeeds -seed %d -v", title, out.String(), seed)
	} else if *oneSeed >= 0 {
		t.Log(title + out.String())
	}
}

// inBubble runs f on a new cluster in a bubble of its own, and has the history judged by what cannot be done in there.
func inBubble(t *testing.T, seed uint64, o Options, f func(*Sim) (*History, []Violation)) (h *History, found []Violation) {
	t.Helper()
	if *simLog {
		o.Log = os.Stderr
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := New(seed, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		h, found = f(s)
	})
	if h == nil {
		return &History{}, found
	}
	if h.End.IsZero() {
		return h, found // not a run whose orders are judged, or it did not get that far
	}
	more, unknown := CheckOrder(h)
	if unknown > 0 {
		t.Logf("seed %d: the order of %d channels could not be judged in time", seed, unknown)
	}
	return h, append(found, more...)
}

// optionsOf is the kind of cluster that a seed plays on.
func optionsOf(seed uint64) Options {
	o := Options{Nodes: 3}
	switch seed % 8 {
	case 0:
		o.Clients, o.Channels, o.Hasty = -1, 40, true // the time until all is vacated is judged
	case 4:
		o.Clients, o.Channels = -1, 40
	case 2:
		o.Nodes = 5
	case 6:
		o.RestartGrace = 20 * time.Second
	}
	return o
}

// progress says how far TestSeeds is, and which seeds run: a panic or a hang can be told to one of them.
type progress struct {
	mu           sync.Mutex
	all          int
	began        time.Time
	over, failed int
	running      map[int]time.Time
}

func (p *progress) start(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[i] = time.Now()
}

func (p *progress) done(i int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, i)
	p.over++
	if !ok {
		p.failed++
		fmt.Fprintf(os.Stderr, "sim: seed %d FAILED\n", i)
	}
}

// print writes a line now and then until the function it returns is called.
func (p *progress) print(every time.Duration) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintln(os.Stderr, p)
			case <-quit:
				fmt.Fprintln(os.Stderr, p)
				return
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}

func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := time.Since(p.began)
	var b strings.Builder
	fmt.Fprintf(&b, "sim: %d of %d seeds, %d failed, %.1f/s", p.over, p.all, p.failed, float64(p.over)/d.Seconds())
	for _, i := range sorted(p.running) {
		fmt.Fprintf(&b, ", %d runs for %.0f s", i, time.Since(p.running[i]).Seconds())
	}
	return b.String()
}
