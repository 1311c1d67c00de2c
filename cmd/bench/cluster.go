package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"innkeeper/cmd/ports"
)

// tuning is what a scenario sets differently from the defaults.
type tuning struct {
	vacatedDelay, idleClose time.Duration
	retention               time.Duration // of messages; 0 keeps none
}

// cluster is one or several nodes, each a process.
type cluster struct {
	dir    string
	procs  []*process
	client []string // addresses
	admin  []string
}

// startCluster starts n nodes and waits until all are ready.
func startCluster(ctx context.Context, bin, dir string, n int, t tuning) (*cluster, error) {
	dir, err := os.MkdirTemp(dir, "innkeeper-bench-")
	if err != nil {
		return nil, err
	}
	free, err := ports.Free(4 * n)
	if err != nil {
		return nil, err
	}
	addr := func(i, k int) string { return fmt.Sprintf("127.0.0.1:%d", free[4*i+k]) }
	var join []string
	for i := range n {
		join = append(join, addr(i, 3))
	}
	c := &cluster{dir: dir}
	for i := range n {
		file := filepath.Join(dir, fmt.Sprintf("n%d.yaml", i))
		text := fmt.Sprintf(`node:
  data_dir: %q
  listen: %s
  admin_listen: %s
  cluster_listen: %s
  gossip_listen: %s
  join: [%s]
  bootstrap_expect: %d
apps: [{id: demo, keys: [{key: %q, capability: {"[*]*": ["*"]}}]}]
state_events: {vacated_delay: %v}
channels: {idle_close: %v, retention: %v}
log: {level: warn}
`, filepath.Join(dir, fmt.Sprintf("data%d", i)), addr(i, 0), addr(i, 1), addr(i, 2), addr(i, 3), strings.Join(join, ", "), n, key, t.vacatedDelay, t.idleClose, t.retention)
		if n == 1 {
			text = strings.Replace(text, "  join: ["+join[0]+"]\n", "", 1)
		}
		err := os.WriteFile(file, []byte(text), 0o600)
		var p *process
		if err == nil {
			p, err = startProcess(file+".log", bin, "serve", "--config", file)
		}
		if err != nil {
			c.stop()
			return nil, err
		}
		c.procs, c.client, c.admin = append(c.procs, p), append(c.client, addr(i, 0)), append(c.admin, addr(i, 1))
	}
	if err := c.awaitReady(ctx); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for i, addr := range c.admin {
		for {
			if err := c.procs[i].alive(); err != nil {
				return err
			}
			res, err := http.Get("http://" + addr + "/readyz")
			if err == nil {
				res.Body.Close()
				if res.StatusCode == http.StatusOK {
					break
				}
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("node %d is not ready after 30 s; its log is %s", i, c.procs[i].log)
			}
		}
	}
	return nil
}

// stop ends all processes and removes their data.
func (c *cluster) stop() {
	for _, p := range c.procs {
		p.cmd.Process.Signal(os.Interrupt)
	}
	for _, p := range c.procs {
		p.stop()
	}
	os.RemoveAll(c.dir)
}

// cpu is the time that all nodes have used so far.
func (c *cluster) cpu() (total time.Duration, err error) {
	for _, p := range c.procs {
		used, err := p.cpu()
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

// during measures the CPU that all nodes use while fn runs.
func (c *cluster) during(fn func() error) (used, took time.Duration, err error) {
	before, err := c.cpu()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := fn(); err != nil {
		for _, p := range c.procs {
			if ended := p.alive(); ended != nil {
				err = ended
			}
		}
		return 0, 0, err
	}
	took = time.Since(start)
	after, err := c.cpu()
	return after - before, took, err
}

// lastEvent is the seq of the newest state event.
func (c *cluster) lastEvent(ctx context.Context) (uint64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.client[0]+"/events?after=0&limit=1", nil)
	if err != nil {
		return 0, err
	}
	name, secret, _ := strings.Cut(key, ":")
	req.SetBasicAuth(name, secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	var page struct{ Last uint64 }
	if res.StatusCode != http.StatusOK || json.Unmarshal(text, &page) != nil {
		return 0, fmt.Errorf("GET /events: %s %s", res.Status, text)
	}
	return page.Last, nil
}

// awaitEvents waits until the newest state event has at least this seq.
func (c *cluster) awaitEvents(ctx context.Context, seq uint64) error {
	for {
		last, err := c.lastEvent(ctx)
		if err != nil {
			return err
		}
		if last >= seq {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d state events: %w", last, seq, ctx.Err())
		}
	}
}
