package node

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"innkeeper/cmd/node/config"
)

const logName = "log.db"

// lived is the data dir of a node that has stopped.
type lived struct {
	cfg    config.Config
	node   string
	events []event
}

// live lets a node live until its log has many pages.
func live(t *testing.T) lived {
	t.Helper()
	cfg := settings(filepath.Join(t.TempDir(), "data"))
	// The addresses are part of what the node agreed on with itself.
	cfg.Node.ClusterListen, cfg.Node.GossipListen = freeAddr(t), freeAddr(t)
	n := run(t, cfg).ready()
	for i := range 3 {
		var names []string
		for j := range 40 {
			names = append(names, fmt.Sprintf("chat:%d-%d-%s", i, j, strings.Repeat("x", 100)))
		}
		c := n.occupy(names...)
		if i < 2 {
			c.raw.Close()
			n.until("the channels to be vacated", func() bool { return len(n.occupied()) == 0 })
		}
	}
	l := lived{cfg, n.ID(), n.events()}
	if len(l.events) != 200 {
		t.Fatalf("%d events, want 200", len(l.events))
	}
	n.Kill()
	return l
}

// copy is the same data in a new directory.
func (l lived) copy(t *testing.T) config.Config {
	cfg := l.cfg
	cfg.Node.DataDir = copyDir(t, l.cfg.Node.DataDir)
	cfg.Node.ClusterListen, cfg.Node.GossipListen = "127.0.0.1:0", "127.0.0.1:0"
	return cfg
}

// check starts the node. It must refuse with an error that names a file and a remedy, or have everything; lost is how
// many of the last events may be missing.
func (l lived) check(t *testing.T, cfg config.Config, lost int) error {
	t.Helper()
	log := newLogs()
	n, err := New(Options{Config: cfg, Logger: log.logger()})
	if err == nil {
		r := launch(t, n, log)
		if err = r.outcome(); err == nil {
			defer r.Kill()
			got := r.events()
			if r.ID() != l.node {
				t.Errorf("node %s began in silence, where %s had lived", r.ID(), l.node)
			}
			if len(got) < len(l.events)-lost || fmt.Sprint(got[:min(len(got), len(l.events))]) != fmt.Sprint(l.events[:min(len(got), len(l.events))]) {
				t.Errorf("it runs with %d events of %d, or with others", len(got), len(l.events))
			}
			return nil
		}
	}
	says(t, err, cfg.Node.DataDir)
	for _, remedy := range []string{"copy back", "move the whole data dir away"} {
		if !strings.Contains(err.Error(), remedy) {
			t.Errorf("no remedy (%q) in: %v", remedy, err)
		}
	}
	if strings.Contains(err.Error(), "goroutine ") || strings.Contains(err.Error(), "runtime error") {
		t.Errorf("not for users: %v", err)
	}
	return err
}

// outcome waits until the node is ready (nil) or has ended (why).
func (r *running) outcome() error {
	r.t.Helper()
	var ended bool
	eventually(r.t, "outcome", func() bool {
		select {
		case <-r.ended:
			ended = true
		default:
		}
		return ended || r.Ready() == nil
	})
	if ended {
		return r.err
	}
	return nil
}

// TestTruncatedLog cuts the log at many lengths. No cut can go unnoticed, and what is left is not touched.
func TestTruncatedLog(t *testing.T) {
	l := live(t)
	info, err := os.Stat(filepath.Join(l.cfg.Node.DataDir, logName))
	if err != nil {
		t.Fatal(err)
	}
	page, size := int64(os.Getpagesize()), info.Size()
	for _, keep := range []int64{0, 1, page - 1, page, page + 1, 2 * page, 3 * page, 4 * page, size / 4, size / 2, size/2 + 100} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			cfg := l.copy(t)
			file := filepath.Join(cfg.Node.DataDir, logName)
			if err := os.Truncate(file, keep); err != nil {
				t.Fatal(err)
			}
			err := l.check(t, cfg, 0)
			if err == nil {
				t.Fatal("it runs on a part of its log")
			}
			says(t, err, file, "truncated", fmt.Sprintf("%d bytes found", keep))
			if after, err := os.Stat(file); err != nil || after.Size() != keep {
				t.Errorf("the file was changed: %v %v", after, err)
			}
			t.Log(err)
		})
	}
	// The file grows ahead of what is in it: its last page may be free.
	t.Run("all but one page", func(t *testing.T) {
		cfg := l.copy(t)
		if err := os.Truncate(filepath.Join(cfg.Node.DataDir, logName), size-page); err != nil {
			t.Fatal(err)
		}
		t.Log(l.check(t, cfg, 0))
	})
}

// TestFlippedBytes damages the log in the middle of pages, one place at a time. The node refuses, or has lost nothing
// since the place was not in use. Of the two header pages the older one is a fallback by one write, as after a power cut.
func TestFlippedBytes(t *testing.T) {
	l := live(t)
	whole, err := os.ReadFile(filepath.Join(l.cfg.Node.DataDir, logName))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	rng := rand.New(rand.NewPCG(1, 2))
	outcomes := map[bool]int{}
	for p := range len(whole) / page {
		if p > 8 && rng.IntN(4) > 0 {
			continue // a sample; what is behind is mostly room to grow
		}
		at := p*page + rng.IntN(page-8)
		if p < 2 {
			at = p*page + 16 + rng.IntN(64)
		}
		cfg := l.copy(t)
		b := append([]byte(nil), whole...)
		for i := range 8 {
			b[at+i] ^= 0xff
		}
		if err := os.WriteFile(filepath.Join(cfg.Node.DataDir, logName), b, 0o640); err != nil {
			t.Fatal(err)
		}
		lost := 0
		if p < 2 {
			lost = 64
		}
		t.Run(fmt.Sprintf("page %d", p), func(t *testing.T) {
			err := l.check(t, cfg, lost)
			outcomes[err == nil]++
			t.Log(at, err)
		})
	}
	t.Logf("%d harmless, %d refused", outcomes[true], outcomes[false])
}

// TestMissingFiles takes files away. What is left must never look like a new node.
func TestMissingFiles(t *testing.T) {
	l := live(t)
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		says   string // "" for harmless
	}{
		{"log", func(dir string) error { return os.Remove(filepath.Join(dir, logName)) }, "missing"},
		{"log is empty", func(dir string) error { return os.Truncate(filepath.Join(dir, logName), 0) }, "truncated"},
		{"log is zeros", func(dir string) error { return os.WriteFile(filepath.Join(dir, logName), make([]byte, 1<<20), 0o640) }, "header"},
		{"log is text", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, logName), []byte(strings.Repeat("hello ", 10_000)), 0o640)
		}, "header"},
		{"node id", func(dir string) error { return os.Remove(filepath.Join(dir, "node.id")) }, ""},
		{"node id is empty", func(dir string) error { return os.Truncate(filepath.Join(dir, "node.id"), 0) }, "empty"},
		{"node id of another", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "node.id"), []byte("anothernodesid22\n"), 0o640)
		}, "anothernodesid22"},
		{"lock", func(dir string) error { return os.Remove(filepath.Join(dir, "lock")) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := l.copy(t)
			if err := c.damage(cfg.Node.DataDir); err != nil {
				t.Fatal(err)
			}
			err := l.check(t, cfg, 0)
			t.Log(err)
			if (err == nil) != (c.says == "") {
				t.Fatalf("got %v, want %q", err, c.says)
			}
			if err != nil {
				says(t, err, c.says)
			}
			if c.says != "" { // a second try finds the same: the first has changed nothing
				if again := l.check(t, cfg, 0); fmt.Sprint(again) != fmt.Sprint(err) {
					t.Errorf("at first %v, then %v", err, again)
				}
			}
		})
	}
}
