// Package admin is what an operator sees of a node: health, metrics, the cluster, the open channels of all apps and how
// the rules fare. It is served on a listener of its own. Who can reach that listener may read all this; what changes the
// cluster, and a backup, may be asked a token for by whoever puts the handler there.
//
// It knows none of the rooms it shows: cmd fills in functions that return what to show.
//
// # Reading order
//
// [New] with [Config] (the handler), ready.go, channels.go, replay.go and operate.go (what operators
// have the cluster do), [Collector] with its input structs (metrics).
//
// What the dashboard needs beyond that is a handler of its own: [NewLive] with [LiveConfig], in live.go (a stream of
// summaries and events, one channel) and meter.go (what was open in the past).
//
// # Goroutines, order, failure
//
// None of its own; every request is answered on the goroutine of its HTTP server from what the functions return, which
// must therefore be quick and safe to call from many goroutines. Answers are indented JSON, errors too, also for paths
// that do not exist:
//
//	{"error": {"message": "…", "statusCode": 404}}
//
// /healthz says that the process answers, and nothing about the cluster: an orchestrator that restarts nodes by it must
// not restart them all because a majority is missing. /readyz says whether to send clients here. GET /channels asks the
// owners of all partitions and is refused rather than partial. What only the leader can do is answered elsewhere with a
// redirect to it (307), which keeps the method. Requests that change something and come from a web page of another origin
// are refused: the browser of an operator must not become a way in.
package admin
