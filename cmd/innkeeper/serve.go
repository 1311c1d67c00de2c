package main

import (
	"cmp"

	"github.com/alecthomas/kong"

	"innkeeper/cmd/node/config"
)

type serveCmd struct {
	Config   string       `short:"c" placeholder:"FILE" help:"Configuration file; also as $INNKEEPER_CONFIG."`
	Settings kong.Plugins `embed:""`
}

func (serveCmd) Help() string {
	return `Runs until SIGINT or SIGTERM, then hands its partitions to other nodes, sends its clients there and stops within a few seconds (node.drain_timeout, node.drain_spread). A second signal ends it at once; nothing that was confirmed is lost then either.

A flag beats a variable, a variable beats the file, the file beats the default. Apps, with their keys, namespaces and rules, are set in the file only; docs/innkeeper.yaml shows all there is.

Examples:
  innkeeper serve --config n1.yaml
  innkeeper serve --config n1.yaml --node.listen 0.0.0.0:8080 --log.format json
  INNKEEPER_NODE_JOIN=10.0.0.1:7910,10.0.0.2:7910 innkeeper serve --config n3.yaml`
}

// Run runs one node until a signal or a failure.
func (c serveCmd) Run(w world) error {
	cfg, err := config.Load(cmp.Or(c.Config, w.variable(config.FileEnv)), w.environ, given(c.Settings))
	if err != nil {
		return err
	}
	log := newLogger(cfg.Log, w.stderr)
	n, err := newNode(cfg, log)
	if err != nil {
		return explain(err, cfg)
	}
	log.Info("starting", "data_dir", cfg.Node.DataDir, "clients", n.ClientAddr(), "admin", n.AdminAddr(),
		"cluster", cfg.Node.ClusterListen, "gossip", cfg.Node.GossipListen)
	wasReady := false
	err = supervise(w, []runner{n}, stopLimit(cfg.Node), func(_ int, state error) {
		switch {
		case state == nil:
			wasReady = true
			log.Info("ready", "clients", "http://"+n.ClientAddr())
		case wasReady:
			log.Warn("not ready", "reason", state)
		default:
			log.Info("not ready yet", "reason", state) // every start begins so
		}
	})
	return explain(err, cfg)
}
