package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// screen tells a developer where the cluster is, how to use it and how its nodes are.
type screen struct {
	out     io.Writer
	cmd     devCmd
	dir     string
	nodes   []runner
	since   time.Time
	ready   []bool
	greeted bool
}

func newScreen(out io.Writer, cmd devCmd, dir string, nodes []runner) *screen {
	return &screen{out: out, cmd: cmd, dir: dir, nodes: nodes, since: time.Now(), ready: make([]bool, len(nodes))}
}

// changed prints one line for a node, and the greeting once all are ready for the first time.
func (s *screen) changed(node int, state error) {
	s.ready[node] = state == nil
	n := s.nodes[node]
	fmt.Fprintf(s.out, "%s  node %d  clients http://%s  admin http://%s  %s\n", uptime(s.since), node, n.ClientAddr(), n.AdminAddr(), stateText(state))
	for _, ready := range s.ready {
		if !ready {
			return
		}
	}
	if !s.greeted {
		s.greeted = true
		s.greet()
	}
}

func (s *screen) greet() {
	first, last := reachable(s.nodes[0].ClientAddr()), reachable(s.nodes[len(s.nodes)-1].ClientAddr())
	host, port, _ := net.SplitHostPort(first)
	kept := "removed at the end; keep it with --data-dir DIR"
	if s.cmd.DataDir != "" {
		kept = "kept"
	}
	urls := &strings.Builder{}
	for i, n := range s.nodes {
		fmt.Fprintf(urls, "  node %d   clients http://%s   admin http://%s\n", i, reachable(n.ClientAddr()), reachable(n.AdminAddr()))
	}
	events := ""
	if s.cmd.Webhook != "" {
		events = fmt.Sprintf("  events   %s (%s)\n", s.cmd.Webhook, s.cmd.format())
	}
	fmt.Fprintf(s.out, `
Innkeeper is ready: %d node(s), for development only.

  key      %s
%s%s  data     %s (%s)

JavaScript (npm install ably; save as hello.mjs; node hello.mjs):

  import * as Ably from 'ably';
  const client = new Ably.Realtime({
    key: '%s', endpoint: '%s', port: %s, tls: false, useBinaryProtocol: true,
  });
  const channel = client.channels.get('chat:hello', { params: { occupancy: 'metrics' } });
  await channel.subscribe((m) => console.log(m.name, m.data));
  await channel.publish('greeting', 'hello');

curl:

  # publish
  curl -u %s -H 'Content-Type: application/json' -d '{"name":"greeting","data":"hello"}' http://%s/channels/chat:hello/messages
  # read a channel's occupancy
  curl -u %s http://%s/channels/chat:hello
  # list the open channels
  curl -u %s 'http://%s/channels?by=value'
  # what became occupied and vacated, waiting for more; and what is occupied now
  curl -u %s 'http://%s/events?after=0&limit=100&wait=20s'
  curl -u %s 'http://%s/occupied'

Stop with Ctrl-C.

`, len(s.nodes), devKey, urls, events, s.dir, kept,
		devKey, host, port, devKey, last, devKey, first, devKey, first, devKey, first, devKey, first)
}

// reachable is an address to connect to: a node that listens on all of the machine's is reached at the local one.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
