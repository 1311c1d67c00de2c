package raftstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const snapshotDir = "snapshots"

// hasSnapshots says whether anything lies where a data dir keeps its snapshots.
func hasSnapshots(path string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(path, snapshotDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("data dir: %w", err)
	}
	return len(entries) > 0, nil
}

// checkSnapshots makes sure that the log goes on where a snapshot ends: raft would find out by a panic.
func checkSnapshots(disk session) error {
	first, err := disk.FirstIndex()
	if err != nil || first <= 1 {
		return err
	}
	snapshots, err := disk.List()
	if err != nil {
		return fmt.Errorf("%s: list snapshots: %w", disk.file(), err)
	}
	for _, s := range snapshots {
		if s.Index+1 >= first {
			return nil
		}
	}
	return &CorruptError{
		File:  disk.file(),
		Cause: fmt.Errorf("it begins with entry %d, and there is no snapshot of what was before", first),
	}
}

// snapshotError is raft's error for snapshots of which it can restore none, as one of the disk. Why each cannot be
// restored is in the log.
func snapshotError(file string, err error) error {
	if err == nil || !strings.Contains(err.Error(), "load any existing snapshots") {
		return err
	}
	return &CorruptError{File: file, Cause: errors.New("no snapshot beside it can be read")}
}
