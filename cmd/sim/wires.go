package sim

import (
	"time"

	"innkeeper/cmd/memnet"
)

// What the wires between nodes are like where nothing hurts them.
const (
	wireDelay  = 300 * time.Microsecond
	wireJitter = 700 * time.Microsecond // so that packets overtake each other
	packetLoss = 0.03                   // and as many arrive twice
)

// badLoss is the share of packets lost, and of those that arrive twice, over a slow wire.
const badLoss = 0.3

// route is a pair of nodes, directed where that matters.
type route struct{ from, to int }

// pair is the same for both directions.
func pair(a, b *Node) route { return route{min(a.Index, b.Index), max(a.Index, b.Index)} }

// cut stops what goes from a to b, and back unless oneway. Cuts of one pair add up.
func (s *Sim) cut(a, b *Node, oneway bool) { s.recut(a, b, oneway, 1) }

// heal takes one cut back; the pair is whole when none is left.
func (s *Sim) heal(a, b *Node, oneway bool) { s.recut(a, b, oneway, -1) }

func (s *Sim) recut(a, b *Node, oneway bool, by int) {
	s.mu.Lock()
	s.cuts[route{a.Index, b.Index}] += by
	if !oneway {
		s.cuts[route{b.Index, a.Index}] += by
	}
	s.mu.Unlock()
	s.rewire(a, b)
}

// reject lets two nodes reject each other once more, or once less.
func (s *Sim) reject(a, b *Node, by int) {
	s.mu.Lock()
	s.rejects[pair(a, b)] += by
	s.mu.Unlock()
	s.rewire(a, b)
}

// rewire makes the network what cuts and rejections of a pair add up to.
func (s *Sim) rewire(a, b *Node) {
	s.mu.Lock()
	there, back := s.cuts[route{a.Index, b.Index}], s.cuts[route{b.Index, a.Index}]
	rejects := s.rejects[pair(a, b)]
	s.mu.Unlock()
	s.Net.Wire(a.IP, b.IP, memnet.Wiring{There: there > 0, Back: back > 0, Reject: rejects > 0})
}

// slowWire lets what goes between two nodes take up to a delay for a while, and loses packets.
func (s *Sim) slowWire(a, b *Node, f Fault) {
	s.note("between nodes %d and %d all takes up to %v", a.Index, b.Index, f.Delay)
	s.mu.Lock()
	s.slow[pair(a, b)]++
	s.mu.Unlock()
	s.Net.Delay(a.IP, b.IP, f.Delay/4, f.Delay*3/4)
	s.Net.DropPackets(a.IP, b.IP, badLoss)
	s.Net.DuplicatePackets(a.IP, b.IP, badLoss)
	time.Sleep(f.For)
	s.mu.Lock()
	s.slow[pair(a, b)]--
	last := s.slow[pair(a, b)] == 0
	s.mu.Unlock()
	if last {
		s.Net.Delay(a.IP, b.IP, wireDelay, wireJitter)
		s.Net.DropPackets(a.IP, b.IP, packetLoss)
		s.Net.DuplicatePackets(a.IP, b.IP, packetLoss)
		s.note("between nodes %d and %d all is quick again", a.Index, b.Index)
	}
}
