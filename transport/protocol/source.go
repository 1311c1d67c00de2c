package protocol

import "math"

// kind is the type of a value on the wire.
type kind uint8

const (
	kindNone kind = iota // nothing readable: the input ended or is broken
	kindNull
	kindBool
	kindNumber
	kindString
	kindBinary
	kindArray
	kindMap
	kindExt
)

var kindNames = [...]string{"nothing", "null", "a boolean", "a number", "a string", "binary", "an array", "an object", "an extension"}

func (k kind) String() string { return kindNames[k] }

// source reads values one after another, from JSON or from msgpack. One walk over a source thus decodes both formats.
//
// The first error sticks: from then on there is nothing to read, so that loops end by themselves. Slices that a source
// returns are valid until its next call.
type source interface {
	kind() kind // of the next value; does not consume it

	openMap()
	openArray()
	more() bool  // is there another entry; consumes the end when there is none
	key() []byte // of the next entry of a map

	str() []byte
	bin() []byte
	boolean() bool
	number() number
	skip() // the next value, whatever it is

	end() // nothing may follow
	problem() *ErrorInfo
}

func newSource(f Format, b []byte) source {
	if f == MsgPack {
		return &msgpackSource{b: b}
	}
	return &jsonSource{b: b}
}

// number is a number as it stood on the wire.
type number struct {
	class numberClass
	i     int64   // signedInt
	u     uint64  // unsignedInt: above the range of int64
	f     float64 // float
	bits  int     // float: 32 or 64
	raw   []byte  // the literal, in JSON
}

type numberClass uint8

const (
	noNumber numberClass = iota // out of every range
	signedInt
	unsignedInt
	float
)

func floatNumber(f float64, bits int) number { return number{class: float, f: f, bits: bits} }

func uintNumber(u uint64) number {
	if u <= math.MaxInt64 {
		return number{class: signedInt, i: int64(u)}
	}
	return number{class: unsignedInt, u: u}
}

// int64 is the number as an integer, if it is one: JavaScript sends integers as floats at times.
func (n number) int64() (int64, bool) {
	switch n.class {
	case signedInt:
		return n.i, true
	case float:
		if n.f == math.Trunc(n.f) && n.f >= -(1<<63) && n.f < 1<<63 {
			return int64(n.f), true
		}
	}
	return 0, false
}

// transcode copies the next value of s to w, in w's format. What the format lacks (binary, extensions, infinities in
// JSON; numbers out of range) is written as null and reported as false.
func transcode(w *writer, s source) bool {
	ok := true
	switch s.kind() {
	case kindMap:
		s.openMap()
		outer := w.openMap()
		for s.more() {
			w.textKey(string(s.key()))
			ok = transcode(w, s) && ok
		}
		w.close(outer)
	case kindArray:
		s.openArray()
		outer := w.openArray()
		for s.more() {
			w.item()
			ok = transcode(w, s) && ok
		}
		w.close(outer)
	case kindString:
		if text := s.str(); w.f == JSON {
			w.b = appendJSONString(w.b, text)
		} else {
			w.b = appendMsgpackString(w.b, text)
		}
	case kindNumber:
		ok = w.number(s.number())
	case kindBool:
		w.bool(s.boolean())
	case kindNull:
		s.skip()
		w.null()
	case kindNone:
		w.null()
		ok = false
	default:
		s.skip()
		w.null()
		ok = false
	}
	return ok
}
