package config

import (
	"fmt"
	"regexp"
	"strings"

	"innkeeper/transport/dispatch"
	"innkeeper/transport/protocol"
)

// sources are what a rule can listen to.
var sources = []string{"channel.state", "channel.lifecycle", "channel.message", "channel.presence", "channel.occupancy", "limits"}

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
		if _, err := regexp.Compile(rule.Channels); err != nil && !c.has(at+".channels") {
			c.coded(protocol.CodeBadRegexp, at+".channels", "%q is not a regular expression (%s); use RE2 syntax, such as \"^chat:\", or leave it out for all channels",
				rule.Channels, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		c.target(at+".target", &rule.Target)
		c.form(at, app, rule)
	}
}

// The forms of the format ably.
var (
	modes     = []string{"batched", "single", "plain"}
	encodings = []string{"json", "msgpack"}
)

// form checks that the target's format has words for the rule's source.
func (c checker) form(at string, app *App, rule *Rule) {
	t, at := &rule.Target, at+".target"
	switch state := rule.Source == "channel.state"; {
	case t.Format == "ably" && state:
		c.bad(at+".format", "ably has no words for the source channel.state; write innkeeper or centrifugo, or take the source channel.lifecycle")
	case t.Format == "ably" && rule.Source == dispatch.SourceLimits:
		c.bad(at+".format", "ably has no words for the source limits; write innkeeper")
	case t.Format != "ably" && dispatch.IsTap(rule.Source):
		c.bad(at+".format", "the source %s has the format ably only; write format: ably", rule.Source)
	case t.Format == "centrifugo" && !state:
		c.bad(at+".format", "centrifugo has words for the source channel.state only; write innkeeper or ably")
	}
	if t.Format != "ably" {
		if t.Mode != "" {
			c.bad(at+".mode", "%q belongs to the format ably; remove it, or write format: ably", t.Mode)
		}
		if t.Encoding != "" {
			c.bad(at+".encoding", "%q belongs to the format ably; others are JSON, or what gRPC has; remove it", t.Encoding)
		}
		if t.SigningKey != "" {
			c.bad(at+".signing_key", "%q belongs to the format ably; for others set secrets", t.SigningKey)
		}
		return
	}
	if t.Mode != "" {
		c.oneOf(at+".mode", t.Mode, modes...)
	}
	if t.Encoding != "" {
		c.oneOf(at+".encoding", t.Encoding, encodings...)
	}
	if t.Encoding == "msgpack" && t.Mode == "plain" {
		c.bad(at+".encoding", "msgpack has no place in the mode plain, whose requests are what was published; remove it, or write mode: single")
	}
	if _, _, ok := app.signingKey(t.SigningKey); t.SigningKey != "" && !ok {
		c.bad(at+".signing_key", "%q is not the id of a key of app %q; name one of its keys, the part between dot and colon", t.SigningKey, app.ID)
	}
}

// signingKey finds a key of the app by its id.
func (a *App) signingKey(id string) (name, secret string, ok bool) {
	for i := range a.Keys {
		name, secret, _ := strings.Cut(a.Keys[i].Key, ":")
		if _, keyID, _ := strings.Cut(name, "."); keyID == id {
			return name, secret, true
		}
	}
	return "", "", false
}

// SigningKey is the key that signs the requests of one of the app's targets, "" when none does.
func (a *App) SigningKey(t *Target) (name, secret string) {
	name, secret, _ = a.signingKey(t.SigningKey)
	return name, secret
}
