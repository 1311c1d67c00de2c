package config

import (
	"fmt"
	"strings"
	"time"
)

// Bounds of what the meter keeps. Every node has all of it in memory.
const (
	minMeterRetention = time.Hour
	maxMeterRetention = 100 * 366 * 24 * time.Hour
	maxMeterMinutes   = 62 * 24 * time.Hour
	minTokenLength    = 16
)

// meter checks that coarse figures are there for at least as long as fine ones.
func (c checker) meter() {
	m := &c.cfg.Meter
	shorter := minMeterRetention
	for _, k := range []struct {
		key   string
		value time.Duration
		most  time.Duration
	}{
		{"meter.minutes", m.Minutes, maxMeterMinutes}, {"meter.hours", m.Hours, maxMeterRetention},
		{"meter.days", m.Days, maxMeterRetention}, {"meter.months", m.Months, maxMeterRetention},
	} {
		switch {
		case k.value < minMeterRetention || k.value > k.most:
			c.bad(k.key, "%v is out of range; it must be from %v to %v", k.value, minMeterRetention, k.most)
		case k.value < shorter:
			c.bad(k.key, "%v is shorter than the %v that finer figures are kept; it must be as long at least", k.value, shorter)
		default:
			shorter = k.value
		}
	}
}

// admin checks tokens, which are never repeated.
func (c checker) admin() {
	for i, token := range c.cfg.Admin.Tokens {
		key := fmt.Sprintf("admin.tokens[%d]", i)
		switch {
		case len(token) < minTokenLength:
			c.bad(key, "has %d characters; it must have %d at least, such as from: openssl rand -base64 24", len(token), minTokenLength)
		case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			c.bad(key, "holds white space or characters beyond ASCII, which a header cannot carry")
		}
	}
}
