package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"innkeeper/transport/admin"
)

// repartitionPoll is how often progress is asked for; nodes hear of each other once a second.
const repartitionPoll = 250 * time.Millisecond

type clusterRepartitionCmd struct {
	operatorFlags
	Partitions int           `arg:"" help:"How many there shall be: a power of two from 8 to 4096."`
	Wait       time.Duration `default:"2m" placeholder:"TIME" help:"How long to wait until all of them are open; 0s does not. Default: ${default}."`
}

func (clusterRepartitionCmd) Help() string {
	return `Cuts the space of channel names into another number of partitions while all goes on. Clients stay attached and no event is lost; publishes wait while their partition moves, mostly for a fraction of a second. More partitions spread the load more evenly over many nodes; 128 suits most clusters up to 15. A change is refused while the one before is under way. The number lasts; cluster.partitions in the configuration counts only when a cluster is founded.`
}

// Run changes the number and follows how the partitions open.
func (c clusterRepartitionCmd) Run(w world) error {
	if c.Wait < 0 {
		return &exitError{exitUsage, fmt.Errorf("--wait: %v is negative; 0s does not wait", c.Wait)}
	}
	began := time.Now()
	p, err := post[admin.Partitioning](w, c.operatorFlags, url.Values{"partitions": {strconv.Itoa(c.Partitions)}}, "cluster", "repartition")
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%d partitions instead of %d\n", c.Partitions, p.Before)
	if c.Wait == 0 {
		return nil
	}
	return c.follow(w, began)
}

// follow prints how many partitions are open, until all are.
func (c clusterRepartitionCmd) follow(w world, began time.Time) error {
	base, err := baseURL("admin", c.Admin)
	if err != nil {
		return err
	}
	ctx, cancel := w.untilSignal()
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, c.Wait)
	defer stop()
	tick := time.NewTicker(repartitionPoll)
	defer tick.Stop()
	open := -1
	var last error
	for {
		var p admin.Partitioning
		if p, last = get[admin.Partitioning](ctx, base, "/cluster/repartition"); last == nil && p.Partitions == c.Partitions {
			if p.Open != open {
				open = p.Open
				fmt.Fprintf(w.stdout, "%d of %d open after %v\n", open, p.Partitions, time.Since(began).Round(100*time.Millisecond))
			}
			if open == p.Partitions {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &exitError{exitRefused, c.unfinished(open, last)}
		}
	}
}

// unfinished says how far it was when waiting ended.
func (c clusterRepartitionCmd) unfinished(open int, last error) error {
	if open < 0 {
		return fmt.Errorf("the number is changed, but %s could not be asked how far the partitions are: %w", c.Admin, last)
	}
	return fmt.Errorf("the number is changed, but only %d of %d partitions are open; innkeeper cluster members shows who is missing", open, c.Partitions)
}
