// Package transport is the edge: it holds the WebSocket connections of clients that speak the Ably realtime protocol,
// counts their attachments, and fans messages out to them.
//
// It is not where channels live. It asks and tells the owners of partitions through the small interface [Owners] and
// hears from them through [Gateway.FromOwner]; it never learns who the members are or how owners agree. Codec, keys,
// REST, events out and the admin pages are rooms of their own below this one.
//
// # Reading order
//
// [Gateway] (gateway.go, ask.go, stats.go: what others see), conn (conn.go, attach.go, publish.go, ending.go: one
// client), outbox (outbox.go, flusher.go: how frames reach a socket), acks (acks.go), lapses (lapses.go,
// reauth.go: credentials of live connections), shard (hub.go), localChannel and
// attachment (localchannel.go), partition and request (partition.go), sweeper (sweep.go), accept.go (the upgrade).
//
// # Who owns what
//
// A few shards make the hub; a partition belongs to one of them. One goroutine per shard owns the shard's channels,
// attachments and requests, and takes typed commands from a bounded queue. One goroutine per connection reads from its
// socket and owns the list of what the client attached to. One goroutine sweeps idle connections, one ends those whose
// token does. A goroutine that writes a backlog exists only while a socket does not take what it is sent. Close ends all
// of them and waits.
//
// Only read loops and callers of Publish, Query and List may wait: for room in a shard's queue or in a connection's
// window of un-acknowledged publishes, which pushes back through TCP. Shards, the sweeper, Routed, Unrouted, Fence and
// FromOwner never wait. Locks are small: a queue's, an outbox's, a window's (which may take the outbox's), a slot's of
// the sweeper; none is held while calling out of the room.
//
// # What is promised
//
// An attach is answered after the owner has confirmed a registration that covers it; a detach is answered at once. What
// this gateway holds on a channel is told in absolute counts under a version that only grows: all of it when a session
// with an owner begins, then whatever changed, once per batch. Without a session counting goes on, and attaches and
// requests wait.
//
// Deliveries of a channel reach a connection in the order in which the owner sent them, each once. Each names the position
// before it: a gateway that stands elsewhere has missed something and asks the owner for it (continuity.go). Only when the
// owner does not have it either are the attached clients told (ATTACHED without RESUMED, with error 80020). A client that
// attaches with a channelSerial hears everything behind it, on any node, or is told that it cannot (90003). Deliveries of
// another epoch are dropped.
//
// Publishes are sent to owners in the order in which they came, and again on each new session until answered: at least
// once; owners drop repeats by (connection, msgSerial). Answers reach a client in the order of its publishes, without
// gaps. After 10 s without an answer it is a NACK, and what became of the publish is unknown.
//
// # When things go wrong
//
// A full outbox ends the connection with DISCONNECTED and a reason; the client comes back and resumes from its serial;
// nothing is dropped in silence. A full shard queue makes FromOwner return false, which ends the session with that owner.
// A socket that fails takes its attachments with it at once; one that is silent is found by pings within 28 s. A lost
// lease (Fence) or a stop (Drain) sends every client away with DISCONNECTED, and new ones as well. Connection state is not
// kept: a connection key proves to any node who gave it to whom, that node lets go of the connection, and the client goes
// on under its connection id (resume.go), so that what it sends again is known to the channels' owners.
//
// # Why it costs little
//
// A delivery is encoded once per format, framed, and shared. Shards write to sockets themselves, without waiting and
// without another goroutine; what piles up for one connection during a batch leaves in one write. An idle connection is
// a goroutine in a read, a few hundred bytes here, and what the WebSocket library and the runtime need: net/http's
// buffers are given back by letting the handler return.
package transport
