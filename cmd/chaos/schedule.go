package main

import (
	"math/rand/v2"
	"time"
)

// kind is what is done to a node, or to the receiver.
type kind string

const (
	kill       kind = "kill"        // SIGKILL, started again later
	pause      kind = "pause"       // SIGSTOP, SIGCONT later
	term       kind = "term"        // SIGTERM, started again when it has ended
	drain      kind = "drain"       // innkeeper drain, started again when it has ended
	powerCut   kind = "power cut"   // SIGKILL to every node at once
	rolling    kind = "rolling"     // SIGTERM to one node after the other
	cut        kind = "cut"         // packets to and from all other nodes vanish
	cutPair    kind = "cut pair"    // the same to and from one other node
	mute       kind = "mute"        // packets to other nodes vanish, those from them arrive
	deaf       kind = "deaf"        // the other way round
	refuse     kind = "refuse"      // connections with all other nodes are reset, as a firewall does
	refusePair kind = "refuse pair" // the same with one other node
	dark       kind = "dark"        // the cable is out: no nodes, no clients
	loss       kind = "loss"        // a share of the packets with other nodes is lost
	slow       kind = "slow"        // the way to the node is narrow
	diskFull   kind = "disk full"
	hookFails  kind = "webhook 500"
	hookHangs  kind = "webhook hangs"
	hookCuts   kind = "webhook cuts"
)

// trait says how often a kind is drawn, how long it lasts, and what it needs.
type trait struct {
	kind        kind
	weight      int
	least, most time.Duration
	network     bool // needs network namespaces
}

var traits = []trait{
	{kill, 14, 200 * time.Millisecond, 8 * time.Second, false},
	{pause, 10, time.Second, 30 * time.Second, false},
	{term, 5, 0, time.Second, false},
	{drain, 5, 0, 3 * time.Second, false},
	{rolling, 1, 0, 0, false},
	{powerCut, 1, 500 * time.Millisecond, 3 * time.Second, false},
	{cut, 10, time.Second, 15 * time.Second, true},
	{cutPair, 6, time.Second, 15 * time.Second, true},
	{mute, 5, time.Second, 12 * time.Second, true},
	{deaf, 5, time.Second, 12 * time.Second, true},
	{refuse, 5, 500 * time.Millisecond, 10 * time.Second, true},
	{refusePair, 3, 500 * time.Millisecond, 10 * time.Second, true},
	{dark, 6, time.Second, 12 * time.Second, true},
	{loss, 4, 4 * time.Second, 15 * time.Second, true},
	{slow, 3, 4 * time.Second, 15 * time.Second, true},
	{diskFull, 3, 4 * time.Second, 12 * time.Second, true},
	{hookFails, 4, 2 * time.Second, 15 * time.Second, false},
	{hookHangs, 4, 2 * time.Second, 15 * time.Second, false},
	{hookCuts, 4, 2 * time.Second, 15 * time.Second, false},
}

// fault is one entry of a schedule. Which node it hits is decided when it comes: not one that is hurt already.
type fault struct {
	at    time.Duration // since the campaign began
	kind  kind
	lasts time.Duration
	lead  bool    // hit the leader if possible
	pick  int     // which of the others
	share float64 // of packets lost
}

// draw makes the schedule of a seed: about one fault per gap. Each kind that is possible comes at least once if there is
// room, then as often as its weight says.
func draw(seed uint64, length, gap time.Duration, network bool) []fault {
	rng := rand.New(rand.NewPCG(seed, 0))
	var bag []trait // shuffled rounds: kinds come in proportion, in any order
	fill := func(all bool) {
		first := len(bag)
		for _, t := range traits {
			if t.network && !network {
				continue
			}
			n := t.weight
			if all {
				n = 1
			}
			for range n {
				bag = append(bag, t)
			}
		}
		rng.Shuffle(len(bag)-first, func(i, j int) { bag[first+i], bag[first+j] = bag[first+j], bag[first+i] })
	}
	fill(true)
	var out []fault
	between := func(least, most time.Duration) time.Duration {
		if most <= least {
			return least
		}
		return least + time.Duration(rng.Int64N(int64(most-least)))
	}
	for at := 3 * time.Second; at < length; at += between(gap/2, gap*3/2) {
		if len(bag) == 0 {
			fill(false)
		}
		t := bag[0]
		bag = bag[1:]
		out = append(out, fault{at: at, kind: t.kind, lasts: between(t.least, t.most), lead: rng.IntN(3) == 0, pick: rng.IntN(1 << 16), share: 0.05 + rng.Float64()*0.3})
	}
	return out
}
