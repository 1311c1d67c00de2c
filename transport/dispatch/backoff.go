package dispatch

import "time"

// The wait before a failed request is tried again starts at retryMin and doubles up to retryMax.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 20 * time.Second
)

// backoff is the wait after the given number of failures in a row (1 or more). jitter, in [0, 1), spreads it over the
// upper half of the interval, so that sinks that failed together are not all tried again together.
func backoff(failures int, jitter float64) time.Duration {
	wait := retryMax
	if shift := failures - 1; shift < 8 { // 100 ms << 8 is beyond 20 s
		wait = min(retryMin<<max(shift, 0), retryMax)
	}
	return wait/2 + time.Duration(jitter*float64(wait/2))
}
