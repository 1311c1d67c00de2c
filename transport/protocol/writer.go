package protocol

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"
)

// writer lays a frame into bytes, in either format, without reflection: one sequence of calls gives both encodings, so
// they cannot drift apart. Strings that are not valid UTF-8 are repaired, because one bad byte in a text frame ends a
// browser's connection.
type writer struct {
	b    []byte
	f    Format
	head int // where the open container's header byte is
	n    int // its entries so far
}

// scope remembers the container around the one just opened.
type scope struct{ head, n int }

func (w *writer) openMap() scope   { return w.open('{', 0x80) }
func (w *writer) openArray() scope { return w.open('[', 0x90) }

func (w *writer) open(json, fix byte) scope {
	outer := scope{w.head, w.n}
	w.head, w.n = len(w.b), 0
	if w.f == JSON {
		w.b = append(w.b, json)
	} else {
		w.b = append(w.b, fix)
	}
	return outer
}

// close ends the open container and goes on with the outer one. Headers of msgpack carry the number of entries, which
// is known only now; short ones have room for it, long ones are widened in place.
func (w *writer) close(outer scope) {
	if w.f == JSON {
		w.b = append(w.b, w.b[w.head]+2) // '{'+2 is '}', '['+2 is ']'
	} else if w.n < 16 {
		w.b[w.head] |= byte(w.n)
	} else {
		wide := byte(0xdc) // array 16
		if w.b[w.head] == 0x80 {
			wide = 0xde // map 16
		}
		body := len(w.b)
		if w.n <= math.MaxUint16 {
			w.b = append(w.b, 0, 0)
			copy(w.b[w.head+3:], w.b[w.head+1:body])
			w.b[w.head], w.b[w.head+1], w.b[w.head+2] = wide, byte(w.n>>8), byte(w.n)
		} else {
			w.b = append(w.b, 0, 0, 0, 0)
			copy(w.b[w.head+5:], w.b[w.head+1:body])
			w.b[w.head], w.b[w.head+1], w.b[w.head+2], w.b[w.head+3], w.b[w.head+4] =
				wide+1, byte(w.n>>24), byte(w.n>>16), byte(w.n>>8), byte(w.n)
		}
	}
	w.head, w.n = outer.head, outer.n
}

// key starts an entry of the open map. Keys are ours: plain ASCII, shorter than 32 bytes.
func (w *writer) key(k string) {
	if w.f == JSON {
		if w.n > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, '"')
		w.b = append(w.b, k...)
		w.b = append(w.b, '"', ':')
	} else {
		w.b = append(w.b, 0xa0|byte(len(k)))
		w.b = append(w.b, k...)
	}
	w.n++
}

// textKey starts an entry whose key came from outside.
func (w *writer) textKey(k string) {
	if w.f == JSON {
		if w.n > 0 {
			w.b = append(w.b, ',')
		}
		w.b = appendJSONString(w.b, k)
		w.b = append(w.b, ':')
	} else {
		w.b = appendMsgpackString(w.b, k)
	}
	w.n++
}

// item starts an entry of the open array.
func (w *writer) item() {
	if w.f == JSON && w.n > 0 {
		w.b = append(w.b, ',')
	}
	w.n++
}

func (w *writer) str(s string) {
	if w.f == JSON {
		w.b = appendJSONString(w.b, s)
	} else {
		w.b = appendMsgpackString(w.b, s)
	}
}

func (w *writer) int(v int64) {
	if w.f == JSON {
		w.b = strconv.AppendInt(w.b, v, 10)
	} else {
		w.b = appendMsgpackInt(w.b, v)
	}
}

func (w *writer) bool(v bool) {
	switch {
	case w.f == JSON:
		w.b = strconv.AppendBool(w.b, v)
	case v:
		w.b = append(w.b, 0xc3)
	default:
		w.b = append(w.b, 0xc2)
	}
}

func (w *writer) null() {
	if w.f == JSON {
		w.b = append(w.b, "null"...)
	} else {
		w.b = append(w.b, 0xc0)
	}
}

// bytes writes binary data: bin in msgpack, base64 text in JSON.
func (w *writer) bytes(data []byte) {
	if w.f == JSON {
		w.b = append(w.b, '"')
		w.b = base64.StdEncoding.AppendEncode(w.b, data)
		w.b = append(w.b, '"')
		return
	}
	switch n := len(data); {
	case n <= math.MaxUint8:
		w.b = append(w.b, 0xc4, byte(n))
	case n <= math.MaxUint16:
		w.b = append(w.b, 0xc5, byte(n>>8), byte(n))
	default:
		w.b = append(w.b, 0xc6, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	w.b = append(w.b, data...)
}

// json writes a value given as JSON text.
func (w *writer) json(text []byte) {
	if w.f == JSON {
		w.b = append(w.b, text...)
	} else {
		transcode(w, &jsonSource{b: text})
	}
}

func (w *writer) keyStr(k, v string)       { w.key(k); w.str(v) }
func (w *writer) keyInt(k string, v int64) { w.key(k); w.int(v) }

// optStr writes an entry unless the value is empty.
func (w *writer) optStr(k, v string) {
	if v != "" {
		w.keyStr(k, v)
	}
}

const hexDigits = "0123456789abcdef"

// jsonPlain says which ASCII characters stand for themselves inside a JSON string.
var jsonPlain = func() (t [utf8.RuneSelf]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\'
	}
	return t
}()

// appendJSONString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD; the line separators U+2028 and
// U+2029 are escaped for the sake of old JavaScript.
func appendJSONString[S string | []byte](b []byte, s S) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if jsonPlain[c] {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
			}
			i++
			start = i
			continue
		}
		r, size := decodeRune(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(b, s[start:i]...)
			b = append(b, '\\', 'u', '2', '0', '2', hexDigits[r&0xf])
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func decodeRune[S string | []byte](s S) (rune, int) {
	// At most four bytes matter; the conversion of so short a slice stays on the stack.
	if len(s) > utf8.UTFMax {
		s = s[:utf8.UTFMax]
	}
	return utf8.DecodeRuneInString(string(s))
}

func appendMsgpackString[S string | []byte](b []byte, s S) []byte {
	if !validUTF8(s) {
		fixed := []rune(string(s)) // each bad byte becomes U+FFFD
		return appendMsgpackString(b, string(fixed))
	}
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		b = append(b, 0xda, byte(n>>8), byte(n))
	default:
		b = append(b, 0xdb, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, s...)
}

func validUTF8[S string | []byte](s S) bool {
	switch s := any(s).(type) {
	case string:
		return utf8.ValidString(s)
	case []byte:
		return utf8.Valid(s)
	}
	return false
}

// appendMsgpackInt appends v in its shortest form, as an unsigned integer where it can be one.
func appendMsgpackInt(b []byte, v int64) []byte {
	if v >= 0 {
		return appendMsgpackUint(b, uint64(v))
	}
	switch {
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, 0xd0, byte(v))
	case v >= math.MinInt16:
		return append(b, 0xd1, byte(v>>8), byte(v))
	case v >= math.MinInt32:
		return append(b, 0xd2, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return appendBig64(append(b, 0xd3), uint64(v))
}

func appendMsgpackUint(b []byte, v uint64) []byte {
	switch {
	case v < 128:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return append(b, 0xcd, byte(v>>8), byte(v))
	case v <= math.MaxUint32:
		return append(b, 0xce, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return appendBig64(append(b, 0xcf), v)
}

func appendMsgpackFloat(b []byte, v float64) []byte {
	return appendBig64(append(b, 0xcb), math.Float64bits(v))
}

func appendBig64(b []byte, v uint64) []byte {
	return append(b, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// number writes a number of either format; what the format cannot hold becomes null and is reported as false.
func (w *writer) number(n number) bool {
	if w.f == JSON && n.raw != nil {
		w.b = append(w.b, n.raw...)
		return true
	}
	switch n.class {
	case signedInt:
		w.int(n.i)
		return true
	case unsignedInt:
		if w.f == JSON {
			w.b = strconv.AppendUint(w.b, n.u, 10)
		} else {
			w.b = appendMsgpackUint(w.b, n.u)
		}
		return true
	case float:
		if w.f == MsgPack {
			w.b = appendMsgpackFloat(w.b, n.f)
			return true
		}
		if !math.IsNaN(n.f) && !math.IsInf(n.f, 0) {
			w.b = appendJSONFloat(w.b, n.f, n.bits)
			return true
		}
	}
	w.null()
	return false
}

// appendJSONFloat writes a number the way JavaScript does: with an exponent only where it is very small or large.
func appendJSONFloat(b []byte, v float64, bits int) []byte {
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(b, v, 'e', -1, bits)
	}
	return strconv.AppendFloat(b, v, 'f', -1, bits)
}
