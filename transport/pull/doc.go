// Package pull lets a backend read what the event dispatcher would tell it, at its own pace: the stream of events from
// any retained seq, and the set of occupied channels.
//
// It serves HTTP and knows nothing of the log but the small interface [Source]; the webhooks themselves are package
// dispatch, whose Event and its JSON are used here, so that an event looks the same however it arrives.
//
// # Reading order
//
// [Handler] with events.go, stream.go and occupied.go (one request each), [Source], cursor.go (the pages of a listing),
// respond.go (answers and errors).
//
// # One app's view
//
// The log holds the events of all apps under one seq. A reader sees those of the app that its credential belongs to.
// "first" and "last" remain the log's: the oldest and the newest seq it has. An answer that has fewer events than were asked
// for covers everything up to last. So the rule for going on is: if the answer is full, after = seq of the last event;
// otherwise after = last. (The seq of the last event received is always right too; last skips what belongs to others.)
//
// # What is promised
//
// Nothing is skipped in silence. A reader that asks for events behind a seq whose successors are gone gets error 40011,
// and rebuilds: it reads /occupied, whose as_of is the seq the listing is true for, and goes on with after = as_of.
// after=0, or no after, means "the oldest you have". All pages of a listing show the set as of one seq, whatever happens
// meanwhile and whichever nodes answer; when the log can no longer tell, the next page is refused with 40011. Any node
// answers. A node that has not yet seen the seq a reader speaks of waits for it, then gives up with 50003.
//
// # Streams
//
// A reader of /events that accepts text/event-stream gets server-sent events: one message per event, whose id is the seq
// and whose data is the event's JSON. It goes on behind Last-Event-ID, or else behind after; Last-Event-ID: 0 is a reader
// that has seen all up to 0, and not one that takes what there is. Where events are gone it is
// told so by an event "gap" with {"after", "first"}, and then sent what there is: a reader that keeps a table rebuilds it
// from /occupied on a gap. After 15 s of silence comes a comment, with an id where events of others were passed, so that
// the position of a reader for whom nothing happens does not fall out of the log.
//
// # How fresh
//
// A node answers from its own copy of the log, which is usually milliseconds behind the leader's; a node that is cut off
// from the cluster, or has not caught up since it started, answers 503 with 50003, and ends the streams it has within the
// 15 s of a beat. The first page of a listing is what tables are made of: before it the node learns from the leader what
// is newest and waits until it has that, so that whatever had been committed before the request is in the answer, or the
// answer is 50003. consistency=leader has the same done for events; a stream asks once, when it opens. consistency=stale
// takes what the node has, also cut off, unless it has not caught up yet.
//
// # Goroutines, limits, close
//
// None of its own: a request is served on the goroutine of its HTTP server. A long poll waits at most a minute and ends
// with the request's context, as does a stream; a server that shuts down must end that. Answers hold at most 10,000
// entries. A stream whose reader does not read is given up after 30 s.
package pull
