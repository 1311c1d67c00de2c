// Package channel is what a channel does on the node that owns it: it adds up what the gateways hold, decides when the
// channel becomes occupied and vacated, orders its messages, opens and closes. It is not for sockets, links, members
// or the log itself: those are given to it as small interfaces.
//
// # Types, in reading order
//
//   - command.go: the frames between gateways and owners ([ToOwner], [ToGateway]); codec.go lays them out as bytes.
//   - [State] is one channel, pure: [State.Step] takes an input and a [Moment] and returns [Effect] values.
//   - history (history.go) is what a State keeps of its publishes.
//   - [Barrier] says when a new owner has heard everybody. Pure as well.
//   - [Host] runs the channels of all partitions of this node: one actor per channel (activation.go), one registry,
//     barrier and set of sessions per partition (partition.go, session.go).
//   - copy.go: the frames between hosts; keepers.go (pure) decides who has copies, feed.go sends them, behind.go tells
//     which are not to be trusted, handoff.go keeps, finds and takes them over (replica.go).
//     move.go: what is different when the old owner lives.
//
// # The life of an occupancy
//
//	          holders come          commit              nobody holds
//	vacant ──────────────▶ occupying ─────▶ occupied ◀──────────────▶ delaying
//	   ▲                                               a return          │ delay over
//	   └───────────────────────── vacating ◀─────────────────────────────┘
//	            commit
//
// Registers are confirmed in occupied, or when nobody holds the channel; so a confirmed attach is in the log. Who comes
// while vacating waits for that commit, then occupied is proposed anew. The obligation to vacate is in the log, the
// delay only here: the next owner finds the obligation and starts its own delay. A channel is held by its subscribers,
// or by any attachment if its settings say so.
//
// # State and goroutines
//
// A State belongs to its activation and is stepped under activation.mu, which exists only so that a List can read
// counts without waking channels. A partition's tables are guarded by partition.mu. Locks are taken in the order
// partition.mu, activation.mu, mailboxes, Host.mu. Under partition.mu the host calls Settings, Lease.Held and
// Hosts.ToHost, which must not block nor call back; nothing else outside the room is called with a lock held.
//
// Goroutines are those of one actor.System: none while nothing happens. Opening a partition and dropping the vectors of
// a dead member run there too, as the partition's own actor, so that neither the caller of SetMembers nor a link's read
// loop does work that grows with the number of channels. Frames for a partition wait while it opens, since opening
// holds its lock (about 1 µs per channel).
//
// # What is promised
//
// To a gateway, per channel: Registered comes after the commit it depends on; a Delivery after a Registered has a
// greater serial; Published comes after the publish's Deliveries were handed over. Every request is answered once, or
// not at all if the link fails or this host closes. A Registered's counts seed the watchers that wait for it: whoever
// watched before gets the same numbers as Occupancy if they are news to it. A gateway's first Occupancy of a session
// may repeat what a former owner or session told it.
//
// A Delivery names the position before it, so that a gateway notices what a link or a queue has lost; History tells it the
// rest for as long as that is kept. A publish whose id is known is answered as the first one was and is not put on the
// channel again. A channel that only a publish opened is forgotten when its owner changes; its messages are not.
//
// # History and its copies
//
// A channel keeps its publishes for Settings.Retention, and 4 MiB of them at most; ids stay known when messages had to go,
// and those of connections until Settings.Known has passed: a client may come back later than its messages are kept. A copy
// keeps ids likewise, but one that begins later does not get those of messages that are gone.
// The channel keeps its actor for that time but is not open for it. With a follower ([Host.Follow]) every publish goes there first:
// it is shown, delivered and acknowledged when the follower has it, so that nobody has seen what the next owner would not
// know. What was published before the copy began is sent along in parts, a few unconfirmed at a time, and until all of it
// is there the copy before is the one that is waited for, if there is one ([Host.Parted] ends it). Without a whole copy
// nothing waits: what is published then dies with its owner. All members are told that older copies are behind, and the
// first publish waits until one has heard.
//
// A new owner asks all live members what they have of the tenure before: the former owner if it lives, its followers. It
// takes over the latest whole copy, unless it is behind; a search that hears nothing for 2 s (4 s from who hands it over) is
// given up. Without it Registered says Lost to gateways that stand before the tenure, and History is not Complete. A copy of
// an earlier tenure is never taken: there may have been publishes in between.
//
// What an owner without history cannot know is whether a channel was silent since a serial older than the retention; to a
// client that comes back with one it says that it is not complete.
//
// # Epochs, leases, members
//
// All that leaves a tenure carries its epoch: the log refuses proposals and gateways drop frames of another. Without a
// lease nothing is confirmed, accepted or proposed; what waits is looked at again every 500 ms. Vectors count only for
// committed live boots. What others say is kept (a Snapshot and the registers after it) until they are members.
//
// # Full, gone, closed
//
// A channel's mailbox takes a bounded number of publishes and queries (Busy beyond), registers up to 16 times as many
// (FromGateway then says false and the gateway sends everything again), and always what the channel itself waits for:
// commits, deaths, Snapshots. A session that is not served yet keeps at most 65536 registers behind its Snapshot.
// Release drops all actors and refuses what waited in their mailboxes. Close waits for channels that are busy.
//
// # Tests
//
// state_test.go tells the rules as tables; state_property_test.go drives a State through random lives against an
// oracle; world_test.go runs random clusters of hosts and gateways over one log under fake time (-world.seeds for
// more). Golden frames are rewritten with -update, which is right only together with a new type byte.
package channel
