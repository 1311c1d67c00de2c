package ring

import "fmt"

// The bounds of a number of partitions that can be changed to.
const (
	PartitionsMin = 8
	PartitionsMax = 4096
)

// CheckPartitions says whether a running cluster can be cut into n partitions: a power of two within the bounds. So the
// ranges of any two layouts nest, a partition is a part of one or a whole number of those before, and what a node has
// grouped by the leading bits of the hash (eight groups at most) never has to be grouped anew.
func CheckPartitions(n int) error {
	if n < PartitionsMin || n > PartitionsMax || n&(n-1) != 0 {
		return fmt.Errorf("%d partitions: want a power of two from %d to %d", n, PartitionsMin, PartitionsMax)
	}
	return nil
}

// Overlap names the partitions of a ring cut into m that have hashes in common with partition p of one cut into n: from
// first to last.
func Overlap(p uint32, n, m int) (first, last uint32) {
	return Partition(First(p, n), m), Partition(Last(p, n), m)
}

// Recut plans the layout of table anew, with n partitions over the live members: everybody keeps what they can of the
// ranges they own, within equal shares. The slots have owners and followers; their epochs are the log's business. Place
// has nothing to say about the result. Recut reads its arguments only.
func Recut(table Table, n int, live []string) []Slot {
	draft := Table{Slots: make([]Slot, n)}
	for p := range draft.Slots {
		draft.Slots[p].Owner = heir(table, uint32(p), n)
	}
	return draft.Apply(Place(draft, live, nil)).Slots
}

// heir is who owns most of what partition p will be; the first of them in the order of the ring when there are several.
func heir(table Table, p uint32, n int) string {
	m := len(table.Slots)
	if m == 0 {
		return ""
	}
	shares := map[string]uint64{}
	best := ""
	first, last := Overlap(p, n, m)
	for q := first; q <= last; q++ {
		from, to := max(First(p, n), First(q, m)), min(Last(p, n), Last(q, m))
		owner := table.Slots[q].Owner
		shares[owner] += to - from
		if shares[owner] > shares[best] {
			best = owner
		}
	}
	return best
}

// Last is the highest hash of partition p when the ring is cut into n.
func Last(p uint32, n int) uint64 {
	if int(p)+1 < n {
		return First(p+1, n) - 1
	}
	return ^uint64(0)
}
