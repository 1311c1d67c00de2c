package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"innkeeper/cmd/ports"
)

const demoKey = "demo.root:secret"

// ask is for questions to nodes. One that hangs costs a moment; no connection outlives its answer, since what it would be
// reused for may be another process by then.
var ask = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// proc is one `innkeeper serve` process.
type proc struct {
	index         int
	name          string
	dir           string
	in            []string // see place
	small         bool     // its data lie on a small file system
	listen, admin string
	id            string // node id, known once it serves

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

// processes is a cluster of real processes on loopback addresses.
type processes struct {
	bin   string
	dir   string
	procs []*proc
}

// status is what the admin API says of the cluster.
type status struct {
	Node       string      `json:"node"`
	Leader     string      `json:"leader"`
	Partitions []tableSlot `json:"partitions"`
}

type tableSlot struct {
	Partition uint32 `json:"partition"`
	Owner     string `json:"owner"`
	Epoch     uint64 `json:"epoch"`
}

// place is where one node lives. Its ports are client, admin, cluster and gossip.
type place struct {
	host  string
	ports [4]int
	in    []string // what to start its process with, to be in its network
}

func (p place) addr(k int) string { return fmt.Sprintf("%s:%d", p.host, p.ports[k]) }

// loopback finds places for n nodes on the addresses that host names.
func loopback(n int, host func(i int) string) ([]place, error) {
	free, err := ports.Free(4 * n)
	if err != nil {
		return nil, err
	}
	places := make([]place, n)
	for i := range places {
		places[i] = place{host: host(i), ports: [4]int(free[4*i : 4*i+4])}
	}
	return places, nil
}

// newProcesses writes the configuration of a node per place; they send their events to webhook, if there is one.
func newProcesses(bin, dir string, places []place, webhook string, delay, grace time.Duration) (*processes, error) {
	var join []string
	for _, at := range places {
		join = append(join, fmt.Sprintf("%q", at.addr(3)))
	}
	rules := ""
	if webhook != "" {
		rules = fmt.Sprintf("  rules:\n  - {id: state, source: channel.state, target: {url: %q, format: innkeeper}}\n", webhook)
	}
	ps := &processes{bin: bin, dir: dir}
	for i, at := range places {
		p := &proc{
			index: i, name: fmt.Sprintf("n%d", i+1), dir: filepath.Join(dir, fmt.Sprintf("n%d", i+1)),
			listen: at.addr(0), admin: at.addr(1), in: at.in,
		}
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
%sstate_events: {vacated_delay: %s, restart_grace: %s}
`, filepath.Join(p.dir, "data"), p.listen, p.admin, at.addr(2), at.addr(3), strings.Join(join, ", "), len(places), demoKey, rules, delay, grace)
		if err := os.WriteFile(filepath.Join(p.dir, "config.yaml"), []byte(conf), 0o644); err != nil {
			return nil, err
		}
		ps.procs = append(ps.procs, p)
	}
	return ps, nil
}

// start runs one process; its output goes to a file beside its configuration.
func (ps *processes) start(p *proc) error {
	out, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	line := append(append([]string(nil), p.in...), ps.bin, "serve", "--config", filepath.Join(p.dir, "config.yaml"))
	cmd := exec.Command(line[0], line[1:]...) // "ip netns exec" becomes the program: the process is the node
	cmd.Stdout, cmd.Stderr = out, out
	// The process dies with us, whatever happens to us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	go func() {
		cmd.Wait()
		close(exited)
	}()
	return nil
}

// startAll runs every process and waits until each is ready and all know that it owns partitions: those that come later get
// theirs in steps.
func (ps *processes) startAll(ctx context.Context) error {
	for _, p := range ps.procs {
		if err := ps.start(p); err != nil {
			return err
		}
	}
	if err := ps.ready(ctx, ps.procs...); err != nil {
		return err
	}
	for _, of := range ps.procs {
		for st, err := of.status(); err != nil || ps.idle(st) != nil; st, err = of.status() {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not see everybody own something: %w", of.name, errors.Join(err, ctx.Err()))
			case <-time.After(20 * time.Millisecond): // another process has no other way to tell
			}
		}
	}
	return nil
}

// idle is a process that owns nothing, nil when there is none.
func (ps *processes) idle(st status) *proc {
	for _, p := range ps.procs {
		if !st.owned(p.id) {
			return p
		}
	}
	return nil
}

// ready waits until the processes say so on their admin listener.
func (ps *processes) ready(ctx context.Context, procs ...*proc) error {
	for _, p := range procs {
		for !p.isReady() {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is not ready: %w", p.name, ctx.Err())
			case <-p.gone():
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
	resp, err := ask.Get("http://" + p.admin + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (p *proc) status() (status, error) { return p.statusWithin(context.Background()) }

func (p *proc) statusWithin(ctx context.Context) (status, error) {
	var st status
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+p.admin+"/cluster", nil)
	if err != nil {
		return st, err
	}
	resp, err := ask.Do(req)
	if err != nil {
		return st, err
	}
	defer resp.Body.Close()
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

// leading is the process that most others say leads; those that do not answer in a second have no say.
func (ps *processes) leading() (*proc, error) {
	said := make(chan string, len(ps.procs))
	for _, p := range ps.procs {
		go func() { // ends with the question
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			st, _ := p.statusWithin(ctx)
			said <- st.Leader
		}()
	}
	votes := map[string]int{}
	for range ps.procs {
		votes[<-said]++
	}
	for _, p := range ps.procs {
		if 2*votes[p.id] > len(ps.procs) {
			return p, nil
		}
	}
	return nil, errors.New("no process leads a majority")
}

// gone is closed when the process that was started last has ended; nil before the first start.
func (p *proc) gone() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// signal signals the process that was started last, if any.
func (p *proc) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	return p.cmd.Process.Signal(s)
}

// kill9 ends processes at once and waits until they are gone.
func (ps *processes) kill9(procs ...*proc) {
	for _, p := range procs {
		p.signal(syscall.SIGKILL)
	}
	for _, p := range procs {
		if gone := p.gone(); gone != nil {
			<-gone
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
