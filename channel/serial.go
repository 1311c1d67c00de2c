package channel

import (
	"strconv"
	"strings"
)

// Stamp is a place in a channel's messages: the instant it was taken and a count within that millisecond. A channel's
// stamps only ever grow, whatever the clock does. The zero Stamp is below all.
type Stamp struct {
	ms int64
	n  uint16 // 0..999
}

const (
	countMax = 999 // of a point; publishes stay below
	// Stamps from elsewhere beyond this are not believed: they would leave too few digits to go on above them.
	msMax = 99_000_000_000_000
)

func (p Stamp) less(q Stamp) bool { return p.ms < q.ms || p.ms == q.ms && p.n < q.n }

// after is the next stamp above p at wall time ms.
func (p Stamp) after(ms int64) Stamp {
	switch {
	case ms > p.ms:
		return Stamp{ms: ms}
	case p.n < countMax-1:
		return Stamp{ms: p.ms, n: p.n + 1}
	default:
		return Stamp{ms: p.ms + 1}
	}
}

// pointAt is the last stamp of a millisecond. No publish has it: it says where an attachment begins on a channel of which
// nothing is kept.
func pointAt(ms int64) Stamp { return Stamp{ms: ms, n: countMax} }

// next is the stamp right above p, which is no point.
func (p Stamp) next() Stamp { return Stamp{ms: p.ms, n: p.n + 1} }

func (p Stamp) isPoint() bool { return p.n == countMax }

// serial is the stamp's text: 14 digits of milliseconds, "-", 3 digits of count, "@" and the series. As text it
// sorts as the positions do.
func (p Stamp) serial(series string) string {
	var space [64]byte
	b := appendPadded(space[:0], p.ms, 14)
	b = append(b, '-')
	b = appendPadded(b, int64(p.n), 3)
	b = append(b, '@')
	b = append(b, series...)
	return string(b)
}

// position is the serial without its series.
func (p Stamp) position() string {
	var space [positionBytes]byte
	b := appendPadded(space[:0], p.ms, 14)
	b = append(b, '-')
	return string(appendPadded(b, int64(p.n), 3))
}

func appendPadded(b []byte, v int64, width int) []byte {
	start := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; i >= start && v > 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

// parseSerial reads a serial's stamp; the series and what follows it are ignored. Text of another form gives the zero
// Stamp.
func parseSerial(s string) Stamp {
	s, _, _ = strings.Cut(s, "@")
	ms, n, ok := strings.Cut(s, "-")
	if !ok || len(ms) != 14 || len(n) != 3 {
		return Stamp{}
	}
	m, err := strconv.ParseUint(ms, 10, 63)
	if err != nil || m > msMax {
		return Stamp{}
	}
	c, err := strconv.ParseUint(n, 10, 16)
	if err != nil {
		return Stamp{}
	}
	return Stamp{ms: int64(m), n: uint16(c)}
}

// positionBytes is how long the part of a serial is that says where it stands; the series follows.
const positionBytes = 14 + 1 + 3

// SerialPosition is the part of a serial that says where it stands in its channel. Positions sort as texts.
func SerialPosition(serial string) string { return serial[:min(len(serial), positionBytes)] }
