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

// TestCopiedDataDir starts a copy of a node's data dir beside the node itself. The node goes on; the copy is ended and says
// why.
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
	second = run(t, cfg).ready()
	c := second.occupy("chat:a")
	endsBeside(t, twin, second)
	c.alive()
}

// TestCopyOfASingleNode does the same where there is no other node that could tell the two apart. The copy need not be told
// of the first: its log names it.
func TestCopyOfASingleNode(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Node.ClusterListen, cfg.Node.GossipListen = freeAddr(t), freeAddr(t)
	first := run(t, cfg).ready()
	first.Kill()
	first.cancel()
	for _, join := range []bool{false, true} {
		twin := cfg
		twin.Node.DataDir = copyDir(t, cfg.Node.DataDir)
		if join {
			twin.Node.Join = []string{cfg.Node.GossipListen}
		}
		first = run(t, cfg).ready()
		c := first.occupy("chat:a")
		endsBeside(t, twin, first)
		c.alive()
		if list := first.occupied(); len(list) != 1 {
			t.Errorf("the first has %+v", list)
		}
		first.Kill()
		first.cancel()
	}
}

// endsBeside starts a copy of a node, at other addresses, which ends and never serves; the node goes on.
func endsBeside(t *testing.T, twin config.Config, first *running) {
	t.Helper()
	twin.Node.ClusterListen, twin.Node.GossipListen = "127.0.0.1:0", "127.0.0.1:0"
	copied := run(t, twin)
	late := time.After(patience)
	for {
		select {
		case <-copied.ended:
			says(t, copied.err, "in use by another live process", first.ClusterAddr())
			if err := first.Ready(); err != nil {
				t.Errorf("the node that was first suffers: %v", err)
			}
			if log := first.log.String(); !strings.Contains(log, "another process runs under the id of this node") {
				t.Errorf("the first does not tell:\n%s", log)
			}
			return
		case <-late:
			t.Fatal("the copy goes on")
		case <-time.After(time.Millisecond):
		}
		if copied.Ready() == nil {
			t.Fatal("the copy serves")
		}
		if err := first.Ready(); err != nil {
			t.Fatalf("the node that was first suffers: %v", err)
		}
	}
}
