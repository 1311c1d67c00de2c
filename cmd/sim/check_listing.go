package sim

import "time"

// CheckListing judges one enumeration of open channels: each channel that was open throughout appears, and none twice.
func CheckListing(names []string, throughout map[string]bool) []Violation {
	l := list{promise: "listing"}
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		if seen[n] {
			l.add(n, time.Time{}, "listed twice")
		}
		seen[n] = true
	}
	for _, n := range sorted(throughout) {
		if !seen[n] {
			l.add(n, time.Time{}, "open throughout and not listed")
		}
	}
	return l.found
}
