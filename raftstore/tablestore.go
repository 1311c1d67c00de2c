package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Put is a row to be written to a table.
type Put struct {
	Table, Key string
	Value      []byte
	IfAbsent   bool  // refuse with ErrExists when the row is there with another value
	ExpireMs   int64 // when the row goes by itself, unix ms by the leader's clock; 0 for never
	NoWait     bool  // return when it is committed: this node may not have applied it yet
}

// Row is a row of a table. Value is shared: never write to it.
type Row struct {
	Key      string
	Value    []byte
	ExpireMs int64
	Version  uint64 // the table's version when it was written
}

// ErrExists refuses a Put with IfAbsent.
var ErrExists = errors.New("the row is there already")

// A write that found no leader, or one too busy, is tried again after a pause, each time one twice as long.
const (
	tableRetry    = 20 * time.Millisecond
	tableRetryMax = 320 * time.Millisecond
)

// tablePause is the pause before a try (0: the first one after a failure), by chance up to a quarter shorter or longer: who
// failed together does not come again together.
func tablePause(try int) time.Duration {
	d := min(tableRetry<<min(try, 10), tableRetryMax)
	return d*3/4 + rand.N(d/2)
}

// Put writes a row, from any node, and returns when this node has applied it. It tries until it knows the outcome or ctx
// or ApplyTimeout ends, then with ErrUnknownOutcome. A repeat under the hood is safe: with IfAbsent the same value counts
// as the same write, without it the last write wins. A row whose time is over already is not kept.
func (s *Store) Put(ctx context.Context, p Put) (version uint64, err error) {
	v, err := s.writeTable(ctx, &tableChange{Put: p})
	switch {
	case err != nil:
		return 0, s.op("put into "+p.Table, err)
	case v.exists:
		return 0, s.op("put into "+p.Table, ErrExists)
	}
	return v.version, nil
}

// Delete removes a row, from any node, and returns as Put does. A row that is not there is no error.
func (s *Store) Delete(ctx context.Context, table, key string) (version uint64, err error) {
	v, err := s.writeTable(ctx, &tableChange{Put: Put{Table: table, Key: key}, remove: true})
	return v.version, s.op("delete from "+table, err)
}

// Swap writes a row, or removes it, if it is still the one that was written at a version of the table; 0: if there is none.
// Else ErrExists. It returns as Put does. What is so already counts as done.
func (s *Store) Swap(ctx context.Context, p Put, was uint64, remove bool) (version uint64, err error) {
	v, err := s.writeTable(ctx, &tableChange{Put: p, remove: remove, was: &was})
	switch {
	case err != nil:
		return 0, s.op("swap in "+p.Table, err)
	case v.exists:
		return 0, s.op("swap in "+p.Table, ErrExists)
	}
	return v.version, nil
}

// Row is a row as applied here, unless it has expired by this node's clock.
func (s *Store) Row(table, key string) (Row, bool) {
	s.fsm.mu.Lock()
	defer s.fsm.mu.Unlock()
	if tb := s.fsm.state.tables.byName[table]; tb != nil {
		if r, there := tb.find(key); there && !expired(r.expireMs) {
			return Row{Key: key, Value: r.value, ExpireMs: r.expireMs, Version: r.version}, true
		}
	}
	return Row{}, false
}

// Rows are all rows of a table as applied here, in the order of their keys, and the table's version.
func (s *Store) Rows(table string) (rows []Row, version uint64) {
	s.fsm.mu.Lock()
	tb := s.fsm.state.tables.byName[table]
	if tb == nil {
		s.fsm.mu.Unlock()
		return nil, 0
	}
	s.fsm.state.tables.frozen++
	f := tb.freeze(table)
	s.fsm.mu.Unlock()
	for _, r := range f.list() {
		if !expired(r.ExpireMs) {
			rows = append(rows, r)
		}
	}
	return rows, f.version
}

func expired(ms int64) bool { return ms != 0 && ms <= time.Now().UnixMilli() }

// TableVersion goes up with each change of a row; 0 for a table that nobody wrote to.
func (s *Store) TableVersion(table string) uint64 {
	s.fsm.mu.Lock()
	defer s.fsm.mu.Unlock()
	if tb := s.fsm.state.tables.byName[table]; tb != nil {
		return tb.version
	}
	return 0
}

// TablesChanged is sent to (capacity 1, never waiting) when a row of any table may have changed. One reader.
func (s *Store) TablesChanged() <-chan struct{} { return s.tablesChanged }

// WaitTable returns when this node has applied a version of a table.
func (s *Store) WaitTable(ctx context.Context, table string, version uint64) error {
	for {
		changed := s.tabled.wait()
		if s.TableVersion(table) >= version {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for version %d of table %s: %w", version, table, ctx.Err())
		case <-s.ctx.Done():
			return fmt.Errorf("wait for version %d of table %s: %w", version, table, ErrClosed)
		}
	}
}

// writeTable has the leader take a change, whoever that is by then.
func (s *Store) writeTable(ctx context.Context, c *tableChange) (tableVerdict, error) {
	if err := checkCommand(c.append(nil)); err != nil {
		return tableVerdict{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.ApplyTimeout)
	defer cancel()
	for try := 0; ; try++ {
		v, err := s.tryTable(ctx, c)
		if err == nil && c.NoWait {
			return v, nil
		}
		if err == nil {
			return v, s.WaitTable(ctx, c.Table, v.version)
		}
		if errors.Is(err, ErrClosed) && s.ctx.Err() != nil {
			return tableVerdict{}, ErrClosed
		}
		t := time.NewTimer(tablePause(try))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return tableVerdict{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		case <-s.ctx.Done():
			t.Stop()
			return tableVerdict{}, ErrClosed
		}
	}
}

func (s *Store) tryTable(ctx context.Context, c *tableChange) (tableVerdict, error) {
	leader := s.Leader()
	switch {
	case leader == s.config.NodeID:
		return s.applyTable(ctx, c)
	case leader == "" || s.config.Forward == nil:
		return tableVerdict{}, &NotLeaderError{Leader: leader}
	}
	c.NowMs = 0
	answer, err := s.config.Forward.Forward(ctx, leader, append([]byte{forwardTable, forwardVersion}, c.append(nil)...))
	if err != nil {
		return tableVerdict{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return decodeTableVerdict(answer)
}

// applyTable is the leader's side: it stamps the change with its own clock, so that one clock counts.
func (s *Store) applyTable(ctx context.Context, c *tableChange) (tableVerdict, error) {
	c.NowMs = time.Now().UnixMilli()
	r, err := s.apply(ctx, c.append(nil))
	if err != nil {
		return tableVerdict{}, err
	}
	v, ok := r.(tableVerdict)
	if !ok {
		return tableVerdict{}, fmt.Errorf("%w: %v", ErrUnknownOutcome, r)
	}
	return v, nil
}

// forwardedTable answers another node's change.
func (s *Store) forwardedTable(ctx context.Context, body []byte) ([]byte, error) {
	cmd, rest, err := splitCommand(body)
	if err == nil && cmd != cmdTablePut && cmd != cmdTableDelete && cmd != cmdTableSwap {
		err = fmt.Errorf("%v is no table command", cmd)
	}
	var c *tableChange
	if err == nil {
		c, err = decodeTableChange(cmd, rest)
	}
	if err != nil {
		return nil, fmt.Errorf("forwarded table command: %w: %w", ErrInvalid, err)
	}
	v, err := s.applyTable(ctx, c)
	if err != nil {
		return appendRefusal(nil, err), nil
	}
	return appendTableVerdict(nil, v), nil
}
