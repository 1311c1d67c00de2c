package memnet

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// BreakAfter is how long a connection's bytes may stay unacknowledged over a cut before the sender gives up on it, unless
// SetBreakAfter says otherwise.
const BreakAfter = 15 * time.Second

// Network is a set of hosts and the faults between them. All methods may be called from any goroutine.
type Network struct {
	seed uint64

	ending sync.Mutex // held while a host ends, before the locks of its connections

	mu         sync.Mutex
	hosts      map[netip.Addr]*Host
	links      map[route]*link
	delay      time.Duration // of links without a delay of their own
	jitter     time.Duration
	breakAfter time.Duration
	changed    chan struct{} // closed and replaced at every change of a fault: dials that hang look again
	closed     bool

	faults atomic.Uint64 // goes up with every change of a fault, under mu
}

// route is a directed pair of hosts.
type route struct{ from, to netip.Addr }

// link is what is drawn between two hosts, and what differs from the default, in one direction.
type link struct {
	same      bool // a host and itself
	rng       *rand.Rand
	cut       bool
	reject    bool
	refused   uint16 // a port to which dials are refused; 0: none
	hasDelay  bool
	delay     time.Duration
	jitter    time.Duration
	drop      float64 // share of packets lost
	duplicate float64 // share of packets that arrive twice
}

// New returns a network without hosts and without latency. The seed drives jitter and the loss of packets.
func New(seed uint64) *Network {
	n := &Network{
		seed:       seed,
		hosts:      make(map[netip.Addr]*Host),
		links:      make(map[route]*link),
		breakAfter: BreakAfter,
		changed:    make(chan struct{}),
	}
	n.faults.Store(1)
	return n
}

// Host returns the process at an IP address, making one when there is none. After Kill it is the dead one, until Revive.
// It panics when ip is not an address.
func (n *Network) Host(ip string) *Host {
	addr := netip.MustParseAddr(ip)
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[addr]
	if h == nil {
		h = newHost(n, addr)
		h.dead = n.closed
		n.hosts[addr] = h
	}
	return h
}

// Close kills every host for good. Calls that wait return with an error; later calls fail.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	hosts := make([]*Host, 0, len(n.hosts))
	for _, h := range n.hosts {
		hosts = append(hosts, h)
	}
	n.nudge()
	n.mu.Unlock()
	for _, h := range hosts {
		h.end(true)
	}
}

// SetBreakAfter sets how long bytes may stay unacknowledged over a cut before their sender's connection breaks.
func (n *Network) SetBreakAfter(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.breakAfter = d
	n.faults.Add(1)
}

// path is the state of a directed pair of hosts at one instant.
type path struct {
	paused bool // held without breaking
	cut    bool // held, and breaks after a while
	back   bool // the reverse is cut: bytes arrive, but their acknowledgement does not
	reject bool // refused
	breaks time.Duration
}

func (p path) blocked() bool { return p.paused || p.cut }

// path returns the state between two hosts.
func (n *Network) path(from, to netip.Addr) path {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pathLocked(from, to)
}

func (n *Network) pathLocked(from, to netip.Addr) path {
	p := path{breaks: n.breakAfter}
	a, b := n.hosts[from], n.hosts[to]
	p.paused = a != nil && a.state.paused || b != nil && b.state.paused
	if from == to {
		return p
	}
	isolated := a != nil && a.state.isolated || b != nil && b.state.isolated
	there, back := n.links[route{from, to}], n.links[route{to, from}]
	p.cut = isolated || there != nil && there.cut
	p.back = isolated || back != nil && back.cut
	p.reject = there != nil && there.reject
	return p
}

// latency draws how long the next bytes or packet take.
func (n *Network) latency(l *link) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latencyLocked(l)
}

func (n *Network) latencyLocked(l *link) time.Duration {
	if l.same {
		return 0
	}
	d, j := n.delay, n.jitter
	if l.hasDelay {
		d, j = l.delay, l.jitter
	}
	if j > 0 {
		d += time.Duration(l.rng.Int64N(int64(j) + 1))
	}
	return d
}

// linkLocked returns the record of a directed pair, making it when there is none.
func (n *Network) linkLocked(from, to netip.Addr) *link {
	r := route{from, to}
	l := n.links[r]
	if l == nil {
		l = &link{same: from == to, rng: rand.New(rand.NewPCG(n.seed, routeSeed(r)))}
		n.links[r] = l
	}
	return l
}

// routeSeed tells directed pairs apart, the same way in every run.
func routeSeed(r route) uint64 {
	f, t := r.from.As16(), r.to.As16()
	var x uint64 = 14695981039346656037
	for _, b := range append(f[:], t[:]...) {
		x = (x ^ uint64(b)) * 1099511628211
	}
	return x
}

// nudge wakes the dials that hang, and has connections look at the faults again. The network's lock is held.
func (n *Network) nudge() {
	n.faults.Add(1)
	close(n.changed)
	n.changed = make(chan struct{})
}
