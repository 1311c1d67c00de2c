package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"innkeeper/cmd/checker"
)

// flapper is a child process with unmodified clients of an official SDK.
type flapper struct {
	*script
	done chan struct{}
}

// sdkClients is how many clients of the SDK take part.
const sdkClients = 8

// startFlapper starts the script. Where it cannot, it says why, and the campaign goes on without.
func startFlapper(path string, seed uint64, procs []*proc, names []string, w *witness) (*flapper, string) {
	type place struct {
		Name string `json:"name"`
		Host string `json:"host"`
		Port int    `json:"port"`
	}
	var nodes []place
	for _, p := range procs {
		host, port, _ := net.SplitHostPort(p.listen)
		n, _ := strconv.Atoi(port)
		nodes = append(nodes, place{p.name, host, n})
	}
	c, out, why := startScript(path, map[string]any{"seed": seed, "clients": sdkClients, "key": demoKey, "nodes": nodes, "channels": names})
	if c == nil {
		return nil, why
	}
	f := &flapper{script: c, done: make(chan struct{})}
	go f.read(out, w)
	return f, ""
}

// read passes on what the clients see, until the process ends.
func (f *flapper) read(out io.Reader, w *witness) {
	defer close(f.done)
	open := map[[2]string]*checker.Attachment{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var l struct {
			At                          int64
			Client, Node, Channel, What string
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			fmt.Fprintf(os.Stderr, "flapper said %q\n", lines.Text())
			continue
		}
		key, at := [2]string{l.Client, l.Channel}, time.UnixMilli(l.At)
		a := open[key]
		switch {
		case l.What == "asked":
			open[key] = w.asked(l.Client, l.Node, l.Channel, at)
		case a == nil:
		case l.What == "confirmed":
			w.confirmed(a, at.Add(time.Millisecond)) // its clock cuts off
		case l.What == "left":
			w.left(a, at)
			delete(open, key)
		}
	}
	now := time.Now()
	for _, a := range open {
		w.left(a, now)
	}
	f.cmd.Wait()
}

// calm tells the clients to change nothing any more.
func (f *flapper) calm() { io.WriteString(f.input, "calm\n") }

// close ends the process and waits for it.
func (f *flapper) close() {
	f.input.Close()
	select {
	case <-f.done:
	case <-time.After(5 * time.Second):
		f.cmd.Process.Kill()
		<-f.done
	}
}
