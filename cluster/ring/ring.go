// Package ring says which partition a channel belongs to and which member owns a partition.
//
// It is a pure leaf: no goroutine, no clock, no I/O. Every node computes the same answers from the same input.
package ring

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Hash places a channel on the ring. The separator cannot appear in an app id, so no two (app, name) pairs share
// their input. It is the order in which channels are enumerated, so it must never change between versions.
func Hash(app, name string) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.WriteString(app)
	d.Write([]byte{0})
	d.WriteString(name)
	return d.Sum64()
}

// Partition is the slice of the ring that hash falls into when the ring is cut into n equal slices. Partitions are
// contiguous ranges of hashes: partition p covers [First(p, n), First(p+1, n)), so an enumeration in hash order stays
// valid when n changes.
func Partition(hash uint64, n int) uint32 {
	hi, _ := bits.Mul64(hash, uint64(n))
	return uint32(hi)
}

// First is the lowest hash of partition p when the ring is cut into n.
func First(p uint32, n int) uint64 {
	if p == 0 {
		return 0
	}
	q, r := bits.Div64(uint64(p), 0, uint64(n))
	if r > 0 {
		q++
	}
	return q
}

// Slot says who owns one partition.
type Slot struct {
	Owner    string // node id; "" when nobody does
	Follower string // node id of the member that would own it next; "" in a cluster of one
	Epoch    uint64 // ownership generation; goes up with each change of owner or of the owner's boot
}

// Table says who owns each partition. Tables are values: a published one is never written again.
//
// How the ring is cut is a layout. When the number of partitions changes, a new one begins: the numbers of partitions mean
// other ranges from then on. Epochs tell them apart, since all of a layout are above all of those before.
type Table struct {
	Version uint64
	Slots   []Slot
	Began   uint64   // epoch that the present layout began with; 0 for the first
	Before  []uint64 // by partition of the layout before: the epoch it ended with; nil in the first
}
