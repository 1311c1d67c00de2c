// Package node builds one Innkeeper node from its rooms, runs it and stops it. main and the tests build the same
// node; only the network, the disk and the clock under it differ.
//
// # Reading order
//
// node.go: Options, Node, Run. boot.go: what lives from one start to the next (a node that was declared dead starts
// again under a new boot id). wires.go: the few adapters that let rooms meet which do not know each other.
// edges.go: the HTTP servers. authority.go: keys, revocations and nonces as the cluster agrees on them. metrics.go: what
// the node says about itself.
//
// # Who owns what
//
// Node owns the listeners' addresses and the disk. A boot owns every room and every goroutine of one start; boot.stop
// ends them in the reverse order of their making and waits for each. Nothing here keeps state of its own.
//
// # What happens when
//
// A failed write of the log ends Run with an error: the process must not go on with a log it cannot keep. A node that
// finds itself declared dead sends its clients away, forgets all it owned and registers again as another boot. The
// end of Run's context is a graceful stop: clients are sent elsewhere, the cluster is told, then all is closed.
package node
