// Package actor runs many small single-threaded things on few goroutines. It knows nothing of channels, networks or
// disks; it uses the standard library alone.
//
// # Types, in reading order
//
//   - [Actor] is a mailbox and the [Handler] behind it. It is made to be embedded by value in the thing it drives, so
//     that one idle thing is one allocation.
//   - [System] runs actors and keeps their wake-ups.
//
// # State and goroutines
//
// A handler's state belongs to its Receive, which never runs twice at the same time for one actor: no lock is needed
// inside. An idle actor holds no goroutine, no queue and no timer of the runtime; it is its struct and nothing else. A
// system has at most Workers goroutines, which exist only while some actor has something to do, and one runtime timer
// for all wake-ups. Handlers share the workers, so Receive must not block: what waits belongs into a message that
// comes back later.
//
// # What is promised
//
// Messages of one sender to one actor are received in the order they were offered, each at most once. Accepted means
// that Receive will see the message unless the actor is dropped or the system closed before. There is no order between
// actors.
//
// # Full, gone, closed
//
// A mailbox is bounded by its senders: each Offer names the queue length it may join, and gets Full instead of waiting.
// Inputs that must never be lost (the answer to something the actor itself asked for) are offered with [NoLimit];
// their number is bounded by whoever causes them. Offer never blocks.
//
// # Activation and passivation
//
// Who keeps a directory of actors creates one when a message for an unknown name comes (activation). When idle for
// long enough an actor ends itself (passivation): a wake-up comes through its own mailbox, Receive looks at its state
// and the clock and returns Stop. The race is a message on its way to an actor that is about to stop:
//
//	actor                                sender
//	Receive returns Stop
//	                                     Offer: queue it        (a) before the lock: Stop is refused, Receive runs again
//	lock: queue empty? then stopped
//	                                     Offer: Stopped         (b) after it: the sender activates a new actor
//	Stopped() leaves the directory
//
// The decision and the message meet under the mailbox's own lock, so exactly one of (a) and (b) happens and no message
// vanishes. In (b) the sender takes the stopped actor out of the directory and puts a new one in, both under the
// directory's lock; the old one's Stopped then finds another actor under its name and must leave it alone.
//
// A system that is closed refuses everything with Stopped and waits for the Receive calls under way.
//
// Start reading with mailbox.go; the tests run in testing/synctest bubbles.
package actor
