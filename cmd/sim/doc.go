// Package sim runs whole clusters inside one test process, hurts them by a schedule drawn from a seed, and judges what
// clients, webhook receivers and readers of the pull API saw. The nodes are the real ones (cmd/node); the network, the
// disks and the time under them are not (cmd/memnet, raftstore.MemDisk, testing/synctest). It says nothing about speed
// and nothing about operating systems: real processes are cmd/chaos's business.
//
// # What to read first
//
// History is everything a run leaves behind. Checkers (check*.go) are pure functions over it, apart from what provokes
// anything; oracle.go derives when a channel surely had somebody. Sim is a cluster with its clients (sim.go); Client is
// one connection that comes back wherever it is taken in and keeps its own account of what it was confirmed; Schedule is
// what is done to them (schedule.go draws it, play.go does it); run.go is a run from start to verdict; scenario.go has
// the runs that are no random schedule.
//
// # How to run it
//
//	scripts/simulate --seeds 150 --nodes 5 --minutes 10     a campaign; failing schedules are made smaller
//	scripts/simulate --seed 17 --nodes 5 --minutes 10       one of them, with its timeline
//	go test ./cmd/sim -run TestSeeds -seeds 1000            schedules 0 to 999, each on a cluster of its own
//	go test ./cmd/sim -run TestSeeds -first 1000 -seeds 500 the 500 that follow
//	go test ./cmd/sim -run TestSeeds -seed 17 -v            one of them, with its timeline
//	go test ./cmd/sim -run TestSeeds -seed 17 -v -simlog    and with what the nodes say
//	go test ./cmd/sim -short                                a small part of everything
//
// A violation prints the seed, the schedule and the timeline of the channels concerned. The seed fixes the schedule, the
// network's delays and what clients intend, but not how goroutines interleave: a rare failure may need its seed more
// than once.
//
// # What is trusted
//
// The clients' account. An attachment counts from ATTACHED to the moment the client gives it up or learns that it is
// over. Where a client could not learn it (its node was silent, or it was itself), the account is in doubt and the
// checkers leave that time out; what they may leave out is written in oracle.go and nowhere else. All nodes and clients
// share one wall clock; the clock that leases count may leap forward on a node.
//
// # Who owns what
//
// Each client has one goroutine that owns its state, and one that reads its socket. Each running node has one. Faults
// run on goroutines of their own and are undone by them. Sim.Close ends all and waits. Nothing waits while it holds a
// mutex: in a bubble that would stop time.
//
// # Planted bugs
//
// TestPlantedViolations plants flaws into a clean history. TestPlantedBugs builds the node anew with one place of its
// source changed (a barrier that waits for nobody, a confirmation before the commit, …) and wants the checkers to find it.
package sim
