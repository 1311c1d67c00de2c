// Package checker judges what a webhook receiver was sent, by the promises alone: it knows nothing of how Innkeeper keeps
// them. It is pure: events in the order of receipt go in, violations come out.
//
// Start with [Check]. [Alternation] judges G1 (per channel occupied, vacated, occupied, …; a vacated names the occupied it
// ends; a resend is the same event under the same id). [Order] judges the order of G4: per channel, first receipts never go
// back in seq. [Complete] judges its "at least once" against the log's own events, as GET /events shows them: a pair that
// was lost whole leaves no trace in the receipts. [Read] takes the events from what cmd/receiver writes.
package checker
