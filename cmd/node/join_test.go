package node

import (
	"strings"
	"testing"
	"time"

	"innkeeper/cmd/node/config"
)

// joining is a node that joins another.
func joining(dir string, to *running) config.Config {
	cfg := settings(dir)
	cfg.Node.Join, cfg.Node.BootstrapExpect = []string{to.GossipAddr()}, 0
	return cfg
}

// TestJoinWithAnotherSetting refuses a newcomer that was told something else about the cluster, and only the newcomer.
func TestJoinWithAnotherSetting(t *testing.T) {
	first := run(t, settings(t.TempDir())).ready()
	c := first.occupy("chat:a")
	for _, partitions := range []int{4, 16} {
		cfg := joining(t.TempDir(), first)
		cfg.Cluster.Partitions = partitions
		says(t, startError(t, cfg), "cluster.partitions", "has 8", "set it to 8")
	}
	first.until("recovery", func() bool { return first.Ready() == nil })
	c.alive()
	if list := first.occupied(); len(list) != 1 {
		t.Errorf("occupied: %+v", list)
	}
}

// TestCopiedDataDir starts a copy of a node's data dir beside the node itself. The node goes on; the copy is kept out and
// told why.
func TestCopiedDataDir(t *testing.T) {
	first := run(t, settings(t.TempDir())).ready()
	dir := t.TempDir()
	cfg := joining(dir, first)
	cfg.Node.ClusterListen, cfg.Node.GossipListen = freeAddr(t), freeAddr(t)
	second := run(t, cfg).ready()
	second.Kill()
	second.cancel()
	twin := cfg
	twin.Node.DataDir = copyDir(t, dir)
	twin.Node.ClusterListen, twin.Node.GossipListen = "127.0.0.1:0", "127.0.0.1:0"
	second = run(t, cfg).ready()
	c := second.occupy("chat:a")

	copied := run(t, twin)
	copied.until("word of the twin", func() bool {
		return strings.Contains(copied.log.String(), "in use by another live process")
	})
	held := time.Now().Add(6 * time.Second) // longer than a lease
	for time.Now().Before(held) {
		if copied.Ready() == nil {
			t.Fatal("the copy serves")
		}
		if err := second.Ready(); err != nil {
			t.Fatalf("the node that was first suffers: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.alive()
}
