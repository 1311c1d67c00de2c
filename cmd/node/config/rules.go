package config

import (
	"fmt"
	"regexp"
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
