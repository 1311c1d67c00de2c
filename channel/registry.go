package channel

import (
	"cmp"
	"math/bits"
	"slices"
	"sort"

	"innkeeper/cluster/ring"
)

// registry finds the activations of one partition by name and walks them in the order of enumeration. It is a hash
// table whose bucket number is the leading bits of the place within the partition, so that the buckets are in order
// by themselves and each sorts only its own handful. Guarded by the partition's lock.
type registry struct {
	partitions uint64
	bits       int // there are 1<<bits buckets
	buckets    [][]listed
	n          int
}

type listed struct {
	hash uint64
	a    *activation
}

// bucketLoad is the mean size at which the buckets are doubled; they are halved at an eighth of it.
const bucketLoad = 8

func newRegistry(partitions int) registry {
	return registry{partitions: uint64(partitions), buckets: make([][]listed, 1)}
}

// bucket is where a hash belongs. The low word of hash×partitions is the place within the partition as a fraction of
// it (the high word is the partition), and grows with the hash.
func (r *registry) bucket(hash uint64) int {
	_, fraction := bits.Mul64(hash, r.partitions)
	return int(fraction >> (64 - r.bits)) // a shift by 64 gives 0: one bucket
}

// search finds the first entry of a bucket that is not before the position.
func search(bucket []listed, p Position) int {
	return sort.Search(len(bucket), func(i int) bool { return bucket[i].compare(p) >= 0 })
}

func (l listed) compare(p Position) int {
	if c := cmp.Compare(l.hash, p.Hash); c != 0 {
		return c
	}
	if c := cmp.Compare(l.a.state.app, p.App); c != 0 {
		return c
	}
	return cmp.Compare(l.a.state.name, p.Name)
}

func (r *registry) find(p Position) *activation {
	for _, l := range r.buckets[r.bucket(p.Hash)] {
		if l.hash == p.Hash && l.a.state.name == p.Name && l.a.state.app == p.App {
			return l.a
		}
	}
	return nil
}

// put adds an activation or replaces the one of the same name.
func (r *registry) put(p Position, a *activation) {
	b := &r.buckets[r.bucket(p.Hash)]
	i := search(*b, p)
	if i < len(*b) && (*b)[i].compare(p) == 0 {
		(*b)[i].a = a
		return
	}
	*b = slices.Insert(*b, i, listed{p.Hash, a})
	r.n++
	if r.n > bucketLoad*len(r.buckets) {
		r.resize(r.bits + 1)
	}
}

// remove takes an activation out unless another has taken its place.
func (r *registry) remove(a *activation) {
	p := Position{Hash: ring.Hash(a.state.app, a.state.name), App: a.state.app, Name: a.state.name}
	b := &r.buckets[r.bucket(p.Hash)]
	i := search(*b, p)
	if i == len(*b) || (*b)[i].a != a {
		return
	}
	*b = slices.Delete(*b, i, i+1)
	r.n--
	if r.bits > 0 && r.n < bucketLoad/8*len(r.buckets) {
		r.resize(r.bits - 1)
	}
}

func (r *registry) resize(bits int) {
	old := r.buckets
	r.bits, r.buckets = bits, make([][]listed, 1<<bits)
	for _, bucket := range old {
		for _, l := range bucket {
			b := &r.buckets[r.bucket(l.hash)]
			*b = append(*b, l) // in order: the old walk was
		}
	}
}

// after yields the activations behind a position in order until yield returns false.
func (r *registry) after(p Position, yield func(*activation) bool) {
	first := 0
	if p != (Position{}) {
		first = r.bucket(p.Hash)
	}
	for i, bucket := range r.buckets[first:] {
		from := 0
		if i == 0 {
			from = search(bucket, p)
			if from < len(bucket) && bucket[from].compare(p) == 0 {
				from++
			}
		}
		for _, l := range bucket[from:] {
			if !yield(l.a) {
				return
			}
		}
	}
}

// all yields every activation.
func (r *registry) all(yield func(*activation) bool) {
	r.after(Position{}, yield)
}
