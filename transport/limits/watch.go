package limits

import "time"

// Level is how a limit stands.
type Level uint8

// The levels.
const (
	Calm Level = iota
	Near       // the soft threshold is reached
	Over       // something is refused, or more is there than may be
)

var levels = [...]string{"calm", "approaching", "exceeded"}

func (l Level) String() string {
	if int(l) < len(levels) {
		return levels[l]
	}
	return levels[Calm]
}

const (
	// calmShare is how far below its threshold a value has to be to count as calm again.
	calmShare = 0.9
	// calmAfter is for how long it has to be there: a level that comes and goes is told once.
	calmAfter = time.Minute
)

// Watch is how one limit stood. It goes up at once and comes down slowly.
type Watch struct {
	Level Level
	since time.Time // below the level, since then; zero: not
}

// See looks at a limit: how much there is, and whether some was refused since the last look. It says whether the level is
// another now.
func (w *Watch) See(now time.Time, l Limit, value int64, refused bool) (changed bool) {
	level, held := Calm, Calm // as it is, and as it would be with a little more
	within := func(threshold int64, share float64) bool {
		return threshold > 0 && float64(value) >= share*float64(threshold)
	}
	switch {
	case refused || l.Hard > 0 && value > l.Hard:
		level = Over
	case within(l.Near(), 1):
		level = Near
	}
	switch {
	case level == Over || within(l.Hard, calmShare) && w.Level == Over:
		held = Over
	case within(l.Near(), calmShare):
		held = Near
	}
	switch {
	case level > w.Level:
		w.Level, w.since = level, time.Time{}
		return true
	case max(level, held) >= w.Level:
		w.since = time.Time{}
		return false
	case w.since.IsZero():
		w.since = now
	}
	if now.Sub(w.since) < calmAfter {
		return false
	}
	w.Level, w.since = max(level, held), time.Time{}
	return true
}
