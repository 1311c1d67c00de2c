package rest

import (
	"net/url"
	"strings"
)

// link adds the header line of one relation: to the page that q stands for of what this request asks for.
func (c *call) link(rel, last string, q url.Values) {
	for _, keep := range []string{"format", "v"} {
		if v := c.query.Get(keep); v != "" {
			q.Set(keep, v)
		}
	}
	c.w.Header().Add("Link", formatLink(rel, last, q))
}

// formatLink is the text of a Link header. The URL is relative to the last segment of the path and carries the whole state,
// because clients keep nothing but its query; it carries no credentials, no comma and no slash. A space is %20: SDKs in
// JavaScript read the query with decodeURIComponent, which leaves a + as it is.
func formatLink(rel, last string, q url.Values) string {
	return "<./" + last + "?" + strings.ReplaceAll(q.Encode(), "+", "%20") + `>; rel="` + rel + `"`
}
