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

// The kinds of fault. All but Join, Jump, Transfer, Replace and Repartition are undone after a while.
const (
	KillNode    FaultKind = iota // kill -9; it starts again
	KillLeader                   // whoever leads then
	KillAll                      // every node at once
	StopNode                     // a graceful stop
	CutPair                      // two nodes, in one or both directions
	CutNode                      // a node from all others; its clients reach it
	Isolate                      // a node from everybody
	Pause                        // SIGSTOP
	CutClient                    // a client from everybody
	HookDown                     // the webhook receiver
	Join                         // one more node
	Jump                         // a node's clock leaps forward
	SlowDisk                     // each write of a node's log takes a while
	BadDisk                      // the next write of a node's log fails, and the node must stop by itself
	FullDisk                     // so does every later one, until there is room
	SlowWire                     // what goes between two nodes takes long, packets get lost and overtake each other
	RejectPair                   // a firewall between two nodes answers with resets
	Transfer                     // the leader hands the lead to another
	Replace                      // a node leaves for good, and one with an empty disk comes in its place
	Repartition                  // another number of partitions
	numFaults
)

var faultNames = [numFaults]string{
	"kill", "kill leader", "kill all", "stop", "cut", "cut off", "isolate", "pause", "cut client", "hook", "join", "clock jump", "slow disk",
	"bad disk", "full disk", "slow wire", "reject", "transfer", "replace", "repartition",
}

func (k FaultKind) String() string { return faultNames[k] }

// Fault is one entry of a schedule.
type Fault struct {
	At      time.Duration // since the schedule began
	Kind    FaultKind
	Node    int
	Peer    int // CutPair, SlowWire, RejectPair
	Client  int // CutClient
	For     time.Duration
	OneWay  bool
	Orderly bool // kill: connections end as the kernel ends them, not all by reset
	Mode    HookMode
	Delay   time.Duration // SlowDisk: of each write; SlowWire: of each packet
	Share   float64       // BadDisk: how much of the write is there all the same
	Number  int           // Repartition: of partitions
}

func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8.3fs %-11s", f.At.Seconds(), f.Kind)
	switch f.Kind {
	case KillLeader, KillAll, Join, Transfer:
	case Repartition:
		fmt.Fprintf(&b, " to %d", f.Number)
	case CutPair:
		way := "both ways"
		if f.OneWay {
			way = "one way"
		}
		fmt.Fprintf(&b, " nodes %d and %d, %s", f.Node, f.Peer, way)
	case SlowWire:
		fmt.Fprintf(&b, " between nodes %d and %d, up to %v", f.Node, f.Peer, f.Delay)
	case RejectPair:
		fmt.Fprintf(&b, " between nodes %d and %d", f.Node, f.Peer)
	case BadDisk:
		fmt.Fprintf(&b, " of node %d, %.0f %% of the write is there", f.Node, 100*f.Share)
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
	KillNode: 6, KillLeader: 4, KillAll: 1, StopNode: 3, CutPair: 4, CutNode: 4, Isolate: 3, Pause: 4,
	CutClient: 3, HookDown: 4, Join: 1, Jump: 2, SlowDisk: 3, BadDisk: 2, FullDisk: 1, SlowWire: 3, RejectPair: 2, Transfer: 2, Replace: 1, Repartition: 2,
}

// rest is how long a node is left alone after a fault of its own, so that two silences do not add up to one that is
// longer than a lease.
const rest = 4 * time.Second

// joinsMax and replacesMax bound what a schedule does at most so often: each node holds the whole log.
const (
	joinsMax    = 2
	replacesMax = 3
)

// Random draws a schedule over a span for a cluster with clients.
func Random(rng *rand.Rand, span time.Duration, o Options) Schedule {
	o = o.withDefaults()
	nodes := o.Nodes
	var out Schedule
	free := make([]time.Duration, nodes) // when each node may be hurt again
	var rejects time.Duration            // until when two nodes reject each other
	joins, replaces := 0, 0
	for at := between(rng, 0, 3*time.Second); at < span; at += between(rng, 500*time.Millisecond, 7*time.Second) {
		f := Fault{At: at, Kind: draw(rng), Node: rng.IntN(nodes), For: between(rng, 200*time.Millisecond, 11*time.Second)}
		peer := (f.Node + 1 + rng.IntN(nodes-1)) % nodes
		switch f.Kind {
		case KillNode, KillLeader, KillAll:
			f.Orderly = rng.IntN(2) == 0
		case CutPair:
			f.Peer, f.OneWay = peer, rng.IntN(3) == 0
		case SlowWire:
			f.Peer, f.Delay = peer, between(rng, 5*time.Millisecond, 2*time.Second)
		case RejectPair:
			// One pair at a time: if most others reject a node, they may take it for dead before it knows.
			if f.Peer = peer; at < rejects {
				continue
			}
			rejects = at + f.For + rest
		case CutClient:
			f.Client = rng.IntN(max(o.Clients, 1))
			f.For = between(rng, time.Second, 30*time.Second)
		case HookDown:
			f.Mode = 1 + HookMode(rng.IntN(int(hookModes)-1))
			if o.EventsMax > 0 && rng.IntN(3) == 0 {
				f.For = between(rng, 30*time.Second, 4*time.Minute) // more comes than is kept
			}
		case Join:
			if joins++; joins > joinsMax {
				continue
			}
			f.For = 0
		case Replace:
			if replaces++; replaces > replacesMax {
				continue
			}
		case Transfer:
			f.For = 0
		case Repartition:
			f.For, f.Number = 0, 8<<rng.IntN(4)
		case Jump:
			f.For = between(rng, time.Second, time.Minute)
		case SlowDisk:
			f.Delay = between(rng, time.Millisecond, 300*time.Millisecond)
		case BadDisk:
			f.Share = []float64{0, 0.5, 1}[rng.IntN(3)]
		}
		f.For = min(f.For, max(span-at, 200*time.Millisecond)) // the time after the span is for healing
		if busy := f.lasts(); busy > 0 {
			if free[f.Node] > at {
				continue
			}
			free[f.Node] = at + busy
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return out
}

// lasts is how long after a fault of its own a node may not have another, 0 when that does not matter.
func (f Fault) lasts() time.Duration {
	switch f.Kind {
	case KillNode, StopNode, CutNode, Isolate, Pause, SlowDisk:
		return f.For + rest
	case BadDisk, FullDisk, Replace:
		return f.For + replaceWait + rest
	case Jump:
		return rest
	}
	return 0
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
