package memnet

import (
	"net/netip"
	"time"
)

// fate is what happens to a whole host. It belongs to the address and outlives the process there.
type fate struct {
	paused   bool
	isolated bool
}

// Delay sets the latency from a to b and from b to a: d plus up to jitter, drawn anew for each write. Order is kept.
func (n *Network) Delay(a, b string, d, jitter time.Duration) {
	n.both(a, b, func(l *link) { l.hasDelay, l.delay, l.jitter = true, d, jitter })
}

// DelayOneWay sets the latency from a to b alone.
func (n *Network) DelayOneWay(a, b string, d time.Duration) {
	from, to := netip.MustParseAddr(a), netip.MustParseAddr(b)
	n.change(func() {
		l := n.linkLocked(from, to)
		l.hasDelay, l.delay, l.jitter = true, d, 0
	})
}

// DefaultDelay sets the latency between all hosts that have no Delay of their own. A host reaches itself at once.
func (n *Network) DefaultDelay(d, jitter time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay, n.jitter = d, jitter
}

// DropPackets loses a share p (0 to 1) of the packets between a and b. Connections are not touched.
func (n *Network) DropPackets(a, b string, p float64) {
	n.both(a, b, func(l *link) { l.drop = p })
}

// DuplicatePackets delivers a share p (0 to 1) of the packets between a and b twice.
func (n *Network) DuplicatePackets(a, b string, p float64) {
	n.both(a, b, func(l *link) { l.duplicate = p })
}

// Wiring is what goes between two addresses.
type Wiring struct {
	There, Back bool // cut: what is sent from the first to the second is held, and what comes back
	// Reject refuses all, as a firewall does that answers with a reset: dials are refused, a connection is reset when it next
	// sends, packets vanish.
	Reject bool
}

// Wire says what goes between a and b from now on; the zero Wiring is a whole wire, on which what was held arrives now. All
// changes in one step: nothing passes between two faults.
func (n *Network) Wire(a, b string, w Wiring) {
	from, to := netip.MustParseAddr(a), netip.MustParseAddr(b)
	n.change(func() {
		there, back := n.linkLocked(from, to), n.linkLocked(to, from)
		there.cut, back.cut = w.There, w.Back
		there.reject, back.reject = w.Reject, w.Reject
	})
}

// RefusePort refuses dials between a and b to one port, until it is another one or 0. What is connected stays so.
func (n *Network) RefusePort(a, b string, port uint16) {
	n.both(a, b, func(l *link) { l.refused = port })
}

// HealAll makes every wire whole and ends every Isolate and Pause. Delays and packet loss stay, and killed hosts stay dead.
func (n *Network) HealAll() {
	n.change(func() {
		for _, l := range n.links {
			l.cut, l.reject = false, false
		}
		for _, h := range n.hosts {
			h.state = fate{}
		}
	})
}

// Isolate cuts a host off from all others, in both directions, until Rejoin or HealAll.
func (n *Network) Isolate(ip string) { n.host(ip, func(h *Host) { h.state.isolated = true }) }

// Rejoin ends Isolate.
func (n *Network) Rejoin(ip string) { n.host(ip, func(h *Host) { h.state.isolated = false }) }

// Pause holds all that goes into or out of a host, as its peers see a process that was stopped by a signal: no
// connection breaks by it, dials hang.
func (n *Network) Pause(ip string) { n.host(ip, func(h *Host) { h.state.paused = true }) }

// Resume ends Pause. What was held arrives now.
func (n *Network) Resume(ip string) { n.host(ip, func(h *Host) { h.state.paused = false }) }

// Kill ends the process at an address: its listeners and packet sockets are gone, its peers' connections are reset,
// dials to it are refused. Its Host is dead for good; Revive gives the address a new one.
func (n *Network) Kill(ip string) { n.Host(ip).end(true) }

// Exit ends the process as Kill does, but its connections close as those of a process whose kernel lives on: with an
// orderly end where all received data was read, with a reset elsewhere.
func (n *Network) Exit(ip string) { n.Host(ip).end(false) }

// Revive gives an address a new process after Kill or Exit, and returns it. On a live host it returns that one.
func (n *Network) Revive(ip string) *Host {
	h := n.Host(ip)
	n.change(func() {
		if !h.dead || n.closed {
			return
		}
		fresh := newHost(n, h.ip)
		fresh.state = h.state
		fresh.port = h.port
		n.hosts[h.ip] = fresh
		h = fresh
	})
	return h
}

// both changes a pair of hosts in both directions.
func (n *Network) both(a, b string, set func(*link)) {
	from, to := netip.MustParseAddr(a), netip.MustParseAddr(b)
	n.change(func() {
		set(n.linkLocked(from, to))
		set(n.linkLocked(to, from))
	})
}

// host changes the fate of one host.
func (n *Network) host(ip string, set func(*Host)) {
	h := n.Host(ip)
	n.change(func() { set(n.hosts[h.ip]) })
}

// change alters faults under the lock, then lets every connection and every hanging dial look at them.
func (n *Network) change(set func()) {
	n.mu.Lock()
	set()
	n.nudge()
	seen := make(map[*conn]struct{})
	for _, h := range n.hosts {
		for c := range h.conns {
			seen[c] = struct{}{}
		}
	}
	n.mu.Unlock()
	for c := range seen {
		c.rethink()
	}
}
