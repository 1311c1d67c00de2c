package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Frames between gateways and owners are laid by hand: a type byte, then fields in order. Numbers are uvarints (those
// that may be negative zigzag), texts are length-prefixed. Both sides run the same protocol version, which links agree
// on before any frame; a change of layout takes a new type byte.
const (
	framePublish byte = 0x03 + iota
	frameQuery
	frameList
)

// 0x01, 0x02, 0x06 and 0x34 were earlier layouts.
const (
	frameSnapshot byte = 0x30
	frameRegister byte = 0x31
)

// 0x06 was an earlier layout of History; 0x11 and 0x12 were some of Registered and Delivery.
const (
	frameOccupancy byte = 0x13 + iota
	framePublished
	frameQueryResult
	frameListResult
	frameRegistered
	frameDelivery
	frameHistoryResult
)

const frameRefused byte = 0x74

// Limits of the decoders. Encoders do not check them: the edge admits nothing that large.
const (
	// FrameMax is the longest frame, in bytes.
	FrameMax = 64 << 20
	// TextMax is the longest name, id or serial, in bytes.
	TextMax = 1 << 16
)

// ErrFrame is what every decoding error wraps.
var ErrFrame = errors.New("channel: malformed frame")

// writer appends fields.
type writer []byte

func (w *writer) byte(b byte)      { *w = append(*w, b) }
func (w *writer) uint(v uint64)    { *w = binary.AppendUvarint(*w, v) }
func (w *writer) int(v int64)      { *w = binary.AppendVarint(*w, v) }
func (w *writer) text(s string)    { w.uint(uint64(len(s))); *w = append(*w, s...) }
func (w *writer) name(a, n string) { w.text(a); w.text(n) }

func (w *writer) bool(b bool) {
	if b {
		w.byte(1)
	} else {
		w.byte(0)
	}
}

func (w *writer) count(n int32) { w.uint(uint64(max(n, 0))) }

// counts writes a mask of the categories that are not 0 and those alone: most are 0.
func (w *writer) counts(c *Counts) {
	var mask byte
	for i, n := range c {
		if n > 0 {
			mask |= 1 << i
		}
	}
	w.byte(mask)
	for _, n := range c {
		if n > 0 {
			w.count(n)
		}
	}
}

// reader takes fields from a frame. The first thing wrong stays in err; what follows then reads as zero. Texts are cut
// from one copy of the frame, so that a frame costs one allocation for all of them.
type reader struct {
	text string
	at   int
	err  error
}

func newReader(frame []byte) reader { return reader{text: string(frame), at: 1} }

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d", ErrFrame, what, r.at)
	}
	r.at = len(r.text)
}

func (r *reader) left() int { return len(r.text) - r.at }

func (r *reader) byte() byte {
	if r.left() < 1 {
		r.fail("cut short")
		return 0
	}
	r.at++
	return r.text[r.at-1]
}

func (r *reader) uint() uint64 {
	var v uint64
	for shift := 0; ; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		if shift == 63 && b > 1 {
			r.fail("number too large")
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

func (r *reader) int() int64 {
	v := r.uint()
	return int64(v>>1) ^ -int64(v&1)
}

// small reads a number of at most max.
func (r *reader) small(max uint64, what string) uint64 {
	v := r.uint()
	if v > max {
		r.fail(what)
		return 0
	}
	return v
}

func (r *reader) count() int32 { return int32(r.small(math.MaxInt32, "count too large")) }

func (r *reader) bool() bool { return r.small(1, "neither true nor false") == 1 }

func (r *reader) refusal() Refusal { return Refusal(r.small(math.MaxUint8, "unknown refusal")) }

func (r *reader) string() string {
	n := int(r.small(TextMax, "text too long"))
	if n > r.left() {
		r.fail("cut short")
		return ""
	}
	r.at += n
	return r.text[r.at-n : r.at]
}

// many reads a number of elements, each of which takes at least size bytes: a frame cannot make a decoder allocate
// much more than it is long.
func (r *reader) many(size int) int {
	n := r.uint()
	if n > uint64(r.left()/size) {
		r.fail("cut short")
		return 0
	}
	return int(n)
}

func (r *reader) counts() (c Counts) {
	mask := r.byte()
	for i := range c {
		if mask&(1<<i) != 0 {
			c[i] = r.count()
		}
	}
	return c
}

// end checks that nothing is left over.
func (r *reader) end() error {
	if r.err == nil && r.left() > 0 {
		r.fail("bytes left over")
	}
	return r.err
}

func frameType(frame []byte) (byte, error) {
	switch {
	case len(frame) == 0:
		return 0, fmt.Errorf("%w: empty", ErrFrame)
	case len(frame) > FrameMax:
		return 0, fmt.Errorf("%w: %d bytes are too many", ErrFrame, len(frame))
	}
	return frame[0], nil
}

func unknownFrame(t byte) error { return fmt.Errorf("%w: unknown type 0x%02x", ErrFrame, t) }
