package main

import (
	"fmt"
	"strings"

	"innkeeper/cmd/node/config"
)

type configCmd struct {
	Check checkCmd `cmd:"" help:"Check a configuration file and show what would be in effect."`
}

type checkCmd struct {
	File string `arg:"" help:"The configuration file."`
}

func (checkCmd) Help() string {
	return `Reads the file as "serve" would, variables included, and starts nothing. Everything wrong is listed at once, and the exit code is 1 then.

Example:
  innkeeper config check /etc/innkeeper/n1.yaml`
}

// Run shows the configuration in effect, or everything that is wrong with it.
func (c checkCmd) Run(w world) error {
	cfg, err := config.Load(c.File, w.environ, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s is in order. In effect:\n\n%s\n", c.File, strings.TrimSpace(cfg.Summary()))
	return nil
}
