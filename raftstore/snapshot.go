package raftstore

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/hashicorp/raft"

	"innkeeper/cluster/ring"
)

// A snapshot is a magic string and frames: uvarint length, kind, payload, CRC-32C of kind and payload (4 bytes, little
// endian). The same state gives the same bytes on every node, whatever its history.
//
//	head      index, placement, numbers of records taken, cursors, counters, first and last event
//	events    uvarint seq of the first, events in their laid-out form; a frame ends where a chunk of the log ends
//	occupied  uvarint partition, entries in their laid-out form and order
//	tables    the clock of the tables, see writeTables
//	table     rows of one table
//	fold      uvarint seq of the first event, number of events, events each with its distance in seq
//	rewound   sink, uvarint seq, for each cursor that was moved back and has not got to where it was
//	former    cluster id, uvarint last seq, for each cluster whose log this was
//	open      uvarint partition, entries of open channels in their laid-out form and order
//	layout    uvarint first epoch of the layout, then the last epoch of each partition of the one before; absent in the first
//	end       uvarint number of occupied channels, uvarint number of open ones (absent: none)
const (
	snapshotMagic      = "innkeeper log 1\n"
	frameHead     byte = 1
	frameEvents   byte = 2
	frameOccupied byte = 3
	frameEnd      byte = 4
	frameTables   byte = 5
	frameTable    byte = 6
	frameFold     byte = 7
	frameRewound  byte = 8
	frameFormer   byte = 9
	frameOpen     byte = 10
	frameLayout   byte = 13

	frameBytesMax    = 64 << 20
	occupiedPerFrame = 32 << 10 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// snapshot is a state at one moment. The state goes on while this is written.
type snapshot struct {
	head     []byte
	events   eventView
	parts    []frozen
	occupied int
	open     []frozen
	opened   int
	tables   []frozenTable
	nowMs    int64 // of the tables
	fold     fold
	rewound  []byte // payload of the frame; empty: no frame
	former   []byte // likewise
	layout   []byte // likewise
}

// snapshot freezes s.
func (s *state) snapshot() *snapshot {
	f := &snapshot{
		head: s.appendHead(nil), events: s.events.view(), occupied: s.occupied, tables: s.tables.freeze(), nowMs: s.tables.nowMs,
		fold: s.fold, opened: s.opened, layout: s.appendLayout(nil),
	}
	for _, sink := range slices.Sorted(maps.Keys(s.rewound)) {
		f.rewound = binary.AppendUvarint(appendBytes(f.rewound, sink), s.rewound[sink])
	}
	for _, c := range s.former {
		f.former = binary.AppendUvarint(appendBytes(f.former, c.id), c.last)
	}
	f.parts = make([]frozen, len(s.parts))
	for i := range s.parts {
		f.parts[i] = s.parts[i].freeze()
	}
	f.open = make([]frozen, len(s.open))
	for i := range s.open {
		f.open[i] = s.open[i].freeze()
	}
	return f
}

func (s *state) appendHead(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, s.index)
	dst = appendBytes(dst, s.clusterID)
	dst = binary.AppendUvarint(dst, s.version)
	dst = binary.AppendVarint(dst, s.coldMs)
	dst = binary.AppendUvarint(dst, uint64(len(s.members)))
	for i := range s.members {
		dst = appendMember(dst, &s.members[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.slots)))
	for i, slot := range s.slots {
		dst = appendBytes(dst, slot.Owner)
		dst = appendBytes(dst, slot.Follower)
		dst = binary.AppendUvarint(dst, slot.Epoch)
		dst = binary.AppendUvarint(dst, s.taken[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.cursors)))
	for _, sink := range s.cursors.names() {
		dst = appendBytes(dst, sink)
		dst = binary.AppendUvarint(dst, s.cursors[sink])
	}
	dst = binary.AppendUvarint(dst, s.misplaced)
	dst = binary.AppendUvarint(dst, s.repetitive)
	dst = binary.AppendUvarint(dst, s.events.first)
	return binary.AppendUvarint(dst, s.events.last)
}

func (s *state) readHead(b []byte) error {
	d := decoder{rest: b}
	s.index = d.uvarint()
	s.clusterID = d.string(stringBytesMax)
	s.version = d.uvarint()
	s.coldMs = d.varint()
	for range d.count(membersMax) {
		s.members = append(s.members, readMember(&d))
	}
	for range d.count(partitionsMax) {
		s.slots = append(s.slots, ring.Slot{
			Owner: d.string(stringBytesMax), Follower: d.string(stringBytesMax), Epoch: d.uvarint(),
		})
		s.taken = append(s.taken, d.uvarint())
	}
	for range d.count(math.MaxInt32) {
		sink := d.string(stringBytesMax)
		s.cursors[sink] = d.uvarint()
	}
	s.misplaced = d.uvarint()
	s.repetitive = d.uvarint()
	s.events.first = d.uvarint()
	s.events.last = d.uvarint()
	s.parts = make([]partition, len(s.slots))
	s.open = make([]partition, len(s.slots))
	if err := d.end(); err != nil {
		return err
	}
	if s.events.first == 0 || s.events.last+1 < s.events.first {
		return fmt.Errorf("events %d to %d", s.events.first, s.events.last)
	}
	return nil
}

// Persist writes the snapshot. It runs beside Apply.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.write(sink); err != nil {
		return err
	}
	return sink.Close()
}

// Release is part of raft.FSMSnapshot; the garbage collector does it.
func (s *snapshot) Release() {}

func (s *snapshot) write(w io.Writer) error {
	if _, err := io.WriteString(w, snapshotMagic); err != nil {
		return err
	}
	fw := frameWriter{w: w}
	fw.frame(frameHead, nil, s.head)
	s.writeEvents(&fw)
	s.fold.write(&fw)
	if len(s.rewound) > 0 {
		fw.frame(frameRewound, nil, s.rewound)
	}
	if len(s.former) > 0 {
		fw.frame(frameFormer, nil, s.former)
	}
	if len(s.layout) > 0 {
		fw.frame(frameLayout, nil, s.layout)
	}
	for part, f := range s.parts {
		writeSet(&fw, frameOccupied, uint64(part), f)
	}
	for part, f := range s.open {
		writeSet(&fw, frameOpen, uint64(part), f)
	}
	writeTables(&fw, s.nowMs, s.tables)
	end := binary.AppendUvarint(nil, uint64(s.occupied))
	if s.opened > 0 {
		end = binary.AppendUvarint(end, uint64(s.opened))
	}
	fw.frame(frameEnd, nil, end)
	return fw.err
}

func (s *snapshot) writeEvents(fw *frameWriter) {
	v := s.events
	if v.first > v.last {
		return
	}
	for i, c := range v.chunks {
		data := v.tail // of the last chunk, which is being appended to
		if i < len(v.chunks)-1 {
			data = c.data
		}
		seq := (v.first/chunkEvents + uint64(i)) * chunkEvents
		if i == 0 {
			seq = v.first
		}
		if seq > v.last {
			return
		}
		fw.frame(frameEvents, binary.AppendUvarint(nil, seq), data[c.off[seq%chunkEvents]:])
	}
}

func writeSet(fw *frameWriter, kind byte, part uint64, f frozen) {
	head := binary.AppendUvarint(nil, part)
	var buf []byte
	for _, b := range f.list {
		for data := b.data; len(data) > 0; {
			size := entrySize(data)
			if len(buf)+size > occupiedPerFrame && len(buf) > 0 {
				fw.frame(kind, head, buf)
				buf = buf[:0]
			}
			buf = append(buf, data[:size]...)
			data = data[size:]
		}
	}
	if len(buf) > 0 {
		fw.frame(kind, head, buf)
	}
}

// frameWriter writes frames; the first failure sticks.
type frameWriter struct {
	w   io.Writer
	buf []byte
	err error
}

func (w *frameWriter) frame(kind byte, head, body []byte) {
	if w.err != nil {
		return
	}
	b := binary.AppendUvarint(w.buf[:0], uint64(1+len(head)+len(body)))
	start := len(b)
	b = append(b, kind)
	b = append(b, head...)
	b = append(b, body...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	w.buf = b
	_, w.err = w.w.Write(b)
}

// readState reads what write wrote.
func readState(r io.Reader) (*state, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(br, magic); err != nil {
		return nil, unexpected(err)
	}
	if string(magic) != snapshotMagic {
		return nil, errors.New("not a snapshot of this version")
	}
	l := loader{state: newState()}
	for frames := 0; ; frames++ {
		kind, payload, err := readFrame(br)
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", frames, unexpected(err))
		}
		if (kind == frameHead) != (frames == 0) {
			return nil, fmt.Errorf("frame %d has kind %d", frames, kind)
		}
		if kind == frameEnd {
			return l.state, l.end(payload)
		}
		if err := l.load(kind, payload); err != nil {
			return nil, fmt.Errorf("frame %d: %w", frames, err)
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func readFrame(r *bufio.Reader) (kind byte, payload []byte, err error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	if n == 0 || n > frameBytesMax {
		return 0, nil, fmt.Errorf("length %d is out of bounds", n)
	}
	var buf bytes.Buffer // grows with what is there, not with what the length claims
	if _, err := io.CopyN(&buf, r, int64(n)+4); err != nil {
		return 0, nil, unexpected(err)
	}
	b := buf.Bytes()
	if got, want := crc32.Checksum(b[:n], castagnoli), binary.LittleEndian.Uint32(b[n:]); got != want {
		return 0, nil, fmt.Errorf("checksum %08x, want %08x", got, want)
	}
	return b[0], b[1:n], nil
}

// loader fills a state from frames.
type loader struct {
	*state
	last uint64 // seq of the last event, from the head
	kind byte   // of the last frame of a set
	part uint64 // of that frame
	prev []byte // last entry of that partition
}

func (l *loader) load(kind byte, b []byte) error {
	switch kind {
	case frameHead:
		if err := l.readHead(b); err != nil {
			return err
		}
		l.last = l.events.last
		l.events.last = l.events.first - 1
		return nil
	case frameEvents:
		return l.loadEvents(b)
	case frameOccupied:
		return l.loadSet(kind, b, l.parts, &l.occupied)
	case frameOpen:
		return l.loadSet(kind, b, l.open, &l.opened)
	case frameTables:
		return l.tables.loadClock(b)
	case frameTable:
		return l.tables.load(b)
	case frameLayout:
		return l.loadLayout(b)
	case frameFold:
		return l.fold.load(b)
	case frameRewound:
		d := decoder{rest: b}
		for len(d.rest) > 0 {
			sink := d.string(stringBytesMax)
			l.rewound[sink] = d.uvarint()
		}
		return d.err
	case frameFormer:
		d := decoder{rest: b}
		for len(d.rest) > 0 {
			l.former = append(l.former, formerCluster{d.string(stringBytesMax), d.uvarint()})
		}
		return d.err
	}
	return fmt.Errorf("unknown kind %d", kind)
}

func (l *loader) loadEvents(b []byte) error {
	d := decoder{rest: b}
	if seq := d.uvarint(); d.err == nil && seq != l.events.last+1 {
		return fmt.Errorf("events from %d, want %d", seq, l.events.last+1)
	}
	for d.err == nil && len(d.rest) > 0 {
		e := readEvent(&d, l.events.last+1)
		if d.err == nil {
			l.events.append(&e.rawTransition, e.ends, e.sinceMs)
		}
	}
	return d.err
}

func (l *loader) loadSet(kind byte, b []byte, set []partition, n *int) error {
	if kind != l.kind {
		l.kind, l.part, l.prev = kind, 0, nil
	}
	d := decoder{rest: b}
	part := d.uvarint()
	if d.err != nil || part < l.part || part >= uint64(len(set)) {
		return fmt.Errorf("channels of partition %d after %d", part, l.part)
	}
	if part != l.part {
		l.part, l.prev = part, nil
	}
	for b := d.rest; len(b) > 0; {
		if len(b) < entryHeadBytes || entrySize(b) > len(b) {
			return errShort
		}
		size := entrySize(b)
		if size < entryHeadBytes {
			return errShort
		}
		if err := set[part].load(b[:size], l.prev); err != nil {
			return err
		}
		*n++
		l.prev, b = b[:size], b[size:]
	}
	return nil
}

func (l *loader) end(b []byte) error {
	d := decoder{rest: b}
	occupied, opened := d.uvarint(), uint64(0)
	if len(d.rest) > 0 {
		opened = d.uvarint()
	}
	if d.end() != nil || occupied != uint64(l.occupied) || opened != uint64(l.opened) {
		return fmt.Errorf("%d occupied and %d open channels, want %d and %d", l.occupied, l.opened, occupied, opened)
	}
	if l.events.last != l.last {
		return fmt.Errorf("events end at %d, want %d", l.events.last, l.last)
	}
	return nil
}
