package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// copies watches how many partitions no other node has a whole copy of: what the next kill may take with it.
type copies struct {
	procs []*proc

	mu     sync.Mutex
	since  time.Time // of the kill after which not all copies were seen whole again; zero: they were
	bare   []int     // at each kill
	again  []time.Duration
	latest int // partitions without a copy, when it was last looked
}

// watch looks until ctx ends.
func (c *copies) watch(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n, all, looked := 0, true, time.Now()
		for _, p := range c.procs {
			some, err := uncopied(ctx, p)
			n, all = n+some, all && err == nil
		}
		c.mu.Lock()
		if c.latest = n; n == 0 && all && !c.since.IsZero() && looked.After(c.since) {
			c.again = append(c.again, time.Since(c.since))
			c.since = time.Time{}
		}
		c.mu.Unlock()
	}
}

// killing notes that a node is about to be killed.
func (c *copies) killing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bare = append(c.bare, c.latest)
}

// killed notes that it is gone.
func (c *copies) killed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
}

// String tells how many partitions were without a copy at the kills, and when they all had one again, the node that was
// killed back.
func (c *copies) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	bare := 0
	for _, n := range c.bare {
		bare = max(bare, n)
	}
	hit := len(c.bare) - len(slices.DeleteFunc(slices.Clone(c.bare), func(n int) bool { return n > 0 }))
	return fmt.Sprintf("at %d of %d kills some partitions had no whole copy, at most %d; all had one again after %d kills, from the kill: %s",
		hit, len(c.bare), bare, len(c.again), tails(slices.Clone(c.again)))
}

// uncopied is what a node says of its partitions.
func uncopied(ctx context.Context, p *proc) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := ask.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "innkeeper_partitions_uncopied "); ok {
			return strconv.Atoi(rest)
		}
	}
	return 0, fmt.Errorf("%s says nothing of copies", p.name)
}
