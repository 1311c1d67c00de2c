package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// CursorReach bounds how far ahead of its cursor a sink may be: who delivers events never sends one whose seq is above
// the committed cursor by more than this. So the log knows which events a sink cannot have seen. Part of the layout of
// the log: all nodes must agree.
const CursorReach = 1 << 14

// A fold is what is left of the events that the log gave up although a sink was behind: the same events, under their own
// ids and in their order, without the pairs (occupied and vacated, opened and closed) of which no sink that is behind can
// know the first.
// So a sink that reads on through the fold sees each channel alternate, and ends with the right state of all channels.
//
// It holds, at most, one end for each channel that was occupied (or open) where a sink stands, one beginning for each that
// is so now, and what lies within CursorReach behind a cursor.
//
// It is immutable: each change makes another one that shares chunks with it.
type fold struct {
	chunks []*foldChunk
	count  int
}

// foldChunk is a run of events: each is a uvarint, how far its seq is above that of the one before (0 for the first),
// and the event as it stands in the log.
type foldChunk struct {
	first, last uint64
	count       int
	data        []byte
}

// foldChunkBytes is where a chunk ends.
const foldChunkBytes = 32 << 10

var errStopped = errors.New("stopped")

// walk yields the events behind after until yield says stop; raw is the event as laid out.
func (f fold) walk(after uint64, yield func(e *rawEvent, raw []byte) bool) {
	from, _ := slices.BinarySearchFunc(f.chunks, after+1, func(c *foldChunk, seq uint64) int {
		if c.last < seq {
			return -1
		}
		return 1
	})
	for _, c := range f.chunks[from:] {
		err := c.walk(func(e *rawEvent, raw []byte) bool { return e.seq <= after || yield(e, raw) })
		if err == errStopped {
			return
		}
		if err != nil {
			panic(fmt.Sprintf("raftstore: folded events from %d: %v", c.first, err))
		}
	}
}

// walk decodes a chunk. errStopped when yield said so.
func (c *foldChunk) walk(yield func(e *rawEvent, raw []byte) bool) error {
	seq := c.first
	for d := (decoder{rest: c.data}); len(d.rest) > 0; {
		seq += d.uvarint()
		start := d.rest
		e := readEvent(&d, seq)
		if d.err != nil {
			return d.err
		}
		if !yield(&e, start[:len(start)-len(d.rest)]) {
			return errStopped
		}
	}
	return nil
}

// foldWriter makes a fold of events in order.
type foldWriter struct {
	fold
	last uint64
}

func (w *foldWriter) add(seq uint64, raw []byte) {
	n := len(w.chunks)
	if n == 0 || len(w.chunks[n-1].data) >= foldChunkBytes {
		w.chunks = append(w.chunks, &foldChunk{first: seq})
		w.last, n = seq, n+1
	}
	c := w.chunks[n-1]
	c.data = append(binary.AppendUvarint(c.data, seq-w.last), raw...)
	c.last, w.last = seq, seq
	c.count++
	w.count++
}

// behind drops chunks that lie up to seq as a whole.
func (f fold) behind(seq uint64) fold {
	for len(f.chunks) > 0 && f.chunks[0].last <= seq {
		f.count -= f.chunks[0].count
		f.chunks = f.chunks[1:]
	}
	if len(f.chunks) == 0 {
		return fold{}
	}
	return f
}

// bytes is what the fold has allocated.
func (f fold) bytes() int {
	n := 0
	for _, c := range f.chunks {
		n += cap(c.data) + 64
	}
	return n
}

// standing is how a sink stands: it has all up to seq, may have any up to told, and knows nothing of what lies behind.
type standing struct{ seq, told uint64 }

// standings are those of the sinks that have not got to seq.
func (s *state) standings(seq uint64) []standing {
	var behind []standing
	for _, sink := range s.cursors.names() {
		if c := s.cursors[sink]; c < seq {
			behind = append(behind, standing{c, max(c, s.rewound[sink]) + s.reach})
		}
	}
	return behind
}

// forget gives up the events up to seq, and folds them for the sinks that are behind.
func (s *state) forget(seq uint64) {
	seq = min(seq, s.events.last)
	if seq < s.events.first {
		return
	}
	sinks := s.standings(seq)
	if len(sinks) > 0 {
		s.fold = s.folded(seq, sinks)
	}
	s.events.trim(seq)
	s.tidyFold()
}

// folded is the fold of what is folded already and the events up to seq.
func (s *state) folded(seq uint64, sinks []standing) fold {
	// Nobody needs the pair if each sink has its end, or cannot have its beginning.
	idle := func(e *rawEvent) bool {
		for _, k := range sinks {
			if e.seq > k.seq && e.ends <= k.told {
				return false
			}
		}
		return true
	}
	ended := map[uint64]struct{}{} // beginnings of pairs that nobody needs
	all := func(yield func(e *rawEvent, raw []byte) bool) {
		s.fold.walk(0, yield)
		v := s.events.view()
		v.walkRaw(v.first, func(e *rawEvent, raw []byte) bool { return e.seq <= seq && yield(e, raw) })
	}
	all(func(e *rawEvent, _ []byte) bool {
		if e.kind.ends() && idle(e) {
			ended[e.ends] = struct{}{}
		}
		return true
	})
	slowest := s.cursors.slowest(seq)
	var w foldWriter
	all(func(e *rawEvent, raw []byte) bool {
		pair := e.seq
		if e.kind.ends() {
			pair = e.ends
		}
		if _, gone := ended[pair]; !gone && e.seq > slowest {
			w.add(e.seq, raw)
		}
		return true
	})
	for _, c := range w.chunks {
		c.data = slices.Clip(c.data)
	}
	return w.fold
}

// tidyFold drops what all sinks have passed, and the rest when none is behind the retained events.
func (s *state) tidyFold() {
	if s.fold.count == 0 {
		return
	}
	slowest := s.cursors.slowest(s.events.last)
	if slowest+1 >= s.events.first {
		s.fold = fold{}
		return
	}
	s.fold = s.fold.behind(slowest)
}

// The fold in a snapshot: uvarint seq of the first, number of events, and the chunk's data.
func (f fold) write(fw *frameWriter) {
	for _, c := range f.chunks {
		head := binary.AppendUvarint(nil, c.first)
		fw.frame(frameFold, binary.AppendUvarint(head, uint64(c.count)), c.data)
	}
}

func (f *fold) load(b []byte) error {
	d := decoder{rest: b}
	c := &foldChunk{first: d.uvarint(), count: int(d.uvarint())}
	if d.err != nil {
		return d.err
	}
	c.data, c.last = slices.Clone(d.rest), 0
	if n := len(f.chunks); n > 0 {
		c.last = f.chunks[n-1].last
	}
	n := 0
	err := c.walk(func(e *rawEvent, _ []byte) bool {
		if e.seq <= c.last {
			return false
		}
		c.last = e.seq
		n++
		return true
	})
	if err != nil || n == 0 || n != c.count {
		return fmt.Errorf("folded events from %d: %d of %d: %w", c.first, n, c.count, err)
	}
	f.chunks = append(f.chunks, c)
	f.count += n
	return nil
}

// Gap says which events a sink does not get one by one.
type Gap struct {
	ID       string // first 8 characters of the cluster id, "-gap-", from, "-", to
	From, To uint64 // seqs; From > To: there is no gap
}

func (i eventIDs) ofGap(from, to uint64) string {
	return fmt.Sprintf("%s-gap-%d-%d", i.prefix(to), from, to)
}

// Gap is the gap of the events from and to and all between.
func (s *Store) Gap(from, to uint64) Gap {
	s.fsm.mu.Lock()
	id := s.fsm.state.eventIDs()
	s.fsm.mu.Unlock()
	return Gap{ID: id.ofGap(from, to), From: from, To: to}
}

// Folded returns what is left of the events behind after that are not retained any more: the gap, and up to limit events
// of it (1000 if limit is not positive), fewer only when that is all. Pairs of occupied and vacated that no sink can know
// of are left out, and everything of which no cursor was short when it went.
func (s *Store) Folded(after uint64, limit int) (Gap, []Event) {
	s.fsm.mu.Lock()
	f, first, state := s.fsm.state.fold, s.fsm.state.events.first, s.fsm.state
	id := state.eventIDs()
	s.fsm.mu.Unlock()
	if limit <= 0 {
		limit = 1000
	}
	g := Gap{From: after + 1, To: first - 1}
	if g.From > g.To {
		return g, nil
	}
	g.ID = id.ofGap(g.From, g.To)
	var events []Event
	f.walk(after, func(e *rawEvent, _ []byte) bool {
		events = append(events, e.event(id))
		return len(events) < limit
	})
	return g, events
}
