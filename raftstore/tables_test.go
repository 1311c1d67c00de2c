package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// do applies a table command the way the log does.
func (s *state) do(t failer, c tableChange) tableVerdict {
	t.Helper()
	b := c.append(nil)
	if err := checkCommand(b); err != nil {
		t.Fatal(err)
	}
	r, placed, err := s.apply(b)
	v, ok := r.(tableVerdict)
	if err != nil || placed || !ok {
		t.Fatalf("%+v: %v, %v, %v", c, r, placed, err)
	}
	return v
}

func rowsOf(s *state, table string) string {
	tb := s.tables.byName[table]
	if tb == nil {
		return "none"
	}
	f := tb.freeze(table)
	text := ""
	for _, r := range f.list() {
		text += fmt.Sprintf("%s=%s/%d@%d ", r.Key, r.Value, r.ExpireMs, r.Version)
	}
	return text
}

func TestTableRules(t *testing.T) {
	s := newState()
	put := func(key, value string, ifAbsent bool, expireMs, nowMs int64) tableVerdict {
		t.Helper()
		return s.do(t, tableChange{Put: Put{"t", key, []byte(value), ifAbsent, expireMs, false}, NowMs: nowMs})
	}
	for i, c := range []struct {
		got  tableVerdict
		want tableVerdict
		rows string
	}{
		{put("a", "1", false, 0, 10), tableVerdict{1, false}, ""},
		{put("a", "2", false, 0, 10), tableVerdict{2, false}, ""},
		{put("a", "3", true, 0, 10), tableVerdict{2, true}, ""},  // is there
		{put("a", "2", true, 0, 10), tableVerdict{2, false}, ""}, // the same once more
		{put("b", "1", true, 20, 11), tableVerdict{3, false}, ""},
		{put("b", "2", true, 30, 19), tableVerdict{3, true}, ""},
		{put("b", "2", true, 30, 20), tableVerdict{5, false}, ""}, // the old one has expired
		{put("c", "1", false, 40, 5), tableVerdict{6, false}, ""}, // a clock that goes back
		{put("d", "1", false, 20, 5), tableVerdict{6, false}, ""}, // too late for it
		{put("c", "1", false, 20, 5), tableVerdict{7, false}, ""}, // and now it is over
		{s.do(t, tableChange{Put: Put{Table: "t", Key: "a"}, NowMs: 21, remove: true}), tableVerdict{8, false}, ""},
		{s.do(t, tableChange{Put: Put{Table: "t", Key: "a"}, NowMs: 21, remove: true}), tableVerdict{8, false}, ""},
		{s.do(t, tableChange{Put: Put{Table: "u", Key: "a"}, NowMs: 21, remove: true}), tableVerdict{0, false}, ""},
	} {
		if c.got != c.want {
			t.Errorf("step %d: %+v, want %+v", i, c.got, c.want)
		}
	}
	if got, want := rowsOf(s, "t"), "b=2/30@5 "; got != want {
		t.Errorf("rows %q, want %q", got, want)
	}
	s.do(t, tableChange{Put: Put{Table: "other", Key: "x"}, NowMs: 30}) // any table's command moves the clock
	if got := rowsOf(s, "t"); got != "" {
		t.Errorf("rows %q, want none", got)
	}
}

// The same commands give the same bytes, also by way of a snapshot at any place, and what a snapshot froze stays.
func TestTablesFollowFromTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := newState(), newState()
		now := int64(1000)
		var frozen *snapshot
		var was []byte
		for i := range rapid.IntRange(1, 60).Draw(t, "commands") {
			now += rapid.Int64Range(-5, 20).Draw(t, "time")
			c := tableChange{NowMs: now, remove: rapid.IntRange(0, 4).Draw(t, "remove") == 0}
			c.Table = rapid.SampledFrom([]string{"t", "u"}).Draw(t, "table")
			c.Key = fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "key"))
			if !c.remove {
				c.Value = []byte(fmt.Sprint(i))
				c.IfAbsent = rapid.Bool().Draw(t, "absent")
				c.ExpireMs = rapid.SampledFrom([]int64{0, now + 30, now + 3, now - 3}).Draw(t, "expire")
			}
			if va, vb := a.do(t, c), b.do(t, c); va != vb {
				t.Fatalf("%+v and %+v", va, vb)
			}
			for name, tb := range a.tables.byName {
				f := tb.freeze(name)
				if len(f.list()) != tb.rows {
					t.Fatalf("table %s counts %d rows and has %d", name, tb.rows, len(f.list()))
				}
			}
			switch rapid.IntRange(0, 9).Draw(t, "then") {
			case 0:
				r, err := readState(bytes.NewReader(snapshotBytes(t, b)))
				if err != nil {
					t.Fatal(err)
				}
				b = r
			case 1:
				frozen, was = a.snapshot(), snapshotBytes(t, a)
			}
		}
		if !bytes.Equal(snapshotBytes(t, a), snapshotBytes(t, b)) {
			t.Fatal("states differ")
		}
		if frozen != nil {
			var again bytes.Buffer
			if err := frozen.write(&again); err != nil || !bytes.Equal(again.Bytes(), was) {
				t.Fatalf("a snapshot changed behind its back: %v", err)
			}
		}
	})
}

// Rows that are written again and again leave no trail.
func TestTablesForgetOldTimes(t *testing.T) {
	s := newState()
	for i := range 20_000 {
		s.do(t, tableChange{Put: Put{"t", "key", []byte("v"), false, int64(1_000_000 + i), false}, NowMs: 1})
	}
	if n := len(s.tables.due); n > 1100 {
		t.Errorf("%d times are kept for one row", n)
	}
}

func TestGoldenTables(t *testing.T) {
	s := newState()
	for i, c := range []struct {
		name string
		c    tableChange
	}{
		{"table-put", tableChange{Put: Put{"nonces", "app.key nonce", []byte{0, 1, 254, 255}, true, 1_700_000_300_000, false}, NowMs: 1_700_000_000_000}},
		{"table-put-plain", tableChange{Put: Put{"apps", "app", []byte("{}"), false, 0, false}, NowMs: 1_700_000_000_001}},
		{"table-put-other", tableChange{Put: Put{"apps", "app2", []byte("{}"), false, 0, false}, NowMs: 1_700_000_000_002}},
		{"table-delete", tableChange{Put: Put{Table: "apps", Key: "app2"}, NowMs: 1_700_000_000_003, remove: true}},
	} {
		b := golden(t, filepath.Join("commands", c.name), c.c.append(nil))
		s.index = uint64(i + 1)
		if _, _, err := s.apply(b); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
	if got, want := rowsOf(s, "apps")+rowsOf(s, "nonces"), "app={}/0@1 app.key nonce=\x00\x01\xfe\xff/1700000300000@1 "; got != want {
		t.Errorf("rows %q, want %q", got, want)
	}
	b := golden(t, "snapshot-tables", snapshotBytes(t, s))
	r, err := readState(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotBytes(t, r), b) || r.tables.byName["apps"].version != 3 {
		t.Error("snapshot reads back as another")
	}
	v := golden(t, "answer-table", appendTableVerdict(nil, tableVerdict{300, true}))
	if got, err := decodeTableVerdict(v); err != nil || got != (tableVerdict{300, true}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTablesAnyNodeWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		ctx := context.Background()
		leader, _ := c.leader()
		var version uint64
		for id, s := range c.stores {
			v, err := s.Put(ctx, Put{Table: "t", Key: id, Value: []byte("of " + id)})
			if err != nil {
				t.Fatalf("put on %s: %v", id, err)
			}
			if r, ok := s.Row("t", id); !ok || string(r.Value) != "of "+id || r.Version != v {
				t.Errorf("%s does not read what it wrote: %+v, %v", id, r, ok)
			}
			version = max(version, v)
		}
		for id, s := range c.stores {
			if err := s.WaitTable(ctx, "t", version); err != nil {
				t.Fatal(err)
			}
			if rows, v := s.Rows("t"); len(rows) != 3 || v != version || rows[0].Key != "n0" {
				t.Errorf("%s has %v at %d", id, rows, v)
			}
			select {
			case <-s.TablesChanged():
			default:
				t.Errorf("%s was not told of a change", id)
			}
			_, err := s.Put(ctx, Put{Table: "t", Key: "n0", Value: []byte("again"), IfAbsent: true})
			if !errors.Is(err, ErrExists) {
				t.Errorf("%s: second put: %v", id, err)
			}
		}

		// The answer to a write gets lost, so it is sent again; then the leader dies in the middle of one.
		lost := false
		c.net.onForward = func(_ string, answered bool) error {
			if answered && !lost {
				lost = true
				return errors.New("answer lost")
			}
			return nil
		}
		var follower *Store
		for id, s := range c.stores {
			if id != leader {
				follower = s
			}
		}
		once := Put{NoWait: true, Table: "nonces", Key: "nonce", Value: []byte("mine"), IfAbsent: true, ExpireMs: time.Now().Add(time.Minute).UnixMilli()}
		if _, err := follower.Put(ctx, once); err != nil || !lost {
			t.Errorf("put whose answer was lost: %v, lost %v", err, lost)
		}
		c.kill(leader)
		if _, err := follower.Delete(ctx, "t", "n0"); err != nil {
			t.Errorf("delete while there is no leader: %v", err)
		}
		once.Value = []byte("another's")
		if _, err := follower.Put(ctx, once); !errors.Is(err, ErrExists) {
			t.Errorf("a nonce comes twice: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if _, ok := follower.Row("nonces", "nonce"); ok {
			t.Error("an expired row is read")
		}
		c.open(leader)
		s := c.stores[leader]
		if err := s.WaitTable(ctx, "t", 4); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Row("t", "n0"); ok {
			t.Error("the node that was down has not heard of the delete")
		}
	})
}

func TestTableBounds(t *testing.T) {
	for name, c := range map[string]tableChange{
		"no table":       {Put: Put{Key: "k"}},
		"no key":         {Put: Put{Table: "t"}},
		"no key, delete": {Put: Put{Table: "t"}, remove: true},
		"long name":      {Put: Put{Table: string(make([]byte, tableNameMax+1)), Key: "k"}},
		"long key":       {Put: Put{Table: "t", Key: string(make([]byte, tableKeyMax+1))}},
		"long value":     {Put: Put{Table: "t", Key: "k", Value: make([]byte, tableValueMax+1)}},
	} {
		if checkCommand(c.append(nil)) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzTables(f *testing.F) {
	put := tableChange{Put: Put{"t", "k", []byte("v"), true, 5, false}, NowMs: 3}
	s := newState()
	s.do(f, put)
	snap := snapshotBytes(f, s)
	seed(f, put.append(nil), (&tableChange{Put: Put{Table: "t", Key: "k"}, remove: true}).append(nil), snap,
		appendTableVerdict(nil, tableVerdict{7, true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeTableVerdict(b)
		s := newState()
		if d := (decoder{rest: b}); d.byte() == frameTables {
			s.tables.loadClock(d.rest)
		} else {
			s.tables.load(b)
		}
		s.do(t, put)
		whole := snapshotBytes(t, s)
		if r, err := readState(bytes.NewReader(whole)); err != nil || !bytes.Equal(snapshotBytes(t, r), whole) {
			t.Fatalf("does not read back: %v", err)
		}
	})
}

// Writes that fail together spread out, and ask less and less often.
func TestTablePause(t *testing.T) {
	for try, want := range []time.Duration{20, 40, 80, 160, 320, 320, 320} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := tablePause(try)
			if d < want*time.Millisecond*3/4 || d > want*time.Millisecond*5/4 {
				t.Errorf("try %d: %v, want %dms or a quarter less or more", try, d, want)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("try %d: %d different pauses of 100", try, len(seen))
		}
	}
	if d := tablePause(1 << 40); d > tableRetryMax*5/4 {
		t.Errorf("after very many: %v", d)
	}
}
