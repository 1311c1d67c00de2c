package protocol

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonSource reads JSON text. It is strict about the grammar; the caller has checked that the text is UTF-8.
type jsonSource struct {
	b       []byte
	i       int
	depth   int
	maps    uint64 // one bit per open container, the lowest is the innermost: is it a map
	fresh   bool   // the innermost container was opened just now
	scratch []byte
	err     *ErrorInfo
}

func (s *jsonSource) problem() *ErrorInfo { return s.err }

func (s *jsonSource) fail(format string, args ...any) {
	if s.err == nil {
		s.err = Errorf(CodeProtocolError, "invalid JSON at byte %d: %s", s.i, fmt.Sprintf(format, args...))
	}
	s.i = len(s.b)
}

// peek is the next byte that is not blank, 0 at the end.
func (s *jsonSource) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *jsonSource) kind() kind {
	if s.err != nil {
		return kindNone
	}
	switch c := s.peek(); c {
	case '{':
		return kindMap
	case '[':
		return kindArray
	case '"':
		return kindString
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return kindNumber
	case 0:
		s.fail("the text ends where a value should stand")
	default:
		s.fail("%q cannot begin a value", c)
	}
	return kindNone
}

func (s *jsonSource) openMap()   { s.open('{', 1) }
func (s *jsonSource) openArray() { s.open('[', 0) }

func (s *jsonSource) open(brace byte, isMap uint64) {
	switch {
	case s.err != nil:
	case s.peek() != brace:
		s.fail("%q expected", brace)
	case s.depth == MaxDepth:
		s.fail("nested deeper than %d levels", MaxDepth)
	default:
		s.i++
		s.depth++
		s.maps = s.maps<<1 | isMap
		s.fresh = true
	}
}

func (s *jsonSource) more() bool {
	if s.err != nil {
		return false
	}
	closer := byte(']')
	if s.maps&1 != 0 {
		closer = '}'
	}
	c := s.peek()
	switch {
	case c == closer:
		s.i++
		s.depth--
		s.maps >>= 1
		s.fresh = false
		return false
	case c == 0:
		s.fail("%q is missing", closer)
		return false
	case s.fresh:
		s.fresh = false
		return true
	case c != ',':
		s.fail("',' or %q expected, there is %q", closer, c)
		return false
	}
	s.i++
	if s.peek() == closer {
		s.fail("',' before %q", closer)
		return false
	}
	return true
}

func (s *jsonSource) key() []byte {
	k := s.str()
	if s.err != nil {
		return nil
	}
	if s.peek() != ':' {
		s.fail("':' expected after a key")
		return nil
	}
	s.i++
	return k
}

func (s *jsonSource) str() []byte {
	if s.err != nil {
		return nil
	}
	if s.peek() != '"' {
		s.fail("a string expected")
		return nil
	}
	s.i++
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1]
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			s.fail("control character in a string")
			return nil
		}
		s.i++
	}
	s.fail("a string does not end")
	return nil
}

// escaped goes on with a string that began at start and has its first backslash here.
func (s *jsonSource) escaped(start int) []byte {
	out := append(s.scratch[:0], s.b[start:s.i]...)
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			s.scratch = out
			return out
		case c < 0x20:
			s.fail("control character in a string")
			return nil
		case c != '\\':
			out = append(out, c)
			s.i++
		default:
			out = s.escape(out)
			if s.err != nil {
				return nil
			}
		}
	}
	s.fail("a string does not end")
	return nil
}

func (s *jsonSource) escape(out []byte) []byte {
	s.i++
	if s.i == len(s.b) {
		s.fail("a string ends within an escape")
		return nil
	}
	c := s.b[s.i]
	s.i++
	switch c {
	case '"', '\\', '/':
		return append(out, c)
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'u':
		r, ok := s.hex4(s.i)
		if !ok {
			s.fail("\\u without four hexadecimal digits")
			return nil
		}
		s.i += 4
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if bytes.HasPrefix(s.b[s.i:], []byte(`\u`)) {
				low, ok = s.hex4(s.i + 2)
			}
			if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
				s.i += 6
			}
		}
		return utf8.AppendRune(out, r)
	}
	s.fail("the escape \\%c does not exist", c)
	return nil
}

func (s *jsonSource) hex4(at int) (rune, bool) {
	if at+4 > len(s.b) {
		return 0, false
	}
	var r rune
	for _, c := range s.b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// bin never finds anything: JSON has no binary.
func (s *jsonSource) bin() []byte {
	s.fail("binary expected")
	return nil
}

func (s *jsonSource) boolean() bool {
	if s.err != nil {
		return false
	}
	if s.peek() == 't' {
		s.word("true")
		return s.err == nil
	}
	s.word("false")
	return false
}

func (s *jsonSource) word(w string) {
	if !bytes.HasPrefix(s.b[s.i:], []byte(w)) {
		s.fail("%s expected", w)
		return
	}
	s.i += len(w)
}

func (s *jsonSource) number() number {
	raw, integer := s.literal()
	if s.err != nil {
		return number{}
	}
	if integer {
		if i, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return number{class: signedInt, i: i, raw: raw}
		}
		if u, err := strconv.ParseUint(string(raw), 10, 64); err == nil {
			return number{class: unsignedInt, u: u, raw: raw}
		}
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return number{raw: raw} // beyond float64
	}
	return number{class: float, f: f, bits: 64, raw: raw}
}

// literal consumes a number and says whether it is written without fraction and exponent.
func (s *jsonSource) literal() (raw []byte, integer bool) {
	if s.err != nil {
		return nil, false
	}
	s.peek()
	start := s.i
	integer = true
	s.accept('-')
	switch {
	case s.accept('0'):
	case s.digits() == 0:
		s.fail("a number without digits")
		return nil, false
	}
	if s.accept('.') {
		integer = false
		if s.digits() == 0 {
			s.fail("a number without digits after the point")
			return nil, false
		}
	}
	if s.accept('e') || s.accept('E') {
		integer = false
		if !s.accept('+') {
			s.accept('-')
		}
		if s.digits() == 0 {
			s.fail("a number without digits in the exponent")
			return nil, false
		}
	}
	return s.b[start:s.i], integer
}

func (s *jsonSource) accept(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *jsonSource) digits() int {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i - start
}

func (s *jsonSource) skip() {
	switch s.kind() {
	case kindMap:
		s.openMap()
		for s.more() {
			s.key()
			s.skip()
		}
	case kindArray:
		s.openArray()
		for s.more() {
			s.skip()
		}
	case kindString:
		s.str()
	case kindNumber:
		s.literal()
	case kindBool:
		s.boolean()
	case kindNull:
		s.word("null")
	}
}

func (s *jsonSource) end() {
	if s.err == nil && s.peek() != 0 {
		s.fail("text after the end")
	} else if s.err == nil && s.i < len(s.b) {
		s.fail("a zero byte after the end")
	}
}
