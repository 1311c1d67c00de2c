package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// FaultKind is one way to hurt a cluster.
type FaultKind uint8

// The kinds of fault. All but Join and Jump are undone after a while.
const (
	KillNode   FaultKind = iota // kill -9; it starts again
	KillLeader                  // whoever leads then
	KillAll                     // every node at once
	StopNode                    // a graceful stop
	CutPair                     // two nodes, in one or both directions
	CutNode                     // a node from all others; its clients reach it
	Isolate                     // a node from everybody
	Pause                       // SIGSTOP
	CutClient                   // a client from everybody
	HookDown                    // the webhook receiver
	Join                        // one more node
	Jump                        // a node's clock leaps forward
	SlowDisk                    // each write of a node's log takes a while
	numFaults
)

var faultNames = [numFaults]string{"kill", "kill leader", "kill all", "stop", "cut", "cut off", "isolate", "pause", "cut client", "hook", "join", "clock jump", "slow disk"}

func (k FaultKind) String() string { return faultNames[k] }

// Fault is one entry of a schedule.
type Fault struct {
	At      time.Duration // since the schedule began
	Kind    FaultKind
	Node    int
	Peer    int // CutPair
	Client  int // CutClient
	For     time.Duration
	OneWay  bool
	Orderly bool // kill: connections end as the kernel ends them, not all by reset
	Mode    HookMode
	Delay   time.Duration // SlowDisk: of each write
}

func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8.3fs %-11s", f.At.Seconds(), f.Kind)
	switch f.Kind {
	case KillLeader, KillAll, Join:
	case CutPair:
		way := "both ways"
		if f.OneWay {
			way = "one way"
		}
		fmt.Fprintf(&b, " nodes %d and %d, %s", f.Node, f.Peer, way)
	case CutClient:
		fmt.Fprintf(&b, " client %d", f.Client)
	case HookDown:
		fmt.Fprintf(&b, " answers %s", f.Mode)
	case SlowDisk:
		fmt.Fprintf(&b, " of node %d, %v a write", f.Node, f.Delay)
	default:
		fmt.Fprintf(&b, " node %d", f.Node)
	}
	if f.For > 0 {
		fmt.Fprintf(&b, " for %.3fs", f.For.Seconds())
	}
	if f.Orderly {
		b.WriteString(", connections closed in order")
	}
	return b.String()
}

// Schedule is what happens to a cluster, in order of time.
type Schedule []Fault

func (s Schedule) String() string {
	var b strings.Builder
	for _, f := range s {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// weights say how often each kind is drawn.
var weights = [numFaults]int{
	KillNode: 6, KillLeader: 4, KillAll: 1, StopNode: 2, CutPair: 4, CutNode: 4, Isolate: 3, Pause: 4,
	CutClient: 3, HookDown: 4, Join: 1, Jump: 2, SlowDisk: 2,
}

// rest is how long a node is left alone after a fault of its own, so that two silences do not add up to one that is
// longer than a lease.
const rest = 4 * time.Second

// Random draws a schedule over a span for a number of nodes and clients.
func Random(rng *rand.Rand, span time.Duration, nodes, clients int) Schedule {
	var out Schedule
	free := make([]time.Duration, nodes) // when each node may be hurt again
	joins := 0
	for at := between(rng, 0, 3*time.Second); at < span; at += between(rng, 500*time.Millisecond, 7*time.Second) {
		f := Fault{At: at, Kind: draw(rng), Node: rng.IntN(nodes), For: between(rng, 200*time.Millisecond, 11*time.Second), Orderly: rng.IntN(2) == 0}
		switch f.Kind {
		case CutPair:
			f.Peer = (f.Node + 1 + rng.IntN(nodes-1)) % nodes
			f.OneWay = rng.IntN(3) == 0
			f.Orderly = false
		case CutClient:
			f.Client = rng.IntN(clients)
			f.For = between(rng, time.Second, 30*time.Second)
			f.Orderly = false
		case HookDown:
			f.Mode = 1 + HookMode(rng.IntN(int(hookModes)-1))
			f.Orderly = false
		case Join:
			if joins++; joins > 2 {
				continue
			}
			f.For, f.Orderly = 0, false
		case Jump:
			f.For, f.Orderly = between(rng, time.Second, time.Minute), false
		case SlowDisk:
			f.Delay, f.Orderly = between(rng, time.Millisecond, 300*time.Millisecond), false
		case CutNode, Isolate, Pause, StopNode:
			f.Orderly = false
		}
		switch f.Kind {
		case KillNode, StopNode, CutNode, Isolate, Pause, Jump:
			if free[f.Node] > at {
				continue
			}
			free[f.Node] = at + f.For + rest
			if f.Kind == Jump {
				free[f.Node] = at + rest
			}
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return out
}

// between draws a time, short ones more often.
func between(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	f := rng.Float64()
	return (lo + time.Duration(f*f*float64(hi-lo))).Round(time.Millisecond)
}

func draw(rng *rand.Rand) FaultKind {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	x := rng.IntN(sum)
	for k, w := range weights {
		if x -= w; x < 0 {
			return FaultKind(k)
		}
	}
	panic("unreachable")
}
