package raftstore

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawKey draws from few hashes, so that different names share one.
func drawKey(t *rapid.T) key {
	n := rapid.IntRange(0, 600).Draw(t, "key")
	name := fmt.Sprintf("%d", n)
	if n%97 == 0 {
		name = strings.Repeat(name, 700) // some are big, one of them more than half a block
	}
	return key{hash: uint64(n / 3), app: []byte{'a' + byte(n%2)}, name: []byte(name)}
}

func clonedEntry(e entry) entry {
	e.app, e.name = bytes.Clone(e.app), bytes.Clone(e.name)
	return e
}

func contents(f frozen, from key) []entry {
	var all []entry
	f.after(from, func(e entry) bool { all = append(all, clonedEntry(e)); return true })
	return all
}

func equalEntries(a, b []entry) bool {
	return slices.EqualFunc(a, b, func(a, b entry) bool {
		return a.compare(b.key) == 0 && a.seq == b.seq && a.sinceMs == b.sinceMs
	})
}

// TestPartitionAgainstModel compares a partition with a map while it grows and shrinks, and frozen views with what was
// true when they were taken.
func TestPartitionAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p partition
		model := map[string]entry{}
		sorted := func() []entry {
			return slices.SortedFunc(maps.Values(model), func(a, b entry) int { return a.compare(b.key) })
		}
		type moment struct {
			frozen
			want []entry
		}
		var moments []moment
		grow := true
		for i := range rapid.IntRange(1, 2500).Draw(t, "steps") {
			if i%500 == 499 {
				grow = !grow
			}
			k := drawKey(t)
			id := fmt.Sprint(k.hash, string(k.app), string(k.name))
			want, exists := model[id]
			switch n := rapid.IntRange(0, 9).Draw(t, "op"); {
			case n == 0 && i%7 == 0:
				moments = append(moments, moment{p.freeze(), sorted()})
			case n < 7 == grow:
				e := entry{key: k, seq: uint64(i), sinceMs: int64(-i)}
				if got := p.insert(&e); got == exists {
					t.Fatalf("insert %s is %v", id, got)
				}
				if !exists {
					model[id] = e
				}
			default:
				seq, since, found := p.remove(k)
				if found != exists || found && (seq != want.seq || since != want.sinceMs) {
					t.Fatalf("remove %s is %v %d %d, want %v %+v", id, found, seq, since, exists, want)
				}
				delete(model, id)
			}
			got, found := p.get(k)
			if want, exists := model[id]; found != exists || found && got.seq != want.seq {
				t.Fatalf("get %s is %v %+v, want %v %+v", id, found, got, exists, want)
			}
		}
		moments = append(moments, moment{p.freeze(), sorted()})
		for i, m := range moments {
			if got := contents(m.frozen, key{}); !equalEntries(got, m.want) {
				t.Fatalf("moment %d has %d entries, want %d", i, len(got), len(m.want))
			}
			if m.count != len(m.want) {
				t.Fatalf("moment %d counts %d entries, want %d", i, m.count, len(m.want))
			}
		}
		from := drawKey(t)
		want := slices.DeleteFunc(sorted(), func(e entry) bool { return e.compare(from) <= 0 })
		if got := contents(p.freeze(), from); !equalEntries(got, want) {
			t.Fatalf("%d entries after %v, want %d", len(got), from, len(want))
		}
		capacity := 0
		for _, ref := range p.list {
			capacity += cap(ref.data)
		}
		if capacity != p.capacity {
			t.Fatalf("capacity is %d, counted %d", capacity, p.capacity)
		}
	})
}
