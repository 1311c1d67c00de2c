package channel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"innkeeper/cluster/ring"
)

// inPartition makes names that belong to a partition.
func inPartition(part uint32, partitions, n int) []Position {
	var all []Position
	for i := 0; len(all) < n; i++ {
		app, name := fmt.Sprintf("app%d", i%3), fmt.Sprintf("room-%d", i)
		if hash := ring.Hash(app, name); ring.Partition(hash, partitions) == part {
			all = append(all, Position{hash, app, name})
		}
	}
	return all
}

func walk(r *registry, after Position) (names []string) {
	r.after(after, func(a *activation) bool {
		names = append(names, a.state.name)
		return true
	})
	return names
}

func TestRegistryFindsAndWalksInOrder(t *testing.T) {
	for _, partitions := range []int{1, 3, 128} {
		part := uint32(partitions - 1)
		r := newRegistry(partitions)
		rnd := rand.New(rand.NewPCG(1, uint64(partitions)))
		places := inPartition(part, partitions, 2000)
		model := map[Position]*activation{}
		for range 12000 {
			pos := places[rnd.IntN(len(places))]
			if model[pos] == nil || rnd.IntN(8) == 0 {
				a := &activation{state: State{app: pos.App, name: pos.Name}}
				r.put(pos, a)
				model[pos] = a
			} else if rnd.IntN(2) == 0 {
				r.remove(model[pos])
				delete(model, pos)
			}
			if got := r.find(pos); got != model[pos] {
				t.Fatalf("found %p, want %p", got, model[pos])
			}
		}
		if r.n != len(model) || len(r.buckets) < 16 {
			t.Fatalf("%d entries in %d buckets, want %d", r.n, len(r.buckets), len(model))
		}
		var sorted []Position
		for pos := range model {
			sorted = append(sorted, pos)
		}
		slices.SortFunc(sorted, comparePositions)
		for _, from := range []int{-1, 0, 7, len(sorted) / 2, len(sorted) - 1} {
			var want []string
			after := Position{}
			if from >= 0 {
				after = sorted[from]
			}
			for _, pos := range sorted[from+1:] {
				want = append(want, pos.Name)
			}
			if got := walk(&r, after); !slices.Equal(got, want) {
				t.Fatalf("%d partitions: walk after entry %d differs: %d names, want %d", partitions, from, len(got), len(want))
			}
		}
		for _, a := range model {
			r.remove(a)
		}
		if r.n != 0 || len(r.buckets) != 1 {
			t.Fatalf("emptied: %d entries in %d buckets", r.n, len(r.buckets))
		}
	}
}

func TestRegistryOrdersNamesOfOneHash(t *testing.T) {
	r := newRegistry(1)
	for _, name := range []string{"c", "a", "b"} {
		for _, app := range []string{"y", "x"} {
			r.put(Position{42, app, name}, &activation{state: State{app: app, name: name}})
		}
	}
	var got []string
	r.all(func(a *activation) bool { got = append(got, a.state.app+a.state.name); return true })
	if fmt.Sprint(got) != "[xa xb xc ya yb yc]" {
		t.Fatal(got)
	}
}

func TestRegistryLeavesASuccessorAlone(t *testing.T) {
	r := newRegistry(1)
	pos := Position{ring.Hash("a", "n"), "a", "n"}
	old, next := &activation{state: State{app: "a", name: "n"}}, &activation{state: State{app: "a", name: "n"}}
	r.put(pos, old)
	r.put(pos, next)
	r.remove(old)
	if r.find(pos) != next || r.n != 1 {
		t.Fatal("the successor was removed")
	}
}
