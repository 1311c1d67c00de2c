package raftstore

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
)

// The events from first to last lie in chunks of a fixed number of seqs, each one byte string with the offset of every
// event, so that an event costs its own bytes plus four and is found without a search. An event is
//
//	kind, uvarint length, app, uvarint length, channel, varint time (unix ms),
//	vacated and closed only: uvarint seq - ends, varint time - since

const chunkEvents = 1024

type eventChunk struct {
	data []byte
	off  [chunkEvents]uint32 // by seq modulo chunkEvents
}

// eventLog belongs to the FSM. A view of it stays true while the log grows, since what is written is never changed.
type eventLog struct {
	first, last uint64 // first > last: none retained
	chunks      []*eventChunk
	sealed      int // bytes of all chunks but the last
}

// eventView is the log at one moment.
type eventView struct {
	first, last uint64
	chunks      []*eventChunk
	tail        []byte // data of the last chunk, which may still grow
}

func (l *eventLog) view() eventView {
	v := eventView{first: l.first, last: l.last, chunks: l.chunks}
	if len(l.chunks) > 0 {
		v.tail = l.chunks[len(l.chunks)-1].data
	}
	return v
}

// append adds the next event. For one that ends another, ends and sinceMs tell which.
func (l *eventLog) append(t *rawTransition, ends uint64, sinceMs int64) {
	l.last++
	if len(l.chunks) == 0 || l.last%chunkEvents == 0 {
		c := &eventChunk{}
		if n := len(l.chunks); n > 0 {
			size := len(l.chunks[n-1].data)
			l.sealed += l.chunks[n-1].bytes()
			c.data = make([]byte, 0, size+size/16)
		}
		l.chunks = append(l.chunks, c)
	}
	c := l.chunks[len(l.chunks)-1]
	c.off[l.last%chunkEvents] = uint32(len(c.data))
	c.data = append(c.data, byte(t.kind))
	c.data = appendBytes(c.data, t.app)
	c.data = appendBytes(c.data, t.name)
	c.data = binary.AppendVarint(c.data, t.timeMs)
	if t.kind.ends() {
		c.data = binary.AppendUvarint(c.data, l.last-ends)
		c.data = binary.AppendVarint(c.data, t.timeMs-sinceMs)
	}
}

// trim forgets the events up to seq.
func (l *eventLog) trim(seq uint64) {
	seq = min(seq, l.last)
	if seq < l.first {
		return
	}
	chunk := l.first / chunkEvents
	l.first = seq + 1
	// Copied, not resliced: the forgotten chunks must become free, and views share the old array.
	gone := min(l.first/chunkEvents-chunk, uint64(len(l.chunks)))
	for _, c := range l.chunks[:min(gone, uint64(len(l.chunks)-1))] {
		l.sealed -= c.bytes()
	}
	l.chunks = slices.Clone(l.chunks[gone:])
}

// bytes is what the log has allocated.
func (l *eventLog) bytes() int {
	if len(l.chunks) == 0 {
		return 0
	}
	return l.sealed + l.chunks[len(l.chunks)-1].bytes()
}

func (c *eventChunk) bytes() int { return cap(c.data) + 4*chunkEvents }

// rawEvent is an event whose strings alias the log.
type rawEvent struct {
	rawTransition
	seq     uint64
	ends    uint64
	sinceMs int64
}

// readEvent reads the event of that seq off d.
func readEvent(d *decoder, seq uint64) rawEvent {
	e := rawEvent{seq: seq}
	e.kind = Kind(d.byte())
	e.app = d.bytes(appBytesMax)
	e.name = d.bytes(nameBytesMax)
	e.timeMs = d.varint()
	switch e.kind {
	case Occupied, Opened, LimitNear, LimitOver:
	case Vacated, Closed:
		back := d.uvarint()
		if back == 0 || back >= seq {
			d.fail(fmt.Errorf("event %d ends event %d before it", seq, back))
		}
		e.ends = seq - back
		e.sinceMs = e.timeMs - d.varint()
	default:
		d.fail(fmt.Errorf("event %d has kind %d", seq, e.kind))
	}
	return e
}

// walk yields the events from seq on, which must be retained or be last + 1, until yield says stop.
func (v eventView) walk(seq uint64, yield func(*rawEvent) bool) {
	v.walkRaw(seq, func(e *rawEvent, _ []byte) bool { return yield(e) })
}

// walkRaw is walk with the events as they are laid out.
func (v eventView) walkRaw(seq uint64, yield func(e *rawEvent, raw []byte) bool) {
	for ; seq <= v.last; seq++ {
		i := int(seq/chunkEvents - v.first/chunkEvents)
		c := v.chunks[i]
		data := v.tail
		if i < len(v.chunks)-1 {
			data = c.data // sealed: later chunks exist
		}
		raw := data[c.off[seq%chunkEvents]:]
		d := decoder{rest: raw}
		e := readEvent(&d, seq)
		if d.err != nil {
			panic(fmt.Sprintf("raftstore: event %d: %v", seq, d.err))
		}
		if !yield(&e, raw[:len(raw)-len(d.rest)]) {
			return
		}
	}
}

// event makes the public form of e.
func (e *rawEvent) event(ids eventIDs) Event {
	return Event{
		Seq: e.seq, ID: ids.of(e.seq),
		App: string(e.app), Channel: string(e.name),
		Kind: e.kind, TimeMs: e.timeMs,
		Ends: e.ends, SinceMs: e.sinceMs,
	}
}

// eventIDs makes the ids of events: they tell of which cluster an event is, and stay when its log is restored as the
// beginning of another cluster.
type eventIDs struct {
	clusterID string
	former    []formerCluster // in order; never changed
}

// formerCluster is a cluster whose log this one was restored from.
type formerCluster struct {
	id   string
	last uint64 // seq of its last event
}

func (s *state) eventIDs() eventIDs { return eventIDs{s.clusterID, s.former} }

func (i eventIDs) prefix(seq uint64) string {
	id := i.clusterID
	for _, f := range i.former {
		if seq <= f.last {
			id = f.id
			break
		}
	}
	return id[:min(8, len(id))]
}

func (i eventIDs) of(seq uint64) string { return i.prefix(seq) + "-" + strconv.FormatUint(seq, 10) }
