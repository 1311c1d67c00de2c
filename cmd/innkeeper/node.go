package main

import (
	"log/slog"

	"innkeeper/cmd/node"
	"innkeeper/cmd/node/config"
)

// buildNode builds a node on the machine's network and disk.
func buildNode(cfg config.Config, log *slog.Logger) (runner, error) {
	n, err := node.New(node.Options{Config: cfg, Logger: log})
	if err != nil {
		return nil, err // not a runner that holds a nil
	}
	return n, nil
}
