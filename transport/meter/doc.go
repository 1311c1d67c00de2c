// Package meter counts what a cluster has open and does, per app and per account, and keeps the true peaks.
//
// It is pure: no clock, no goroutine, no network. The node feeds a [Board] with one [Report] of every node each second. The
// Board knows what is open in the cluster at this moment. On the leader a [Meter] samples it each second and makes rows of
// minutes, hours, days and months, which the node commits to the log. An [Archive] answers questions about them on any node.
//
// What must always hold: a partition counts once, by its newest epoch, and with its last known count while it moves; what
// a dead boot held is out once its death is known; a counter's increase counts exactly once, whoever leads. Gauges are
// absolute and counters run on for the life of a boot, so no lost or repeated report makes a difference.
//
// The peak is that of samples one second apart: what opens and closes between two of them is not seen.
//
// Nothing here is safe for concurrent use, except an [Archive].
package meter
