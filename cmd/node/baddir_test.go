package node

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestConfigContradictsDataDir refuses to start, says both values, and leaves the directory as usable as before.
func TestConfigContradictsDataDir(t *testing.T) {
	dir := t.TempDir()
	first := run(t, settings(dir)).ready()
	first.occupy("chat:a", "chat:b")
	before := first.events()
	id := first.boot.Load().store.View().ClusterID
	first.Kill()

	wrong := settings(dir)
	wrong.Cluster.ID = "another"
	says(t, startError(t, wrong), "cluster.id", "another", id, dir)

	right := settings(dir)
	right.Cluster.ID = id
	right.Cluster.Partitions = 16 // counts for founding only
	again := run(t, right).ready()
	if after := again.events(); len(before) != 2 || len(after) < 2 || after[0] != before[0] || after[1] != before[1] {
		t.Errorf("events were %+v and are %+v", before, after)
	}
}

// TestClusterIDForANewDir must not found a cluster, whose id would be another.
func TestClusterIDForANewDir(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		cfg := settings(dir)
		cfg.Cluster.ID = "expected"
		_, before := os.Stat(dir)
		says(t, startError(t, cfg), "cluster.id", "expected", dir, "is new")
		// It may be where a disk should be mounted.
		if entries, err := os.ReadDir(dir); len(entries) > 0 || (err == nil) != (before == nil) {
			t.Errorf("left %v, %v", entries, err)
		}
	}
}

// TestClusterIDForADirThatNeverJoined: the node is known, a cluster is not. It could not start, as errors of Run say.
func TestClusterIDForADirThatNeverJoined(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Node.Join, cfg.Node.BootstrapExpect = []string{freeAddr(t)}, 0
	n := run(t, cfg)
	<-n.Started()
	n.Kill()
	cfg.Node.Join, cfg.Node.BootstrapExpect, cfg.Cluster.ID = nil, 1, "expected"
	err := startError(t, cfg)
	says(t, err, "cluster.id", "expected", cfg.Node.DataDir, "is new")
	if _, ok := errors.AsType[*StartError](err); !ok {
		t.Errorf("%T is no StartError", err)
	}
}
