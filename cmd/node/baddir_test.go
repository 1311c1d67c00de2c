package node

import "testing"

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
	cfg := settings(t.TempDir())
	cfg.Cluster.ID = "expected"
	says(t, startError(t, cfg), "cluster.id", "expected", cfg.Node.DataDir, "is new")
}
