package raftstore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"

	"innkeeper/cluster/ring"
)

// restoring is where a data dir is made, inside of the dir that it becomes.
const restoring = "restoring.tmp"

// Restored says what a restore has made.
type Restored struct {
	Backup            BackupInfo
	NodeID, ClusterID string // both new
}

// Restore makes a data dir of a backup: that of the one node of a new cluster, which begins with what the old one had. dir
// must be empty or not there. Events keep their ids. The new cluster has an id of its own, so that what is left of the old
// one can have nothing to do with it; the first start counts as one after a stop of the whole cluster.
func Restore(backup, dir string) (Restored, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	if len(entries) > 0 {
		return Restored{}, fmt.Errorf("restore: %w: %s has %s in it", ErrNotEmpty, dir, entries[0].Name())
	}
	info, s, err := readBackup(backup)
	if err != nil {
		return Restored{}, err
	}
	r := Restored{Backup: info}
	if r.NodeID, r.ClusterID, err = s.restoreInto(dir); err != nil {
		os.RemoveAll(filepath.Join(dir, restoring)) // as far as it goes
		return Restored{}, fmt.Errorf("restore into %s: %w", dir, err)
	}
	return r, nil
}

// restoreInto makes the data dir beside its place and then puts it there: the snapshot first, without which nobody would
// take what else is there for a node's.
func (s *state) restoreInto(dir string) (node, cluster string, err error) {
	tmp := filepath.Join(dir, restoring)
	disk, err := OpenDir(tmp)
	if err != nil {
		return "", "", err
	}
	node = disk.NodeID()
	s.reincarnate(node)
	err = errors.Join(s.store(disk), disk.Close())
	for _, name := range []string{snapshotDir, logFile, nodeFile} {
		if err == nil {
			err = os.Rename(filepath.Join(tmp, name), filepath.Join(dir, name))
		}
	}
	if err == nil {
		err = os.RemoveAll(tmp)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return node, s.clusterID, err
}

// reincarnate makes s the beginning of a new cluster, of which node is all there is.
func (s *state) reincarnate(node string) {
	s.former = append(slices.Clone(s.former), formerCluster{s.clusterID, s.events.last})
	var id [16]byte
	rand.Read(id[:])
	s.clusterID = hex.EncodeToString(id[:])
	// A member that is dead: so its first boot knows that it comes back from a stop of all.
	s.members = []Member{{Node: node, Boot: "restored", State: Dead}}
	s.slots = slices.Clone(s.slots)
	for i, slot := range s.slots {
		s.slots[i] = ring.Slot{Epoch: slot.Epoch}
	}
	s.version++
}

// store writes s as the snapshot that a log begins with.
func (s *state) store(disk Disk) error {
	session, err := disk.start()
	if err != nil {
		return err
	}
	const term = 1
	s.index = max(s.index, 1)
	alone := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(disk.NodeID()), Address: raft.ServerAddress(disk.NodeID()), // corrected by itself
	}}}
	_, nowhere := raft.NewInmemTransport("") // lays out addresses
	sink, err := session.Create(1, s.index, term, alone, s.index, nowhere)
	if err == nil {
		if err = s.snapshot().write(sink); err != nil {
			sink.Cancel()
		} else {
			err = sink.Close()
		}
	}
	if err == nil {
		err = session.SetUint64([]byte("CurrentTerm"), term) // raft's own key
	}
	if err == nil {
		err = session.Set(keyCluster, []byte(s.clusterID))
	}
	return errors.Join(err, session.close())
}
