package limits

import (
	"testing"
	"time"
)

func TestLevelsComeDownSlowly(t *testing.T) {
	var w Watch
	now := time.Unix(1_000_000, 0)
	l := Limit{Soft: 80, Hard: 100}
	for i, step := range []struct {
		after   time.Duration
		value   int64
		refused bool
		level   Level
		changed bool
	}{
		{time.Second, 79, false, Calm, false},
		{time.Second, 80, false, Near, true},
		{time.Second, 79, false, Near, false}, // not far enough below
		{5 * time.Minute, 73, false, Near, false},
		{time.Second, 100, false, Near, false}, // full, and nobody was refused
		{time.Second, 100, true, Over, true},
		{time.Second, 100, true, Over, false},
		{time.Hour, 95, false, Over, false}, // hardly below
		{time.Second, 85, false, Over, false},
		{59 * time.Second, 85, false, Over, false},
		{time.Second, 85, false, Near, true},
		{time.Second, 10, false, Near, false},
		{30 * time.Second, 85, false, Near, false}, // back in time
		{time.Second, 10, false, Near, false},
		{time.Minute, 10, false, Calm, true},
		{time.Second, 120, false, Over, true}, // at once, as when the limit is lowered
	} {
		now = now.Add(step.after)
		changed := w.See(now, l, step.value, step.refused)
		if changed != step.changed || w.Level != step.level {
			t.Fatalf("step %d: %v, changed %v; want %v, %v", i, w.Level, changed, step.level, step.changed)
		}
	}
}

func TestNearWithoutSoft(t *testing.T) {
	for _, c := range []struct {
		l    Limit
		want int64
	}{{Limit{}, 0}, {Limit{Hard: 100}, 80}, {Limit{Hard: 1}, 1}, {Limit{Soft: 5}, 5}, {Limit{Soft: 5, Hard: 100}, 5}} {
		if got := c.l.Near(); got != c.want {
			t.Errorf("%+v: near at %d, want %d", c.l, got, c.want)
		}
	}
}
