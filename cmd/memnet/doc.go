// Package memnet is a network inside one process: byte streams and packets between hosts that exist only in memory, with
// the faults a real network has. It carries everything that a node and its clients say to each other, so that a whole
// cluster runs inside one test, in the fake time of testing/synctest or in real time. It is not a model of bandwidth,
// and nothing but tests and tools should use it.
//
// # What to read first
//
// [Network] holds the hosts and the faults between them (network.go, faults.go). [Host] is one process at one address: it
// listens and dials (host.go). A connection is two ends and two directions (conn.go, direction.go); a packet socket is
// packet.go.
//
// # Who owns what, what may block
//
// The network's mutex guards hosts and faults and is the innermost lock; each connection has a mutex of its own, which
// may be held while the network's is taken, never the other way round. No lock is held while something waits. There is
// no goroutine per connection: a write that arrives later is carried by a timer, and a call that waits (Read, Write,
// Accept, Dial, ReadFrom) waits on the goroutine of its caller. So nothing of the package outlives its callers, and
// after Network.Close every call returns.
//
// # What is promised
//
// Bytes of one direction arrive in order, once, or not at all. A write returns as soon as the bytes are in the window of
// 256 KiB; beyond, it waits for the reader. Faults look as they do from a Linux socket:
//
//   - A peer that closed: io.EOF after the data. A peer that was killed, or that closed with data unread: ECONNRESET.
//   - Nobody listens, or the host's process is gone, or a firewall rejects: ECONNREFUSED.
//   - A cut: dials hang, packets vanish, bytes are held as if TCP sent them again until the cut is healed. A sender whose
//     bytes were not acknowledged for BreakAfter gets ETIMEDOUT; the other end notices nothing until it sends.
//   - A pause (as by SIGSTOP): as a cut, but no connection breaks by it alone.
//
// Times and random choices are drawn from the seed per directed link, but a schedule of goroutines is not part of the
// seed: two runs with one seed see the same kind of network, not the same interleaving.
//
// # When full, when gone, on close
//
// A full accept queue (1,024) refuses, a full packet queue (1,024) drops. Kill ends every call that waits on that host; a
// Host handle is dead for good, so what is left of a killed node cannot speak for the one that is started in its place.
package memnet
