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

// TestJoinWithAnotherNumberOfPartitions: the cluster's number counts, and what is where does not change.
func TestJoinWithAnotherNumberOfPartitions(t *testing.T) {
	first := run(t, settings(t.TempDir())).ready()
	c := first.occupy("chat:a")
	cfg := joining(t.TempDir(), first)
	cfg.Cluster.Partitions = 64
	second := run(t, cfg).ready()
	d := second.occupy("chat:b")
	c.alive()
	d.alive()
	for _, n := range []*running{first, second} {
		if table := n.boot.Load().store.View().Table; len(table.Slots) != 8 || table.Began != 0 {
			t.Errorf("the table has %d partitions, want the 8 that the cluster was founded with", len(table.Slots))
		}
		if got := len(n.boot.Load().gateway.PartitionInfo()); got != 8 {
			t.Errorf("a gateway has %d partitions, want 8", got)
		}
		n.until("both channels", func() bool { return len(n.occupied()) == 2 })
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
