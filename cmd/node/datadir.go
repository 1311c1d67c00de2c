package node

import (
	"errors"
	"fmt"
	"path/filepath"

	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
)

// openDir opens the data directory, if it is one that the configuration can mean. Nothing is written to one that is not: it
// may be where a disk should be mounted.
func openDir(cfg *config.Config) (raftstore.Disk, error) {
	path, err := filepath.Abs(cfg.Node.DataDir)
	if err != nil {
		return nil, err
	}
	if raftstore.IsNew(path) {
		if err := foundsAnother(cfg); err != nil {
			return nil, err
		}
	}
	d, err := raftstore.OpenDir(path)
	if err != nil {
		return nil, err
	}
	if id := d.ClusterID(); id != "" && cfg.Cluster.ID != "" && id != cfg.Cluster.ID {
		return nil, errors.Join(ofAnother(cfg, id), d.Close())
	}
	return d, nil
}

// foundsAnother refuses a new directory in which this node alone would found a cluster, where a certain one is expected: a
// new one has an id of its own.
func foundsAnother(cfg *config.Config) error {
	if cfg.Cluster.ID == "" || cfg.Node.BootstrapExpect != 1 {
		return nil
	}
	return fmt.Errorf("cluster.id: the configuration says %q, but the data directory %s is new and would found another cluster; put the directory of that cluster back, name one of its nodes in node.join, or remove cluster.id to begin anew",
		cfg.Cluster.ID, cfg.Node.DataDir)
}

func ofAnother(cfg *config.Config, id string) error {
	return fmt.Errorf("cluster.id: the configuration says %q, but the data directory %s belongs to cluster %q; use the directory of the right cluster, or correct cluster.id",
		cfg.Cluster.ID, cfg.Node.DataDir, id)
}
