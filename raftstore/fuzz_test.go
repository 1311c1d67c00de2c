package raftstore

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// seed gives a fuzz test its corpus, and writes it to testdata when told to.
func seed(f *testing.F, seeds ...[]byte) {
	for i, b := range seeds {
		f.Add(b)
		if *update {
			dir := filepath.Join("testdata", "fuzz", f.Name())
			os.MkdirAll(dir, 0o755)
			text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", b)
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("seed-%d", i)), []byte(text), 0o644); err != nil {
				f.Fatal(err)
			}
		}
	}
}

// FuzzCommand holds the rule that protects the log: what passes the check before it is appended can be applied.
func FuzzCommand(f *testing.F) {
	var seeds [][]byte
	for _, c := range goldenCommands() {
		seeds = append(seeds, c.b, c.b[:len(c.b)/2])
	}
	seeds = append(seeds, appendFold(nil, 3), goldenRepartition().append(nil))
	seed(f, seeds...)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newState()
		s.init(clusterInit{"cluster", 4})
		ok := checkCommand(b) == nil
		_, _, err := s.apply(b)
		if ok && err != nil {
			t.Fatalf("passed the check, but: %v", err)
		}
		if ok {
			whole := snapshotBytes(t, s)
			if r, err := readState(bytes.NewReader(whole)); err != nil || !bytes.Equal(snapshotBytes(t, r), whole) {
				t.Fatalf("snapshot does not read back: %v", err)
			}
		}
	})
}

func FuzzRecords(f *testing.F) {
	var seeds [][]byte
	for _, c := range goldenCommands() {
		if c.name == "records" {
			seeds = append(seeds, c.b[2:], c.b[2:len(c.b)-1])
		}
	}
	seed(f, seeds...)
	f.Fuzz(func(t *testing.T, b []byte) {
		count, err := checkRecords(b)
		if err != nil {
			return
		}
		s := newState()
		s.init(clusterInit{"cluster", 1})
		s.slots[0].Epoch = 1
		verdicts, err := s.records(b)
		if err != nil || len(verdicts) != count {
			t.Fatalf("%d verdicts for %d records: %v", len(verdicts), count, err)
		}
		s.check(t, map[uint64]Event{})
	})
}

func FuzzSnapshot(f *testing.F) {
	s := newState()
	empty := snapshotBytes(f, s)
	for _, c := range goldenCommands() {
		s.apply(c.b)
	}
	whole := snapshotBytes(f, s)
	seed(f, empty, whole, whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readState(bytes.NewReader(withChecksums(b)))
		if err != nil {
			return
		}
		again := snapshotBytes(t, s)
		if _, err := readState(bytes.NewReader(again)); err != nil {
			t.Fatal(err)
		}
	})
}

// withChecksums corrects the checksums of a snapshot's frames, so that changed ones are looked at.
func withChecksums(b []byte) []byte {
	b = bytes.Clone(b)
	for at := len(snapshotMagic); at < len(b); {
		n, size := binary.Uvarint(b[at:])
		if at += size; size <= 0 || n > uint64(len(b)) || at+int(n)+4 > len(b) {
			break
		}
		sum := crc32.Checksum(b[at:at+int(n)], castagnoli)
		at += int(n)
		binary.LittleEndian.PutUint32(b[at:], sum)
		at += 4
	}
	return b
}

func FuzzForward(f *testing.F) {
	seed(f,
		appendVerdicts(nil, []verdict{{outcomeDone, 5}, {outcomeGap, 300}}),
		appendRefusal(nil, &NotLeaderError{"n"}), appendRefusal(nil, ErrClosed),
		[]byte{forwardRecords, forwardVersion}, []byte{forwardInit, forwardVersion, 1},
	)
	f.Fuzz(func(t *testing.T, b []byte) {
		splitForward(b)
		verdicts, err := decodeAnswer(b)
		if err == nil && len(b) > 0 {
			if got, err := decodeAnswer(appendVerdicts(nil, verdicts)); err != nil || len(got) != len(verdicts) {
				t.Fatalf("does not read back: %v", err)
			}
		}
	})
}

func FuzzLogEntry(f *testing.F) {
	b := appendLogEntry(nil, &raft.Log{Term: 1, Data: []byte("data")})
	seed(f, b, b[:5], []byte(strings.Repeat("x", 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l raft.Log
		if decodeLogEntry(b, 1, &l) == nil && len(l.Data) > len(b) {
			t.Fatal("data from nowhere")
		}
	})
}

// FuzzBackup holds that what is taken for a backup is one.
func FuzzBackup(f *testing.F) {
	s := newState()
	for _, c := range goldenCommands() {
		s.apply(c.b)
	}
	var b bytes.Buffer
	writeBackup(&b, BackupInfo{s.clusterID, s.events.last, 0, 1, len(s.slots), s.occupied}, s.snapshot())
	seed(f, b.Bytes()[len(backupMagic):b.Len()-32], b.Bytes()[len(backupMagic):b.Len()/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		info, s, err := decodeBackup(bufio.NewReader(bytes.NewReader(b)))
		if err == nil && (s.events.last != info.LastSeq || s.clusterID != info.ClusterID) {
			t.Fatalf("%+v is not what is in it", info)
		}
	})
}
