package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// Bounds of what is decoded. They are far above what is ever written, and low enough that damaged input cannot make a
// decoder allocate much.
const (
	appBytesMax    = 256
	nameBytesMax   = 8 << 10
	stringBytesMax = 4 << 10 // ids and addresses
	membersMax     = 4096
	partitionsMax  = 1 << 16
	recordBytesMax = 8 << 20 // one forwarded batch
)

var errShort = errors.New("ends too early")

// decoder reads hand-laid binary. The first failure sticks: later reads return zero values, and err says what it was.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail(errShort)
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// count reads a number of things of at least one byte each.
func (d *decoder) count(limit int) int {
	v := d.uvarint()
	if v > uint64(limit) || v > uint64(len(d.rest)) {
		d.fail(fmt.Errorf("count %d is out of bounds", v))
		return 0
	}
	return int(v)
}

// bytes reads a length and that many bytes. They alias the input.
func (d *decoder) bytes(limit int) []byte {
	n := d.count(limit)
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string(limit int) string { return string(d.bytes(limit)) }

func (d *decoder) bool() bool {
	switch b := d.byte(); b {
	case 0, 1:
		return b == 1
	default:
		d.fail(fmt.Errorf("%d is no boolean", b))
		return false
	}
}

// end is the error of everything read, with bytes left over being one.
func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		return fmt.Errorf("%d bytes too many", len(d.rest))
	}
	return d.err
}

func appendBytes[T string | []byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// text lends b as a string, without a copy, to a callee that neither keeps nor changes it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
