// Command innkeeper runs Innkeeper: one node of a cluster (serve), or a whole cluster for development in one process
// (dev). It reads what the user wants, builds nodes, waits for the end and says why it came; what a node does is told
// in innkeeper/cmd/node.
//
// Reading order: main.go (commands, exit codes), serve.go, dev.go with ports.go (where a development cluster lives)
// and hello.go (what it prints), run.go (nodes from start to stop, signals), settings.go (flags made from the settings).
//
// One goroutine per node runs it; one goroutine, the caller of supervise, watches them, the signals and whether they
// are ready. The first signal stops gracefully, for as long as the settings of the drain allow, and stopTimeout more; a
// second one, unless it is only the echo of the first, ends the process at once.
//
// What a command has to say goes to standard output, logs and errors to standard error.
package main
