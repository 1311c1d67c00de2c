package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cluster/ring"
)

// lived is a state with some of everything.
func livedState(t *testing.T) *state {
	s := newState()
	for _, c := range goldenCommands() {
		if _, _, err := s.apply(c.b); err != nil {
			t.Fatal(err)
		}
	}
	s.index = 70
	return s
}

func backupOf(t *testing.T, s *state) []byte {
	t.Helper()
	info := BackupInfo{s.clusterID, s.events.last, s.index, 1_700_000_000_000, len(s.slots), s.occupied}
	var b bytes.Buffer
	if err := writeBackup(&b, info, s.snapshot()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGoldenBackup(t *testing.T) {
	b := golden(t, "backup", backupOf(t, livedState(t)))
	info, s, err := parseBackup(bytes.NewReader(b))
	if want := (BackupInfo{"0123456789abcdefghij", 5, 70, 1_700_000_000_000, 1, 1}); err != nil || info != want || s.events.last != 5 {
		t.Errorf("got %+v, %v, want %+v", info, err, want)
	}
}

// TestDamagedBackupIsRefused: a backup is taken whole or not at all, and nothing is left where it was to go.
func TestDamagedBackupIsRefused(t *testing.T) {
	whole := backupOf(t, livedState(t))
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x41
		if _, _, err := parseBackup(bytes.NewReader(damaged)); err == nil {
			t.Fatalf("byte %d damaged and not noticed", i)
		}
		if _, _, err := parseBackup(bytes.NewReader(whole[:i])); err == nil {
			t.Fatalf("cut to %d bytes and not noticed", i)
		}
	}
	if _, _, err := parseBackup(bytes.NewReader(append(bytes.Clone(whole), 0))); err == nil {
		t.Error("one byte too many and not noticed")
	}
	file, dir := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(file, dir); !isBackupError(err) {
		t.Errorf("got %v, want a BackupError", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

func isBackupError(err error) bool { _, ok := errors.AsType[*BackupError](err); return ok }

// A node that is opened without a majority has its last snapshot, and of the entries behind it cannot tell which were
// committed. With a majority its backup has them.
func TestBackupOfWhoWasOpenedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(c *Config) { c.SnapshotEntries, c.TrailingEntries, c.SnapshotInterval = 30, 10, time.Second })
		defer func() { c.close() }()
		c.own(func(uint32) string { return "n1" })
		var p proposals
		for i := range 100 {
			p.propose(c.stores["n1"], Occupied, fmt.Sprint("chan-", i))
			p.wait(t)
		}
		time.Sleep(10 * time.Second) // for the snapshots
		for i := range 5 {
			p.propose(c.stores["n1"], Occupied, fmt.Sprint("late-", i))
		}
		p.wait(t)
		c.sync()
		for _, id := range slices.Sorted(maps.Keys(c.stores)) {
			c.kill(id)
		}
		seq := func() uint64 {
			var b bytes.Buffer
			info, err := c.stores["n1"].Backup(&b)
			if err != nil {
				t.Fatal(err)
			}
			return info.LastSeq
		}
		c.open("n1")
		time.Sleep(time.Minute)
		if got := seq(); got == 0 || got > 100 {
			t.Errorf("opened alone its backup goes to %d, want one that a snapshot has", got)
		}
		c.open("n0")
		_, leader := c.leader()
		if err := leader.WaitApplied(context.Background(), 105); err != nil {
			t.Fatal(err)
		}
		c.sync()
		if got := seq(); got != 105 {
			t.Errorf("with a majority its backup goes to %d, want 105", got)
		}
	})
}

func TestRestoreRefusesADirInUse(t *testing.T) {
	file, dir := filepath.Join(t.TempDir(), "backup"), t.TempDir()
	if err := os.WriteFile(file, backupOf(t, livedState(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(file, dir); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("got %v", err)
	}
}

// TestBackupAndRestore backs up a cluster of three that goes on meanwhile, and starts a node on what was restored.
func TestBackupAndRestore(t *testing.T) {
	file, dir := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "data")
	var want []Event
	var epochs []ring.Slot
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		leader, s := c.leader()
		c.own(func(uint32) string { return leader })
		ctx := context.Background()
		var p proposals
		for i := range 20 {
			p.propose(s, Occupied, fmt.Sprint("chan-", i))
		}
		p.wait(t)
		if _, err := s.EnsureCursor(ctx, "hook"); err != nil {
			t.Fatal(err)
		}
		if err := s.SetCursor(ctx, "hook", 7); err != nil {
			t.Fatal(err)
		}
		for _, other := range c.stores {
			if other != s {
				s = other
			}
		}
		if err := s.ReadIndex(ctx); err != nil {
			t.Fatal(err)
		}
		for s.Cursors()["hook"] != 7 { // events are all that ReadIndex waits for
			time.Sleep(time.Millisecond)
		}
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Backup(f)
		if err = errors.Join(err, f.Close()); err != nil || info.LastSeq != 20 || info.Occupied != 20 || info.ClusterID != s.View().ClusterID {
			t.Errorf("got %+v, %v", info, err)
		}
		_, _, want, _ = s.Events(0, 0)
		epochs = s.View().Table.Slots
	})
	r, err := Restore(file, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(file, dir); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("once more: got %v", err)
	}
	disk, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if disk.NodeID() != r.NodeID || disk.ClusterID() != r.ClusterID || r.ClusterID == r.Backup.ClusterID {
		t.Errorf("node %s of cluster %s, restored %+v", disk.NodeID(), disk.ClusterID(), r)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Disk: disk, Listener: l, Advertise: l.Addr().String(),
		Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody") }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.ReadIndex(ctx); err != nil {
		t.Fatal(err)
	}
	v := s.View()
	if v.ClusterID != r.ClusterID || len(v.Members) != 1 || v.Members[0].Node != r.NodeID || v.Members[0].State != Dead {
		t.Errorf("view is %+v", v)
	}
	for i, slot := range v.Table.Slots {
		if slot != (ring.Slot{Epoch: epochs[i].Epoch}) {
			t.Errorf("partition %d is %+v, was %+v", i, slot, epochs[i])
		}
	}
	change := MembershipChange{IfVersion: v.Table.Version}
	for i := range v.Table.Slots {
		change.Slots = append(change.Slots, SlotChange{Part: uint32(i), Owner: r.NodeID})
	}
	if err := s.Commit(ctx, change); err != nil {
		t.Fatal(err)
	}
	part := ring.Partition(ring.Hash("app", "chan-3"), len(v.Table.Slots))
	done := make(chan error, 1)
	s.Propose(part, s.View().Table.Slots[part].Epoch, Transition{Vacated, "app", "chan-3", 5}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_, last, got, err := s.Events(0, 0)
	if err != nil || last != 21 || fmt.Sprint(got[:20]) != fmt.Sprint(want) {
		t.Errorf("events to %d (%v) are %v, were %v", last, err, got, want)
	}
	if e := got[20]; e.ID != r.ClusterID[:8]+"-21" || want[e.Ends-1].Channel != "chan-3" {
		t.Errorf("the new event is %+v", e)
	}
	if s.Cursors()["hook"] != 7 {
		t.Errorf("cursors are %v", s.Cursors())
	}
}
