package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/limits"
	"innkeeper/transport/protocol"
)

// GatewayConfig is what a gateway is made of. Owners, Auth and Partitions are required, zero values of the rest take the
// default.
type GatewayConfig struct {
	Owners     Owners
	Auth       *auth.Keys
	Partitions int           // 1 or more; until Layout says otherwise
	NodeID     string        // told to clients as serverId
	Boot       string        // this start of the node: makes ids of occupancy events unique
	Peers      Peers         // the other nodes, to find connections that come back; nil: there are none
	Logger     *slog.Logger  // nil discards
	Gates      *limits.Gates // nil: nothing is limited
	Purse      *limits.Purse // nil: nobody has to ask for a connection

	Shards           int           // of the hub, at most; the number of CPUs, 8 at most
	OutboxBytes      int           // that may wait for one connection; 1 MiB
	MaxMessageSize   int           // bytes of one publish; 65536
	MaxFrameSize     int           // bytes of one frame from a client; 524288
	MaxInboundRate   int           // told to clients, messages per second; 1000
	MaxChannels      int           // attachments of one connection; 200
	MaxInflight      int           // un-acknowledged publishes of one connection before it is not read any more; 256
	MaxInflightBytes int           // their message data; 1 MiB
	RequestsMax      int           // waiting for the owners of one shard's partitions; 100,000
	RequestTimeout   time.Duration // for a publish or query to be answered; 10 s
	AttachTimeout    time.Duration // for an attach to be confirmed, shorter than the clients' own 10 s; 9 s
	// Lifecycle says for which apps the log knows when channels open and close; nil: for all.
	Lifecycle func(app string) bool

	ConnectionStateTTL time.Duration // told to clients: how long they try before they count as suspended; 2 min
}

func (c *GatewayConfig) validate() error {
	switch {
	case c.Owners == nil:
		return errors.New("transport: no Owners")
	case c.Auth == nil:
		return errors.New("transport: no Auth")
	case c.Partitions < 1:
		return fmt.Errorf("transport: %d partitions (want 1 or more)", c.Partitions)
	}
	return nil
}

func (c *GatewayConfig) setDefaults() {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	defTime := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.Shards, min(runtime.GOMAXPROCS(0), 8))
	c.Shards = shardCount(c.Shards, c.Partitions)
	def(&c.OutboxBytes, 1<<20)
	def(&c.MaxMessageSize, 65536)
	def(&c.MaxFrameSize, 524288)
	def(&c.MaxInboundRate, 1000)
	def(&c.MaxChannels, 200)
	def(&c.MaxInflight, 256)
	def(&c.MaxInflightBytes, 1<<20)
	def(&c.RequestsMax, 100_000)
	defTime(&c.RequestTimeout, requestTimeout)
	defTime(&c.AttachTimeout, 9*time.Second)
	defTime(&c.ConnectionStateTTL, connectionStateTTL)
	if c.Gates == nil {
		c.Gates = limits.NewGates()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// requestTimeout is how long a request waits for an owner unless configured otherwise.
const requestTimeout = 10 * time.Second

// Gateway holds the client connections of one boot of a node. All methods are safe for concurrent use.
type Gateway struct {
	// Static after construction.
	cfg       GatewayConfig
	log       *slog.Logger
	start     time.Time
	bootTag   uint64 // of cfg.Boot
	shards    []*shard
	sweeper   sweeper
	holders   holders
	lapses    lapses
	announcer *announcer
	stop      chan struct{} // closed to end the shards, the sweeper and lapses
	swept     chan struct{} // closed by the sweeper at its end
	lapsed    chan struct{} // closed by lapses at its end

	partitions atomic.Int64  // that the ring is cut into
	version    atomic.Uint64 // of the last Register
	requestID  atomic.Uint64
	events     atomic.Uint64 // occupancy events made
	fenced     atomic.Bool
	draining   atomic.Bool
	count      counters
	tallies    tallies

	mu      sync.Mutex // guards closed and the growing of conns and helpers
	closed  bool
	conns   sync.WaitGroup // read loops
	helpers sync.WaitGroup // those who dismiss everybody
	writers sync.WaitGroup // goroutines that write backlogs; started by read loops, shards, the sweeper and lapses only
}

var (
	errClosed   = protocol.Errorf(protocol.CodeTimeout, "the node is being stopped").WithStatus(503)
	errFenced   = protocol.Errorf(protocol.CodeDisconnected, "the node cannot reach the cluster; reconnect")
	errDraining = protocol.Errorf(protocol.CodeDisconnected, "the node is being stopped; reconnect")
)

// NewGateway starts a gateway. It panics when the configuration lacks something required: that is the caller's bug.
func NewGateway(cfg GatewayConfig) *Gateway {
	if err := cfg.validate(); err != nil {
		panic(err)
	}
	cfg.setDefaults()
	g := &Gateway{
		cfg:     cfg,
		start:   time.Now(),
		log:     cfg.Logger,
		bootTag: auth.BootTag(cfg.Boot),
		shards:  make([]*shard, cfg.Shards),
		stop:    make(chan struct{}),
		swept:   make(chan struct{}),
		lapsed:  make(chan struct{}),
		lapses:  lapses{keys: cfg.Auth, wake: make(chan struct{}, 1)},
	}
	g.partitions.Store(int64(cfg.Partitions))
	for i := range g.shards {
		g.shards[i] = newShard(g, i)
	}
	for _, s := range g.shards {
		go s.run()
	}
	go func() {
		defer close(g.swept)
		g.sweeper.run(g.stop)
	}()
	go func() {
		defer close(g.lapsed)
		g.lapses.run(g.stop)
	}()
	g.announcer = newAnnouncer(g)
	go g.announcer.run()
	return g
}

// Routed says where a partition's owner is, and that a new session with it begins: everything is registered again.
// Routed, Unrouted and Fence are called in order by one goroutine and never block.
func (g *Gateway) Routed(part uint32, r Route) {
	if s := g.shardOfPart(part); s != nil {
		s.in.force(command{kind: doRouted, part: part, what: r})
	}
}

// Unrouted says that a partition's owner is unknown or cannot be reached.
func (g *Gateway) Unrouted(part uint32) {
	if s := g.shardOfPart(part); s != nil {
		s.in.force(command{kind: doUnrouted, part: part})
	}
}

// Fence says whether the node may serve clients. When it may not, all of them are sent elsewhere, and so is everybody
// who comes.
func (g *Gateway) Fence(held bool) {
	if held {
		g.fenced.Store(false)
	} else if !g.fenced.Swap(true) {
		g.dismissAll(endFenced, errFenced)
	}
}

// dismissAll sends all connections away, in the background.
func (g *Gateway) dismissAll(why ending, err *protocol.ErrorInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.helpers.Go(func() {
			g.sweeper.each(func(c *conn) { c.dismiss(why, 1012, err) })
		})
	}
}

// FromOwner takes what the owner of a partition says. It never blocks; frames of one node come in order. m must not be
// changed any more. False means that it could not be kept: the caller has to begin a new session.
func (g *Gateway) FromOwner(node string, part uint32, epoch uint64, m channel.ToGateway) bool {
	s := g.shardOfPart(part)
	if s == nil || s.in.offer(command{kind: doFromOwner, part: part, epoch: epoch, node: node, what: m}) {
		return true
	}
	g.count.queueFull.Add(1)
	return false
}

// ServeWebSocket upgrades a request and serves the client until it goes. It returns when the client has been greeted;
// the connection then lives on its own.
//
// Clients that are refused are upgraded as well: only then do they understand why.
func (g *Gateway) ServeWebSocket(w http.ResponseWriter, r *http.Request) {
	c := &conn{g: g}
	k := c.setUp(r)
	event := c.eventOf(r)
	if !g.enter() {
		http.Error(w, "the node is being stopped", http.StatusServiceUnavailable)
		return
	}
	if err := c.accept(w, r); err != nil {
		g.conns.Done()
		g.log.Debug("upgrade failed", "error", err, "remote", r.RemoteAddr)
		if c.raw != nil {
			c.raw.Close()
		}
		return
	}
	k.notResumed = c.identify(k.resume)
	g.count.connects.Add(1)
	g.sweeper.add(c)
	c.announceGreeted(event, c.greet(k))
	go c.run()
}

// enter counts a connection that is about to begin; false when the gateway is closed.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.conns.Add(1)
	}
	return !g.closed
}

// eventID is the base of the next occupancy event's message ids.
func (g *Gateway) eventID() string {
	return fmt.Sprintf("%s-%x_M", g.cfg.Boot, g.events.Add(1))
}

// Close ends all connections and everything the gateway runs, and waits for it. Callers that wait in Publish, Query or
// List get an error.
func (g *Gateway) Close() {
	g.mu.Lock()
	again := g.closed
	g.closed = true
	g.mu.Unlock()
	if !again {
		g.draining.Store(true)
		g.helpers.Wait()
		g.sweeper.each(func(c *conn) { c.dismiss(endDrained, 1012, errDraining) })
		g.conns.Wait()
		g.announcer.stop()
		close(g.stop)
	}
	<-g.announcer.done
	<-g.swept
	<-g.lapsed
	for _, s := range g.shards {
		<-s.done
	}
	g.writers.Wait()
}
