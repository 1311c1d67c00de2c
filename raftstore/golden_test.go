package raftstore

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"innkeeper/cluster/ring"
)

var update = flag.Bool("update", false, "write golden files and fuzz seeds anew")

// golden compares b with a file of testdata, kept as hex so that changes can be read. What is in such a file has been
// written by a released version and must decode forever: add files, never change them.
func golden(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(hexLines(b)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s: encodes as\n%swant\n%s", name, hexLines(b), text)
	}
	return want
}

func hexLines(b []byte) string {
	var s strings.Builder
	for ; len(b) > 32; b = b[32:] {
		fmt.Fprintf(&s, "%x\n", b[:32])
	}
	fmt.Fprintf(&s, "%x\n", b)
	return s.String()
}

// goldenCommands are one of each, in an order in which they can be applied.
func goldenCommands() []struct {
	name string
	b    []byte
} {
	var w, w2 bodyWriter
	w.add(&Transition{Occupied, "app", "chan", 1_700_000_000_000})
	w.add(&Transition{Occupied, "app", "chän", 1_700_000_000_005})
	w.add(&Transition{Vacated, "app", "chan", 1_700_000_000_003})
	w.add(&Transition{Occupied, "other", "", 1_700_000_000_004})
	w2.add(&Transition{Vacated, "app", "chän", 1_700_000_000_100})
	records := appendRecord(cmdRecords.head(nil), record{0, 1, 1, w.count, w.buf})
	records = appendRecord(records, record{0, 1, 2, w2.count, w2.buf})
	records = appendRecord(records, record{1, 7, 300, w2.count, w2.buf})
	return []struct {
		name string
		b    []byte
	}{
		{"noop", cmdNoop.head(nil)},
		{"init", clusterInit{"0123456789abcdefghij", 1}.append(nil)},
		{"membership", (&MembershipChange{
			IfVersion: 1,
			Members: []Member{
				{"node-b", "boot-b", Leaving, "10.0.0.2:7901", "10.0.0.2:7911", "10.0.0.2:8081", "10.0.0.2:8091"},
				{"node-a", "boot-a", Alive, "10.0.0.1:7901", "10.0.0.1:7911", "10.0.0.1:8081", "10.0.0.1:8091"},
				{"node-c", "boot-c", Dead, "", "", "", ""},
			},
			Forget: []string{"node-z"},
			Slots:  []SlotChange{{0, "node-a", "node-b", false}},
			Cold:   true, TimeMs: 1_700_000_000_000,
		}).append(nil)},
		{"records", records},
		{"cursor-ensure", cursorChange{sink: "webhook"}.append(nil, cmdCursorEnsure)},
		{"cursor-set", cursorChange{"webhook", 2}.append(nil, cmdCursorSet)},
		{"cursor-drop", cursorChange{sink: "other"}.append(nil, cmdCursorDrop)},
		{"trim", appendTrim(nil, 3)},
	}
}

func TestGoldenCommands(t *testing.T) {
	s := newState()
	for i, c := range goldenCommands() {
		b := golden(t, filepath.Join("commands", c.name), c.b)
		s.index = uint64(i + 1)
		result, _, err := s.apply(b)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if refused, ok := result.(error); ok {
			t.Fatalf("%s: %v", c.name, refused)
		}
	}
	if got, want := fmt.Sprint(s.members), "[{node-a boot-a alive 10.0.0.1:7901 10.0.0.1:7911 10.0.0.1:8081 10.0.0.1:8091} "+
		"{node-b boot-b leaving 10.0.0.2:7901 10.0.0.2:7911 10.0.0.2:8081 10.0.0.2:8091} {node-c boot-c dead    }]"; got != want {
		t.Errorf("members are %s", got)
	}
	if got, want := s.slots[0], (ring.Slot{Owner: "node-a", Follower: "node-b", Epoch: 1}); got != want {
		t.Errorf("slot is %+v", got)
	}
	if got, want := fmt.Sprint(allEvents(s)), "[{3 01234567-3 app chan vacated 1700000000003 1 1700000000000} "+
		"{4 01234567-4 other  occupied 1700000000004 0 0} {5 01234567-5 app chän vacated 1700000000100 2 1700000000005}]"; got != want {
		t.Errorf("events are %s", got)
	}
	if s.cursors["webhook"] != 2 || s.coldMs != 1_700_000_000_000 {
		t.Errorf("cursors %v, cold %d", s.cursors, s.coldMs)
	}
	b := golden(t, "snapshot", snapshotBytes(t, s))
	r, err := readState(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotBytes(t, r), b) {
		t.Error("snapshot reads back as another")
	}
}

// TestGoldenCursorRewind is apart from the others, since what they make together is a golden snapshot.
func TestGoldenCursorRewind(t *testing.T) {
	s := newState()
	for _, c := range goldenCommands() {
		if _, _, err := s.apply(c.b); err != nil {
			t.Fatal(err)
		}
	}
	s.cursors["webhook"] = 5
	b := golden(t, filepath.Join("commands", "cursor-rewind"), cursorChange{"webhook", 3}.append(nil, cmdCursorRewind))
	result, placed, err := s.apply(b)
	if result != nil || placed || err != nil || s.cursors["webhook"] != 3 {
		t.Errorf("got %v, %v, %v, cursor %d", result, placed, err, s.cursors["webhook"])
	}
}

// TestGoldenLater has commands that came later than the others.
func TestGoldenLater(t *testing.T) {
	s := newState()
	for _, c := range goldenCommands() {
		if _, _, err := s.apply(c.b); err != nil {
			t.Fatal(err)
		}
	}
	last := s.events.last
	n := &Notice{
		Table: "levels", Key: "account/acc/channels", Level: 2, About: []byte("about"), Kind: LimitOver,
		Apps: []string{"app", "other"}, Text: "text", TimeMs: 1_700_000_300_000,
	}
	for range 2 { // the second is no news
		if _, _, err := s.apply(golden(t, filepath.Join("commands", "notice"), n.append(nil))); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(allEvents(s)[last-2:]), "[{6 01234567-6 app text limit.exceeded 1700000300000 0 0} {7 01234567-7 other text limit.exceeded 1700000300000 0 0}]"; got != want {
		t.Errorf("events are %s", got)
	}
	was := uint64(1)
	for _, c := range []struct {
		name string
		c    tableChange
		want tableVerdict
		rows string
	}{
		{"table-swap", tableChange{Put: Put{Table: "levels", Key: "account/acc/channels", Value: []byte("new"), ExpireMs: 0}, NowMs: 1_700_000_300_001, was: &was},
			tableVerdict{version: 2}, "account/acc/channels=new/0@2 "},
		{"table-swap", tableChange{Put: Put{Table: "levels", Key: "account/acc/channels", Value: []byte("new"), ExpireMs: 0}, NowMs: 1_700_000_300_001, was: &was},
			tableVerdict{version: 2}, "account/acc/channels=new/0@2 "}, // said again
		{"table-swap-remove", tableChange{Put: Put{Table: "levels", Key: "account/acc/channels"}, NowMs: 1_700_000_300_002, was: &was, remove: true},
			tableVerdict{version: 2, exists: true}, "account/acc/channels=new/0@2 "}, // it is another by now
		{"table-swap-new", tableChange{Put: Put{Table: "levels", Key: "account/acc/channels", Value: []byte("x")}, NowMs: 1_700_000_300_003, was: new(uint64)},
			tableVerdict{version: 2, exists: true}, "account/acc/channels=new/0@2 "}, // is there
	} {
		r, _, err := s.apply(golden(t, filepath.Join("commands", c.name), c.c.append(nil)))
		if err != nil || r != c.want || rowsOf(s, "levels") != c.rows {
			t.Errorf("%s: %v, %v, rows %s; want %v, %s", c.name, r, err, rowsOf(s, "levels"), c.want, c.rows)
		}
	}
	was = 2
	s.do(t, tableChange{Put: Put{Table: "levels", Key: "account/acc/channels"}, was: &was, remove: true})
	if got := rowsOf(s, "levels"); got != "" {
		t.Errorf("rows are %s after they were removed", got)
	}
	b := snapshotBytes(t, s)
	if r, err := readState(bytes.NewReader(b)); err != nil || !bytes.Equal(snapshotBytes(t, r), b) {
		t.Errorf("snapshot reads back as another: %v", err)
	}
}

// TestGoldenOpen has the transitions and the part of a snapshot that came later than the others.
func TestGoldenOpen(t *testing.T) {
	s := newState()
	for _, c := range goldenCommands() {
		if _, _, err := s.apply(c.b); err != nil {
			t.Fatal(err)
		}
	}
	var w bodyWriter
	w.add(&Transition{Opened, "app", "chan", 1_700_000_000_200})
	w.add(&Transition{Opened, "app", "chän", 1_700_000_000_201})
	w.add(&Transition{Closed, "app", "chan", 1_700_000_060_000})
	records := appendRecord(cmdRecords.head(nil), record{0, 1, 3, w.count, w.buf})
	if _, _, err := s.apply(golden(t, filepath.Join("commands", "records-open"), records)); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(allEvents(s)[3:]), "[{6 01234567-6 app chan opened 1700000000200 0 0} "+
		"{7 01234567-7 app chän opened 1700000000201 0 0} {8 01234567-8 app chan closed 1700000060000 6 1700000000200}]"; got != want {
		t.Errorf("events are %s", got)
	}
	b := golden(t, "snapshot-open", snapshotBytes(t, s))
	r, err := readState(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotBytes(t, r), b) || r.opened != 1 {
		t.Errorf("snapshot reads back as another, with %d open channels", r.opened)
	}
}

func TestGoldenLogEntry(t *testing.T) {
	l := raft.Log{
		Index: 7, Term: 300, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("ext"),
		AppendedAt: time.Unix(0, 1_700_000_000_000_000_001),
	}
	b := golden(t, "log-entry", appendLogEntry(nil, &l))
	var got raft.Log
	if err := decodeLogEntry(b, 7, &got); err != nil {
		t.Fatal(err)
	}
	if !got.AppendedAt.Equal(l.AppendedAt) {
		t.Errorf("appended at %v, want %v", got.AppendedAt, l.AppendedAt)
	}
	got.AppendedAt = l.AppendedAt
	if fmt.Sprint(got) != fmt.Sprint(l) {
		t.Errorf("got %+v, want %+v", got, l)
	}
}

func TestGoldenAnswers(t *testing.T) {
	b := golden(t, "answer-verdicts", appendVerdicts(nil, []verdict{{outcomeDone, 5}, {outcomeEpochOver, 0}, {outcomeGap, 300}}))
	if verdicts, err := decodeAnswer(b); err != nil || len(verdicts) != 3 || verdicts[2] != (verdict{outcomeGap, 300}) {
		t.Errorf("got %v, %v", verdicts, err)
	}
	b = golden(t, "answer-not-leader", appendRefusal(nil, &NotLeaderError{"node-b"}))
	if _, err := decodeAnswer(b); err == nil || err.Error() != "not the leader; the leader is node-b" {
		t.Errorf("got %v", err)
	}
	b = golden(t, "answer-newest", appendNewest(nil, 300))
	if seq, err := decodeNewest(b); err != nil || seq != 300 {
		t.Errorf("got %d, %v", seq, err)
	}
	for _, other := range [][]byte{nil, {statusNewest}, {statusNewest, 1, 2}, appendVerdicts(nil, nil), appendRefusal(nil, ErrClosed)} {
		if _, err := decodeNewest(other); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("%x: got %v", other, err)
		}
	}
	b = golden(t, "answer-unknown", appendRefusal(nil, ErrUnknownOutcome))
	if _, err := decodeAnswer(b); err == nil {
		t.Error("no error")
	}
}
