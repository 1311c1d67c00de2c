// Package checker judges what a webhook receiver was sent, by the promises alone: it knows nothing of how Innkeeper keeps
// them. It is pure: events in the order of receipt go in, violations come out.
//
// Start with [Check]. [Alternation] judges G1 (per channel occupied, vacated, occupied, …; a vacated names the occupied it
// ends; a resend is the same event under the same id). [Order] judges the order of G4: per channel, first receipts never go
// back in seq. [Complete] judges its "at least once" against the log's own events, as GET /events shows them: a pair that
// was lost whole leaves no trace in the receipts. [Read] takes the events from what cmd/receiver writes.
//
// What clients saw is a [History]. [Judge] judges by it that no confirmed attach was an orphan (G2), that no channel was
// declared empty while a client surely held it (G3), and that clients of a node that was cut off were sent away before
// others decided (G9); [Counts] judges G6. [Linear] asks whether attaches and events together have an order at all that
// explains what everybody saw. What a client may be wrong about is told apart by [History.Sure]: a client of a
// process that was killed or stopped cannot be told that it holds nothing any more, that of a node that was merely cut off
// from the others can.
package checker
