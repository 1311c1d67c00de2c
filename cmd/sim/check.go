package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Violation is one promise found broken.
type Violation struct {
	Promise string // G1…G9, owner, settle
	Channel string // "" when it is not about one
	At      time.Time
	Text    string
}

func (v Violation) String() string {
	if v.Channel == "" {
		return v.Promise + ": " + v.Text
	}
	return fmt.Sprintf("%s: %s: %s", v.Promise, v.Channel, v.Text)
}

// Checkers are all of them, by name. Each is a pure function over a History.
var Checkers = []struct {
	Name string
	Run  func(*History) []Violation
}{
	{"alternation", CheckAlternation},
	{"same log", CheckSameLog},
	{"orphans", CheckOrphans},
	{"false vacated", CheckFalseVacated},
	{"delivery", CheckDelivery},
	{"pull", CheckPull},
	{"counts", CheckCounts},
	{"continuity", CheckContinuity},
	{"owners", CheckOwners},
	{"sent away", CheckSentAway},
	{"buried", CheckBuried},
	{"settled", CheckSettled},
}

// Check runs every checker.
func Check(h *History) []Violation {
	var out []Violation
	for _, c := range Checkers {
		out = append(out, c.Run(h)...)
	}
	return out
}

// list builds violations of one promise.
type list struct {
	promise string
	found   []Violation
}

func (l *list) add(channel string, at time.Time, format string, args ...any) {
	l.found = append(l.found, Violation{Promise: l.promise, Channel: channel, At: at, Text: fmt.Sprintf(format, args...)})
}

// byChannel groups a log, each channel's events in the order of the log.
func byChannel(log []Event) map[string][]Event {
	out := make(map[string][]Event)
	for _, e := range log {
		out[e.Channel] = append(out[e.Channel], e)
	}
	return out
}

// sorted returns the keys of a map in order, so that reports read the same in every run.
func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// at is the time that an event carries.
func at(e Event) time.Time { return time.UnixMilli(e.TimeMs) }

// clock prints an instant as the timeline does.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
