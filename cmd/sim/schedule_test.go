package sim

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestScheduleComesFromItsSeed(t *testing.T) {
	draw := func(seed uint64) Schedule {
		return Random(rand.New(rand.NewPCG(seed, 1)), 40*time.Second, Options{})
	}
	if a, b := draw(5).String(), draw(5).String(); a != b {
		t.Errorf("one seed, two schedules:\n%s\n%s", a, b)
	}
	if draw(5).String() == draw(6).String() {
		t.Error("two seeds, one schedule")
	}
}

func TestSchedulesHaveEveryKindOfFault(t *testing.T) {
	seen := make(map[FaultKind]int)
	for seed := range uint64(200) {
		last := time.Duration(0)
		free := make(map[int]time.Duration)
		for _, f := range Random(rand.New(rand.NewPCG(seed, 1)), 40*time.Second, Options{}) {
			seen[f.Kind]++
			if f.At < last {
				t.Fatalf("seed %d: %v is out of order", seed, f)
			}
			last = f.At
			switch f.Kind {
			case CutNode, Isolate, Pause:
				// Two silences of a node must not add up to one longer than a lease.
				if f.At < free[f.Node] {
					t.Fatalf("seed %d: %v comes too soon after another of the node", seed, f)
				}
				free[f.Node] = f.At + f.For + rest
			}
		}
	}
	for k := range numFaults {
		if seen[k] < 20 {
			t.Errorf("%v was drawn %d times in 200 schedules", k, seen[k])
		}
	}
}

func TestNextLink(t *testing.T) {
	for _, c := range []struct {
		headers []string
		want    string
	}{
		{nil, ""},
		{[]string{`<./channels?limit=2>; rel="first"`, `<./channels?cursor=ab%2C&limit=2>; rel="next"`}, "?cursor=ab%2C&limit=2"},
		{[]string{`<./channels?limit=2>; rel="current"`}, ""},
	} {
		if got := nextLink(c.headers); got != c.want {
			t.Errorf("%q: got %q, want %q", c.headers, got, c.want)
		}
	}
}
