package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"time"

	"innkeeper/cmd/memnet"
	"innkeeper/raftstore"
)

// Options say what a simulated cluster looks like. The zero value of a field stands for its default.
type Options struct {
	Nodes        int           // 3; they found the cluster together
	Clients      int           // 12; negative: none
	Channels     int           // 24; the pool that clients choose from
	Partitions   int           // 16
	VacateDelay  time.Duration // 3 s
	RestartGrace time.Duration // 10 s
	EventsMax    int           // how many events are kept at most; 0: all
	Idle         []int         // clients that do nothing in Run
	NoHooks      bool          // no webhook rules
	Retention    int           // events kept for readers; as nodes do by default
	Hasty        bool          // the log elects as fast as in a real cluster, and talks as often as that needs
	Log          io.Writer     // what nodes say about themselves; nil drops it
}

func (o Options) withDefaults() Options {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.Nodes, 3)
	set(&o.Clients, 12)
	set(&o.Channels, 24)
	set(&o.Partitions, 16)
	if o.VacateDelay == 0 {
		o.VacateDelay = 3 * time.Second
	}
	if o.RestartGrace == 0 {
		o.RestartGrace = 10 * time.Second
	}
	return o
}

// namespaces are those of the app; every other channel has the general settings.
var namespaces = []struct {
	id    string
	delay *time.Duration
	by    string
}{
	{"fast", new(time.Second), "subscribers"},
	{"conn", nil, "connections"},
}

// tune makes the log's idle talk rarer, which costs a simulation more than all else, and its snapshots more frequent, so
// that the few minutes of a run see them taken, sent and read again.
func (o Options) tune(c *raftstore.Config) {
	c.SnapshotEntries, c.TrailingEntries, c.SnapshotInterval = 200, 50, 7*time.Second
	c.CommitTimeout = 60 * time.Millisecond
	if !o.Hasty {
		c.Heartbeat, c.Election, c.LeaderLease, c.CommitTimeout = time.Second, time.Second, 800*time.Millisecond, 250*time.Millisecond
	}
}

// hookRule is one rule of the app.
type hookRule struct{ id, pattern, format string }

func (o Options) rules() []hookRule {
	if o.NoHooks {
		return nil
	}
	return []hookRule{
		{"all", "", "innkeeper"},
		{"fast", "^fast:", "innkeeper"},
		{"plain", "^(room|conn):", "centrifugo"},
	}
}

// delay is the vacate delay of a channel.
func (o Options) delay(channel string) time.Duration {
	for _, ns := range namespaces {
		if strings.HasPrefix(channel, ns.id+":") && ns.delay != nil {
			return *ns.delay
		}
	}
	return o.VacateDelay
}

// holds says whether an attachment with these modes occupies a channel.
func (o Options) holds(channel string, m Mode) bool {
	return strings.HasPrefix(channel, "conn:") || m&Subscribe != 0
}

// Sim is one simulated cluster with its clients, its webhook receiver and a reader of the pull API. Faults and clients
// may be driven from any goroutine; Close is called once.
type Sim struct {
	Seed    uint64
	Options Options
	Net     *memnet.Network
	Hooks   *Receiver
	Reader  *Reader

	began time.Time
	rec   Recorder
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup

	mu       sync.Mutex
	nodes    []*Node
	clients  []*Client
	failures []string
	cuts     map[route]int // how many faults cut each directed pair of nodes
	rejects  map[route]int // how many let each pair reject each other; from is less than to
	slow     map[route]int // how many slow each pair down

	unfollow func() // ends Follow; set by it
}

// New builds a cluster and starts all of it. It must be called in the bubble that it is to run in.
func New(seed uint64, o Options) (*Sim, error) {
	s := &Sim{Seed: seed, Options: o.withDefaults(), Net: memnet.New(seed), began: time.Now(),
		cuts: make(map[route]int), rejects: make(map[route]int), slow: make(map[route]int)}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.Net.DefaultDelay(wireDelay, wireJitter)
	hooks, err := startReceiver(s)
	if err != nil {
		return nil, err
	}
	s.Hooks = hooks
	s.Reader = &Reader{sim: s, web: httpClient(s.Net.Host(readerIP), true)}
	s.rec.h.Began = s.began
	s.rec.h.Rules = make(map[string]Rule)
	for _, r := range s.Options.rules() {
		re := regexp.MustCompile(r.pattern)
		s.rec.h.Rules[r.id] = Rule{ID: r.id, Match: re.MatchString, Plain: r.format != "innkeeper"}
	}
	s.rec.h.Delay = s.Options.delay
	s.rec.h.Holds = s.Options.holds
	s.rec.h.Bounded = s.Options.EventsMax > 0
	s.rec.h.Partitions = s.Options.Partitions
	for range s.Options.Nodes {
		s.Join()
	}
	for range max(s.Options.Clients, 0) {
		s.AddClient()
	}
	return s, nil
}

// Join adds a node and starts it.
func (s *Sim) Join() *Node {
	s.mu.Lock()
	n := newNode(s, len(s.nodes))
	for _, o := range s.nodes {
		s.Net.DropPackets(n.IP, o.IP, packetLoss)
		s.Net.DuplicatePackets(n.IP, o.IP, packetLoss)
	}
	s.nodes = append(s.nodes, n)
	s.mu.Unlock()
	n.Start()
	return n
}

// AddClient adds a client that is offline.
func (s *Sim) AddClient() *Client {
	s.mu.Lock()
	c := newClient(s, len(s.clients))
	s.clients = append(s.clients, c)
	s.mu.Unlock()
	s.wg.Go(func() { c.run(s.ctx) })
	return c
}

// Nodes returns all nodes, running or not.
func (s *Sim) Nodes() []*Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[:len(s.nodes):len(s.nodes)]
}

// Clients returns all clients.
func (s *Sim) Clients() []*Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[:len(s.clients):len(s.clients)]
}

// Addresses are where clients find the nodes.
func (s *Sim) Addresses() []string {
	var out []string
	for _, n := range s.Nodes() {
		out = append(out, fmt.Sprintf("%s:%d", n.IP, clientPort))
	}
	return out
}

// lingering is how long what the libraries under a node started may go on after the node has ended: memberlist does not
// wait for a probe that is under way. Fake time stands still once a test returns, so it passes before.
const lingering = time.Minute

// Close ends everything and waits for it.
func (s *Sim) Close() {
	s.end()
	s.Hooks.Close()
	for _, n := range s.Nodes() {
		n.Kill(true)
	}
	s.Net.Close()
	s.Reader.web.CloseIdleConnections()
	s.wg.Wait()
	time.Sleep(lingering)
}

// note writes a line into the timeline.
func (s *Sim) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.rec.record(func(h *History) { h.Notes = append(h.Notes, Note{time.Now(), text}) })
}

// fail notes something that must not happen whatever the schedule.
func (s *Sim) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.note("FAILURE: %s", text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, text)
}

// Failures are what was noted as such.
func (s *Sim) Failures() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Violation
	for _, f := range s.failures {
		out = append(out, Violation{Promise: "run", Text: f, At: time.Now()})
	}
	return out
}

// logger is where a node's own words go.
func (s *Sim) logger(node int) *slog.Logger {
	if s.Options.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	h := slog.NewTextHandler(s.Options.Log, &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(h).With("on", node)
}

// random returns a source for one purpose of a run.
func (s *Sim) random(purpose uint64) *rand.Rand { return random(s.Seed, purpose) }

func random(seed, purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, purpose)) }

// await polls until f holds and says whether it did in time.
func await(limit, every time.Duration, f func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(every) {
		if f() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
