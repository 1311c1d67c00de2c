package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The names of all that a campaign leaves in the kernel begin with prefix, so that it can be found again. The next part is
// the process that made it.
const prefix = "innk-"

// inside tells a process of this command that it runs in the hub's namespace, which its parent made and removes.
const inside = "CHAOS_HUB_PID"

// command runs a program of the system and says what it said when it failed.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ipAll runs one ip command per line.
func ipAll(lines ...string) error {
	for _, l := range lines {
		if err := command("ip", strings.Fields(l)...); err != nil {
			return err
		}
	}
	return nil
}

// namespaced says whether this machine lets us make network namespaces with all that faults need; if not, why.
func namespaced() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	for _, tool := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no %s", tool)
		}
	}
	probe := prefix + strconv.Itoa(os.Getpid()) + "-probe"
	if err := ipAll("netns add "+probe, "-n "+probe+" link add innk-a type veth peer name innk-b"); err != nil {
		command("ip", "netns", "del", probe)
		return err
	}
	return command("ip", "netns", "del", probe)
}

// hubName and nodeName are namespaces of the campaign that process pid runs.
func hubName(pid int) string     { return fmt.Sprintf("%s%d-hub", prefix, pid) }
func nodeName(pid, i int) string { return fmt.Sprintf("%s%d-n%d", prefix, pid, i+1) }
func portName(i int) string      { return fmt.Sprintf("innk-v%d", i+1) }
func nodeIP(i int) string        { return fmt.Sprintf("10.231.%d.2", i+1) }
func runDir(pid int) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("%schaos-%d", prefix, pid))
}
func hubPid() int                    { pid, _ := strconv.Atoi(os.Getenv(inside)); return pid }
func inNamespace(ns string) []string { return []string{"ip", "netns", "exec", ns} }

const hubIP = "10.231.0.1"

// underHub makes the namespaces of n nodes around a hub that routes between them, runs this command again with args inside the hub,
// where clients and receiver live, and removes everything when that ends, however it does.
//
//	node 10.231.1.2 ── 10.231.1.1 hub 10.231.2.1 ── node 10.231.2.2
func underHub(n int, args []string) (code int, err error) {
	pid := os.Getpid()
	defer func() { err = errors.Join(err, tidy(pid)) }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) // from here on nothing ends us but the end
	hub := hubName(pid)
	if err := ipAll("netns add "+hub, "-n "+hub+" link set lo up", "-n "+hub+" addr add "+hubIP+"/32 dev lo"); err != nil {
		return 1, err
	}
	for i := range n {
		ns, port, gateway := nodeName(pid, i), portName(i), fmt.Sprintf("10.231.%d.1", i+1)
		if err := ipAll(
			"netns add "+ns,
			"-n "+hub+" link add "+port+" type veth peer name eth0 netns "+ns,
			"-n "+hub+" addr add "+gateway+"/24 dev "+port, "-n "+hub+" link set "+port+" up",
			"-n "+ns+" link set lo up", "-n "+ns+" addr add "+nodeIP(i)+"/24 dev eth0",
			"-n "+ns+" link set eth0 up", "-n "+ns+" route add default via "+gateway,
		); err != nil {
			return 1, err
		}
	}
	if err := command("ip", "netns", "exec", hub, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"); err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	again := append(append(inNamespace(hub), self), args...)
	cmd := exec.Command(again[0], again[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+strconv.Itoa(pid))
	// A Ctrl-C comes through us, once; and should we be killed, it ends as by a signal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			cmd.Process.Signal(s)
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return max(exit.ExitCode(), 1), nil
			}
			return 0, err
		}
	}
}

// tidy ends what runs in the namespaces that process pid made and removes them, and its mounts.
func tidy(pid int) error {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return err
	}
	mine := fmt.Sprintf("%s%d-", prefix, pid)
	var errs []error
	for line := range strings.Lines(string(out)) {
		ns, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(ns, mine) {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", ns).Output()
		for _, p := range strings.Fields(string(pids)) {
			if n, err := strconv.Atoi(p); err == nil && n != os.Getpid() {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
		errs = append(errs, command("ip", "netns", "del", ns))
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], runDir(pid)+"/") {
			errs = append(errs, syscall.Unmount(f[1], syscall.MNT_DETACH))
		}
	}
	return errors.Join(errs...)
}

// cleanup removes what campaigns left whose process is gone: one that was killed with -9 could not.
func cleanup() error {
	left := map[int]bool{}
	note := func(name string) {
		owner, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
		if pid, err := strconv.Atoi(owner); err == nil && strings.HasPrefix(name, prefix) {
			left[pid] = true
		}
	}
	out, _ := exec.Command("ip", "netns", "list").Output()
	for line := range strings.Lines(string(out)) {
		note(strings.Fields(line)[0])
	}
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"chaos-*"))
	for _, d := range dirs {
		note(prefix + strings.TrimPrefix(filepath.Base(d), prefix+"chaos-") + "-")
	}
	var errs []error
	for pid := range left {
		if syscall.Kill(pid, 0) == nil {
			fmt.Printf("process %d still runs; what it made is left alone\n", pid)
			continue
		}
		errs = append(errs, tidy(pid), os.RemoveAll(runDir(pid)))
		fmt.Printf("removed what process %d had left\n", pid)
	}
	return errors.Join(errs...)
}

// wires are the faults of the network around the nodes. All is done at the hub, so it holds for both ends.
type wires struct{}

// rule is what iptables does with packets on their way between nodes.
type rule []string

func drop(match ...string) rule { return append(match, "-j", "DROP") }

// from and to match a node's packets.
func from(i int) []string { return []string{"-s", nodeIP(i)} }
func to(i int) []string   { return []string{"-d", nodeIP(i)} }

// reject answers connections with a reset, and what is no connection with "unreachable", as firewalls do.
func reject(match ...string) []rule {
	return []rule{
		append(append(rule{}, match...), "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"),
		append(append(rule{}, match...), "!", "-p", "tcp", "-j", "REJECT"),
	}
}

// lose drops a share of the packets.
func lose(share float64, match ...string) rule {
	return append(append(rule{}, match...), "-m", "statistic", "--mode", "random", "--probability", strconv.FormatFloat(share, 'f', 3, 64), "-j", "DROP")
}

// apply sets the rules and returns what takes them back.
func (wires) apply(rules ...rule) (undo func() error, err error) {
	done := 0
	undo = func() error {
		var errs []error
		for _, r := range rules[:done] {
			errs = append(errs, command("iptables", append([]string{"-w", "-D", "FORWARD"}, r...)...))
		}
		return errors.Join(errs...)
	}
	for _, r := range rules {
		if err := command("iptables", append([]string{"-w", "-A", "FORWARD"}, r...)...); err != nil {
			return nil, errors.Join(err, undo())
		}
		done++
	}
	return undo, nil
}

// unplug takes the node's cable out: nobody reaches it, not even its clients.
func (wires) unplug(i int) (undo func() error, err error) {
	if err := command("ip", "link", "set", portName(i), "down"); err != nil {
		return nil, err
	}
	return func() error { return command("ip", "link", "set", portName(i), "up") }, nil
}

// narrow makes the way to a node slow, with a queue in front of it.
func (wires) narrow(i int) (undo func() error, err error) {
	if err := command("tc", "qdisc", "add", "dev", portName(i), "root", "tbf", "rate", "256kbit", "burst", "4kb", "latency", "800ms"); err != nil {
		return nil, err
	}
	return func() error { return command("tc", "qdisc", "del", "dev", portName(i), "root") }, nil
}
