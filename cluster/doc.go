// Package cluster knows who is alive, who owns which partition, and how to reach them. It carries bytes between nodes and tells its
// observer what this node must serve. It does not know what a channel is, nor how the log keeps what it commits.
//
// # What to read first
//
// [Cluster] is one boot's part in the cluster (cluster.go); [Config], [Observer] and [Log] are its surroundings. Decisions
// are made by pure code with table tests: who is dead (evidence.go), who holds a lease (lease.go), what a leader
// changes (plan.go, over ring.Place), whether the whole cluster had stopped (cold.go), who founds a cluster (found.go).
// Shells carry them out: the desk of a leader (desk.go, decide.go), the renewer of a member (renew.go), what the
// observer hears (observe.go). What a placement may put off while owners live moves step by step: moves.go (what), mover.go
// (when), withdraw.go (a member that wants to leave). Below are links (links.go, link.go, request.go, selflink.go), the shared listener (mux.go)
// and gossip (gossip.go, gossipnet.go).
//
// # How members live and die
//
// Gossip suggests, the log decides. A boot that wants to be a member asks the leader for a lease; the leader makes it a server of the
// log, commits it as alive once it has caught up, and grants the lease only then. A member asks again each second, and the
// lease counts on its boottime clock from before it asked. A leader answers after a proof of leadership that began after
// the ask arrived, and after it took office it answers nobody, and declares nobody dead, before its view is known
// to be complete. So when a leader declares a death, one of these is true:
//
//   - the boot said that it leaves, having given its lease back;
//   - another boot of the same node runs, and answered a challenge that a message from a dead process cannot answer;
//   - the leader and a majority of the others were linked with it, their links broke both ways, and its address has refused
//     connections for 300 ms. A firewall that rejects between live members looks alike, so a member that is refused by as
//     many gives its lease back in 250 ms, unless the leader renews it. It notices by its own pings, up to a second
//     later; Config.TrustRefused turns this evidence off;
//   - its lease ran out, with a margin, since it last asked and since this leader took office.
//
// Death and the new owners of its partitions are one commit. Nobody acts on gossip alone.
//
// # Who owns the state, which goroutines run
//
// The accept loop of the mux; one goroutine per inbound connection, which also delivers its messages; two per peer that
// is dialed (run and the reader of pongs); one each for messages to this node itself, the steward, the desk, the renewer
// and the observer; two for gossip and two for its listeners, besides memberlist's own; short ones for a request being
// served and for each proof, commit, renewal and server change under way. Fields name the goroutine that owns them, or their
// mutex. No lock is held while something blocks or is called in another type. Stop waits for all of them; memberlist's
// end with its transport.
//
// Handlers run on read loops and must not block; the observer's calls must be short. Send never blocks.
//
// # What is promised
//
// Messages of one session arrive in order, once, or not at all; a session that ends may have lost some in either direction,
// and both ends get a new one. An answered request was handled; one that failed may have been. The observer sees the
// committed state, not every step to it; one of its calls at a time. LeaseHeld is true only while no leader can have
// declared this boot dead, under the assumption above.
//
// # When full, when gone, on close
//
// Too many bytes for a peer reset the link; too many requests are refused; a peer that does not answer pings for five
// seconds loses its link, and is dialed again at distances of 50 ms to one second. Stop gives the lease back before
// anything else.
//
// # How to test it
//
// The tests run whole clusters in testing/synctest bubbles, on a network and a log of their own (net_test.go,
// fakelog_test.go). BenchmarkLink measures a message's way over loopback.
package cluster
