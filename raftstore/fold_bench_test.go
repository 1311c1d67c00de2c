package raftstore

import (
	"fmt"
	"testing"

	"innkeeper/cluster/ring"
)

// BenchmarkFold gives up 250,000 events, pairs but for every tenth channel, under a sink that is behind.
func BenchmarkFold(b *testing.B) {
	const n = 250_000
	for b.Loop() {
		b.StopTimer()
		s := newState()
		s.init(clusterInit{"cluster", 128})
		s.cursors.ensure("hook", 1)
		for i := range n / 2 {
			name := fmt.Sprint("room:some-channel:", i)
			for _, kind := range []Kind{Occupied, Vacated} {
				if kind == Occupied || i%10 > 0 {
					tr := rawTransition{kind, []byte("app"), []byte(name), 1_700_000_000_000}
					s.transition(ring.Partition(ring.Hash("app", name), 128), &tr)
				}
			}
		}
		b.StartTimer()
		s.forget(s.events.last)
		b.ReportMetric(float64(s.fold.bytes())/float64(s.fold.count), "B/folded")
	}
}
