// Package dispatch carries the events of the partition log to the sinks that the rules name.
//
// It reads events and sends them; it decides nothing about channels, and it never learns what Raft is: the log is the
// small interface [EventLog], joined in cmd.
//
// # Reading order
//
// [Event] and [EventLog] (what comes in), [Rule] (what goes where), [Dispatcher] (the goroutines), pump (the pure heart:
// window, lanes, retries and cursor of one rule), prefix (which events are done), sink (one request: httpsink.go with
// format.go for the bodies and sign.go for the headers, or grpcsink.go with grpcwire.go), failure (why it was not
// accepted).
//
// # Who owns what
//
// A Dispatcher runs only while its node leads. [Dispatcher.Lead] starts and ends a term and never blocks, so it can be
// called from the goroutine that watches leadership; a new term begins only after the last goroutine of the one before
// has ended. [Dispatcher.Close] waits for all. Within a term there is, for each rule, one goroutine that owns the rule's
// pump, and as helpers of it at most one that reads the log, one that commits the cursor and one per lane with a request
// in flight; one more goroutine per term drops the cursors of rules that are gone. The helpers report to the owner through
// a channel with room for all of them, so none of them can be stuck. Rules share nothing: a sink that hangs delays nobody
// else.
//
// # What is promised
//
// At least once, in order per channel: an event is sent again under the same id and seq until its sink accepted it. A
// channel belongs to one lane of its rule and a lane has one request in flight, so an event is never sent before the
// earlier ones of its channel were accepted. The cursor in the log is the contiguous prefix of accepted and filtered
// events: it never passes a failure. It is committed lazily, so after a crash or a change of leadership the sink sees some
// events again (up to a window of them, usually a tenth of a second's worth). An old leader's last request can land late;
// id and seq let the receiver drop it.
//
// Requests carry the headers of Standard Webhooks. Where the rule has secrets each signs id, time and body. The id names
// the batch by the events in it, and a batch that failed is sent again as it was: a receiver that has seen an id has seen
// all that is in it. After a change of leadership batches may be cut differently, so only the events' own ids tell for
// certain what is new.
//
// [Dispatcher.Replay] has a rule send again what is retained. The rule's goroutine ends what is in flight, moves the cursor
// in the log back and starts over from there, so the replay outlives a change of leadership; it is the only way in which a
// cursor goes back.
//
// # When things go wrong
//
// A failed request is tried again after 100 ms, doubling up to 20 s, jittered, without end. An event that its sink never
// accepts holds its lane for good, and the whole rule once the window behind it is full: that is the order that was
// promised, and [Dispatcher.Status] shows it. While a sink is down a rule holds one window of events in memory; the rest
// stays in the log, which keeps whatever a cursor has not passed up to a bound.
//
// Beyond that bound the log gives events up and keeps them folded ([EventLog].Folded). A sink that is that far behind is
// told so by a [Gap], alone and before all else, and then gets what is left: each channel still alternates, for pairs of
// occupied and vacated are left out only where the sink cannot know the first. For the log to know that, nothing is sent
// whose seq is more than [Reach] above the committed cursor. A cursor can stand within a gap; who goes on there tells of
// the rest of the gap. Centrifugo's formats have no word for a gap: there the rest is sent without one, and the gap shows
// in the log, in [Status] and in the metrics.
//
// On loss of leadership and on Close requests in flight are cancelled, and the connections of the term are closed. Redirects are failures: following one would turn the POST into a GET that a sink may well answer with 200.
//
// A node whose configuration lacks a rule drops that rule's cursor when it leads. A rule that comes back starts with the
// oldest event that the log still has.
package dispatch
