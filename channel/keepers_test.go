package channel

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestWholeCopyIsKept plays any history of followers, sessions that end and copies that become whole.
func TestWholeCopyIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var k keepers
		none := follower{}
		sessions := map[string]uint64{}
		draw := func() follower {
			node := rapid.SampledFrom([]string{"", "b", "c", "d"}).Draw(t, "node")
			if node == "" {
				return none
			}
			if sessions[node] == 0 || rapid.IntRange(0, 4).Draw(t, "new session") == 0 {
				sessions[node]++
			}
			return follower{GatewayID{node, "boot"}, sessions[node]}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			was := k
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				f := draw()
				k.want(f)
				if k.wanted != f {
					t.Fatalf("%v is wanted, not %v", k.wanted, f)
				}
				if stale := f.to == was.whole.to && f != was.whole; k.whole != was.whole && !stale {
					t.Fatalf("%+v: a whole copy was given up for %v", was, f)
				}
				if was.whole == none && was.growing != none && k.growing.to != was.growing.to && k.growing != none {
					t.Fatalf("%+v: the only copy that was begun was given up for %v", was, f)
				}
			case 2:
				if k.growing == none {
					continue
				}
				k.grown()
				if k.whole != was.growing {
					t.Fatalf("%+v became whole, not %v", was.growing, k.whole)
				}
			case 3:
				f := rapid.SampledFrom([]follower{k.whole, k.growing, k.wanted}).Draw(t, "lost")
				if f == none {
					continue
				}
				k.lost(f)
				if k.whole == f || k.growing == f || k.wanted == f {
					t.Fatalf("%v is lost: %+v", f, k)
				}
				if was.whole != f && k.whole != was.whole {
					t.Fatalf("%+v: %v was lost, and a whole copy with it", was, f)
				}
			}
			if k.whole != none && k.whole.to == k.growing.to {
				t.Fatalf("%+v has two copies in one place", k)
			}
			if k.wanted != none && k.wanted != k.whole && k.growing == none {
				t.Fatalf("%+v: nothing is done for whom it wants", k)
			}
		}
		// In the end the copy is where it is wanted, in two steps at most.
		for range 2 {
			if k.growing != none {
				k.grown()
			}
		}
		if k.growing != none || k.wanted != none && k.whole != k.wanted {
			t.Fatalf("does not come to rest: %+v", k)
		}
	})
}

func TestKeepers(t *testing.T) {
	b, c := follower{GatewayID{"b", "b1"}, 1}, follower{GatewayID{"c", "c1"}, 2}
	again := follower{b.to, 3}
	none := follower{}
	steps := []struct {
		name           string
		do             func(k *keepers)
		whole, growing follower
	}{
		{"the first follower", func(k *keepers) { k.want(b) }, none, b},
		{"cannot be reached for a moment", func(k *keepers) { k.want(none) }, none, b},
		{"another before it is whole", func(k *keepers) { k.want(c) }, none, b},
		{"whole: now the other", (*keepers).grown, b, c},
		{"wanted again", func(k *keepers) { k.want(b) }, b, none},
		{"another", func(k *keepers) { k.want(c) }, b, c},
		{"which goes away", func(k *keepers) { k.lost(c) }, b, none},
		{"and comes back", func(k *keepers) { k.want(c) }, b, c},
		{"the one before goes away", func(k *keepers) { k.lost(b) }, none, c},
		{"whole", (*keepers).grown, c, none},
		{"the first one on another session", func(k *keepers) { k.want(again) }, c, again},
		{"whole again", (*keepers).grown, again, none},
		{"a session that is over already", func(k *keepers) { k.lost(b) }, again, none},
		{"a new session of which the end of the old was not told", func(k *keepers) { k.want(b) }, none, b},
	}
	var k keepers
	for _, s := range steps {
		s.do(&k)
		if k.whole != s.whole || k.growing != s.growing {
			t.Fatalf("%s: %s, want whole %v, growing %v", s.name, fmt.Sprintf("%+v", k), s.whole, s.growing)
		}
	}
}
