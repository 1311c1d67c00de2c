package channel

import (
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"innkeeper/cluster/ring"
)

// countingGateways counts frames and lets a benchmark wait for them.
type countingGateways struct {
	registered, delivered, published, answered atomic.Int64
}

func (g *countingGateways) ToGateway(_ GatewayID, _ uint32, _ uint64, m ToGateway) bool {
	switch m := m.(type) {
	case *Registered:
		g.registered.Add(1)
	case *QueryResult:
		g.answered.Add(1)
	case *Delivery:
		g.delivered.Add(1)
	case *Published:
		if m.Refusal != Accepted {
			panic(m.Refusal)
		}
		g.published.Add(1)
	}
	return true
}

// promptLog commits at once.
type promptLog struct{}

func (promptLog) Occupied(uint32, func(Held) bool)                        {}
func (promptLog) Opened(uint32, func(Held) bool)                          {}
func (promptLog) Propose(_ uint32, _ uint64, _ Transition, d func(error)) { d(nil) }

// promptHosts is a follower that confirms at once, after what the codec costs at both ends.
type promptHosts struct {
	h    *Host
	self GatewayID
}

func (p promptHosts) ToHost(_ GatewayID, _ uint64, part uint32, epoch uint64, m ToHost) bool {
	m, err := DecodeToHost(AppendToHost(nil, m))
	if err != nil {
		panic(err)
	}
	switch m := m.(type) {
	case *CopyPart:
		serial := m.Deliveries[len(m.Deliveries)-1].Serial
		p.h.FromHost(p.self, part, epoch, &Copied{Stream: m.Stream, App: m.App, Name: m.Name, Serial: serial, Old: m.Old})
	case *CopyEnd:
		go p.h.FromHost(p.self, part, epoch, &Copied{Stream: m.Stream}) // the partition's lock is held
	}
	return true
}

func until(done func() bool) {
	for !done() {
		runtime.Gosched()
	}
}

const benchPartitions = 128

func benchHost(b *testing.B, settings Settings) (*Host, *countingGateways) {
	gateways := &countingGateways{}
	h := NewHost(HostConfig{
		Log: promptLog{}, Gateways: gateways, Lease: &fakeLease{}, Partitions: benchPartitions, Series: "bench",
		Settings: func(string, string) Settings { return settings },
	})
	b.Cleanup(h.Close)
	h.SetMembers([]GatewayID{boot1})
	for part := range uint32(benchPartitions) {
		h.Acquire(part, 1)
		h.FromGateway(boot1, part, 1, &Snapshot{})
	}
	until(func() bool { return h.Stats().Serving == benchPartitions })
	return h, gateways
}

type benchChannel struct {
	name string
	part uint32
}

func benchChannels(n int) []benchChannel {
	channels := make([]benchChannel, n)
	for i := range channels {
		channels[i] = placed(fmt.Sprintf("chat:room-%d", i))
	}
	return channels
}

func placed(name string) benchChannel {
	return benchChannel{name, ring.Partition(ring.Hash("app", name), benchPartitions)}
}

func holding(name string, version uint64, n int32) *Register {
	r := &Register{App: "app", Name: name, Version: version, Confirm: true}
	r.Counts[Connections], r.Counts[Publishers], r.Counts[Subscribers] = n, n, n
	return r
}

// BenchmarkPublish is one publish through the host to one gateway with subscribers: serial, Delivery, Published.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 64, 10_000} {
		b.Run(fmt.Sprintf("channels=%d", n), func(b *testing.B) { benchPublish(b, n, 0) })
		b.Run(fmt.Sprintf("channels=%d/history", n), func(b *testing.B) { benchPublish(b, n, 2*time.Minute) })
		b.Run(fmt.Sprintf("channels=%d/follower", n), func(b *testing.B) { benchPublish(b, n, 2*time.Minute, boot2) })
	}
}

func benchPublish(b *testing.B, n int, retention time.Duration, followers ...GatewayID) {
	settings := standSettings
	settings.Retention = retention
	h, gateways := benchHost(b, settings)
	channels := benchChannels(n)
	for i, c := range channels {
		h.FromGateway(boot1, c.part, 1, holding(c.name, uint64(i), 1))
	}
	until(func() bool { return gateways.registered.Load() == int64(n) })
	for _, f := range followers {
		h.cfg.Hosts = promptHosts{h, f}
		for part := range uint32(benchPartitions) {
			h.Follow(part, f, 1)
			until(func() bool { return h.layout.Load().parts[part].tenure.feeds.Load().whole != nil })
		}
	}
	messages := []Message{{Name: "m", Kind: StringData, Data: make([]byte, 128)}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		c := channels[i%n]
		h.FromGateway(boot1, c.part, 1, &Publish{App: "app", Name: c.name, Req: uint64(i), ConnID: "c", ID: "c:" + strconv.Itoa(i), Messages: messages})
		if i%256 == 255 { // stays within one mailbox
			until(func() bool { return int64(i)-gateways.published.Load() < 256 })
		}
	}
	until(func() bool { return gateways.published.Load() == int64(b.N) })
}

// BenchmarkRegisterCycle is an attach and a detach on a channel that others hold: two registers, each confirmed.
func BenchmarkRegisterCycle(b *testing.B) {
	h, gateways := benchHost(b, standSettings)
	channels := benchChannels(64)
	benchCycles(b, h, gateways, channels, 1)
}

// BenchmarkOccupyCycle is an attach and a detach of a channel nobody holds, without a delay: occupied and vacated are
// proposed each time. The log's own work is not in it.
func BenchmarkOccupyCycle(b *testing.B) {
	settings := standSettings
	settings.VacateDelay = 0
	h, gateways := benchHost(b, settings)
	benchCycles(b, h, gateways, benchChannels(64), 0)
}

func benchCycles(b *testing.B, h *Host, gateways *countingGateways, channels []benchChannel, floor int32) {
	version := uint64(0)
	say := func(c benchChannel, n int32) {
		version++
		h.FromGateway(boot1, c.part, 1, holding(c.name, version, n))
	}
	for _, c := range channels {
		say(c, floor)
	}
	until(func() bool { return gateways.registered.Load() == int64(len(channels)) })
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		c := channels[i%len(channels)]
		say(c, floor+1)
		say(c, floor)
		if i%64 == 63 {
			runtime.Gosched()
		}
	}
	// Queries come behind all registers.
	for _, c := range channels {
		h.FromGateway(boot1, c.part, 1, &Query{App: "app", Name: c.name})
	}
	until(func() bool { return gateways.answered.Load() == int64(len(channels)) })
}

// BenchmarkBytesPerIdleChannel reports what an open channel with one attachment takes when nothing happens: actor,
// state, name and its place in the registry.
func BenchmarkBytesPerIdleChannel(b *testing.B) {
	for _, kind := range []string{"subscriber", "watcher", "publish-only"} {
		b.Run(kind, func(b *testing.B) {
			const n = 200_000
			for b.Loop() {
				h, gateways := benchHost(b, Settings{VacateDelay: time.Hour, IdleClose: time.Hour, OccupancyInterval: time.Hour})
				before := heapInUse()
				for i := range n {
					name := fmt.Sprintf("chat:room-%08d", i)
					c := placed(name)
					if kind == "publish-only" {
						h.FromGateway(boot1, c.part, 1, &Publish{App: "app", Name: name})
						continue
					}
					r := holding(name, uint64(i), 1)
					if kind == "watcher" {
						r.Watchers = 1
					}
					h.FromGateway(boot1, c.part, 1, r)
				}
				until(func() bool { return gateways.registered.Load()+gateways.published.Load() == n })
				b.ReportMetric(float64(heapInUse()-before)/n, "B/channel")
				runtime.KeepAlive(h)
				h.Close()
			}
		})
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
