package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"innkeeper/cluster"
)

type drainCmd struct {
	operatorFlags
	Node string `arg:"" optional:"" help:"Id of the node, as innkeeper cluster members lists it. Default: the one at the admin address."`
}

func (drainCmd) Help() string {
	return `The node hands its partitions to the others, a few at a time, then leadership if it leads; then it sends its clients elsewhere, spread over some seconds, and its process ends with code 0. SIGTERM does the same. Channels keep their state and their messages, and clients that come back within the vacate delay cause no events. Started again, it is a member again at once.

A service manager that restarts whatever ends has to be told first that this node shall be down. The last node of a cluster is not drained: nobody could take over.

Examples:
  innkeeper drain --admin 10.0.0.2:8180
  innkeeper drain e1d6nr2l5cg0 --admin 10.0.0.1:8180`
}

const (
	drainPoll = 100 * time.Millisecond // between two looks at a node that is drained
	// drainPatience is how long nothing may be heard of the cluster before it is given up: a node that is gone takes its
	// admin API with it, and what is told of it may come late.
	drainPatience = 5 * time.Second
)

// Run has the node drained and tells how far it is, until it has stopped.
func (c drainCmd) Run(w world) error {
	path := []string{"cluster", "drain"}
	if c.Node != "" {
		path = []string{"cluster", "members", url.PathEscape(c.Node), "drain"}
	}
	began := time.Now()
	got, err := post[struct{ Draining string }](w, c.operatorFlags, nil, path...)
	if err != nil {
		return err
	}
	base, err := baseURL("admin", c.Admin)
	if err != nil {
		return err
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	fmt.Fprintf(w.stdout, "%s is being drained\n", got.Draining)
	d := drainWatch{w: w, node: got.Draining, left: -1}
	if err := d.follow(ctx, base); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%s has stopped after %.1f s\n", got.Draining, time.Since(began).Seconds())
	return nil
}

// drainWatch tells how far a node is that is being drained.
type drainWatch struct {
	w    world
	node string
	left int // partitions it owned when last seen
}

// follow looks until the node is gone.
func (d *drainWatch) follow(ctx context.Context, base *url.URL) error {
	heard := time.Now()
	for {
		s, err := get[cluster.Status](ctx, base, "/cluster")
		switch {
		case ctx.Err() != nil:
			return errors.New("no longer watching; the node goes on being drained")
		case err == nil:
			heard = time.Now()
			if gone := d.see(s); gone {
				return nil
			}
		case d.left == 0:
			return nil // it was the node itself that was asked, and it is gone
		case time.Since(heard) > drainPatience:
			return fmt.Errorf("nothing is heard of it any more, and it had %d partitions left when last seen: %w", d.left, err)
		}
		select {
		case <-time.After(drainPoll):
		case <-ctx.Done():
		}
	}
}

// see tells what is new, and whether the node is gone.
func (d *drainWatch) see(s cluster.Status) (gone bool) {
	for _, m := range s.Members {
		if m.Node != d.node || m.State == "joining" {
			continue
		}
		if m.State == "dead" {
			return true
		}
		if m.Owned != d.left {
			d.left = m.Owned
			if d.left > 0 {
				fmt.Fprintf(d.w.stdout, "  %d partitions left\n", d.left)
			} else {
				fmt.Fprintln(d.w.stdout, "  all partitions are with others; its clients are sent there")
			}
		}
		return false
	}
	return true
}
