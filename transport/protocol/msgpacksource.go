package protocol

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// msgpackSource reads msgpack. Lengths and counts are believed only as far as the input can hold them.
type msgpackSource struct {
	b       []byte
	i       int
	depth   int
	left    [MaxDepth]int32 // entries to come per open container
	scratch [24]byte
	err     *ErrorInfo
}

func (s *msgpackSource) problem() *ErrorInfo { return s.err }

func (s *msgpackSource) fail(format string, args ...any) {
	if s.err == nil {
		s.err = Errorf(CodeProtocolError, "invalid msgpack at byte %d: %s", s.i, fmt.Sprintf(format, args...))
	}
	s.i = len(s.b)
}

func (s *msgpackSource) kind() kind {
	if s.err != nil {
		return kindNone
	}
	if s.i == len(s.b) {
		s.fail("the input ends where a value should stand")
		return kindNone
	}
	switch c := s.b[s.i]; {
	case c < 0x80, c >= 0xe0, c >= 0xca && c <= 0xd3:
		return kindNumber
	case c < 0x90, c == 0xde, c == 0xdf:
		return kindMap
	case c < 0xa0, c == 0xdc, c == 0xdd:
		return kindArray
	case c < 0xc0, c >= 0xd9 && c <= 0xdb:
		return kindString
	case c == 0xc0:
		return kindNull
	case c == 0xc2, c == 0xc3:
		return kindBool
	case c >= 0xc4 && c <= 0xc6:
		return kindBinary
	case c >= 0xc7 && c <= 0xc9, c >= 0xd4 && c <= 0xd8:
		return kindExt
	}
	s.fail("the byte 0xc1 has no meaning")
	return kindNone
}

// take consumes n bytes; nil when there are fewer.
func (s *msgpackSource) take(n int) []byte {
	if s.err != nil {
		return nil
	}
	if n < 0 || n > len(s.b)-s.i {
		s.fail("%d bytes announced, %d left", n, len(s.b)-s.i)
		return nil
	}
	b := s.b[s.i : s.i+n]
	s.i += n
	return b
}

// uint consumes an unsigned integer of 1, 2, 4 or 8 bytes.
func (s *msgpackSource) uint(size int) uint64 {
	b := s.take(size)
	if b == nil {
		return 0
	}
	switch size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

func (s *msgpackSource) openMap() {
	if s.kind() != kindMap {
		s.fail("an object expected")
		return
	}
	s.open(0x8f, 0xde, 2)
}

func (s *msgpackSource) openArray() {
	if s.kind() != kindArray {
		s.fail("an array expected")
		return
	}
	s.open(0x9f, 0xdc, 1)
}

// open consumes the header of a container whose short form ends at fix and whose 16-bit form is wide. An entry takes at
// least perEntry bytes.
func (s *msgpackSource) open(fix, wide byte, perEntry int) {
	c := s.b[s.i]
	s.i++
	n := int(c & 0x0f)
	if c > fix {
		n = int(s.uint(2 << (c - wide)))
	}
	switch {
	case s.err != nil:
	case n > (len(s.b)-s.i)/perEntry:
		s.fail("a container of %d entries in %d bytes", n, len(s.b)-s.i)
	case s.depth == MaxDepth:
		s.fail("nested deeper than %d levels", MaxDepth)
	default:
		s.left[s.depth] = int32(n)
		s.depth++
	}
}

func (s *msgpackSource) more() bool {
	if s.err != nil {
		return false
	}
	if s.left[s.depth-1] == 0 {
		s.depth--
		return false
	}
	s.left[s.depth-1]--
	return true
}

// key takes strings, binary and integers, all as text.
func (s *msgpackSource) key() []byte {
	switch s.kind() {
	case kindString:
		return s.str()
	case kindBinary:
		return s.bin()
	case kindNumber:
		if i, ok := s.number().int64(); ok {
			return strconv.AppendInt(s.scratch[:0], i, 10)
		}
	}
	s.fail("a key that is not a string")
	return nil
}

func (s *msgpackSource) str() []byte {
	if s.kind() != kindString {
		s.fail("a string expected")
		return nil
	}
	c := s.b[s.i]
	s.i++
	n := int(c & 0x1f)
	if c >= 0xd9 {
		n = int(s.uint(1 << (c - 0xd9)))
	}
	return s.take(n)
}

func (s *msgpackSource) bin() []byte {
	if s.kind() != kindBinary {
		s.fail("binary expected")
		return nil
	}
	c := s.b[s.i]
	s.i++
	return s.take(int(s.uint(1 << (c - 0xc4))))
}

func (s *msgpackSource) boolean() bool {
	if s.kind() != kindBool {
		s.fail("a boolean expected")
		return false
	}
	s.i++
	return s.b[s.i-1] == 0xc3
}

func (s *msgpackSource) number() number {
	if s.kind() != kindNumber {
		s.fail("a number expected")
		return number{}
	}
	c := s.b[s.i]
	s.i++
	switch {
	case c < 0x80:
		return number{class: signedInt, i: int64(c)}
	case c >= 0xe0:
		return number{class: signedInt, i: int64(int8(c))}
	case c == 0xca:
		return floatNumber(float64(math.Float32frombits(uint32(s.uint(4)))), 32)
	case c == 0xcb:
		return floatNumber(math.Float64frombits(s.uint(8)), 64)
	case c <= 0xcf:
		return uintNumber(s.uint(1 << (c - 0xcc)))
	}
	size := 1 << (c - 0xd0)
	shift := 64 - 8*size
	return number{class: signedInt, i: int64(s.uint(size)<<shift) >> shift}
}

func (s *msgpackSource) skip() {
	switch s.kind() {
	case kindMap:
		s.openMap()
		for s.more() {
			s.skip()
			s.skip()
		}
	case kindArray:
		s.openArray()
		for s.more() {
			s.skip()
		}
	case kindString:
		s.str()
	case kindBinary:
		s.bin()
	case kindNumber:
		s.number()
	case kindNull, kindBool:
		s.i++
	case kindExt:
		c := s.b[s.i]
		s.i++
		if c >= 0xd4 {
			s.take(1 + 1<<(c-0xd4))
		} else {
			s.take(1 + int(s.uint(1<<(c-0xc7))))
		}
	}
}

func (s *msgpackSource) end() {
	if s.err == nil && s.i < len(s.b) {
		s.fail("%d bytes after the end", len(s.b)-s.i)
	}
}
