package sim

import "testing"

// recut runs Recut with the usual clients.
func recut(t *testing.T, seed uint64, o Options, numbers []int, strikes ...Strike) (*History, []Violation) {
	t.Helper()
	h, found := inBubble(t, seed, o, func(s *Sim) (*History, []Violation) { return s.Recut(numbers, strikes...) })
	if len(found) > 0 {
		Report(t.Output(), seed, nil, h, found)
		t.Fail()
	}
	return h, found
}

// TestRepartition: nobody is told that anything was missed while the number of partitions goes up and down.
func TestRepartition(t *testing.T) {
	t.Parallel()
	h, _ := recut(t, 7, Options{Partitions: 128}, []int{256, 64, 128}, Nothing)
	if found := CheckNoGap(h); len(found) > 0 {
		Report(t.Output(), 7, nil, h, found)
		t.Fail()
	}
}

// TestRepartitionUnderFire kills the leader, an owner or both in turn in the middle of the change.
func TestRepartitionUnderFire(t *testing.T) {
	t.Parallel()
	seeds := uint64(4)
	if brief() {
		seeds = 1
	}
	for seed := range seeds {
		recut(t, seed, Options{Nodes: 5, Partitions: 64}, []int{128, 32, 256, 64}, TheLeader, AnOwner)
	}
}
