package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// log measures transitions committed per second on one node with fsync, by the benchmark of the log itself: clients
// enough to fill it would cost more CPU than this machine has.
func (b *bench) log(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.Dir, "innkeeper-log-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkPropose$", "-benchtime", b.benchtime(), "./raftstore")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	rate, ok := transitionRate(string(out))
	if !ok {
		b.note("transitions committed per second on one node with fsync", "not measured: no benchmark reports transitions/s", "≥ 50,000/s")
		return nil
	}
	b.atLeast("transitions committed per second on one node with fsync", rate, "/s", 50_000)
	return nil
}

func (b *bench) benchtime() string {
	if b.Quick {
		return "1s"
	}
	return "3s"
}

var transitionMetric = regexp.MustCompile(`([0-9.e+]+) transitions/s`)

// transitionRate is the best rate that a benchmark reported.
func transitionRate(out string) (best float64, ok bool) {
	for _, m := range transitionMetric.FindAllStringSubmatch(out, -1) {
		if rate, err := strconv.ParseFloat(m[1], 64); err == nil {
			best, ok = max(best, rate), true
		}
	}
	return best, ok
}
