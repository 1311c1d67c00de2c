package limits

import (
	"sync"
	"time"
)

// Bucket lets through so many things a second, and a second's worth at once after a pause. The zero Bucket is full. Its
// clock is anything that goes forward.
type Bucket struct {
	spent float64       // of the second's worth that it holds when full
	at    time.Duration // when spent was right
}

// Take takes n out if they are there. wait is how long it takes until they are. More than the whole bucket holds is let
// through when it is full, so that a large publish is slow and not impossible.
func (b *Bucket) Take(now time.Duration, n int, rate, size float64) (wait time.Duration, ok bool) {
	if now > b.at {
		b.spent = max(b.spent-rate*(now-b.at).Seconds(), 0)
		b.at = now
	}
	if b.spent > 0 && b.spent+float64(n) > size {
		missing := b.spent + min(float64(n), size) - size
		if rate <= 0 {
			return time.Second, false
		}
		return time.Duration(missing / rate * float64(time.Second)), false
	}
	b.spent += float64(n)
	return 0, true
}

// meteredBucket is a Bucket that many take from, and that knows what was asked of it.
type meteredBucket struct {
	mu     sync.Mutex
	bucket Bucket
	rate   float64 // of this node; what the leader said last
	full   float64 // of the whole cluster; 0: it is only watched
	asked  uint64  // taken and refused
}

func (m *meteredBucket) take(now time.Duration, n int) (wait time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked += uint64(n); m.full == 0 {
		return 0, true
	}
	return m.bucket.Take(now, n, m.rate, m.full)
}

// give puts back what was taken and not used.
func (m *meteredBucket) give(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bucket.spent = max(m.bucket.spent-float64(n), 0)
}

// limit sets the cluster's rate. A node that was told no share yet takes it for its own.
func (m *meteredBucket) limit(rate float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full != rate {
		m.full, m.rate = rate, rate
	}
}

func (m *meteredBucket) share(rate float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate = min(rate, m.full)
}

// demand is how much was asked for since it was looked at last.
func (m *meteredBucket) demand() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.asked
	m.asked = 0
	return n
}

// Shares splits a rate among nodes that asked for so much of it in the last second. Who asked for little gets it, and of
// what is left all get the same: nobody gets less than an equal part unless he asked for less. The sum is the rate.
func Shares(rate float64, asked []float64) []float64 {
	shares := make([]float64, len(asked))
	open := make([]int, len(asked))
	for i := range open {
		open[i] = i
	}
	left := rate
	for len(open) > 0 {
		part, next := left/float64(len(open)), open[:0:0]
		for _, i := range open {
			if asked[i] <= part {
				shares[i] = asked[i]
				left -= asked[i]
			} else {
				next = append(next, i)
			}
		}
		if len(next) == len(open) {
			for _, i := range open {
				shares[i] = part
			}
			return shares
		}
		open = next
	}
	for i := range shares { // all have what they asked for: the rest is for what comes
		shares[i] += left / float64(len(shares))
	}
	return shares
}
