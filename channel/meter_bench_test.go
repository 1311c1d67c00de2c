package channel

import (
	"fmt"
	"testing"
)

// BenchmarkMeter reads what 100,000 open channels are, as a node does once a second.
func BenchmarkMeter(b *testing.B) {
	const partitions, channels, apps = 128, 100_000, 10
	h := &Host{}
	l := &layout{parts: make([]partition, partitions)}
	h.layout.Store(l)
	for i := range l.parts {
		p := &l.parts[i]
		p.id, p.at, p.tenure = uint32(i), serving, &tenure{epoch: 1}
	}
	for i := range channels {
		t := l.parts[i%partitions].tenure
		(&activation{tenure: t, tally: t.tallies.of(h, fmt.Sprint("app", i/partitions%apps))}).tallied(false, true)
	}
	b.ReportAllocs()
	for b.Loop() {
		if m := h.Meter(); len(m.Partitions) != partitions {
			b.Fatal(len(m.Partitions))
		}
	}
}
