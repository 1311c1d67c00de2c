package ring

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestCheckPartitions(t *testing.T) {
	for n := range 10_000 {
		ok := CheckPartitions(n) == nil
		if want := slices.Contains([]int{8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096}, n); ok != want {
			t.Errorf("%d: %v", n, ok)
		}
	}
}

// TestOverlap compares with the definition, on any two numbers.
func TestOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := rapid.IntRange(1, 300).Draw(t, "n"), rapid.IntRange(1, 300).Draw(t, "m")
		p := uint32(rapid.IntRange(0, n-1).Draw(t, "p"))
		first, last := Overlap(p, n, m)
		for q := range uint32(m) {
			meet := First(q, m) <= Last(p, n) && Last(q, m) >= First(p, n)
			if meet != (q >= first && q <= last) {
				t.Fatalf("partition %d of %d and %d of %d meet: %v; said to be %d to %d", p, n, q, m, meet, first, last)
			}
		}
	})
}

func TestRecutKeepsOwners(t *testing.T) {
	for _, nodes := range []int{1, 2, 3, 5} {
		live := members(nodes)
		table := Table{Slots: make([]Slot, 128)}
		table = table.Apply(Place(table, live, nil))
		for _, n := range []int{256, 64, 8, 4096, 128} {
			next := Table{Slots: Recut(table, n, live)}
			if more := Place(next, live, nil); len(more) > 0 {
				t.Fatalf("%d nodes, %d → %d: a placed table wants to change again: %v", nodes, len(table.Slots), n, more)
			}
			// What must move: in each node's case what its heirs have above an equal share, and no more.
			moved, must := 0, 0
			want := map[string]int{}
			for p := range uint32(n) {
				h := heir(table, p, n)
				want[h]++
				if next.Slots[p].Owner != h {
					moved++
				}
			}
			for _, k := range want {
				must += max(0, k-n/nodes)
			}
			if moved > must {
				t.Errorf("%d nodes, %d → %d: %d partitions moved, at most %d have to", nodes, len(table.Slots), n, moved, must)
			}
			table = next
		}
	}
}

func TestRecutAfterDeath(t *testing.T) {
	live := members(3)
	table := Table{Slots: make([]Slot, 16)}
	table = table.Apply(Place(table, live, nil))
	for p, s := range Recut(table, 32, live[:2]) {
		if !slices.Contains(live[:2], s.Owner) || s.Follower == s.Owner {
			t.Errorf("partition %d: %+v", p, s)
		}
		if was := table.Slots[p/2].Owner; was != live[2] && s.Owner != was {
			t.Errorf("partition %d moved from %s, who lives, to %s", p, was, s.Owner)
		}
	}
	if got := fmt.Sprint(Recut(Table{}, 8, nil)); got != fmt.Sprint(make([]Slot, 8)) {
		t.Errorf("nobody and nothing: %s", got)
	}
}
