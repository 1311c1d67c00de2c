package raftstore

import (
	"cmp"
	dueheap "container/heap"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Bounds of what a table holds.
const (
	tableNameMax  = 64
	tableKeyMax   = 1 << 10
	tableValueMax = 256 << 10 // one row goes into one entry of the log
	tablesMax     = 64
)

// tableShards is in how many pieces a table is copied when it is written to after a snapshot was taken.
const tableShards = 64

// tables are small sets of rows that every node holds: what must be agreed on and is not about partitions. A row may
// expire; when, is judged by the clock of the commands, so that all nodes agree.
type tables struct {
	nowMs  int64 // the newest time a command was stamped with
	byName map[string]*table
	due    dueRows
	frozen uint64 // shards of an older generation are shared with a snapshot
}

type table struct {
	version uint64 // goes up with each change of a row
	rows    int
	shards  [tableShards]tableShard
}

type tableShard struct {
	generation uint64
	rows       map[string]row
}

type row struct {
	value    []byte
	expireMs int64 // 0: never
	version  uint64
}

// dueRow says when a row may go. It may be out of date: the row was written again, or is gone.
type dueRow struct {
	ms         int64
	table, key string
}

// dueRows is a heap by time.
type dueRows []dueRow

func (d dueRows) Len() int           { return len(d) }
func (d dueRows) Less(i, j int) bool { return d[i].ms < d[j].ms }
func (d dueRows) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dueRows) Push(x any)        { *d = append(*d, x.(dueRow)) }
func (d *dueRows) Pop() any {
	old := *d
	x := old[len(old)-1]
	old[len(old)-1] = dueRow{}
	*d = old[:len(old)-1]
	return x
}

// tableVerdict is what the FSM says to a table command: the version of the table now, and whether the row was there
// already and is another.
type tableVerdict struct {
	version uint64
	exists  bool
}

func newTables() tables { return tables{byName: map[string]*table{}} }

func shardOf(key string) int { return int(xxhash.Sum64String(key) % tableShards) }

// change applies one command.
func (t *tables) change(c *tableChange) tableVerdict {
	t.pass(c.NowMs)
	tb := t.byName[c.Table]
	if tb == nil {
		if c.remove {
			return tableVerdict{}
		}
		tb = &table{}
		t.byName[c.Table] = tb
	}
	if c.was != nil {
		old, there := tb.find(c.Key)
		switch {
		case !there && c.remove, there && !c.remove && slices.Equal(old.value, c.Value):
			return tableVerdict{version: tb.version} // done before, or nothing to do
		case there != (*c.was != 0), there && old.version != *c.was:
			return tableVerdict{version: tb.version, exists: true}
		}
	}
	if c.remove {
		t.remove(tb, c.Key)
		return tableVerdict{version: tb.version}
	}
	if old, there := tb.find(c.Key); there && c.IfAbsent {
		// The same value is the same command again, whose first answer was lost.
		return tableVerdict{version: tb.version, exists: !slices.Equal(old.value, c.Value)}
	}
	if c.ExpireMs != 0 && c.ExpireMs <= t.nowMs {
		t.remove(tb, c.Key)
		return tableVerdict{version: tb.version}
	}
	tb.version++
	t.set(c.Table, tb, c.Key, row{value: slices.Clone(c.Value), expireMs: c.ExpireMs, version: tb.version})
	return tableVerdict{version: tb.version}
}

func (tb *table) find(key string) (row, bool) {
	r, ok := tb.shards[shardOf(key)].rows[key]
	return r, ok
}

// writable is the rows of a key's shard, apart from what a snapshot holds.
func (t *tables) writable(tb *table, key string) map[string]row {
	s := &tb.shards[shardOf(key)]
	switch {
	case s.rows == nil:
		s.rows, s.generation = map[string]row{}, t.frozen
	case s.generation < t.frozen:
		s.rows, s.generation = maps.Clone(s.rows), t.frozen
	}
	return s.rows
}

func (t *tables) set(name string, tb *table, key string, r row) {
	rows := t.writable(tb, key)
	if _, there := rows[key]; !there {
		tb.rows++
	}
	rows[key] = r
	if r.expireMs != 0 {
		dueheap.Push(&t.due, dueRow{r.expireMs, name, key})
		t.tidy()
	}
}

func (t *tables) remove(tb *table, key string) {
	if _, there := tb.find(key); there {
		delete(t.writable(tb, key), key)
		tb.rows--
		tb.version++
	}
}

// pass moves the clock on and drops what has expired. A clock that goes back changes nothing.
func (t *tables) pass(nowMs int64) {
	t.nowMs = max(t.nowMs, nowMs)
	for len(t.due) > 0 && t.due[0].ms <= t.nowMs {
		d := dueheap.Pop(&t.due).(dueRow)
		tb := t.byName[d.table]
		if r, there := tb.find(d.key); there && r.expireMs != 0 && r.expireMs <= t.nowMs {
			t.remove(tb, d.key)
		}
	}
}

// tidy drops entries of the heap that are out of date, when they are most of it.
func (t *tables) tidy() {
	live := 0
	for _, tb := range t.byName {
		live += tb.rows
	}
	if len(t.due) < 2*live+1024 {
		return
	}
	t.due = slices.DeleteFunc(t.due, func(d dueRow) bool {
		r, there := t.byName[d.table].find(d.key)
		return !there || r.expireMs != d.ms
	})
	dueheap.Init(&t.due)
}

// frozenTable is a table at one moment.
type frozenTable struct {
	name    string
	version uint64
	shards  [tableShards]map[string]row
}

// freeze takes the tables as they are now, in O(tables). Later changes leave it alone.
func (t *tables) freeze() []frozenTable {
	t.frozen++
	list := make([]frozenTable, 0, len(t.byName))
	for name, tb := range t.byName {
		list = append(list, tb.freeze(name))
	}
	slices.SortFunc(list, func(a, b frozenTable) int { return cmp.Compare(a.name, b.name) })
	return list
}

func (tb *table) freeze(name string) frozenTable {
	f := frozenTable{name: name, version: tb.version}
	for i := range tb.shards {
		f.shards[i] = tb.shards[i].rows
	}
	return f
}

// list is the rows in the order of their keys.
func (f *frozenTable) list() []Row {
	var rows []Row
	for _, shard := range f.shards {
		for key, r := range shard {
			rows = append(rows, Row{Key: key, Value: r.value, ExpireMs: r.expireMs, Version: r.version})
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Key, b.Key) })
	return rows
}

// In a snapshot there is one frame with the clock, unless no command ever moved it, and then each table has one or more:
// name, uvarint version, rows; a row is its key, its value, varint time of expiry, uvarint version.
func writeTables(fw *frameWriter, nowMs int64, list []frozenTable) {
	if nowMs != 0 {
		fw.frame(frameTables, nil, binary.AppendVarint(nil, nowMs))
	}
	for i := range list {
		head := appendBytes(nil, list[i].name)
		head = binary.AppendUvarint(head, list[i].version)
		var buf []byte
		written := false
		for _, r := range list[i].list() {
			buf = appendBytes(buf, r.Key)
			buf = appendBytes(buf, r.Value)
			buf = binary.AppendVarint(buf, r.ExpireMs)
			buf = binary.AppendUvarint(buf, r.Version)
			if len(buf) > occupiedPerFrame {
				fw.frame(frameTable, head, buf)
				buf, written = buf[:0], true
			}
		}
		if len(buf) > 0 || !written {
			fw.frame(frameTable, head, buf)
		}
	}
}

// loadClock takes the first frame of a snapshot's tables.
func (t *tables) loadClock(b []byte) error {
	d := decoder{rest: b}
	t.nowMs = d.varint()
	return d.end()
}

// load takes the frame of a table.
func (t *tables) load(b []byte) error {
	d := decoder{rest: b}
	name, version := d.string(tableNameMax), d.uvarint()
	if d.err != nil || name == "" {
		return fmt.Errorf("table %q: %w", name, cmp.Or(d.err, errShort))
	}
	tb := t.byName[name]
	if tb == nil {
		if len(t.byName) == tablesMax {
			return fmt.Errorf("table %q: more than %d tables", name, tablesMax)
		}
		tb = &table{}
		t.byName[name] = tb
	}
	tb.version = version
	for len(d.rest) > 0 {
		key := d.string(tableKeyMax)
		r := row{value: slices.Clone(d.bytes(tableValueMax)), expireMs: d.varint(), version: d.uvarint()}
		if d.err != nil {
			return fmt.Errorf("table %q: %w", name, d.err)
		}
		t.set(name, tb, key, r)
	}
	return d.err
}
