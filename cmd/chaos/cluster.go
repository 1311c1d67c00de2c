package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const demoKey = "demo.root:secret"

// proc is one `innkeeper serve` process.
type proc struct {
	name          string
	dir           string
	listen, admin string
	cmd           *exec.Cmd
	exited        chan struct{}
	id            string // node id, known once it serves
}

// processes is a cluster of real processes on loopback addresses.
type processes struct {
	bin   string
	dir   string
	procs []*proc
}

// status is what the admin API says of the cluster.
type status struct {
	Node       string `json:"node"`
	Leader     string `json:"leader"`
	Partitions []struct {
		Partition uint32 `json:"partition"`
		Owner     string `json:"owner"`
		Epoch     uint64 `json:"epoch"`
	} `json:"partitions"`
}

// newProcesses writes the configuration of n nodes that send their events to webhook.
func newProcesses(bin, dir string, n int, webhook string, delay, grace time.Duration) (*processes, error) {
	ports, err := freePorts(4 * n)
	if err != nil {
		return nil, err
	}
	addr := func(i, k int) string { return fmt.Sprintf("127.0.0.1:%d", ports[4*i+k]) }
	var join []string
	for i := range n {
		join = append(join, fmt.Sprintf("%q", addr(i, 3)))
	}
	ps := &processes{bin: bin, dir: dir}
	for i := range n {
		p := &proc{name: fmt.Sprintf("n%d", i+1), dir: filepath.Join(dir, fmt.Sprintf("n%d", i+1)), listen: addr(i, 0), admin: addr(i, 1)}
		if err := os.MkdirAll(p.dir, 0o755); err != nil {
			return nil, err
		}
		conf := fmt.Sprintf(`node:
  data_dir: %s
  listen: %s
  admin_listen: %s
  cluster_listen: %s
  gossip_listen: %s
  join: [%s]
  bootstrap_expect: %d
apps:
- id: demo
  keys:
  - {key: "%s", capability: {"[*]*": ["*"]}}
  rules:
  - {id: state, source: channel.state, target: {url: "%s", format: innkeeper}}
state_events: {vacated_delay: %s, restart_grace: %s}
`, filepath.Join(p.dir, "data"), p.listen, p.admin, addr(i, 2), addr(i, 3), strings.Join(join, ", "), n, demoKey, webhook, delay, grace)
		if err := os.WriteFile(filepath.Join(p.dir, "config.yaml"), []byte(conf), 0o644); err != nil {
			return nil, err
		}
		ps.procs = append(ps.procs, p)
	}
	return ps, nil
}

// freePorts finds n ports that are free now; all are held until the last is found, so that none comes twice.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// start runs one process; its output goes to a file beside its configuration.
func (ps *processes) start(p *proc) error {
	out, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(ps.bin, "serve", "--config", filepath.Join(p.dir, "config.yaml"))
	cmd.Stdout, cmd.Stderr = out, out
	// The process dies with us, whatever happens to us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
	return nil
}

// startAll runs every process and waits until each is ready.
func (ps *processes) startAll(ctx context.Context) error {
	for _, p := range ps.procs {
		if err := ps.start(p); err != nil {
			return err
		}
	}
	return ps.ready(ctx, ps.procs...)
}

// ready waits until the processes say so on their admin listener.
func (ps *processes) ready(ctx context.Context, procs ...*proc) error {
	for _, p := range procs {
		for !p.isReady() {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w", p.name, ctx.Err())
			case <-p.exited:
				return fmt.Errorf("%s ended; see %s", p.name, filepath.Join(p.dir, "log"))
			case <-time.After(20 * time.Millisecond): // another process has no other way to tell
			}
		}
		st, err := p.status()
		if err != nil {
			return err
		}
		p.id = st.Node
	}
	return nil
}

func (p *proc) isReady() bool {
	resp, err := http.Get("http://" + p.admin + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (p *proc) status() (status, error) {
	var st status
	resp, err := http.Get("http://" + p.admin + "/cluster")
	if err != nil {
		return st, err
	}
	defer resp.Body.Close()
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

// kill9 ends processes at once and waits until they are gone.
func (ps *processes) kill9(procs ...*proc) {
	for _, p := range procs {
		if p.cmd != nil {
			p.cmd.Process.Signal(syscall.SIGKILL)
		}
	}
	for _, p := range procs {
		if p.exited != nil {
			<-p.exited
		}
	}
}

// leader is the process that leads, and the rest.
func (ps *processes) leader() (*proc, []*proc, error) {
	st, err := ps.procs[0].status()
	if err != nil {
		return nil, nil, err
	}
	var lead *proc
	var rest []*proc
	for _, p := range ps.procs {
		if p.id == st.Leader {
			lead = p
		} else {
			rest = append(rest, p)
		}
	}
	if lead == nil {
		return nil, nil, fmt.Errorf("no process has the leader's id %q", st.Leader)
	}
	return lead, rest, nil
}
