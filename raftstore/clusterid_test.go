package raftstore

import "testing"

// TestDiskKnowsItsCluster finds the cluster's id on a disk before its log has been read, on both kinds of disk.
func TestDiskKnowsItsCluster(t *testing.T) {
	path := t.TempDir()
	dir, err := OpenDir(path)
	must(t, err)
	for name, d := range map[string]Disk{"dir": dir, "memory": NewMemDisk()} {
		if id := d.ClusterID(); id != "" {
			t.Errorf("%s: a new disk is of cluster %q", name, id)
		}
		s := startSession(t, d)
		must(t, s.Set([]byte("other"), []byte("value")))
		must(t, s.Set(keyCluster, []byte("mine")))
		if id := d.ClusterID(); id != "mine" {
			t.Errorf("%s: the disk is of cluster %q", name, id)
		}
		must(t, s.close())
		if id := d.ClusterID(); id != "mine" {
			t.Errorf("%s: closed, the disk is of cluster %q", name, id)
		}
	}
	again, err := OpenDir(path)
	must(t, err)
	defer again.Close()
	if id := again.ClusterID(); id != "mine" {
		t.Errorf("opened again, the disk is of cluster %q", id)
	}
}
