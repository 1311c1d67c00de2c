package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"innkeeper/channel"
	"innkeeper/cmd/node/config"
)

// patience bounds every wait of these tests. Nothing is expected to take that long.
const patience = 30 * time.Second

const (
	rootKey   = "demo.root:secret"
	readerKey = "demo.reader:secret" // may subscribe to chat:*, nothing else
)

// settings is a node of its own on loopback: free ports, a data dir, two keys.
func settings(dir string) config.Config {
	c := config.Default()
	c.Node.DataDir = dir
	c.Node.Listen, c.Node.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	c.Node.ClusterListen, c.Node.GossipListen = "127.0.0.1:0", "127.0.0.1:0"
	c.Cluster.Partitions = 8
	c.StateEvents.VacatedDelay, c.StateEvents.RestartGrace = 100*time.Millisecond, time.Minute
	c.Apps = []config.App{{ID: "demo", Keys: []config.Key{
		{Key: rootKey, Capability: map[string][]string{"[*]*": {"*"}}},
		{Key: readerKey, Capability: map[string][]string{"chat:*": {"subscribe"}}},
	}}}
	return c
}

// running is a node that runs.
type running struct {
	*Node
	t      *testing.T
	log    *logs
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // what Run returned, once ended is closed
}

// run starts a node. The test's end stops it.
func run(t *testing.T, cfg config.Config) *running {
	t.Helper()
	log := newLogs()
	n, err := New(Options{Config: cfg, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	return launch(t, n, log)
}

func launch(t *testing.T, n *Node, log *logs) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Node: n, t: t, log: log, cancel: cancel, ended: make(chan struct{})}
	go func() {
		r.err = n.Run(ctx)
		close(r.ended)
	}()
	t.Cleanup(func() {
		r.Kill()
		cancel()
		<-r.ended
		if len(log.twice) > 0 {
			t.Errorf("the log says a key twice: %v", log.twice)
		}
		if t.Failed() {
			t.Logf("log of node %s:\n%s", n.ID(), log)
		}
	})
	return r
}

// ready waits until the node serves.
func (r *running) ready() *running {
	r.t.Helper()
	r.until("ready", func() bool { return r.Ready() == nil })
	return r
}

// until polls what no event tells of. It fails when the node ends.
func (r *running) until(what string, ok func() bool) {
	r.t.Helper()
	eventually(r.t, what, func() bool {
		select {
		case <-r.ended:
			r.t.Fatalf("waiting for %s: the node ended: %v", what, r.err)
		default:
		}
		return ok()
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after %v", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// end waits until the node has ended by itself and returns why.
func (r *running) end() error {
	r.t.Helper()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(patience):
		r.t.Fatalf("the node still runs")
		return nil
	}
}

// logs keeps what a node says about itself.
type logs struct {
	mu    sync.Mutex
	b     bytes.Buffer
	twice []string // lines with a key that stands twice: readers of JSON keep one of the two
}

func newLogs() *logs { return &logs{} }

func (l *logs) logger() *slog.Logger {
	return slog.New(&keyed{Handler: slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}), logs: l})
}

// keyed notes lines that have a key twice. The rooms use no groups.
type keyed struct {
	slog.Handler
	logs *logs
	keys []string // that all lines have
}

func (k *keyed) WithAttrs(attrs []slog.Attr) slog.Handler {
	keys := slices.Clone(k.keys)
	for _, a := range attrs {
		keys = append(keys, a.Key)
	}
	return &keyed{k.Handler.WithAttrs(attrs), k.logs, keys}
}

func (k *keyed) Handle(ctx context.Context, r slog.Record) error {
	keys := slices.Clone(k.keys)
	r.Attrs(func(a slog.Attr) bool {
		if slices.Contains(keys, a.Key) {
			k.logs.mu.Lock()
			k.logs.twice = append(k.logs.twice, fmt.Sprintf("%q in %q", a.Key, r.Message))
			k.logs.mu.Unlock()
		}
		keys = append(keys, a.Key)
		return true
	})
	return k.Handler.Handle(ctx, r)
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// event is a state event as GET /events tells it.
type event struct {
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
	Channel string `json:"channel"`
	Type    string `json:"type"`
	TimeMs  int64  `json:"time_ms"`
	Ends    uint64 `json:"ends"`
}

// events are all state events of the node.
func (r *running) events() []event {
	r.t.Helper()
	var page struct{ Events []event }
	r.get("/events?after=0&limit=1000", &page)
	return page.Events
}

// held is an occupied channel as GET /occupied tells it.
type held struct {
	Channel string `json:"channel"`
	Seq     uint64 `json:"seq"`
	SinceMs int64  `json:"since_ms"`
}

func (r *running) occupied() []held {
	r.t.Helper()
	var page struct{ Channels []held }
	r.get("/occupied?limit=1000", &page)
	return page.Channels
}

func (r *running) get(path string, into any) {
	r.t.Helper()
	res, body := request(r.t, http.MethodGet, "http://"+r.ClientAddr()+path, rootKey, "", nil)
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("GET %s: %s %s", path, res.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		r.t.Fatalf("GET %s: %v in %s", path, err, body)
	}
}

func request(t *testing.T, method, url, key, contentType string, body []byte) (*http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if name, secret, ok := strings.Cut(key, ":"); ok {
		req.SetBasicAuth(name, secret)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}

// voters is how many nodes have a vote about the log.
func (r *running) voters() (n int) {
	for _, s := range r.boot.Load().store.Servers() {
		if s.Voter {
			n++
		}
	}
	return n
}

// occupy makes channels occupied through a client, and leaves it connected.
func (r *running) occupy(names ...string) *client {
	r.t.Helper()
	c := r.connect("format=json")
	for _, name := range names {
		c.attach(name)
	}
	return c
}

// copyDir copies a data dir.
func copyDir(t *testing.T, from string) (to string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// says fails unless an error holds all parts.
func says(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

// startError is why a node does not start, from New or soon from Run; nil when it got ready.
func startError(t *testing.T, cfg config.Config) error {
	t.Helper()
	log := newLogs()
	n, err := New(Options{Config: cfg, Logger: log.logger()})
	if err != nil {
		return err
	}
	r := launch(t, n, log)
	deadline := time.After(patience)
	for {
		select {
		case <-r.ended:
			return r.err
		case <-deadline:
			t.Fatalf("neither ready nor ended: %v\n%s", r.Ready(), log)
		case <-time.After(5 * time.Millisecond):
		}
		if r.Ready() == nil {
			return nil
		}
	}
}

// freeAddr is a loopback address that was free just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// message is a message as clients send it.
func message(data string) channel.Message {
	return channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(data)}
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(fmt.Sprint(err), "reset by peer")
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
