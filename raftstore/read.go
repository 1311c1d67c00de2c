package raftstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"innkeeper/cluster/ring"
)

// View is the newest view of members and table.
func (s *Store) View() *View { return s.fsm.view.Load() }

// Changed is sent to (capacity 1, never waiting) when members, table or cluster id changed. One reader.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Occupied walks the occupied channels of a partition in order, as they are now, until yield says stop.
func (s *Store) Occupied(part uint32, yield func(app, name string, seq uint64, sinceMs int64) bool) {
	s.fsm.mu.Lock()
	var f frozen
	if int(part) < len(s.fsm.state.parts) {
		f = s.fsm.state.parts[part].freeze()
	}
	s.fsm.mu.Unlock()
	f.after(key{}, func(e entry) bool { return yield(string(e.app), string(e.name), e.seq, e.sinceMs) })
}

// Open walks the channels of a partition that are open by an Opened, in order, as they are now, until yield says stop.
func (s *Store) Open(part uint32, yield func(app, name string, seq uint64, sinceMs int64) bool) {
	s.fsm.mu.Lock()
	var f frozen
	if int(part) < len(s.fsm.state.open) {
		f = s.fsm.state.open[part].freeze()
	}
	s.fsm.mu.Unlock()
	f.after(key{}, func(e entry) bool { return yield(string(e.app), string(e.name), e.seq, e.sinceMs) })
}

// Events returns up to limit events (1000 if limit is not positive) after a seq, and the first and last seq retained
// (first > last: none). ErrCompacted when some of those after it are gone.
func (s *Store) Events(after uint64, limit int) (first, last uint64, events []Event, err error) {
	s.fsm.mu.Lock()
	v, ids := s.fsm.state.events.view(), s.fsm.state.eventIDs()
	s.fsm.mu.Unlock()
	if after+1 < v.first {
		return v.first, v.last, nil, fmt.Errorf("events after %d: %w: first is %d", after, ErrCompacted, v.first)
	}
	if limit <= 0 {
		limit = 1000
	}
	if after < v.last {
		events = make([]Event, 0, min(uint64(limit), v.last-after))
		v.walk(after+1, func(e *rawEvent) bool {
			events = append(events, e.event(ids))
			return len(events) < limit
		})
	}
	return v.first, v.last, events, nil
}

// WaitEvents returns when there is an event after that seq here.
func (s *Store) WaitEvents(ctx context.Context, after uint64) error {
	return s.WaitApplied(ctx, after+1)
}

// WaitApplied returns when the event of that seq is applied here.
func (s *Store) WaitApplied(ctx context.Context, seq uint64) error {
	for {
		applied := s.applied.wait()
		if s.View().LastSeq >= seq {
			return nil
		}
		select {
		case <-applied:
		case <-ctx.Done():
			return fmt.Errorf("wait for event %d: %w", seq, ctx.Err())
		case <-s.ctx.Done():
			return fmt.Errorf("wait for event %d: %w", seq, ErrClosed)
		}
	}
}

// OccupiedPage lists the channels that were occupied when asOf was the newest event: up to limit of them (1000 if limit
// is not positive) after a position, of one app ("" for all), with names that start with prefix. next is where to go on,
// nil at the end. It is exact: later events are undone. ErrCompacted when they are not all retained, ErrAhead when this
// node has not applied asOf yet.
func (s *Store) OccupiedPage(asOf uint64, app, prefix string, after Position, limit int) (items []OccupiedItem, next *Position, err error) {
	s.fsm.mu.Lock()
	events := s.fsm.state.events.view()
	parts := make([]frozen, len(s.fsm.state.parts))
	for i := range parts {
		parts[i] = s.fsm.state.parts[i].freeze()
	}
	s.fsm.mu.Unlock()
	switch {
	case asOf > events.last:
		return nil, nil, fmt.Errorf("occupied as of %d: %w: at %d", asOf, ErrAhead, events.last)
	case asOf+1 < events.first:
		return nil, nil, fmt.Errorf("occupied as of %d: %w: first is %d", asOf, ErrCompacted, events.first)
	}
	if limit <= 0 {
		limit = 1000
	}
	if after.App == "" {
		after.App = app
	}
	p := page{
		app: app, prefix: prefix, limit: limit,
		after: key{hash: after.Hash, app: []byte(after.App), name: []byte(after.Name)},
		start: after != Position{App: app},
	}
	p.undo(events, asOf)
	p.fill(parts)
	return p.items, p.next, nil
}

// page is an enumeration under way.
type page struct {
	app, prefix string
	after       key
	start       bool // after is a position; otherwise the page is the first
	limit       int

	changed map[string]struct{} // app, NUL, name of the channels with events after asOf
	ended   []entry             // those of them that were occupied at asOf, in order
	items   []OccupiedItem
	next    *Position
}

func (p *page) wants(k key) bool {
	return (p.app == "" || p.app == text(k.app)) && strings.HasPrefix(text(k.name), p.prefix) &&
		(!p.start || k.compare(p.after) > 0)
}

// undo finds what the channels with events after asOf were at asOf: the first such event tells.
func (p *page) undo(events eventView, asOf uint64) {
	p.changed = map[string]struct{}{}
	var buf []byte
	events.walk(asOf+1, func(e *rawEvent) bool {
		if e.kind != Occupied && e.kind != Vacated {
			return true
		}
		if p.app != "" && p.app != text(e.app) || !strings.HasPrefix(text(e.name), p.prefix) {
			return true
		}
		buf = append(append(append(buf[:0], e.app...), 0), e.name...)
		if _, ok := p.changed[string(buf)]; ok {
			return true
		}
		p.changed[string(buf)] = struct{}{}
		k := key{hash: ring.Hash(text(e.app), text(e.name)), app: e.app, name: e.name}
		if e.kind == Vacated && p.wants(k) {
			p.ended = append(p.ended, entry{key: k, seq: e.ends, sinceMs: e.sinceMs})
		}
		return true
	})
	slices.SortFunc(p.ended, func(a, b entry) int { return a.compare(b.key) })
}

// fill merges what is occupied and had no event since with what has ended since.
func (p *page) fill(parts []frozen) {
	var buf []byte
	for part := p.firstPart(len(parts)); part < len(parts); part++ {
		from := key{}
		if p.start {
			from = p.after
		}
		whole := parts[part].after(from, func(e entry) bool {
			if !p.wants(e.key) {
				return true
			}
			buf = append(append(append(buf[:0], e.app...), 0), e.name...)
			if _, ok := p.changed[string(buf)]; ok {
				return true
			}
			for len(p.ended) > 0 && p.ended[0].compare(e.key) < 0 {
				if !p.add(p.ended[0]) {
					return false
				}
				p.ended = p.ended[1:]
			}
			return p.add(e)
		})
		if !whole {
			return
		}
	}
	for _, e := range p.ended {
		if !p.add(e) {
			return
		}
	}
}

func (p *page) firstPart(n int) int {
	if !p.start || n == 0 {
		return 0
	}
	return int(ring.Partition(p.after.hash, n))
}

// add puts e on the page. It returns false when the page is full, and then next says where to go on.
func (p *page) add(e entry) bool {
	if len(p.items) == p.limit {
		last := p.items[p.limit-1]
		p.next = &Position{Hash: ring.Hash(last.App, last.Name), App: last.App, Name: last.Name}
		return false
	}
	p.items = append(p.items, OccupiedItem{App: string(e.app), Name: string(e.name), Seq: e.seq, SinceMs: e.sinceMs})
	return true
}

// Cursors lists the sinks and the seq up to which each has got.
func (s *Store) Cursors() map[string]uint64 {
	s.fsm.mu.Lock()
	defer s.fsm.mu.Unlock()
	return maps.Clone(s.fsm.state.cursors)
}

// EnsureCursor returns a sink's cursor. A new sink starts before the first event that is retained, which in a new
// cluster is the first of all. Leader only.
func (s *Store) EnsureCursor(ctx context.Context, sink string) (uint64, error) {
	r, err := s.apply(ctx, cursorChange{sink: sink}.append(nil, cmdCursorEnsure))
	if err != nil {
		return 0, s.op("ensure cursor", err)
	}
	seq, _ := r.(uint64)
	return seq, nil
}

// SetCursor notes that a sink has everything up to seq. A cursor never moves back: an older seq changes nothing.
// ErrNoCursor if the sink is unknown. Leader only.
func (s *Store) SetCursor(ctx context.Context, sink string, seq uint64) error {
	_, err := s.apply(ctx, cursorChange{sink, seq}.append(nil, cmdCursorSet))
	return s.op("set cursor", err)
}

// RewindCursor moves a sink's cursor back to seq, so that the events behind it are delivered again. Those must be
// retained, else ErrCompacted; ErrNoCursor if the sink is unknown. A cursor that has not got to seq stays where it is.
// Leader only; every node must know the command.
func (s *Store) RewindCursor(ctx context.Context, sink string, seq uint64) error {
	_, err := s.apply(ctx, cursorChange{sink, seq}.append(nil, cmdCursorRewind))
	return s.op("rewind cursor", err)
}

// DropCursor forgets a sink; events are not kept for it any more. Leader only.
func (s *Store) DropCursor(ctx context.Context, sink string) error {
	_, err := s.apply(ctx, cursorChange{sink: sink}.append(nil, cmdCursorDrop))
	return s.op("drop cursor", err)
}

// Stats are figures of this store.
func (s *Store) Stats() Stats {
	st := Stats{
		LastIndex: s.raft.LastIndex(), AppliedIndex: s.raft.AppliedIndex(), Term: s.raft.CurrentTerm(),
		Entries: s.stats.entries.Load(), EntryBytes: s.stats.bytes.Load(),
		Commits: s.stats.commits.read(), Fsyncs: s.disk.fsyncs(), Snapshots: s.stats.snapshots.Load(),
		Proposed: s.stats.proposed.Load(), Refused: s.stats.refused.Load(), Retries: s.stats.retries.Load(),
		Pending: int(s.stats.pending.Load()),
	}
	s.fsm.mu.Lock()
	defer s.fsm.mu.Unlock()
	state := s.fsm.state
	st.Occupied, st.Open, st.FirstEvent, st.LastEvent = state.occupied, state.opened, state.events.first, state.events.last
	st.EventBytes, st.Misplaced, st.Repetitive = state.events.bytes(), state.misplaced, state.repetitive
	st.Folded, st.FoldedBytes = state.fold.count, state.fold.bytes()
	for i := range state.parts {
		st.OccupiedBytes += state.parts[i].bytes() + state.open[i].bytes()
	}
	return st
}
