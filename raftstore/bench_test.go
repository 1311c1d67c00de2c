package raftstore

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"innkeeper/cluster/ring"
)

// openOne opens a one-node cluster on a data dir that owns all partitions.
func openOne(t testing.TB, disk Disk, partitions int) *Store {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer
	s, err := Open(Config{
		Disk: disk, Listener: l, Advertise: l.Addr().String(),
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !s.HasState() {
		if err := s.Bootstrap("bench-cluster", partitions, []Server{{disk.NodeID(), l.Addr().String()}}); err != nil {
			t.Fatal(err)
		}
	}
	for s.View().ClusterID == "" || !s.IsLeader() {
		select {
		case <-s.Changed():
		case <-s.LeaderChanged():
		}
	}
	change := MembershipChange{IfVersion: s.View().Table.Version}
	for part := range uint32(partitions) {
		change.Slots = append(change.Slots, SlotChange{Part: part, Owner: disk.NodeID(), Bump: true})
	}
	if err := s.Commit(context.Background(), change); err != nil {
		t.Fatal(err)
	}
	return s
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPropose commits transitions on one node with fsync on: each of many channels proposes its next transition
// when the one before is committed.
func BenchmarkPropose(b *testing.B) {
	for _, channels := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("inflight=%d", channels), func(b *testing.B) {
			const partitions = 128
			dir, err := os.MkdirTemp("", "innkeeper-bench")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			disk, err := OpenDir(dir)
			if err != nil {
				b.Fatal(err)
			}
			s := openOne(b, disk, partitions)
			defer s.Close()
			var wg sync.WaitGroup
			cpu := cpuTime()
			syncs := s.Stats().Fsyncs
			b.ResetTimer()
			for i := range channels {
				n := b.N / channels
				if i < b.N%channels {
					n++
				}
				if n == 0 {
					continue
				}
				wg.Add(1)
				name := fmt.Sprintf("room:%016d", i)
				part := ring.Partition(ring.Hash("app", name), partitions)
				epoch := s.View().Table.Slots[part].Epoch
				kind := Occupied
				var done func(error)
				done = func(err error) {
					if err != nil {
						b.Error(err)
					}
					if n--; n < 0 {
						wg.Done()
						return
					}
					t := Transition{kind, "app", name, 1_700_000_000_000}
					kind = Occupied + Vacated - kind
					s.Propose(part, epoch, t, done)
				}
				done(nil)
			}
			wg.Wait()
			b.StopTimer()
			d := b.Elapsed()
			b.ReportMetric(float64(b.N)/d.Seconds(), "transitions/s")
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/transition")
			b.ReportMetric(float64(s.Stats().Fsyncs-syncs)/d.Seconds(), "fsyncs/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkApply is the FSM alone: entries of full records.
func BenchmarkApply(b *testing.B) {
	s := newState()
	s.init(clusterInit{"bench", 128})
	const perEntry = 1024
	var n uint64
	b.ReportAllocs()
	var entry []byte
	for i := 0; b.Loop(); i++ {
		if i%perEntry == 0 {
			b.StopTimer()
			byPart := map[uint32]*bodyWriter{}
			for j := range perEntry {
				name := fmt.Sprintf("room:%016d", (i+j)/2)
				part := ring.Partition(ring.Hash("app", name), 128)
				w := byPart[part]
				if w == nil {
					w = &bodyWriter{}
					byPart[part] = w
				}
				w.add(&Transition{Kind(j%2) + Occupied, "app", name, 1_700_000_000_000})
			}
			entry = cmdRecords.head(entry[:0])
			for part, w := range byPart {
				entry = appendRecord(entry, record{part, 0, s.taken[part] + 1, w.count, w.buf})
			}
			s.events.trim(s.events.last)
			b.StartTimer()
			if _, _, err := s.apply(entry); err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
}

// BenchmarkOccupiedMemory reports the memory of a channel in the occupied set, by its own count and by the heap.
func BenchmarkOccupiedMemory(b *testing.B) {
	const channels, partitions = 1_000_000, 128
	for b.Loop() {
		before := heap()
		parts := make([]partition, partitions)
		for i := range channels {
			name := fmt.Appendf(nil, "room:%020d", i)
			h := ring.Hash("app", string(name))
			p := &parts[ring.Partition(h, partitions)]
			p.insert(&entry{key: key{h, []byte("app"), name}, seq: uint64(i + 1), sinceMs: 1_700_000_000_000})
		}
		after := heap()
		counted := 0
		for i := range parts {
			counted += parts[i].bytes()
		}
		b.ReportMetric(float64(after-before)/channels, "heap-bytes/channel")
		b.ReportMetric(float64(counted)/channels, "counted-bytes/channel")
		runtime.KeepAlive(parts)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
