package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"innkeeper/cluster/ring"
	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
)

func partitionOf(cfg config.Config, name string) uint32 {
	return ring.Partition(ring.Hash("demo", name), cfg.Cluster.Partitions)
}

// snapshotted makes the data dir of a node whose log begins behind a snapshot, with some events.
func snapshotted(t *testing.T, events int) lived {
	t.Helper()
	cfg := settings(filepath.Join(t.TempDir(), "data"))
	disk, err := raftstore.OpenDir(cfg.Node.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	s, err := raftstore.Open(raftstore.Config{
		Disk: disk, Listener: l, Advertise: addr,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
		SnapshotEntries: 8, SnapshotInterval: 20 * time.Millisecond, TrailingEntries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := disk.NodeID()
	if err := s.Bootstrap("cluster", cfg.Cluster.Partitions, []raftstore.Server{{ID: id, Addr: addr}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "cluster", func() bool { return s.View().ClusterID != "" })
	change := raftstore.MembershipChange{
		IfVersion: s.View().Table.Version, TimeMs: 1,
		Members: []raftstore.Member{{Node: id, Boot: "old", State: raftstore.Dead, Cluster: addr}},
	}
	for p := range cfg.Cluster.Partitions {
		change.Slots = append(change.Slots, raftstore.SlotChange{Part: uint32(p), Owner: id, Bump: true})
	}
	if err := s.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if i == events/2 {
			// Snapshots are looked for now and then: without this all events could be in before the first look, and
			// nothing would ever call for a second one.
			eventually(t, "first snapshot", func() bool { return s.Stats().Snapshots >= 1 })
		}
		done := make(chan error, 1)
		s.Propose(partitionOf(cfg, fmt.Sprint("chat:", i)), 1, raftstore.Transition{Kind: raftstore.Occupied, App: "demo", Name: fmt.Sprint("chat:", i), TimeMs: 1000}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "snapshot", func() bool {
		return s.Stats().Snapshots >= 2 || len(snapshots(t, cfg.Node.DataDir)) >= 2
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.StateEvents.VacatedDelay, cfg.StateEvents.RestartGrace = time.Hour, time.Hour
	out := lived{cfg: cfg, node: id}
	n := run(t, out.copy(t)).ready()
	out.events = n.events()
	n.Kill()
	if len(out.events) != events {
		t.Fatalf("%d events, want %d", len(out.events), events)
	}
	return out
}

func snapshots(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestMissingSnapshot takes away or damages what the log begins behind.
func TestMissingSnapshot(t *testing.T) {
	l := snapshotted(t, 60)
	each := func(t *testing.T, dir string, do func(file string) error) {
		t.Helper()
		list := snapshots(t, dir)
		if len(list) == 0 {
			t.Fatal("there is no snapshot")
		}
		for _, file := range list {
			if err := do(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(t *testing.T, cfg config.Config){
		"all gone":  func(t *testing.T, cfg config.Config) { os.RemoveAll(filepath.Join(cfg.Node.DataDir, "snapshots")) },
		"no states": func(t *testing.T, cfg config.Config) { each(t, cfg.Node.DataDir, os.Remove) },
		"empty": func(t *testing.T, cfg config.Config) {
			each(t, cfg.Node.DataDir, func(f string) error { return os.Truncate(f, 0) })
		},
		"cut": func(t *testing.T, cfg config.Config) {
			each(t, cfg.Node.DataDir, func(f string) error { return os.Truncate(f, 100) })
		},
		"flipped": func(t *testing.T, cfg config.Config) {
			each(t, cfg.Node.DataDir, func(f string) error {
				b, err := os.ReadFile(f)
				if err == nil {
					b[len(b)/2] ^= 0xff
					err = os.WriteFile(f, b, 0o640)
				}
				return err
			})
		},
		"no meta": func(t *testing.T, cfg config.Config) {
			each(t, cfg.Node.DataDir, func(f string) error { return os.Remove(filepath.Join(filepath.Dir(f), "meta.json")) })
		},
		"log and node id gone": func(t *testing.T, cfg config.Config) {
			os.Remove(filepath.Join(cfg.Node.DataDir, logName))
			os.Remove(filepath.Join(cfg.Node.DataDir, "node.id"))
		},
		"log empty and node id gone": func(t *testing.T, cfg config.Config) {
			os.Truncate(filepath.Join(cfg.Node.DataDir, logName), 0)
			os.Remove(filepath.Join(cfg.Node.DataDir, "node.id"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := l.copy(t)
			damage(t, cfg)
			err := l.check(t, cfg, 0)
			if err == nil {
				t.Error("it runs without its snapshot")
			}
			t.Log(err)
		})
	}
	t.Run("the newest only", func(t *testing.T) {
		cfg := l.copy(t)
		list := snapshots(t, cfg.Node.DataDir)
		if len(list) < 2 {
			t.Skip("there is just one")
		}
		os.Truncate(list[len(list)-1], 10)
		t.Log(l.check(t, cfg, 0))
	})
}
