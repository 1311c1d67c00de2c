package channel

import (
	"strconv"
	"strings"
)

// position is a place in a channel's messages: the instant it was taken and a count within that millisecond. It only
// ever grows, whatever the clock does.
type position struct {
	ms int64
	n  uint16 // 0..999
}

const (
	countMax = 999
	// Positions from elsewhere beyond this are not believed: they would leave too few digits to go on above them.
	msMax = 99_000_000_000_000
)

func (p position) less(q position) bool { return p.ms < q.ms || p.ms == q.ms && p.n < q.n }

// after is the next position above p at wall time ms.
func (p position) after(ms int64) position {
	switch {
	case ms > p.ms:
		return position{ms: ms}
	case p.n < countMax:
		return position{ms: p.ms, n: p.n + 1}
	default:
		return position{ms: p.ms + 1}
	}
}

// serial is the position's text: 14 digits of milliseconds, "-", 3 digits of count, "@" and the series. As text it
// sorts as the positions do.
func (p position) serial(series string) string {
	var space [64]byte
	b := appendPadded(space[:0], p.ms, 14)
	b = append(b, '-')
	b = appendPadded(b, int64(p.n), 3)
	b = append(b, '@')
	b = append(b, series...)
	return string(b)
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

// parseSerial reads a serial's position; what follows a message's ":" is ignored. Text of another form gives the zero
// position, which orders below all.
func parseSerial(s string) position {
	s, _, _ = strings.Cut(s, "@")
	ms, n, ok := strings.Cut(s, "-")
	if !ok || len(ms) != 14 || len(n) != 3 {
		return position{}
	}
	m, err := strconv.ParseUint(ms, 10, 63)
	if err != nil || m > msMax {
		return position{}
	}
	c, err := strconv.ParseUint(n, 10, 16)
	if err != nil {
		return position{}
	}
	return position{ms: int64(m), n: uint16(c)}
}
