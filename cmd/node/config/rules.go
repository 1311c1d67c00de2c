package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// sources are what a rule can listen to.
var sources = []string{"channel.state"}

func (c checker) rules(at string, app *App) {
	seen := map[string]int{}
	for i := range app.Rules {
		rule, at := &app.Rules[i], fmt.Sprintf("%s.rules[%d]", at, i)
		if c.id(at+".id", rule.ID, "rule") {
			if first, ok := seen[rule.ID]; ok {
				c.bad(at+".id", "%q is also the id of rules[%d]; ids of an app's rules must differ, for each has a position of its own in the events", rule.ID, first)
			} else {
				seen[rule.ID] = i
			}
		}
		if rule.Source == "" {
			c.bad(at+".source", "is missing; it must be %s", or(sources))
		} else {
			c.oneOf(at+".source", rule.Source, sources...)
		}
		if _, err := regexp.Compile(rule.Channels); err != nil {
			c.bad(at+".channels", "%q is not a regular expression (%s); use RE2 syntax, such as \"^chat:\", or leave it out for all channels",
				rule.Channels, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		c.target(at+".target", &rule.Target)
	}
}

func (c checker) target(at string, t *Target) {
	c.url(at+".url", t.URL)
	if t.Format != "" {
		c.oneOf(at+".format", t.Format, "innkeeper", "centrifugo")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		key := fmt.Sprintf("%s.headers[%s]", at, name)
		if !headerForm.MatchString(name) {
			c.bad(key, "%q is not the name of a header; it must be letters, digits and dashes", name)
		}
		if strings.ContainsFunc(t.Headers[name], isControl) {
			c.bad(key, "holds a line break or another control character, which a header cannot carry")
		}
	}
	if t.Timeout < 0 || t.Timeout >= leaseTTL {
		c.bad(at+".timeout", "%v is out of range; it must be more than 0s and less than %v, so that a replaced leader's request ends before its successor's begins", t.Timeout, leaseTTL)
	}
}

var headerForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (c checker) url(at, text string) {
	if text == "" {
		c.bad(at, "is missing; it must be an http or https address, such as http://127.0.0.1:9000/events")
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		c.bad(at, "%q is not a URL; it must look like http://127.0.0.1:9000/events", text)
	case u.Scheme != "http" && u.Scheme != "https":
		c.bad(at, "%q has the scheme %q; it must be http or https", u.Redacted(), u.Scheme)
	case u.Hostname() == "":
		c.bad(at, "%q names no host; it must look like http://127.0.0.1:9000/events", u.Redacted())
	}
}

// redactURL hides a password in a URL.
func redactURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	return u.Redacted()
}
