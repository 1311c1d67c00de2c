package channel

import (
	"testing"

	"pgregory.net/rapid"
)

func TestBarrierWaitsForEveryLiveMember(t *testing.T) {
	var b Barrier
	passed := func(want bool, after string) {
		t.Helper()
		if b.Passed() != want {
			t.Fatalf("after %s: passed=%v, missing %v", after, b.Passed(), b.Missing())
		}
	}
	passed(false, "nothing: the members are not known")
	b.Heard(gwA)
	passed(false, "a gateway nobody knows")
	b.Live([]Gateway{gwA, gwB})
	passed(false, "the member set")
	b.Heard(gwB)
	passed(true, "both")
	b.Live([]Gateway{gwA, gwB, gwC})
	passed(false, "a late member")
	b.Heard(gwC)
	passed(true, "the late member's word")
	b.Live([]Gateway{gwA, gwC})
	b.Live([]Gateway{gwA, gwB, gwC})
	passed(false, "a member that left and returned: it must speak again")
	b.Live([]Gateway{gwA, gwC})
	passed(true, "its death")
	b.Forget(gwA)
	passed(false, "a lost snapshot")
	b.Live(nil)
	passed(false, "an empty member set")
}

// The barrier has passed exactly when there are live members and each was heard since it became live or before.
func TestBarrierAgainstItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Barrier
		live, heard := map[Gateway]bool{}, map[Gateway]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"live": func(t *rapid.T) {
				set := rapid.SliceOfNDistinct(rapid.Map(rapid.IntRange(1, 5), func(i int) Gateway { return Gateway(i) }), 0, 5, rapid.ID[Gateway]).Draw(t, "set")
				next := map[Gateway]bool{}
				for _, g := range set {
					next[g] = true
				}
				for g := range live {
					if !next[g] {
						delete(heard, g)
					}
				}
				live = next
				b.Live(set)
			},
			"heard":  func(t *rapid.T) { g := Gateway(rapid.IntRange(1, 5).Draw(t, "g")); heard[g] = true; b.Heard(g) },
			"forget": func(t *rapid.T) { g := Gateway(rapid.IntRange(1, 5).Draw(t, "g")); delete(heard, g); b.Forget(g) },
			"": func(t *rapid.T) {
				want := len(live) > 0
				for g := range live {
					want = want && heard[g]
				}
				if b.Passed() != want {
					t.Fatalf("passed %v with live %v, heard %v", b.Passed(), live, heard)
				}
			},
		})
	})
}
