package meter

import (
	"cmp"
	"slices"
	"sync"
)

// Log is what an Archive reads: a node's copy of the log. Values are shared and never written to.
type Log interface {
	Rows(table string) (rows []Stored, version uint64) // in the order of their keys
	Version(table string) uint64
}

// Archive answers what was measured. It reads the log again only when it has changed. It is safe for concurrent use.
type Archive struct {
	log Log

	mu      sync.Mutex
	version uint64 // of TableRows, that groups is made of
	groups  map[string][]past
	states  uint64 // version of TableState, that running is made of
	running map[string]*series
}

// past is an interval that is over.
type past struct {
	start int64
	value []byte
}

// NewArchive makes one.
func NewArchive(log Log) *Archive { return &Archive{log: log} }

// Entry is what was measured in one interval.
type Entry struct {
	Series  string
	Unit    Unit
	StartMs int64
	AsOfMs  int64 // when it was measured last, while the interval is not over; else 0
	Row     Row
}

// Query is a question: the intervals of a series that begin from FromMs to ToMs.
type Query struct {
	Series       string
	Unit         Unit
	FromMs, ToMs int64
	Forwards     bool
	Limit        int
}

// Find gives the intervals in which something was open or done. more says that there are others behind them.
func (a *Archive) Find(q Query) (list []Entry, more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.refresh(); err != nil {
		return nil, false, err
	}
	group := a.groups[rowGroup(q.Unit, q.Series)]
	first, _ := slices.BinarySearchFunc(group, q.FromMs, func(p past, ms int64) int { return cmp.Compare(p.start, ms) })
	last, _ := slices.BinarySearchFunc(group, q.ToMs+1, func(p past, ms int64) int { return cmp.Compare(p.start, ms) })
	inside := group[first:max(first, last)]
	now, running := a.now(q, inside)
	take := func(i int) bool {
		if len(list) == q.Limit {
			more = true
			return false
		}
		if i == len(inside) {
			list = append(list, now)
			return true
		}
		r := reader{rest: inside[i].value}
		row := r.row()
		if err = r.end(); err == nil {
			list = append(list, Entry{Series: q.Series, Unit: q.Unit, StartMs: inside[i].start, Row: row})
		}
		return err == nil
	}
	n := len(inside)
	if running {
		n++
	}
	for k := range n {
		i := k
		if !q.Forwards {
			i = n - 1 - k
		}
		if !take(i) {
			break
		}
	}
	return list, more, err
}

// now is the interval that is not over, if it was asked for and the log has not got the whole of it.
func (a *Archive) now(q Query, inside []past) (e Entry, ok bool) {
	s := a.running[q.Series]
	if s == nil {
		return e, false
	}
	start := q.Unit.Start(s.atMs)
	if start < q.FromMs || start > q.ToMs || len(inside) > 0 && inside[len(inside)-1].start >= start {
		return e, false
	}
	e = Entry{Series: q.Series, Unit: q.Unit, StartMs: start, AsOfMs: s.atMs, Row: s.running(q.Unit)}
	return e, e.Row.Active()
}

// refresh reads what has changed.
func (a *Archive) refresh() error {
	// The states first: a row that is older than the state is missing at no time.
	if v := a.log.Version(TableState); v != a.states || a.running == nil {
		rows, version := a.log.Rows(TableState)
		running := map[string]*series{}
		for i, row := range rows {
			chunk, _, err := parseStateKey(row.Key)
			if err != nil {
				return err
			}
			if i+1 < len(rows) {
				if next, _, err := parseStateKey(rows[i+1].Key); err == nil && next == chunk {
					continue // of a former term
				}
			}
			list, err := decodeChunk(row.Value)
			if err != nil {
				return err
			}
			for name, s := range list {
				running[name] = s
			}
		}
		a.running, a.states = running, version
	}
	if v := a.log.Version(TableRows); v != a.version || a.groups == nil {
		rows, version := a.log.Rows(TableRows)
		a.groups, a.version = map[string][]past{}, version
		for _, row := range rows {
			group, start, ok := parseRowKey(row.Key)
			if !ok {
				continue
			}
			list := a.groups[group]
			if n := len(list); n > 0 && list[n-1].start == start {
				list[n-1].value = row.Value // of a later term
				continue
			}
			a.groups[group] = append(list, past{start, row.Value})
		}
	}
	return nil
}
