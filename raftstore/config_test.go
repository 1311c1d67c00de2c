package raftstore

import (
	"strings"
	"testing"
	"time"
)

// A leader without the voters steps down before one of them elects another, by default and in any configuration.
func TestLeadersLeaseEndsFirst(t *testing.T) {
	config := func() Config {
		return Config{Disk: NewMemDisk(), Listener: newTestNet().listen("n0:1"), Dial: newTestNet().dialer("n0"), Advertise: "n0:1"}
	}
	c := config()
	if err := c.complete(); err != nil || c.LeaderLease >= c.Heartbeat {
		t.Errorf("by default %v and %v, %v", c.LeaderLease, c.Heartbeat, err)
	}
	c = config()
	c.LeaderLease = 500 * time.Millisecond
	if err := c.complete(); err == nil || !strings.Contains(err.Error(), "lease of 500ms") {
		t.Errorf("got %v", err)
	}
}
