package channel

import (
	"fmt"
	"testing"
	"time"
)

// pipe carries what one host says to another through the codec, in order.
type pipe struct {
	self, other GatewayID
	to          *Host
	frames      chan func()
}

func (p *pipe) ToHost(to GatewayID, _ uint64, part uint32, epoch uint64, m ToHost) bool {
	frame := AppendToHost(nil, m)
	p.frames <- func() {
		if m, err := DecodeToHost(frame); err != nil {
			panic(err)
		} else {
			p.to.FromHost(p.self, part, epoch, m)
		}
	}
	return true
}

// BenchmarkCopy is one message of a history that is sent to a new follower, at both ends: 100 channels of 1,000 messages.
func BenchmarkCopy(b *testing.B) {
	settings := standSettings
	settings.Retention = 2 * time.Minute
	h, gateways := benchHost(b, settings)
	channels := benchChannels(100)
	data := []Message{{Name: "m", Kind: StringData, Data: make([]byte, 128)}}
	const each = 1000
	for n := range each {
		for i, c := range channels {
			h.FromGateway(boot1, c.part, 1, &Publish{App: "app", Name: c.name, Req: uint64(n*100 + i), ID: fmt.Sprint("conn:", n), ConnID: "conn", Messages: data})
		}
		until(func() bool { return gateways.published.Load() >= int64((n+1)*len(channels)) })
	}
	other := NewHost(HostConfig{Log: promptLog{}, Gateways: gateways, Self: boot2, Lease: &fakeLease{}, Partitions: benchPartitions, Series: "y",
		Settings: func(string, string) Settings { return settings }})
	defer other.Close()
	there := &pipe{self: boot1, to: other, frames: make(chan func(), 1<<16)}
	back := &pipe{self: boot2, to: h, frames: make(chan func(), 1<<16)}
	h.cfg.Hosts, other.cfg.Hosts = there, back
	for _, p := range []*pipe{there, back} {
		go func() {
			for f := range p.frames {
				f()
			}
		}()
	}
	defer close(there.frames)
	defer close(back.frames)
	b.ReportAllocs()
	b.ResetTimer()
	session := uint64(0)
	for range b.N {
		session++
		for part := range uint32(benchPartitions) {
			h.Parted(boot2, session-1)
			h.Follow(part, boot2, session)
		}
		for part := range uint32(benchPartitions) {
			until(func() bool { return h.layout.Load().parts[part].tenure.feeds.Load().whole != nil })
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*each*len(channels)), "ns/message")
}
