package cluster

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	chaosSeed = flag.Uint64("chaos.seed", 0, "run this seed only")
	chaosRuns = flag.Uint64("chaos.runs", 40, "seeds to run")
)

// Whatever happens to the nodes, nobody is declared dead who may still act (see world.judge), and once the faults are
// over everybody serves.
func TestChaos(t *testing.T) {
	first, last := uint64(1), *chaosRuns
	if *chaosSeed != 0 {
		first, last = *chaosSeed, *chaosSeed
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { inWorld(t, func(t *testing.T, w *world) { chaos(t, w, seed) }) })
	}
}

func chaos(t *testing.T, w *world, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := 3 + rnd.IntN(3)
	w.cluster(n)
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprint("n", i+1))
	}
	down := map[string]bool{}
	revive := func() {
		for _, id := range ids {
			if w.nodes[id].rec.declaredDead() && !down[id] {
				w.nodes[id].Stop(false)
				w.nodes[id].logs.close()
				w.start(id, n)
			}
		}
	}
	var story []string
	defer func() {
		if t.Failed() {
			t.Log(story)
		}
	}()
	for range 15 {
		id := ids[rnd.IntN(n)]
		node := w.nodes[id]
		what := rnd.IntN(8)
		story = append(story, fmt.Sprintf("%v: %d %s", time.Since(w.began).Round(time.Millisecond), what, id))
		switch {
		case down[id]:
			delete(down, id)
			w.start(id, n)
		case what < 2:
			node.kill()
			down[id] = true
		case what == 2:
			node.leave()
			down[id] = true
		case what == 3:
			w.net.isolate(node.host.ip, true)
		case what == 4:
			w.net.isolate(node.host.ip, false)
		case what == 5:
			other := w.nodes[ids[rnd.IntN(n)]]
			cut := [2]string{node.host.ip, other.host.ip}
			w.net.set(func() { w.net.cuts[cut] = !w.net.cuts[cut] }) // one way
		case what == 6:
			d := time.Duration(rnd.IntN(6000)) * time.Millisecond
			if node.logs.IsLeader() {
				w.sleepAll(d)
			} else {
				node.sleepFor(d)
			}
		case what == 7:
			node.ResetLink(ids[rnd.IntN(n)])
		}
		time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
		revive()
	}
	w.net.set(func() { clear(w.net.cuts) })
	for _, id := range ids {
		if down[id] {
			delete(down, id)
			w.start(id, n)
		}
	}
	w.await(90*time.Second, "all serve once the faults are over", func() bool {
		revive()
		return w.serving(ids...)
	})
}
