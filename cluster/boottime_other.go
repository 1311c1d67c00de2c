//go:build !linux

package cluster

import "time"

var started = time.Now()

// boottime is the monotonic clock. Where that stands still during suspension, a lease outlives it by as much.
func boottime() time.Duration { return time.Since(started) }
