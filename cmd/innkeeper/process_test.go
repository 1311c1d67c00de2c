package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// beProgram makes the test binary behave as the program itself: what is tested here is a process.
const beProgram = "BE_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Unsetenv(beProgram)
		main()
		return
	}
	os.Exit(m.Run())
}

// patience bounds every wait. Nothing is expected to take that long.
const patience = 30 * time.Second

// process is one run of the program.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	err  buffer
	done chan struct{} // closed when it has ended
}

// program runs a command line.
func program(t *testing.T, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(exe, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), beProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.err, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v said:\n%s", args, &p.err)
		}
	})
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// refused waits for the end, which must be an orderly refusal that says all parts.
func (p *process) refused(code int, parts ...string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("still running: %s", &p.err)
	}
	text := p.err.String()
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d (%v), want %d", got, p.cmd.ProcessState, code)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			p.t.Errorf("%q is missing in: %s", part, text)
		}
	}
	for _, sign := range []string{"panic", "goroutine ", "SIGBUS", "fault"} {
		if strings.Contains(text, sign) {
			p.t.Errorf("not for users: %s", text)
		}
	}
}

// site is a configuration file with its addresses.
type site struct {
	file, dir                      string
	client, admin, cluster, gossip string
}

func newSite(t *testing.T, dir string) site {
	t.Helper()
	var free [4]string
	for i := range free {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		free[i] = l.Addr().String()
	}
	s := site{filepath.Join(t.TempDir(), "n.yaml"), dir, free[0], free[1], free[2], free[3]}
	text := fmt.Sprintf(`node: {data_dir: %q, listen: %q, admin_listen: %q, cluster_listen: %q, gossip_listen: %q}
apps: [{id: demo, keys: [{key: "demo.root:geheim", capability: {"[*]*": ["*"]}}]}]
state_events: {vacated_delay: 200ms, restart_grace: 2s}
cluster: {partitions: 8}
log: {level: warn}
`, dir, s.client, s.admin, s.cluster, s.gossip)
	if err := os.WriteFile(s.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s site) serve(t *testing.T, flags ...string) *process {
	t.Helper()
	return program(t, append([]string{"serve", "--config", s.file}, flags...)...)
}

// ready waits until the node serves.
func (p *process) ready(s site) *process {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if res, err := http.Get("http://" + s.admin + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p
			}
		}
		select {
		case <-p.done:
			p.t.Fatalf("ended (%v): %s", p.cmd.ProcessState, &p.err)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not ready: %s", &p.err)
		}
	}
}

// get reads JSON as the root key.
func (s site) get(t *testing.T, path string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.client+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("demo.root", "geheim")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(body, into) != nil {
		t.Fatalf("GET %s: %s %s %v", path, res.Status, body, err)
	}
}

type stateEvent struct {
	ID, Channel, Type string
	Seq, Ends         uint64
	TimeMs            int64 `json:"time_ms"`
}

func (s site) events(t *testing.T) []stateEvent {
	t.Helper()
	var page struct{ Events []stateEvent }
	s.get(t, "/events?after=0&limit=1000", &page)
	return page.Events
}

type heldChannel struct {
	Channel string
	Seq     uint64
	SinceMs int64 `json:"since_ms"`
}

func (s site) occupied(t *testing.T) []heldChannel {
	t.Helper()
	var page struct{ Channels []heldChannel }
	s.get(t, "/occupied?limit=1000", &page)
	return page.Channels
}

// attach opens a WebSocket that is attached to channels, and waits until the node has confirmed them all.
func (s site) attach(t *testing.T, channels ...string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "GET /?v=5&key=demo.root:geheim HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	for _, name := range channels {
		frame := fmt.Appendf(nil, `{"action":10,"channel":%q}`, name)
		conn.Write(append([]byte{0x81, 0x80 | byte(len(frame)), 0, 0, 0, 0}, frame...))
	}
	var seen []byte
	for b := make([]byte, 4096); bytes.Count(seen, []byte(`"action":11`)) < len(channels); {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, seen)
		}
		seen = append(seen, b[:n]...)
	}
	return conn
}

// TestEachPortInUse takes the ports of a node one by one. The message names the setting and the address; the disk is not
// held by the failed start.
func TestEachPortInUse(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	for _, c := range []struct {
		network, addr, setting string
	}{
		{"tcp", s.client, "node.listen"},
		{"tcp", s.admin, "node.admin_listen"},
		{"tcp", s.cluster, "node.cluster_listen"},
		{"tcp", s.gossip, "node.gossip_listen"},
		{"udp", s.gossip, "node.gossip_listen"},
	} {
		t.Run(c.network+" "+c.setting, func(t *testing.T) {
			var taken io.Closer
			var err error
			if c.network == "udp" {
				taken, err = net.ListenPacket("udp", c.addr)
			} else {
				taken, err = net.Listen("tcp", c.addr)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			s.serve(t).refused(exitRefused, c.setting+":", c.addr, "already in use", "another port")
		})
	}
	t.Run("all at once", func(t *testing.T) {
		other := newSite(t, filepath.Join(t.TempDir(), "data"))
		s.serve(t).ready(s)
		p := other.serve(t, "--node.listen", s.client, "--node.admin_listen", s.admin, "--node.cluster_listen", s.cluster, "--node.gossip_listen", s.gossip)
		p.refused(exitRefused, "node.listen:", "node.admin_listen:", "node.cluster_listen:", "node.gossip_listen:")
	})
}

// TestCannotStart: what keeps a node from starting is code 1, whenever it is found, and gets the advice that fits it.
func TestCannotStart(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.serve(t, "--cluster.id", "abc").refused(exitRefused, "cluster.id", `"abc"`, s.dir, "is new")
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s was made: %v", s.dir, err)
	}
	s.serve(t).ready(s).kill()
	s.serve(t, "--cluster.id", "abc").refused(exitRefused, "cluster.id", `"abc"`, s.dir, "belongs to cluster")

	joining := newSite(t, filepath.Join(t.TempDir(), "data"))
	p := joining.serve(t, "--node.join", s.gossip, "--log.level", "info")
	for deadline := time.Now().Add(patience); !strings.Contains(p.err.String(), "not ready yet"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no word of it")
		}
	}
	p.kill()
	joining.serve(t, "--cluster.id", "abc").refused(exitRefused, "cluster.id", `"abc"`, joining.dir, "is new")

	p = s.serve(t, "--node.listen", "203.0.113.7:7999")
	p.refused(exitRefused, "cannot assign requested address", "does not have that address")
	if strings.Contains(p.err.String(), "stop that process") {
		t.Errorf("which process? %s", &p.err)
	}
	program(t, "dev", "--listen", "203.0.113.7:7999").refused(exitRefused, "cannot assign requested address", "choose an address of this machine")
}

// TestDataDirInUse starts a second process on the data dir of the first, which does not suffer.
func TestDataDirInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, second := newSite(t, dir), newSite(t, dir)
	p := first.serve(t).ready(first)
	first.attach(t, "chat:a")
	second.serve(t).refused(exitRefused, dir, "in use by another process")
	if list := first.occupied(t); len(list) != 1 || list[0].Channel != "chat:a" {
		t.Errorf("occupied: %+v", list)
	}
	p.kill()
	second.serve(t).ready(second)
	if list := second.occupied(t); len(list) != 1 || list[0].Channel != "chat:a" {
		t.Errorf("after the move to other ports, occupied: %+v", list)
	}
}

// TestKilledNodeRemembers kills a node with -9 while clients hold channels, twice. Events keep their ids, who returns
// within the grace causes none, and the others are vacated, each ending its own occupied.
func TestKilledNodeRemembers(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	p := s.serve(t).ready(s)
	s.attach(t, "chat:returns", "chat:gone", "chat:gone too")
	before, held := s.events(t), s.occupied(t)
	if len(before) != 3 || len(held) != 3 {
		t.Fatalf("events %+v, occupied %+v", before, held)
	}
	p.kill()
	p = s.serve(t).ready(s)
	if now := s.occupied(t); fmt.Sprint(now) != fmt.Sprint(held) {
		t.Errorf("occupied was %+v and is %+v", held, now)
	}
	p.kill() // again, within the grace
	s.serve(t).ready(s)
	s.attach(t, "chat:returns")
	deadline := time.Now().Add(patience)
	for len(s.occupied(t)) > 1 {
		if time.Now().After(deadline) {
			t.Fatalf("still occupied: %+v", s.occupied(t))
		}
		time.Sleep(20 * time.Millisecond)
	}
	after := s.events(t)
	if len(after) != 5 || fmt.Sprint(after[:3]) != fmt.Sprint(before) {
		t.Fatalf("events were %+v and are %+v", before, after)
	}
	for i, e := range after[3:] {
		if e.Type != "vacated" || e.Channel == "chat:returns" || e.Seq != uint64(4+i) {
			t.Errorf("got %+v", e)
		}
		if o := before[e.Ends-1]; o.Channel != e.Channel || o.Seq != e.Ends {
			t.Errorf("%+v ends %+v", e, o)
		}
	}
}

// nobody is a user without rights; only root can become one.
const nobody = 65534

// TestDataDirWithoutRights runs as a user who may not do what it takes.
func TestDataDirWithoutRights(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run a process as somebody else")
	}
	base, err := os.MkdirTemp("/tmp", "innkeeper-rights-") // the test's own directory is root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	exe, err := os.Executable()
	if err == nil {
		err = os.Chmod(base, 0o755)
	}
	if err != nil || exec.Command("cp", exe, base+"/innkeeper").Run() != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "data")
	s := newSite(t, dir)
	config := filepath.Join(base, "n.yaml")
	text, err := os.ReadFile(s.file)
	if err == nil {
		err = os.WriteFile(config, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	first := s.serve(t).ready(s)
	s.attach(t, "chat:a")
	first.kill()
	s.file = config
	asNobody := func(t *testing.T, flags ...string) *process {
		p := &process{t: t, cmd: exec.Command(base+"/innkeeper", append([]string{"serve", "--config", config}, flags...)...), done: make(chan struct{})}
		p.cmd.Dir = base
		p.cmd.Env = []string{beProgram + "=1"}
		p.cmd.Stdout, p.cmd.Stderr = &p.err, &p.err
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { p.cmd.Wait(); close(p.done) }()
		t.Cleanup(p.kill)
		return p
	}
	chmod := func(mode os.FileMode, names ...string) {
		for _, name := range names {
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	chmod(0o700, "")
	t.Run("unreadable", func(t *testing.T) {
		p := asNobody(t)
		p.refused(exitRefused, dir, "permission denied", "may write to")
		if strings.Contains(p.err.String(), "port") {
			t.Errorf("which port? %s", &p.err)
		}
	})
	chmod(0o755, "", "snapshots")
	chmod(0o644, "log.db", "node.id", "lock")
	t.Run("read-only", func(t *testing.T) { asNobody(t).refused(exitRefused, dir, "permission denied", "may write to") })
	chmod(0o666, "lock")
	t.Run("log read-only", func(t *testing.T) { asNobody(t).refused(exitRefused, dir, "permission denied", "may write to") })
	s.serve(t).ready(s)
	if list := s.occupied(t); len(list) != 1 {
		t.Errorf("occupied: %+v", list)
	}
}
