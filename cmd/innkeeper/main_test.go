package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"innkeeper/cmd/node/config"
)

// fakeNode is a node that only listens, in so far as it says so.
type fakeNode struct {
	cfg    config.Config
	fail   chan error
	hang   bool // ignores the end of its context
	killed chan struct{}
}

func (f *fakeNode) Run(ctx context.Context) error {
	done := ctx.Done()
	if f.hang {
		done = nil
	}
	select {
	case <-done:
		return nil
	case err := <-f.fail:
		return err
	case <-f.killed:
		return errors.New("killed")
	}
}
func (f *fakeNode) Kill()              { close(f.killed) }
func (f *fakeNode) Ready() error       { return nil }
func (f *fakeNode) ClientAddr() string { return f.cfg.Node.Listen }
func (f *fakeNode) AdminAddr() string  { return f.cfg.Node.AdminListen }

// buffer is an output that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// session is one run of the program with fake nodes.
type session struct {
	t        *testing.T
	out, err buffer
	signals  chan os.Signal
	exits    chan int
	code     chan int
	nodes    []*fakeNode
}

func start(t *testing.T, environ []string, shape func(*fakeNode), args ...string) *session {
	t.Helper()
	s := &session{t: t, signals: make(chan os.Signal, 2), exits: make(chan int, 1), code: make(chan int, 1)}
	built := newNode
	t.Cleanup(func() { newNode = built })
	newNode = func(cfg config.Config, _ *slog.Logger) (runner, error) {
		n := &fakeNode{cfg: cfg, fail: make(chan error, 1), killed: make(chan struct{})}
		if shape != nil {
			shape(n)
		}
		s.nodes = append(s.nodes, n)
		return n, nil
	}
	go func() {
		s.code <- run(args, world{environ: environ, stdout: &s.out, stderr: &s.err, signals: s.signals, exit: func(c int) { s.exits <- c }})
	}()
	return s
}

// await waits until the standard output holds a text.
func (s *session) await(text string) {
	s.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(s.out.String(), text) {
		select {
		case code := <-s.code:
			s.t.Fatalf("ended with %d before %q: %s%s", code, text, s.out.String(), s.err.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q in: %s", text, s.out.String())
		}
	}
}

func (s *session) exit() int {
	s.t.Helper()
	select {
	case code := <-s.code:
		return code
	case <-time.After(20 * time.Second):
		s.t.Fatalf("still running: %s%s", s.out.String(), s.err.String())
		return -1
	}
}

// listenArg finds a --listen that will do for n nodes.
func listenArg(t *testing.T, n int) string {
	t.Helper()
	list, err := edges("127.0.0.1:0", n)
	if err != nil {
		t.Fatal(err)
	}
	return list[0].client
}

func TestDevTellsWhereItIsAndStops(t *testing.T) {
	listen := listenArg(t, 3)
	_, port, _ := net.SplitHostPort(listen)
	s := start(t, nil, nil, "dev", "--nodes", "3", "--listen", listen, "--webhook", "http://127.0.0.1:9/e", "--state_events.vacated_delay", "250ms")
	s.await("Stop with Ctrl-C")
	var first int
	fmt.Sscan(port, &first)
	for i := range 3 {
		s.await(fmt.Sprintf("node %d   clients http://127.0.0.1:%d   admin http://127.0.0.1:%d", i, first+i, first+100+i))
		n := s.nodes[i].cfg
		if n.Node.BootstrapExpect != 3 || len(n.Node.Join) != 3 || n.StateEvents.VacatedDelay != 250*time.Millisecond {
			t.Errorf("node %d is configured as %+v, vacated delay %v", i, n.Node, n.StateEvents.VacatedDelay)
		}
		if r := n.Apps[0].Rules[0].Target; r.URL != "http://127.0.0.1:9/e" || r.Format != "innkeeper" {
			t.Errorf("node %d sends events to %+v", i, r)
		}
	}
	for _, part := range []string{
		"key      demo.root:secret", fmt.Sprintf("endpoint: '127.0.0.1', port: %d, tls: false", first),
		fmt.Sprintf("curl -u demo.root:secret http://127.0.0.1:%d/channels/chat:hello", first),
	} {
		s.await(part)
	}
	dir := filepath.Dir(s.nodes[0].cfg.Node.DataDir)
	s.signals <- syscall.SIGINT
	if code := s.exit(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s.err.String())
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the temporary directory %s is still there: %v", dir, err)
	}
}

func TestDevKeepsItsPlace(t *testing.T) {
	dir := t.TempDir()
	visit := func(args ...string) *session {
		s := start(t, nil, nil, append([]string{"dev", "--data-dir", dir, "--listen", "127.0.0.1:0"}, args...)...)
		s.await("Stop with Ctrl-C")
		s.signals <- syscall.SIGTERM
		if code := s.exit(); code != exitOK {
			t.Fatalf("exit code %d: %s", code, s.err.String())
		}
		return s
	}
	first := visit("--nodes", "2")
	again := visit()
	if len(again.nodes) != 2 {
		t.Fatalf("%d nodes after a restart without --nodes, want 2", len(again.nodes))
	}
	for i := range first.nodes {
		a, b := first.nodes[i].cfg.Node, again.nodes[i].cfg.Node
		if a.ClusterListen != b.ClusterListen || a.GossipListen != b.GossipListen || a.DataDir != b.DataDir {
			t.Errorf("node %d moved from %+v to %+v", i, a, b)
		}
	}
	grown := visit("--nodes", "3")
	if n := grown.nodes[2].cfg.Node; n.BootstrapExpect != 0 || len(n.Join) != 3 {
		t.Errorf("a node that came later must only join: %+v", n)
	}
	if n := grown.nodes[0].cfg.Node; n.BootstrapExpect != 2 || n.ClusterListen != first.nodes[0].cfg.Node.ClusterListen {
		t.Errorf("a founder changed: %+v", n)
	}
	s := start(t, nil, nil, "dev", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nodes", "1")
	if code := s.exit(); code != exitRefused || !strings.Contains(s.err.String(), "holds a cluster of 3 nodes") {
		t.Errorf("fewer nodes: code %d, %s", code, s.err.String())
	}
}

func TestDevOfOneGrows(t *testing.T) {
	dir := t.TempDir()
	for _, nodes := range []string{"1", "2"} {
		s := start(t, nil, nil, "dev", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nodes", nodes)
		s.await("Stop with Ctrl-C")
		if n := s.nodes[0].cfg.Node; n.BootstrapExpect != 1 || len(n.Join) != 0 {
			t.Errorf("the founder: %+v", n)
		}
		if nodes == "2" {
			if n := s.nodes[1].cfg.Node; n.BootstrapExpect != 0 || n.Join[0] != s.nodes[0].cfg.Node.GossipListen {
				t.Errorf("the second: %+v", n)
			}
		}
		s.signals <- syscall.SIGTERM
		s.exit()
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	s := start(t, nil, nil, "dev", "--listen", addr)
	code := s.exit()
	for _, part := range []string{"cannot listen on " + addr + ", for clients of node 0", "in use", "--listen"} {
		if !strings.Contains(s.err.String(), part) {
			t.Errorf("%q is missing in: %s", part, s.err.String())
		}
	}
	if code != exitRefused {
		t.Errorf("exit code %d", code)
	}
}

func TestPlaceInUseOrDamaged(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	text, _ := json.Marshal(place{Founders: 1, Nodes: []placeNode{{Cluster: l.Addr().String(), Gossip: "127.0.0.1:1"}}})
	for name, c := range map[string]struct{ text, want string }{
		"taken":   {string(text), "is taken"},
		"damaged": {"{", "is damaged"},
	} {
		if err := os.WriteFile(filepath.Join(dir, placeFile), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		s := start(t, nil, nil, "dev", "--data-dir", dir, "--listen", "127.0.0.1:0")
		if code := s.exit(); code != exitRefused || !strings.Contains(s.err.String(), c.want) {
			t.Errorf("%s: code %d, %s", name, code, s.err.String())
		}
	}
}

func TestFailureOfANodeEndsAll(t *testing.T) {
	s := start(t, nil, nil, "dev", "--nodes", "2", "--listen", "127.0.0.1:0")
	s.await("Stop with Ctrl-C")
	s.nodes[1].fail <- errors.New("disk full")
	if code := s.exit(); code != exitFailed || !strings.Contains(s.err.String(), "node 1 failed: disk full") {
		t.Errorf("code %d: %s", code, s.err.String())
	}
}

func TestSecondSignalEndsAtOnceButNoEcho(t *testing.T) {
	s := start(t, nil, func(n *fakeNode) { n.hang = true }, "dev", "--listen", "127.0.0.1:0")
	s.await("Stop with Ctrl-C")
	dir := filepath.Dir(s.nodes[0].cfg.Node.DataDir)
	s.signals <- syscall.SIGINT
	s.signals <- syscall.SIGINT // an echo of the first
	select {
	case code := <-s.exits:
		t.Fatalf("the echo of a signal ended the program with %d", code)
	case <-time.After(2 * signalEcho): // nothing to await: it must not happen
	}
	s.signals <- syscall.SIGINT
	if code := <-s.exits; code != 128+int(syscall.SIGINT) {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
	s.exit()
}

const goodFile = `
node: {listen: "127.0.0.1:8081"}
apps: [{id: demo, keys: [{key: "demo.root:geheim"}]}]
`

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n1.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServeTakesFileVariablesAndFlags(t *testing.T) {
	path := file(t, goodFile)
	s := start(t, []string{"INNKEEPER_CONFIG=" + path, "INNKEEPER_NODE_ADMIN_LISTEN=127.0.0.1:9002"}, func(n *fakeNode) { n.fail <- errors.New("enough seen") },
		"serve", "--node.gossip_listen", "127.0.0.1:9003", "--log.format=json")
	if code := s.exit(); code != exitFailed {
		t.Fatalf("exit code %d: %s", code, s.err.String())
	}
	n := s.nodes[0].cfg
	if n.Node.Listen != "127.0.0.1:8081" || n.Node.AdminListen != "127.0.0.1:9002" || n.Node.GossipListen != "127.0.0.1:9003" || n.Log.Format != "json" {
		t.Errorf("got %+v", n)
	}
	if !strings.Contains(s.err.String(), `"msg":"starting"`) {
		t.Errorf("no JSON in the log: %s", s.err.String())
	}
}

func TestCommandLines(t *testing.T) {
	good, bad := file(t, goodFile), file(t, "node: {listn: x}\napps: [{id: demo, keys: [{key: 'demo.root:geheim'}]}]")
	for _, c := range []struct {
		name     string
		args     []string
		environ  []string
		code     int
		out, err []string
	}{
		{"help", []string{"--help"}, nil, exitOK, []string{"serve", "dev", "Exit codes"}, nil},
		{"nothing", nil, nil, exitOK, []string{"Usage: innkeeper"}, nil},
		{"serve help", []string{"serve", "--help"}, nil, exitOK, []string{"--node.listen=TEXT", "--state_events.vacated_delay=DURATION", "Examples:"}, nil},
		{"dev help", []string{"dev", "--help"}, nil, exitOK, []string{"--nodes=N", "--state_events.vacated_delay=DURATION", "Examples:"}, nil},
		{"version", []string{"version"}, nil, exitOK, []string{"innkeeper ", "go1.", "revision"}, nil},
		{"check good", []string{"config", "check", good}, nil, exitOK, []string{"is in order", "127.0.0.1:8081", "app demo", "demo.root:***"}, nil},
		{"check bad", []string{"config", "check", bad}, nil, exitRefused, nil, []string{"node.listn: unknown key", "node.listen"}},
		{"check with a bad variable", []string{"config", "check", good}, []string{"INNKEEPER_LOG_LEVEL=loud"}, exitRefused, nil, []string{"INNKEEPER_LOG_LEVEL"}},
		{"check nothing", []string{"config", "check", "/nowhere.yaml"}, nil, exitRefused, nil, []string{"no such file"}},
		{"serve bad", []string{"serve", "--config", bad}, nil, exitRefused, nil, []string{"node.listn"}},
		{"unknown command", []string{"sevre"}, nil, exitUsage, nil, []string{"sevre", "--help"}},
		{"unknown flag", []string{"serve", "--node.listn", "x"}, nil, exitUsage, nil, []string{"--node.listn", "--node.listen"}},
		{"too many nodes", []string{"dev", "--nodes", "99"}, nil, exitUsage, nil, []string{"1 to 15"}},
		{"dev with a bad address", []string{"dev", "--listen", "8080"}, nil, exitRefused, nil, []string{"--listen", "host:port"}},
		{"dev with a bad webhook", []string{"dev", "--webhook", "localhost:9"}, nil, exitRefused, nil, []string{"--webhook: ", "http, https"}},
		{"dev with a bad webhook format", []string{"dev", "--webhook", "grpc://localhost:9", "--webhook-format", "innkeeper"}, nil, exitRefused, nil, []string{"--webhook-format: ", "centrifugo"}},
		{"dev with a node's variable", []string{"dev"}, []string{"INNKEEPER_NODE_LISTEN=127.0.0.1:1"}, exitRefused, nil, []string{"INNKEEPER_NODE_LISTEN", "--listen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.environ, nil, c.args...)
			if code := s.exit(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, part := range c.out {
				if !strings.Contains(s.out.String(), part) {
					t.Errorf("%q is missing in the output: %s", part, s.out.String())
				}
			}
			for _, part := range c.err {
				if !strings.Contains(s.err.String(), part) {
					t.Errorf("%q is missing in the errors: %s", part, s.err.String())
				}
			}
			if strings.Contains(s.out.String()+s.err.String(), "geheim") {
				t.Error("a secret was shown")
			}
		})
	}
}

// TestHelpTellsTheDefaultsOfTheCommand: dev begins with others than serve.
func TestHelpTellsTheDefaultsOfTheCommand(t *testing.T) {
	for name, want := range map[string][]string{
		"serve": {"Not for production. Default: false.", "info, warn or error. Default: info.", "for clients: WebSocket and REST. Default: 127.0.0.1:8080."},
		"dev":   {"Not for production. Default: true.", "info, warn or error. Default: warn."},
	} {
		_, out, _ := command(name, "--help")
		text := strings.Join(strings.Fields(out), " ") // lines are broken anywhere
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing in: %s", name, part, text)
			}
		}
	}
}

// TestExplainFits: what may be wrong with the data directory is not advised where a port was refused.
func TestExplainFits(t *testing.T) {
	cfg := config.Default()
	denied := os.NewSyscallError("bind", syscall.EACCES)
	if got := explain(&net.OpError{Op: "listen", Net: "tcp", Err: denied}, cfg).Error(); strings.Contains(got, cfg.Node.DataDir) {
		t.Errorf("of a port: %s", got)
	}
	got := explain(&os.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, cfg).Error()
	if !strings.Contains(got, "may write to "+cfg.Node.DataDir) || strings.Contains(got, "port") {
		t.Errorf("of a file: %s", got)
	}
}
