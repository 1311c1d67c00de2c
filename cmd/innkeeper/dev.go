package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"innkeeper/cmd/node/config"
	"innkeeper/transport/dispatch"
)

// maxDevNodes keeps client ports and admin ports apart and the log on every node affordable.
const maxDevNodes = 15

type devCmd struct {
	Nodes         int          `placeholder:"N" help:"Nodes of the cluster. Default: 1, or as many as the data directory holds."`
	Listen        string       `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the first node serves clients; node i uses port + i, and port + 100 + i for admin. Default: ${default}."`
	DataDir       string       `name:"data-dir" placeholder:"DIR" help:"Keep the data here. Default: a temporary directory that is removed at the end."`
	Webhook       string       `placeholder:"URL" help:"Send occupied and vacated events of all channels here."`
	WebhookFormat string       `name:"webhook-format" default:"" enum:",innkeeper,centrifugo" placeholder:"FORMAT" help:"Format of these events: innkeeper or centrifugo. Default: centrifugo for grpc and grpcs URLs, which have no other, else innkeeper."`
	Settings      kong.Plugins `embed:""`
}

func (devCmd) Help() string {
	return `Nodes talk over real sockets and keep real logs, so it behaves as a cluster of processes does, except that all end together. The app is "demo", its key demo.root:secret may do everything. Not for production: the key is known to all.

Examples:
  innkeeper dev
  innkeeper dev --nodes 3 --webhook http://127.0.0.1:9000/events
  innkeeper dev --nodes 3 --data-dir ./data --listen 127.0.0.1:9080 --state_events.vacated_delay 1s`
}

// devSetting tells which settings dev takes: those that hold for all nodes alike.
func devSetting(path string) bool {
	return !strings.HasPrefix(path, "node.") && path != "cluster.id"
}

// devDefault is what the nodes of dev do unless told otherwise.
func devDefault() config.Config {
	base := config.Default()
	base.Log.Level = "warn" // the screen tells what matters
	base.Auth.AppsAPI = true
	return base
}

const devKey = "demo.root:secret"

// Run runs the cluster until a signal or a failure.
func (c devCmd) Run(w world) (err error) {
	if c.Nodes < 0 || c.Nodes > maxDevNodes {
		return &exitError{exitUsage, fmt.Errorf("--nodes: %d is out of range; it must be from 1 to %d", c.Nodes, maxDevNodes)}
	}
	general, err := c.general(w.environ)
	if err != nil {
		return err
	}
	dir, remove, err := c.dataDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	exit := w.exit
	w.exit = func(code int) { remove(); exit(code) } // whatever of it is still being written

	cluster, err := c.place(dir, general)
	if err != nil {
		return err
	}
	nodes, err := cluster.build(w)
	if err != nil {
		return err
	}
	return supervise(w, nodes, stopTimeout, newScreen(w.stdout, c, dir, nodes).changed)
}

// general is the configuration that all nodes share.
func (c devCmd) general(environ []string) (config.Config, error) {
	for _, s := range config.Settings() {
		if name := s.Env; !devSetting(s.Path) && (world{environ: environ}).variable(name) != "" {
			return config.Config{}, fmt.Errorf("the variable %s is set, but dev chooses %s of each node itself; unset it, use --listen and --data-dir, or run nodes with \"innkeeper serve\"", name, s.Path)
		}
	}
	base := devDefault()
	app := config.App{ID: "demo", Lifecycle: true, Keys: []config.Key{{Key: devKey, Capability: map[string][]string{"[*]*": {"*"}}}}}
	if c.Webhook != "" {
		app.Rules = []config.Rule{{ID: "webhook", Source: "channel.state", Target: config.Target{URL: c.Webhook, Format: c.WebhookFormat}}}
	}
	base.Apps = []config.App{app}
	cfg, err := config.Override(base, environ, given(c.Settings))
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		c.nameFlags(wrong)
	}
	return cfg, err
}

// nameFlags tells what is wrong with the rule by the flags that it was made from.
func (c devCmd) nameFlags(err *config.Error) {
	for i := range err.Problems {
		switch p := &err.Problems[i]; p.Key {
		case "apps[0].rules[0].target.url":
			p.Key = "--webhook"
		case "apps[0].rules[0].target.format":
			p.Key = "--webhook-format"
		}
	}
}

// format is the one that events go out in.
func (c devCmd) format() dispatch.Format {
	return cmp.Or(dispatch.Format(c.WebhookFormat), dispatch.DefaultFormat(c.Webhook))
}

// dataDir makes the directory and says how to remove it, if that is to be done.
func (c devCmd) dataDir() (dir string, remove func() error, err error) {
	if c.DataDir == "" {
		dir, err = os.MkdirTemp("", "innkeeper-dev-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(c.DataDir, 0o755); err != nil {
		return "", nil, fmt.Errorf("--data-dir: %w", err)
	}
	return c.DataDir, func() error { return nil }, nil
}

// devCluster is the configuration of each node.
type devCluster []config.Config

// place gives each node its addresses and its directory.
func (c devCmd) place(dir string, general config.Config) (devCluster, error) {
	// The port between nodes must not be one that clients were promised.
	avoid := map[int]bool{}
	if _, port, err := net.SplitHostPort(c.Listen); err == nil {
		first, _ := strconv.Atoi(port)
		for i := range adminOffset + maxDevNodes {
			avoid[first+i] = true
		}
	}
	where, err := loadPlace(dir, c.Nodes, avoid)
	if err != nil {
		return nil, err
	}
	serve, err := edges(c.Listen, len(where.Nodes))
	if err != nil {
		return nil, err
	}
	var gossip []string
	for _, n := range where.Nodes {
		gossip = append(gossip, n.Gossip)
	}
	var cluster devCluster
	for i, n := range where.Nodes {
		cfg := general
		cfg.Node = config.Node{
			DataDir: filepath.Join(dir, fmt.Sprintf("node%d", i)), Listen: serve[i].client, AdminListen: serve[i].admin,
			ClusterListen: n.Cluster, GossipListen: n.Gossip, Join: gossip, BootstrapExpect: where.Founders,
		}
		switch {
		case i >= where.Founders:
			cfg.Node.BootstrapExpect = 0 // came later
		case where.Founders == 1:
			cfg.Node.Join = nil // the later ones join it
		}
		if err := cfg.Validate(); err != nil {
			return nil, err
		}
		cluster = append(cluster, cfg)
	}
	return cluster, nil
}

// build builds all nodes, or none.
func (cluster devCluster) build(w world) ([]runner, error) {
	var nodes []runner
	for i, cfg := range cluster {
		n, err := newNode(cfg, newLogger(cfg.Log, w.stderr).With("dev", i))
		if err != nil {
			// The ones built before hold their ports until the process ends, which is next.
			return nil, explain(err, cfg)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// uptime is the clock of the state lines: seconds since the start.
func uptime(since time.Time) string { return fmt.Sprintf("%7.1fs", time.Since(since).Seconds()) }
