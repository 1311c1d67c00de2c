package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestDisksConform holds both disks to the same rules.
func TestDisksConform(t *testing.T) {
	mem := NewMemDisk()
	path := t.TempDir()
	for name, open := range map[string]func(t *testing.T) Disk{
		"memory": func(*testing.T) Disk { return mem },
		"dir": func(t *testing.T) Disk {
			d, err := OpenDir(path)
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
	} {
		t.Run(name, func(t *testing.T) { conform(t, open) })
	}
}

func conform(t *testing.T, open func(t *testing.T) Disk) {
	disk := open(t)
	id := disk.NodeID()
	if len(id) < 8 {
		t.Fatalf("node id is %q", id)
	}
	s := startSession(t, disk)
	if _, err := disk.start(); err == nil {
		t.Fatal("two sessions at a time")
	}
	wantBounds(t, s, 0, 0)
	if v, err := s.Get([]byte("absent")); v != nil || err != nil {
		t.Fatalf("absent key is %q, %v", v, err)
	}
	if v, err := s.GetUint64([]byte("absent")); v != 0 || err != nil {
		t.Fatalf("absent number is %d, %v", v, err)
	}
	must(t, s.Set([]byte("vote"), []byte("n1")))
	must(t, s.SetUint64([]byte("term"), 7))

	store := func(lo, hi uint64, term uint64) {
		t.Helper()
		var logs []*raft.Log
		for i := lo; i <= hi; i++ {
			logs = append(logs, &raft.Log{Index: i, Term: term, Data: fmt.Appendf(nil, "entry %d of %d", i, term)})
		}
		must(t, s.StoreLogs(logs))
	}
	has := func(index, term uint64) {
		t.Helper()
		var l raft.Log
		must(t, s.GetLog(index, &l))
		if want := fmt.Sprintf("entry %d of %d", index, term); string(l.Data) != want || l.Term != term || l.Index != index {
			t.Fatalf("got %+v, want %s", l, want)
		}
	}
	lacks := func(index uint64) {
		t.Helper()
		if err := s.GetLog(index, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("entry %d: %v, want it absent", index, err)
		}
	}
	store(1, 3000, 1)
	wantBounds(t, s, 1, 3000)
	must(t, s.DeleteRange(1, 2000)) // compaction, in several steps
	wantBounds(t, s, 2001, 3000)
	lacks(2000)
	has(2001, 1)
	must(t, s.DeleteRange(2900, 3000)) // a conflict with the leader's log
	wantBounds(t, s, 2001, 2899)
	store(2900, 2950, 2)
	has(2950, 2)
	if err := s.DeleteRange(2500, 2600); err == nil {
		t.Fatal("deleted from the middle")
	}
	if err := s.StoreLogs([]*raft.Log{{Index: 2951}, {Index: 2953}}); err == nil {
		t.Fatal("stored a gap")
	}
	store(5000, 5010, 3) // after a snapshot was installed
	wantBounds(t, s, 5000, 5010)
	lacks(2950)
	if s.fsyncs() == 0 {
		t.Error("no syncs counted")
	}

	sink, err := s.Create(1, 5000, 3, raft.Configuration{}, 1, nil)
	must(t, err)
	_, err = sink.Write([]byte("state"))
	must(t, err)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("unfinished snapshot is listed: %v, %v", list, err)
	}
	must(t, sink.Close())
	cancelled, err := s.Create(1, 5001, 3, raft.Configuration{}, 1, nil)
	must(t, err)
	must(t, cancelled.Cancel())

	must(t, s.close())
	must(t, disk.Close())
	disk = open(t)
	if got := disk.NodeID(); got != id {
		t.Fatalf("node id is %s after reopening, was %s", got, id)
	}
	s = startSession(t, disk)
	wantBounds(t, s, 5000, 5010)
	has(5005, 3)
	if v, _ := s.Get([]byte("vote")); string(v) != "n1" {
		t.Fatalf("vote is %q", v)
	}
	if v, _ := s.GetUint64([]byte("term")); v != 7 {
		t.Fatalf("term is %d", v)
	}
	list, err := s.List()
	must(t, err)
	if len(list) != 1 || list[0].Index != 5000 || list[0].Size != 5 {
		t.Fatalf("snapshots are %+v", list)
	}
	_, r, err := s.Open(list[0].ID)
	must(t, err)
	if b, err := io.ReadAll(r); string(b) != "state" || err != nil {
		t.Fatalf("snapshot is %q, %v", b, err)
	}
	r.Close()
	must(t, s.DeleteRange(5000, 5010))
	wantBounds(t, s, 0, 0)
	s.kill()
	if err := s.StoreLog(&raft.Log{Index: 1}); err == nil {
		t.Fatal("stored after kill")
	}
	must(t, s.close())
	must(t, disk.Close())
}

func startSession(t *testing.T, d Disk) session {
	t.Helper()
	s, err := d.start()
	must(t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantBounds(t *testing.T, s session, first, last uint64) {
	t.Helper()
	f, _ := s.FirstIndex()
	l, _ := s.LastIndex()
	if f != first || l != last {
		t.Fatalf("entries %d to %d, want %d to %d", f, l, first, last)
	}
}

// filledDir makes a data dir with some entries and returns its log file.
func filledDir(t *testing.T) (dir, file string) {
	dir = t.TempDir()
	d, err := OpenDir(dir)
	must(t, err)
	s := startSession(t, d)
	for i := range uint64(100) {
		must(t, s.StoreLog(&raft.Log{Index: i + 1, Data: bytes.Repeat([]byte("marker!!"), 512)}))
	}
	must(t, s.close())
	return dir, filepath.Join(dir, logFile)
}

func TestTruncatedLogFileIsNamed(t *testing.T) {
	for _, keep := range []float64{0, 0.001, 0.3, 0.6} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			dir, file := filledDir(t)
			info, err := os.Stat(file)
			must(t, err)
			size := int64(float64(info.Size()) * keep)
			must(t, os.Truncate(file, size))
			before, err := os.ReadFile(file)
			must(t, err)
			_, err = OpenDir(dir)
			var truncated *TruncatedError
			if !errors.As(err, &truncated) {
				t.Fatalf("got %v, want a TruncatedError", err)
			}
			if truncated.Size != size || truncated.Needed <= size || truncated.File != file {
				t.Errorf("got %+v for %d bytes of %s", truncated, size, file)
			}
			if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestMissingLogFileIsNoNewNode(t *testing.T) {
	dir, file := filledDir(t)
	must(t, os.Remove(file))
	var corrupt *CorruptError
	if _, err := OpenDir(dir); !errors.As(err, &corrupt) {
		t.Fatalf("got %v, want a CorruptError", err)
	}
}

func TestDamagedLogFileIsNoPanic(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte)
	}{
		{"headers", func(b []byte) { clear(b[:2*os.Getpagesize()]) }},
		{"everything after the headers", func(b []byte) {
			for i := 2 * os.Getpagesize(); i < len(b); i++ {
				b[i] = 0xa5
			}
		}},
		{"node id", func(b []byte) {
			i := bytes.Index(b, []byte("node"))
			for ; i >= 0 && i < len(b)-4; i++ {
				if bytes.HasPrefix(b[i:], []byte("node")) {
					copy(b[i:], "edon")
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, file := filledDir(t)
			b, err := os.ReadFile(file)
			must(t, err)
			c.damage(b)
			must(t, os.WriteFile(file, b, 0o640))
			_, err = OpenDir(dir)
			var corrupt *CorruptError
			if !errors.As(err, &corrupt) {
				t.Fatalf("got %v, want a CorruptError", err)
			}
		})
	}
}

func TestDamagedEntryIsNoticed(t *testing.T) {
	dir, file := filledDir(t)
	b, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, bytes.ReplaceAll(b, []byte("marker!!"), []byte("marker!?")), 0o640))
	d, err := OpenDir(dir)
	must(t, err)
	s := startSession(t, d)
	defer s.close()
	var corrupt *CorruptError
	if err := s.GetLog(50, &raft.Log{}); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), file) {
		t.Fatalf("got %v, want a CorruptError that names %s", err, file)
	}
}

func TestDirInUseIsRefused(t *testing.T) {
	dir, _ := filledDir(t)
	d, err := OpenDir(dir)
	must(t, err)
	start := time.Now()
	_, err = OpenDir(dir) // the lock is of the open file, so this process is as good as another
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want ErrInUse that names %s", err, dir)
	}
	if time.Since(start) > 5*time.Second {
		t.Error("waited too long for the lock")
	}
	must(t, d.Close())
	d, err = OpenDir(dir)
	must(t, err)
	must(t, d.Close())
}

// TestRealDisk commits 20,000 transitions with fsync, closes, and finds them again; then finds itself refused as a
// node of another cluster.
func TestRealDisk(t *testing.T) {
	dir := t.TempDir()
	disk, err := OpenDir(dir)
	must(t, err)
	s := openOne(t, disk, testPartitions)
	var p proposals
	for i := range 10_000 {
		name := fmt.Sprint("chan-", i)
		p.propose(s, Occupied, name)
		p.propose(s, Vacated, name)
	}
	p.wait(t)
	_, _, before, err := s.Events(0, 1<<30)
	must(t, err)
	if len(before) != 20_000 {
		t.Fatalf("%d events, want 20000", len(before))
	}
	if n := len(checkEvents(t, before)); n != 0 {
		t.Fatalf("%d channels are occupied", n)
	}
	if st := s.Stats(); st.Fsyncs == 0 || st.Entries == 0 || st.Commits.Count == 0 || st.LastEvent != 20_000 || st.Pending != 0 {
		t.Errorf("stats are %+v", st)
	}
	must(t, s.Close())

	disk, err = OpenDir(dir)
	must(t, err)
	if got := disk.ClusterID(); got != "bench-cluster" {
		t.Errorf("cluster id on the disk is %q", got)
	}
	s = openOne(t, disk, testPartitions)
	_, _, after, err := s.Events(0, 1<<30)
	must(t, err)
	if !slices.Equal(before, after) {
		t.Fatal("other events after reopening")
	}
	must(t, s.Close())

	l := newTestNet()
	_, err = Open(Config{Disk: disk, Listener: l.listen("x"), Dial: l.dialer("x"), Advertise: "x", ClusterID: "another"})
	if !errors.Is(err, ErrWrongCluster) || !strings.Contains(err.Error(), "bench-cluster") {
		t.Fatalf("got %v, want ErrWrongCluster", err)
	}
	must(t, disk.Close())
}

// TestLostEntriesAreAnError loses the first entries, with no snapshot that covers them: raft would panic.
func TestLostEntriesAreAnError(t *testing.T) {
	dir := t.TempDir()
	disk, err := OpenDir(dir)
	must(t, err)
	s := openOne(t, disk, testPartitions)
	must(t, s.Close())
	sess := startSession(t, disk)
	must(t, sess.DeleteRange(1, 2))
	must(t, sess.close())
	l := newTestNet()
	_, err = Open(Config{Disk: disk, Listener: l.listen("x"), Dial: l.dialer("x"), Advertise: "x"})
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		t.Fatalf("got %v, want a CorruptError", err)
	}
	must(t, disk.Close())
}

// TestRandomDamageIsNoPanic overwrites parts of a log file. Whatever is hit, opening and reading either work or fail
// with an error; bbolt alone would panic on goroutines of its own.
func TestRandomDamageIsNoPanic(t *testing.T) {
	dir, file := filledDir(t)
	whole, err := os.ReadFile(file)
	must(t, err)
	used, err := os.Open(file)
	must(t, err)
	meta, _ := findBoltMeta(used, int64(len(whole)))
	used.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 200 {
		b := bytes.Clone(whole)
		page := rng.IntN(int(meta.pages)) * int(meta.pageSize)
		switch rng.IntN(3) {
		case 0: // a flipped bit where the structure is
			b[page+rng.IntN(64)] ^= 1 << rng.IntN(8)
		case 1: // a page of something else
			for i := range int(meta.pageSize) {
				b[page+i] = byte(rng.Uint32())
			}
		case 2: // a page of zeros
			clear(b[page : page+int(meta.pageSize)])
		}
		must(t, os.WriteFile(file, b, 0o640))
		d, err := OpenDir(dir)
		if err != nil {
			if errors.Is(err, ErrInUse) {
				t.Fatal(err)
			}
			refused++
			continue
		}
		if s, err := d.start(); err == nil {
			for i := range uint64(100) {
				s.GetLog(i+1, &raft.Log{})
			}
			s.close()
		}
		d.Close()
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}
