package dispatch

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBackoffGrowsToItsMost(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond,
		8: 12800 * time.Millisecond, 9: 20 * time.Second, 1000: 20 * time.Second,
	} {
		if got := backoff(failures, 1); got != want {
			t.Errorf("backoff(%d) = up to %v, want %v", failures, got, want)
		}
	}
}

func TestBackoffStaysInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<30).Draw(t, "failures")
		got := backoff(n, rapid.Float64Range(0, 0.999999).Draw(t, "jitter"))
		if got < retryMin/2 || got > retryMax || got < backoff(n, 0) {
			t.Fatalf("backoff(%d) = %v", n, got)
		}
	})
}
