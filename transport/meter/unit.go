package meter

import (
	"fmt"
	"strconv"
	"time"
)

// Unit is a length of time that rows are made for.
type Unit int

// The units, from fine to coarse.
const (
	Minute Unit = iota
	Hour
	Day
	Month

	numUnits
)

var (
	unitNames   = [numUnits]string{"minute", "hour", "day", "month"}
	unitLetters = [numUnits]byte{'m', 'h', 'd', 'y'}
	unitForms   = [numUnits]string{"2006-01-02:15:04", "2006-01-02:15", "2006-01-02", "2006-01"}
)

func (u Unit) String() string { return unitNames[u] }

// ParseUnit reads a unit's name; "" is minute.
func ParseUnit(text string) (Unit, error) {
	if text == "" {
		return Minute, nil
	}
	for u, name := range unitNames {
		if name == text {
			return Unit(u), nil
		}
	}
	return 0, fmt.Errorf("unit has to be minute, hour, day or month, this is %.40q", text)
}

// Start is when the interval began that a moment lies in, UTC. Both are in unix ms.
func (u Unit) Start(ms int64) int64 {
	t := time.UnixMilli(ms).UTC()
	switch u {
	case Minute:
		t = t.Truncate(time.Minute)
	case Hour:
		t = t.Truncate(time.Hour)
	case Day:
		t = t.Truncate(24 * time.Hour)
	case Month:
		t = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return t.UnixMilli()
}

// End is when the interval ends that begins at start: the start of the next.
func (u Unit) End(start int64) int64 {
	t := time.UnixMilli(start).UTC()
	switch u {
	case Minute:
		return start + time.Minute.Milliseconds()
	case Hour:
		return start + time.Hour.Milliseconds()
	case Day:
		return t.AddDate(0, 0, 1).UnixMilli()
	}
	return t.AddDate(0, 1, 0).UnixMilli()
}

// ID names an interval of the unit as clients know it.
func (u Unit) ID(ms int64) string { return time.UnixMilli(ms).UTC().Format(unitForms[u]) }

// ParseTime reads a bound of a question: unix ms, or an interval of any precision. An interval reaches from first to last,
// both in ms and both within.
func ParseTime(text string) (first, last int64, err error) {
	for u, form := range unitForms {
		if t, bad := time.Parse(form, text); bad == nil {
			first = t.UnixMilli()
			return first, Unit(u).End(first) - 1, nil
		}
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 0 || ms > maxMs {
		return 0, 0, fmt.Errorf("%.40q is neither a time in ms nor an interval like 2006-01-02:15:04", text)
	}
	return ms, ms, nil
}

// maxMs is the end of the year 9999.
const maxMs = 253402300799999
