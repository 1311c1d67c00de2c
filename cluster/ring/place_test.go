package ring

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func members(n int) []string {
	var ms []string
	for i := range n {
		ms = append(ms, fmt.Sprintf("node-%02d", i))
	}
	return ms
}

func counts(t Table) map[string]int {
	c := map[string]int{}
	for _, s := range t.Slots {
		c[s.Owner]++
	}
	return c
}

// drawn is a table with a history: members came and went, so owners are uneven in every way that can happen.
func drawn(t *rapid.T) (Table, []string) {
	table := Table{Slots: make([]Slot, rapid.IntRange(1, 200).Draw(t, "partitions"))}
	pool := members(9)
	var live []string
	for range rapid.IntRange(0, 5).Draw(t, "steps") {
		live = rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, len(pool), rapid.ID).Draw(t, "live")
		table = table.Apply(Place(table, live, nil))
	}
	if rapid.Bool().Draw(t, "disturbed") {
		for i := range table.Slots {
			table.Slots[i].Owner = rapid.SampledFrom(append(pool, "")).Draw(t, "owner")
		}
	}
	return table, rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, len(pool), rapid.ID).Draw(t, "next")
}

func TestPlaceBalancesWithLeastMovement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, live := drawn(t)
		next := table.Apply(Place(table, live, nil))

		// Balance: everything is owned by the living, in equal shares.
		n, m := len(next.Slots), len(live)
		have := counts(next)
		for _, id := range live {
			if have[id] < n/m || have[id] > (n+m-1)/m {
				t.Fatalf("%s owns %d of %d partitions among %d", id, have[id], n, m)
			}
		}
		for p, s := range next.Slots {
			if !slices.Contains(live, s.Owner) {
				t.Fatalf("partition %d belongs to %q, who does not live", p, s.Owner)
			}
			if s.Owner == s.Follower {
				t.Fatalf("partition %d: %s follows itself", p, s.Owner)
			}
			if (s.Follower == "") != (m == 1) || s.Follower != "" && !slices.Contains(live, s.Follower) {
				t.Fatalf("partition %d has the follower %q among %v", p, s.Follower, live)
			}
			if want := table.Slots[p].Epoch; s.Owner != table.Slots[p].Owner && s.Epoch != want+1 || s.Owner == table.Slots[p].Owner && s.Epoch != want {
				t.Fatalf("partition %d: epoch %d → %d, owner %q → %q", p, want, s.Epoch, table.Slots[p].Owner, s.Owner)
			}
		}

		// Movement: what had no living owner, and what the fullest had above the best possible shares, no more.
		before := counts(table)
		var held []int
		must := n
		for _, id := range live {
			held = append(held, before[id])
			must -= before[id]
		}
		slices.Sort(held)
		slices.Reverse(held)
		for i, h := range held {
			quota := n / m
			if i < n%m {
				quota++
			}
			must += max(0, h-quota)
		}
		moved := 0
		for p := range next.Slots {
			if next.Slots[p].Owner != table.Slots[p].Owner {
				moved++
			}
		}
		if moved != must {
			t.Fatalf("%d partitions moved, %d had to", moved, must)
		}
	})
}

func TestPlaceIsDeterministicAndSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, live := drawn(t)
		first := Place(table, live, nil)
		shuffled := rapid.Permutation(live).Draw(t, "order")
		if again := Place(table, append(shuffled, live...), nil); !slices.Equal(first, again) {
			t.Fatalf("the order of members changed the outcome:\n%v\n%v", first, again)
		}
		if more := Place(table.Apply(first), live, nil); len(more) > 0 {
			t.Fatalf("a placed table wants to change again: %v", more)
		}
	})
}

func TestDeathMovesOnlyTheDeadOnesPartitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := members(rapid.IntRange(2, 9).Draw(t, "members"))
		table := Table{Slots: make([]Slot, rapid.IntRange(1, 300).Draw(t, "partitions"))}
		table = table.Apply(Place(table, live, nil))
		i := rapid.IntRange(0, len(live)-1).Draw(t, "dead")
		dead := live[i]
		next := table.Apply(Place(table, slices.Delete(slices.Clone(live), i, i+1), nil))
		for p := range table.Slots {
			if was := table.Slots[p].Owner; was != dead && next.Slots[p].Owner != was {
				t.Fatalf("%s died; partition %d of %s moved to %s", dead, p, was, next.Slots[p].Owner)
			}
		}
	})
}

func TestDeathGoesToTheFollowerWhereThereIsRoom(t *testing.T) {
	live := members(5)
	table := Table{Slots: make([]Slot, 1000)}
	table = table.Apply(Place(table, live, nil))
	next := table.Apply(Place(table, live[1:], nil))
	moved, followed := 0, 0
	for p, s := range table.Slots {
		if s.Owner == live[0] {
			moved++
			if next.Slots[p].Owner == s.Follower {
				followed++
			}
		}
	}
	if followed*10 < moved*7 {
		t.Errorf("%d of %d partitions went to their follower", followed, moved)
	}
}

func TestBouncedKeepTheirPartitionsUnderANewEpoch(t *testing.T) {
	live := members(3)
	table := Table{Slots: make([]Slot, 12)}
	table = table.Apply(Place(table, live, nil))
	next := table.Apply(Place(table, live, map[string]bool{live[1]: true}))
	for p, was := range table.Slots {
		want := was
		if was.Owner == live[1] {
			want.Epoch++
		}
		if next.Slots[p] != want {
			t.Errorf("partition %d: %+v, want %+v", p, next.Slots[p], want)
		}
	}
	// A bounced member that must give one up says nothing of its epoch: the new owner's is new anyway.
	for _, c := range Place(table, members(4), map[string]bool{live[1]: true}) {
		if c.Bump != (c.Owner == live[1] && table.Slots[c.Part].Owner == live[1]) {
			t.Errorf("%+v from %+v", c, table.Slots[c.Part])
		}
	}
}

func TestNobodyLeft(t *testing.T) {
	table := Table{Slots: make([]Slot, 2)}
	table = table.Apply(Place(table, []string{"a", "b"}, nil))
	for _, s := range table.Apply(Place(table, nil, nil)).Slots {
		if s.Owner != "" || s.Follower != "" || s.Epoch != 2 {
			t.Errorf("%+v", s)
		}
	}
	if c := Place(Table{Slots: make([]Slot, 2)}, nil, nil); c != nil {
		t.Errorf("nothing to do, got %v", c)
	}
}

func TestApplyLeavesItsReceiverAlone(t *testing.T) {
	table := Table{Version: 7, Slots: make([]Slot, 1)}
	next := table.Apply([]Change{{Part: 0, Owner: "a"}, {Part: 9, Owner: "b"}})
	if table.Slots[0] != (Slot{}) || next.Slots[0] != (Slot{Owner: "a", Epoch: 1}) || next.Version != 7 || len(next.Slots) != 1 {
		t.Errorf("%+v → %+v", table, next)
	}
}

// The weights place a running cluster's partitions: they hold across versions.
func TestPlacementIsGolden(t *testing.T) {
	table := Table{Slots: make([]Slot, 16)}
	var b strings.Builder
	for _, n := range []int{1, 3, 4} {
		table = table.Apply(Place(table, members(n), nil))
		fmt.Fprintf(&b, "%d members\n", n)
		for p, s := range table.Slots {
			fmt.Fprintf(&b, "%2d %s %s %d\n", p, s.Owner, s.Follower, s.Epoch)
		}
	}
	const golden = "testdata/placement.txt"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("placement changed:\n%s", b.String())
	}
}

func BenchmarkPlaceAfterDeath(b *testing.B) {
	live := members(15)
	table := Table{Slots: make([]Slot, 1024)}
	table = table.Apply(Place(table, live, nil))
	for b.Loop() {
		Place(table, live[1:], nil)
	}
}
