package raftstore

import (
	"encoding/binary"
	"fmt"
)

// A record is what one owner says about one partition, as a unit: the FSM takes all of it or nothing.
//
//	uvarint partition, epoch, n, number of transitions, length of body; body
//
// A body is its transitions one after the other:
//
//	flags (kind; 0x80: app is that of the transition before), [uvarint length, app], uvarint length, name,
//	varint time in ms since the transition before (since 0 for the first)
//
// Records stand alone, so the leader joins batches of several nodes by appending their bytes.
type record struct {
	part     uint32
	epoch, n uint64
	count    int
	body     []byte
}

const (
	kindMask = 0x7f
	sameApp  = 0x80
)

func appendRecord(dst []byte, r record) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.part))
	dst = binary.AppendUvarint(dst, r.epoch)
	dst = binary.AppendUvarint(dst, r.n)
	dst = binary.AppendUvarint(dst, uint64(r.count))
	return appendBytes(dst, r.body)
}

// bodyWriter lays out the body of a record.
type bodyWriter struct {
	buf    []byte
	count  int
	app    string
	timeMs int64
}

func (w *bodyWriter) add(t *Transition) {
	flags := byte(t.Kind)
	if w.count > 0 && w.app == t.App {
		w.buf = append(w.buf, flags|sameApp)
	} else {
		w.buf = appendBytes(append(w.buf, flags), t.App)
		w.app = t.App
	}
	w.buf = appendBytes(w.buf, t.Name)
	w.buf = binary.AppendVarint(w.buf, t.TimeMs-w.timeMs)
	w.timeMs = t.TimeMs
	w.count++
}

// readRecord takes the next record off d. Its body aliases the input.
func readRecord(d *decoder) record {
	part := d.uvarint()
	if part >= partitionsMax {
		d.fail(fmt.Errorf("partition %d is out of bounds", part))
	}
	r := record{part: uint32(part), epoch: d.uvarint(), n: d.uvarint()}
	count := d.uvarint()
	r.body = d.bytes(recordBytesMax)
	if count > uint64(len(r.body)) {
		d.fail(fmt.Errorf("%d transitions cannot fit in %d bytes", count, len(r.body)))
		return record{}
	}
	r.count = int(count)
	return r
}

// rawTransition is a Transition whose strings alias the bytes it was read from.
type rawTransition struct {
	kind      Kind
	app, name []byte
	timeMs    int64
}

// read fills in the next transition of a body; t carries over from the one before, and starts as the zero value.
func (t *rawTransition) read(d *decoder) {
	flags := d.byte()
	t.kind = Kind(flags & kindMask)
	if !t.kind.known() {
		d.fail(fmt.Errorf("unknown kind of transition %d", t.kind))
		return
	}
	if flags&sameApp == 0 {
		t.app = d.bytes(appBytesMax)
	} else if t.app == nil {
		d.fail(fmt.Errorf("first transition has no app"))
	}
	t.name = d.bytes(nameBytesMax)
	t.timeMs += d.varint()
}

// checkRecords walks through all of b and says how many records it holds, or what is wrong with it. What passes can be
// applied: a leader appends nothing that has not passed, since an entry that cannot be decoded stops every node.
func checkRecords(b []byte) (int, error) {
	d := decoder{rest: b}
	count := 0
	for d.err == nil && len(d.rest) > 0 {
		r := readRecord(&d)
		if d.err == nil && r.n == 0 {
			return 0, fmt.Errorf("record %d: has number 0, the first one is 1", count)
		}
		body := decoder{rest: r.body}
		var t rawTransition
		for range r.count {
			t.read(&body)
		}
		if err := body.end(); err != nil {
			return 0, fmt.Errorf("record %d: %w", count, err)
		}
		count++
	}
	if d.err != nil {
		return 0, fmt.Errorf("record %d: %w", count, d.err)
	}
	return count, nil
}

// outcome is what the FSM says to a record.
type outcome uint8

const (
	outcomeDone      outcome = iota + 1 // taken now or before
	outcomeEpochOver                    // another epoch is current
	outcomeGap                          // n is not the next one
)

// verdict is an outcome with the number of the last record that was taken in the epoch.
type verdict struct {
	outcome outcome
	n       uint64
}
