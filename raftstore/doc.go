// Package raftstore keeps the partition log: what the cluster has agreed on, replicated through Raft and kept on disk.
//
// It holds members and the table of owners, the set of occupied channels, the events that occupied and vacated them,
// how far each sink has got, and small tables of what else has to be agreed on. It decides nothing: who is alive and who owns what comes from cluster, what a channel
// is stays with channel, and what becomes of events with the dispatcher. It is the only user of hashicorp/raft.
//
// # Reading order
//
// types.go and errors.go say what goes in and out; store.go opens and stops a Store, propose.go, membership.go and
// read.go are what it does. Inside, state.go is the heart: a pure function from log entries to state, made of
// members.go, occupied.go, events.go, fold.go and cursors.go; fsm.go hands it to raft, snapshot.go writes and reads it,
// command.go and record.go lay out entries. proposer.go is the owner's side of a proposal, collector.go the leader's,
// forward.go what goes between them. disk.go is what a node's disk does: dir*.go a data dir, memdisk.go memory for
// simulations; guard.go stands between raft and either.
//
// # Proposals
//
// An owner proposes transitions under its epoch. Store joins what waits per partition into one record (partition,
// epoch, n, transitions), has one batch of records in flight, and sends it to the leader, again and again with the
// same n, until the outcome is known. The leader joins the batches of several nodes into an entry: at once when none
// is in flight, else up to 64 KB. The state takes a record only under the current epoch and with the next n: what it
// has already is answered done, another epoch is refused for good. So a lost answer, a leader that dies or a late copy
// neither loses nor doubles anything. Alternation is enforced once more by the state itself: occupying what is
// occupied, or vacating what is vacant, changes nothing and is confirmed all the same.
//
// An epoch goes up with each change of owner and of its boot, since n starts at 1 with it: a node that starts again must
// not propose under the epoch it had.
//
// # Connections
//
// Raft asks addresses for votes, not nodes. A connection says which node it is for (streamlayer.go), so that a new node at
// the address of a dead one does not vote in its place with an empty log.
//
// # Tables
//
// tables.go holds rows of bytes by table and key, tablestore.go is how any node reads and writes them. A write is carried
// to the leader, which stamps it with its clock; rows expire by that clock alone, so that all nodes agree. A write under
// a key that is not to be there yet is how something can happen once only in the whole cluster.
//
// # Who owns the state, and which goroutines there are
//
// The state is written by raft's FSM goroutine alone, under fsm.mu. Readers hold fsm.mu only to freeze what they read:
// blocks of the occupied set and chunks of events are never changed once shared, so a snapshot of ten million channels,
// or a page of an enumeration, costs the writer a few copies of 4 KB. Views are immutable behind an atomic pointer.
//
// A Store runs one goroutine that sends proposals (proposer.run), one that spreads news (watch), one until the cluster
// has its id on a bootstrapped node (found), and one per raft future in flight, which ends when the future does. Raft
// brings its own. Close and Kill wait for all of them; raft's futures are waited for before raft is shut down, since
// some would never be answered after that. Only the callback OnFatal is not waited for: it may call Close.
//
// Propose, View, Leader, IsLeader, Term, Stats and the reads never wait for anything but mutexes held for moments.
// Commit, the changes of servers and cursors, Verify and Transfer wait as long as their context and
// Config.ApplyTimeout allow. Callbacks given to Propose run on the Store's goroutines and must not block.
//
// # What is promised
//
// What is confirmed is in the log of a majority, synced to disk, and survives the loss of any minority and a stop of
// all. Events have consecutive seqs, alternate per channel, and keep seq and id for ever. Reads show this node's state,
// which lags behind the leader's by a moment; OccupiedPage is exact as of the seq it is asked for. Nothing is promised
// about proposals of one partition under two epochs at a time: that is what epochs are for.
//
// # When things go wrong
//
// Full: queued proposals are bounded by what callers have under way; events are kept beyond Config.Retention for as
// long as a cursor needs them, up to Config.RetentionMax, and beyond that in folded form: see fold.go. Making a fold takes
// the FSM about 0.5 µs per event given up or folded, which happens to a sixteenth of RetentionMax at a time. Leader gone: proposals wait and are sent to the next one. Disk: a write or sync that
// fails, or hangs on a leader, cuts the node off from the others at once, is reported through OnFatal as a FatalError
// and stops the Store; nothing is retried, since nobody knows what a failed sync has left behind. The same goes for an
// entry that cannot be decoded and a log of another cluster. A data dir that is truncated, damaged or in use is an
// error of OpenDir or Open that names the file. A lost log makes a node unable to start, not a new one under the old
// id, which could vote twice.
//
// # Backups
//
// Backup writes a snapshot with a head and a checksum, from any node, while the log goes on. Restore makes of it the data
// dir of a cluster of one: another node, another cluster id, no members, partitions without owners. Only what identifies
// events stays: eventIDs knows which cluster each of them came from.
//
// # Choices
//
// The occupied set is sorted blocks rather than a hash table with an arena: 55 bytes a channel for names of 25, pages
// and snapshots in the order of enumeration for free, and copies on write of 4 KB instead of whole partitions; the
// price is some 0.5 µs per change. Retention is counted by the leader, which puts a trim into the log, and not by the
// state: nodes may be configured differently. The free list of the file is not written (NoFreelistSync): an entry
// costs two syncs of few pages, and opening scans the tree. Pipelining between nodes is off, it can deadlock in the
// library. Raft panics on a failing disk; guard.go keeps it from noticing until the node is off the network.
//
// # Testing
//
// Stores on MemDisks and pipes run inside testing/synctest bubbles: see cluster_test.go for how to build, kill and
// restart a cluster in a few lines. MemDisk.OnWrite makes disks slow or fail. state_test.go holds the rules of the
// state against random logs, golden files hold every layout that was ever written.
package raftstore
