package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"innkeeper/cmd/memnet"
	"innkeeper/cmd/node"
	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
)

// world is a cluster of whole nodes in a network in memory, and the app that checks use.
type world struct {
	t     *testing.T
	net   *memnet.Network
	began time.Time
	nodes []*machine
	wg    sync.WaitGroup
	app   *app
}

// machine is an address and a disk, and the process that runs there.
type machine struct {
	w     *world
	index int
	ip    string
	disk  *raftstore.MemDisk
	node  *node.Node
	stop  context.CancelFunc
	done  chan struct{}
}

// The ports of a node; each has an address of its own.
const (
	clientPort  = 80
	clusterPort = 7900
	gossipPort  = 7910
	adminPort   = 90
)

const (
	// patience bounds what a check waits for, in fake time: only what never comes takes that long.
	patience = 20 * time.Second
	// lingering is how long what libraries under a node started may go on after it.
	lingering = time.Minute
)

// start runs a cluster and provisions the app.
func start(t *testing.T, size int) *world {
	w := &world{t: t, net: memnet.New(1), began: time.Now()}
	w.net.DefaultDelay(200*time.Microsecond, 100*time.Microsecond)
	for i := range size {
		w.nodes = append(w.nodes, &machine{w: w, index: i, ip: fmt.Sprintf("10.0.0.%d", i+1), disk: raftstore.NewMemDisk()})
	}
	for _, m := range w.nodes {
		m.start()
	}
	for _, m := range w.nodes {
		m.ready()
	}
	w.app = w.provision()
	return w
}

func (w *world) stop() {
	for _, m := range w.nodes {
		m.kill()
	}
	w.net.Close()
	w.wg.Wait()
	time.Sleep(lingering)
}

func (m *machine) config() config.Config {
	cfg := config.Default()
	cfg.Node.DataDir = ""
	cfg.Node.Listen = fmt.Sprintf("%s:%d", m.ip, clientPort)
	cfg.Node.AdminListen = fmt.Sprintf("%s:%d", m.ip, adminPort)
	cfg.Node.ClusterListen = fmt.Sprintf("%s:%d", m.ip, clusterPort)
	cfg.Node.GossipListen = fmt.Sprintf("%s:%d", m.ip, gossipPort)
	cfg.Node.BootstrapExpect = len(m.w.nodes)
	cfg.Node.Join = nil
	for _, other := range m.w.nodes {
		cfg.Node.Join = append(cfg.Node.Join, fmt.Sprintf("%s:%d", other.ip, gossipPort))
	}
	cfg.Apps = []config.App{{ID: "demo", Keys: []config.Key{{Key: "demo.root:secret", Capability: map[string][]string{"[*]*": {"*"}}}}}}
	cfg.Auth.AppsAPI = true
	cfg.Cluster.Partitions = 16
	return cfg
}

// start runs the node; the process that was there before is gone.
func (m *machine) start() {
	host := m.w.net.Revive(m.ip)
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("CONFORMANCE_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("on", m.index)
	}
	boottime := func() time.Duration { return time.Since(m.w.began) + time.Hour }
	built, err := node.New(node.Options{Config: m.config(), Net: host, Disk: m.disk, Boottime: boottime, Logger: log, TrustAdmin: true})
	if err != nil {
		m.w.t.Fatalf("node %d: %v", m.index, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.node, m.stop, m.done = built, stop, make(chan struct{})
	done := m.done
	m.w.wg.Go(func() {
		defer close(done)
		built.Run(ctx)
	})
}

// kill ends the process as kill -9 does.
func (m *machine) kill() {
	m.w.net.Kill(m.ip)
	m.node.Kill()
	m.stop()
	<-m.done
}

// ready waits until the node serves.
func (m *machine) ready() {
	for end := time.Now().Add(time.Minute); m.node.Ready() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.w.t.Fatalf("node %d is not ready after a minute: %v", m.index, m.node.Ready())
		}
	}
}

// web sends requests from a host; no connection is kept.
func web(h *memnet.Host) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, addr string) (net.Conn, error) { return h.Dial(ctx, addr) },
	}}
}

// at is the client address of node i, counted around.
func (w *world) at(i int) string {
	return fmt.Sprintf("%s:%d", w.nodes[i%len(w.nodes)].ip, clientPort)
}

// app is what POST /apps answered.
type app struct {
	AppID string `json:"appId"`
	Keys  []appKey
}

type appKey struct {
	KeyName, KeySecret, KeyStr, Capability string
}

// The keys of the app, by their places.
const (
	keyAll       = iota // everything, metachannels included
	keyPlain            // no capability given: everything on ordinary channels
	keySubscribe        // {"*":["subscribe"]}
	keyPublish          // {"*":["publish"]}
	keyRevocable        // its tokens can be revoked
	keyMixed            // several resources
	keyOther            // like keyAll
)

// mixed is the capability of keyMixed.
const mixed = `{"channel0":["publish"],"channel1":["publish"],"channel2":["publish","subscribe"],` +
	`"channel3":["subscribe"],"channel4":["presence","publish","subscribe"],"channel5":["presence"],"channel6":["*"],"space:*":["*"]}`

const setup = `{"keys":[{"capability":"{\"[*]*\":[\"*\"]}"},{},{"capability":"{\"*\":[\"subscribe\"]}"},
	{"capability":"{\"*\":[\"publish\"]}"},{"capability":"{\"[*]*\":[\"*\"]}","revocableTokens":true},
	{"capability":` + "%q" + `},{"capability":"{\"[*]*\":[\"*\"]}"}],
	"namespaces":[{"id":"persisted","persisted":true},{"id":"mutable","mutableMessages":true}],"channels":[]}`

// provision makes an app with all keys at node 0 and waits until every node knows it.
func (w *world) provision() *app {
	res, err := web(w.net.Host("10.9.0.1")).Post("http://"+w.at(0)+"/apps", "application/json", bytes.NewReader(fmt.Appendf(nil, setup, mixed)))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	a := &app{}
	if err := json.NewDecoder(res.Body).Decode(a); err != nil || res.StatusCode != http.StatusCreated {
		w.t.Fatalf("POST /apps: %s, %v", res.Status, err)
	}
	return a
}

func (w *world) key(i int) string { return w.app.Keys[i].KeyStr }
