package meter

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// The tables of the log that this package fills.
const (
	TableState = "meter" // what the next leader goes on with
	TableRows  = "stats" // what was measured
)

const (
	// chunks is in how many rows of TableState all series are kept; a row is what is replaced at once.
	chunks = 16
	// writeEvery is the longest that what was measured waits for its commit, in ms. What is urgent does not wait.
	writeEvery = 5_000
)

// Put is a row to be written to a table of the log.
type Put struct {
	Table, Key string
	Value      []byte
	ExpireMs   int64 // 0: never
}

// Stored is a row of a table of the log.
type Stored struct {
	Key   string
	Value []byte
}

// Retention is for how long rows are kept after their interval began. Month must be the longest.
type Retention [numUnits]time.Duration

// DefaultRetention keeps minutes for a week, and months for ten years.
var DefaultRetention = Retention{7 * 24 * time.Hour, 90 * 24 * time.Hour, 800 * 24 * time.Hour, 3660 * 24 * time.Hour}

// AppSeries is the name of an app's series.
func AppSeries(app string) string { return "a/" + app }

// AccountSeries is the name of an account's series: that of all its apps together.
func AccountSeries(account string) string { return "t/" + account }

// Meter is what the leader measures with, for one term of leading.
//
// A leader writes under its term. Whoever comes next reads the newest term's state, and what a former leader writes later
// is never looked at: of two rows for one interval that of the later term counts. So it does not matter which of its writes
// a leader saw through, and each counter's increase is in the rows exactly once.
type Meter struct {
	term      uint64
	retention Retention
	account   func(app string) string
	homes     map[string]string // series of each app's account, as of the last sample
	chunks    [chunks]chunk
	pending   []Put    // rows of what is over; written before a state without them is
	old       []string // keys of the states of former terms, until all of them were written anew
}

type chunk struct {
	series  map[string]*series
	changed bool   // since it was written
	urgent  bool   // a new peak or low is in it, or an app has changed hands
	foreign bool   // it is a former leader's and was not written since
	wroteMs int64  // when it was
	tick    uint64 // counts changes
}

// Resume goes on with what former leaders left in TableState. account says whose an app is; it may say something else each
// time.
func Resume(term uint64, state []Stored, retention Retention, account func(app string) string) (*Meter, error) {
	m := &Meter{term: term, retention: retention, account: account}
	for i := range m.chunks {
		m.chunks[i].series = map[string]*series{}
	}
	newest := map[int]uint64{}
	for _, row := range state {
		i, of, err := parseStateKey(row.Key)
		if err != nil {
			return nil, err
		}
		if of > term {
			continue // there is a next leader already
		}
		if of < term {
			m.old = append(m.old, row.Key)
		}
		if have, ok := newest[i]; ok && have > of {
			continue
		}
		newest[i] = of
		if m.chunks[i].series, err = decodeChunk(row.Value); err != nil {
			return nil, fmt.Errorf("state %s: %w", row.Key, err)
		}
		m.chunks[i].changed, m.chunks[i].foreign = true, true // so that it is written under this term
	}
	return m, nil
}

func stateKey(i int, term uint64) string { return fmt.Sprintf("%02x/%016x", i, term) }

func parseStateKey(key string) (i int, term uint64, err error) {
	chunk, of, _ := strings.Cut(key, "/")
	n, err := strconv.ParseUint(chunk, 16, 8)
	if err == nil {
		term, err = strconv.ParseUint(of, 16, 64)
	}
	if err != nil || n >= chunks {
		return 0, 0, fmt.Errorf("state %.40q: %w", key, errBad)
	}
	return int(n), term, nil
}

func chunkOf(name string) int { return int(xxhash.Sum64String(name) % chunks) }

// rowKey sorts by unit, series and time; of two terms the later comes last.
func rowKey(u Unit, name string, start int64, term uint64) string {
	return fmt.Sprintf("%c/%s/%013d/%016x", unitLetters[u], name, start, term)
}

// rowKeyTail is the length of what stands behind a series in a key.
const rowKeyTail = 1 + 13 + 1 + 16

func parseRowKey(key string) (group string, start int64, ok bool) {
	if len(key) <= rowKeyTail+2 {
		return "", 0, false
	}
	group, tail := key[:len(key)-rowKeyTail], key[len(key)-rowKeyTail:]
	start, err := strconv.ParseInt(tail[1:14], 10, 64)
	return group, start, err == nil
}

func rowGroup(u Unit, name string) string { return string(unitLetters[u]) + "/" + name }

// Sample looks at the board. A clock that goes back stands still.
func (m *Meter) Sample(nowMs int64, b *Board) {
	apps := b.Apps()
	all := make(map[string]Now, 2*len(apps))
	homes := make(map[string]string, len(apps))
	for app, v := range apps {
		all[AppSeries(app)] = v
		account := AccountSeries(m.account(app)) // asked once: it may change before the counters are looked at
		homes[app] = account
		sum := all[account]
		all[account] = Now{sum.Channels + v.Channels, sum.Connections + v.Connections}
	}
	for i := range m.chunks {
		c := &m.chunks[i]
		for name := range c.series {
			if _, ok := all[name]; !ok {
				all[name] = Now{}
			}
		}
	}
	late := b.Late(nowMs)
	for name, v := range all {
		if s := m.chunks[chunkOf(name)].series[name]; late && s != nil {
			v.Connections = s.last.Connections // until it is known who is there
		}
		m.sample(nowMs, name, v)
	}
	for app, account := range homes {
		if was, ok := m.homes[app]; ok && was != account {
			m.move(app, was, account)
		}
	}
	m.homes = homes
	for id, k := range b.boots {
		sums := map[string]*Counters{}
		for i := range k.apps {
			a := &k.apps[i]
			m.count(nowMs, AppSeries(a.ID), id, &a.Counters)
			account := homes[a.ID]
			if sums[account] == nil {
				sums[account] = new(Counters)
			}
			sums[account].Add(&a.Counters)
		}
		for name, c := range sums {
			m.count(nowMs, name, id, c)
		}
	}
	m.forget(nowMs)
}

func (m *Meter) sample(nowMs int64, name string, v Now) {
	c := &m.chunks[chunkOf(name)]
	s := c.series[name]
	if s == nil {
		s = newSeries(nowMs)
		c.series[name] = s
	}
	nowMs = max(nowMs, s.atMs)
	done := s.pass(nowMs, nil)
	for i := range done {
		d := &done[i]
		if d.row.Active() {
			m.pending = append(m.pending, Put{
				Table: TableRows, Key: rowKey(d.unit, name, d.start, m.term), Value: d.row.append(nil),
				ExpireMs: d.start + m.retention[d.unit].Milliseconds(),
			})
		}
	}
	was := s.last
	extreme := s.sample(nowMs, v)
	if extreme || len(done) > 0 || v != was || v != (Now{}) {
		c.changed, c.urgent = true, c.urgent || extreme
		c.tick++
	}
}

func (m *Meter) count(nowMs int64, name, boot string, n *Counters) {
	c := &m.chunks[chunkOf(name)]
	if c.series[name].count(nowMs, boot, n) {
		c.changed = true
		c.tick++
	}
}

// move hands an app over to another account: what its boots counted for it stands in the sums of the apps of that account
// from now on, and no more in those of the account that had it. The rows stay as they are: what is in them was done for
// that one.
func (m *Meter) move(app, from, to string) {
	app = AppSeries(app)
	for boot, n := range m.chunks[chunkOf(app)].series[app].boots {
		m.amend(from, boot, n, (*Counters).sub)
		m.amend(to, boot, n, (*Counters).Add)
	}
}

func (m *Meter) amend(account, boot string, n *sum, by func(c, o *Counters)) {
	c := &m.chunks[chunkOf(account)]
	if s := c.series[account]; s != nil {
		by(&s.boot(boot, n.seenMs).counted, &n.counted)
		c.changed, c.urgent = true, true
		c.tick++
	}
}

// forget drops what nobody asks for: boots that are long gone, series in which nothing happens.
func (m *Meter) forget(nowMs int64) {
	for i := range m.chunks {
		c := &m.chunks[i]
		for name, s := range c.series {
			maps.DeleteFunc(s.boots, func(_ string, b *sum) bool { return nowMs-b.seenMs > bootsKept })
			if s.idle() {
				delete(c.series, name)
				c.changed = true
				c.tick++
			}
		}
	}
}

// Batch is what is to be written, in its order.
type Batch struct {
	Puts    []Put
	Deletes []string // of TableState
	rows    int
	ticks   map[int]uint64
	nowMs   int64
}

// Minutes are the apps' minutes that the batch writes.
func (b *Batch) Minutes() (list []Entry) {
	for _, p := range b.Puts {
		group, start, ok := parseRowKey(p.Key)
		series, of := strings.CutPrefix(group, rowGroup(Minute, ""))
		if p.Table != TableRows || !ok || !of || !strings.HasPrefix(series, AppSeries("")) {
			continue
		}
		r := reader{rest: p.Value}
		if row := r.row(); r.end() == nil {
			list = append(list, Entry{Series: series, Unit: Minute, StartMs: start, Row: row})
		}
	}
	return list
}

// App is whose series the entry is of, "" for an account's.
func (e *Entry) App() string {
	app, ok := strings.CutPrefix(e.Series, AppSeries(""))
	if !ok {
		return ""
	}
	return app
}

// Due is what is to be written now: what is over, and states that have waited long enough or hold what is urgent. all writes
// what has changed at once.
func (m *Meter) Due(nowMs int64, all bool) *Batch {
	b := &Batch{Puts: slices.Clone(m.pending), rows: len(m.pending), ticks: map[int]uint64{}, nowMs: nowMs}
	for i := range m.chunks {
		c := &m.chunks[i]
		if c.changed && (all || c.urgent || nowMs-c.wroteMs >= writeEvery || nowMs < c.wroteMs) {
			b.ticks[i] = c.tick
			b.Puts = append(b.Puts, Put{Table: TableState, Key: stateKey(i, m.term), Value: c.append(nil)})
		}
	}
	if len(m.old) > 0 && !m.foreign() {
		b.Deletes = m.old
	}
	return b
}

// foreign says whether a former leader's state is still the only one of a chunk.
func (m *Meter) foreign() bool {
	for i := range m.chunks {
		if m.chunks[i].foreign {
			return true
		}
	}
	return false
}

// Wrote notes that a batch was written, as a whole.
func (m *Meter) Wrote(b *Batch) {
	m.pending = slices.Delete(m.pending, 0, b.rows)
	for i, tick := range b.ticks {
		c := &m.chunks[i]
		c.wroteMs = b.nowMs
		c.foreign = false
		if c.tick == tick { // else there may be more in what was sampled meanwhile
			c.changed, c.urgent = false, false
		}
	}
	if b.Deletes != nil {
		m.old = nil
	}
}

const chunkVersion = 1

func (c *chunk) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, chunkVersion)
	dst = binary.AppendUvarint(dst, uint64(len(c.series)))
	for name, s := range c.series {
		dst = s.append(appendString(dst, name))
	}
	return dst
}

func decodeChunk(b []byte) (map[string]*series, error) {
	r := reader{rest: b}
	r.version(chunkVersion)
	n := r.count(8)
	list := make(map[string]*series, n)
	for range n {
		name := r.string()
		list[name] = r.series()
	}
	return list, r.end()
}
