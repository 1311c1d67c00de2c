package sim

import (
	"regexp"
	"strings"
)

var relNext = regexp.MustCompile(`^<\./\w+(\?[^>]*)>; *rel="next"$`)

// nextLink returns the query of the next page, "" when no Link header names one.
func nextLink(headers []string) string {
	for _, h := range headers {
		if m := relNext.FindStringSubmatch(strings.TrimSpace(h)); m != nil {
			return m[1]
		}
	}
	return ""
}
