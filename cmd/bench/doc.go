// Command bench measures what Innkeeper costs: CPU per delivery and per attach, memory per connection and per channel.
//
// The servers are processes of their own (innkeeper serve, one or three), the load comes from this process, and what
// the servers used is read from the operating system (/proc/PID), so that neither side can count wrongly in its own
// favour. Where a figure depends on the machine more than on the server, the floor is measured in the same run: a bare
// server (bench floor) that writes the same frame to the same number of sockets, one write each, and does nothing else.
//
// Reading order: main.go (scenarios and flags), fanout.go, spread.go, cycles.go, memory.go, raft.go (what is measured
// and how), cluster.go and proc.go (servers and what they used), floor.go, client.go over ws.go (the load), report.go.
//
// A client is one goroutine that reads its socket; everything that is sent goes out on the caller's goroutine. Every
// scenario ends within its deadline, stops the processes it started, by their ids, and removes their data.
package main
