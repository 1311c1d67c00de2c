package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"innkeeper/cmd/node"
	"innkeeper/cmd/node/config"
)

// runner is what main needs of a node.
type runner interface {
	Run(ctx context.Context) error // until ctx ends, gracefully; an error is a failure
	Kill()                         // ends Run at once and waits for it
	Ready() error                  // nil when it serves
	ClientAddr() string
	AdminAddr() string
}

// newNode builds a node, bound to its addresses and not yet running.
var newNode = func(cfg config.Config, log *slog.Logger) (runner, error) { return buildNode(cfg, log) }

const (
	// stopTimeout bounds what a graceful stop takes beside handing over partitions and saying goodbye to clients.
	stopTimeout = 8 * time.Second
	// signalEcho is how long after the first signal another one is taken for the same: timeout(1), shells and wrappers
	// signal both the process and its group.
	signalEcho = 300 * time.Millisecond
	// readyEvery is how often the state of a node is looked at.
	readyEvery = 100 * time.Millisecond
)

// stopLimit bounds the graceful stop of a node.
func stopLimit(n config.Node) time.Duration { return n.DrainTimeout + n.DrainSpread + stopTimeout }

// ended is the end of one node.
type ended struct {
	node int
	err  error
}

// supervise runs nodes until a signal or until one fails, and then stops them all, within limit; or until all were drained,
// as an operator may ask of them one by one. changed is told the state of a node,
// nil for ready, at first and whenever it changes, from the goroutine that called supervise.
func supervise(w world, nodes []runner, limit time.Duration, changed func(node int, state error)) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ends := make(chan ended, len(nodes))
	for i, n := range nodes {
		go func() { ends <- ended{i, n.Run(ctx)} }()
	}
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	states := make([]string, len(nodes))
	for running := len(nodes); ; {
		select {
		case <-w.signals:
			stop()
			return drain(w, nodes, ends, running, limit, nil)
		case e := <-ends:
			if running--; e.err == nil && running > 0 {
				continue // drained
			}
			stop()
			if e.err == nil {
				return nil
			}
			err := fmt.Errorf("node %d failed: %w", e.node, e.err)
			if len(nodes) == 1 {
				err = e.err
			}
			code := exitFailed
			if _, ok := errors.AsType[*node.StartError](e.err); ok {
				code = exitRefused
			}
			return drain(w, nodes, ends, running, limit, &exitError{code, err})
		case <-tick.C:
			for i, n := range nodes {
				state := n.Ready()
				if text := stateText(state); text != states[i] {
					states[i] = text
					changed(i, state)
				}
			}
		}
	}
}

func stateText(state error) string {
	if state == nil {
		return "ready"
	}
	return state.Error()
}

// drain waits for the nodes that still run and returns why, nil if there is nothing to complain about.
func drain(w world, nodes []runner, ends <-chan ended, running int, limit time.Duration, why error) error {
	began := time.Now()
	late := time.NewTimer(limit)
	defer late.Stop()
	for running > 0 {
		select {
		case e := <-ends:
			running--
			if e.err != nil && why == nil {
				why = &exitError{exitFailed, fmt.Errorf("node %d did not stop cleanly: %w", e.node, e.err)}
			}
		case sig := <-w.signals:
			if time.Since(began) < signalEcho {
				continue
			}
			code := exitFailed
			if s, ok := sig.(syscall.Signal); ok {
				code = 128 + int(s)
			}
			w.exit(code)
			return &exitError{code, errors.New("ended at once by a second signal")}
		case <-late.C:
			// Killing waits for the node, which may be what hangs: the process ends whatever comes of it.
			for _, n := range nodes {
				go n.Kill()
			}
			return &exitError{exitFailed, fmt.Errorf("%d of %d nodes did not stop within %v and were ended; nothing confirmed is lost", running, len(nodes), limit)}
		}
	}
	return why
}

// explain adds to an error what a user can do about it, where the error itself does not say.
func explain(err error, cfg config.Config) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		if _, ok := errors.AsType[*net.OpError](err); ok { // of a port
			return err
		}
		return fmt.Errorf("%w\ncheck that this user may write to %s", err, cfg.Node.DataDir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w\nmount the file system of %s for writing, or set node.data_dir to a directory on another", err, cfg.Node.DataDir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w\nmake room on the file system of %s and start the node again; nothing that was confirmed is lost", err, cfg.Node.DataDir)
	}
	return err
}
