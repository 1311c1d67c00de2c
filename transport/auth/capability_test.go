package auth

import (
	"strings"
	"testing"

	"innkeeper/transport/protocol"
)

func parse(t *testing.T, text string) Capability {
	t.Helper()
	c, err := ParseCapabilityJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestResources(t *testing.T) {
	for _, c := range []struct {
		resource string
		yes, no  []string
	}{
		{"foo", []string{"foo"}, []string{"foo:bar", "fo", "foo*", "", "[meta]foo", "[filter]foo", "Foo"}},
		{"*", []string{"foo", "foo:bar", "a:b:c", "*", "foo]", ":x"}, []string{"[meta]log", "[filter]foo", "[queue]foo"}},
		{"foo:*", []string{"foo:bar", "foo:bar:baz", "foo:*", "foo:"}, []string{"foo", "fo:bar", "foobar", "[meta]foo:x"}},
		{"foo*", []string{"foo*"}, []string{"foobar", "foo", "foo:x"}},
		{"*foo", []string{"*foo"}, []string{"xfoo", "a:foo"}},
		{"*:foo", []string{"a:foo", "*:foo", ":foo"}, []string{"foo", "a:b:foo", "a:foo:b"}},
		{"a:*:c", []string{"a:b:c", "a:x:c", "a:*:c", "a::c"}, []string{"a:c", "a:b:b:c", "a:b:c:d", "a:b"}},
		{"a:*:*", []string{"a:b:c", "a:b:c:d"}, []string{"a:b", "a"}},
		{"a:b*:c", []string{"a:b*:c"}, []string{"a:bx:c"}},
		{"foo:bar", []string{"foo:bar"}, []string{"foo", "foo:bar:baz", "foo:baz"}},
		{"[meta]*", []string{"[meta]log", "[meta]stats:minute"}, []string{"log", "[filter]x", "[queue]x"}},
		{"[meta]stats:*", []string{"[meta]stats:minute"}, []string{"[meta]log", "stats:minute"}},
		{"[meta]log", []string{"[meta]log"}, []string{"[meta]log:push", "log"}},
		{"[filter]foo", []string{"[filter]foo"}, []string{"foo", "[meta]foo"}},
		{"[queue]*", []string{"[queue]x"}, []string{"x"}},
		{"[*]*", []string{"foo", "foo:bar", "[meta]log", "[filter]x:y", "[queue]q"}, nil},
		{"[*]foo", []string{"foo", "[meta]foo", "[filter]foo"}, []string{"bar", "[meta]bar"}},
		{"a/b?c", []string{"a/b?c"}, []string{"a/b"}},
	} {
		cap, err := ParseCapability(map[string][]string{c.resource: {"subscribe"}})
		if err != nil {
			t.Errorf("%q: %v", c.resource, err)
			continue
		}
		for _, name := range c.yes {
			if !cap.Allows(name, Subscribe) {
				t.Errorf("%q does not match %q", c.resource, name)
			}
		}
		for _, name := range c.no {
			if cap.Allows(name, Subscribe) {
				t.Errorf("%q matches %q", c.resource, name)
			}
		}
	}
}

func TestOpsAreTheUnionOfAllThatMatches(t *testing.T) {
	c := parse(t, `{"*":["subscribe"],"chat:*":["publish"],"chat:a":["history","presence"],"[meta]*":["stats"]}`)
	for name, want := range map[string]OpSet{
		"x":         Subscribe,
		"chat:b":    Subscribe | Publish,
		"chat:a":    Subscribe | Publish | History | Presence,
		"[meta]log": Stats,
		"[filter]x": 0,
	} {
		if got := c.Ops(name); got != want {
			t.Errorf("Ops(%q) = %s, want %s", name, got, want)
		}
	}
	if (Capability{}).Ops("x") != 0 || !(Capability{}).Empty() || c.Empty() {
		t.Error("the zero capability has to allow nothing")
	}
	for name := range map[string]bool{"x": true, "[meta]log": true, "a:b": true} {
		if AllowAll().Ops(name) != AllOps {
			t.Errorf("AllowAll: %s on %q", AllowAll().Ops(name), name)
		}
	}
}

func TestAllowsEverywhere(t *testing.T) {
	for text, want := range map[string]bool{
		`{"*":["*"]}`:                                     true,
		`{"*":["channel-metadata"]}`:                      true,
		`{"[*]*":["channel-metadata","stats"]}`:           true,
		`{"*":["subscribe"],"[*]*":["channel-metadata"]}`: true,
		`{"*":["subscribe"]}`:                             false,
		`{"foo:*":["channel-metadata"]}`:                  false,
		`{"[meta]*":["channel-metadata"]}`:                false,
		`{"*:*":["channel-metadata"]}`:                    false,
		`{}`:                                              false,
	} {
		if got := parse(t, text).AllowsEverywhere(ChannelMetadata); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestParseCapabilitySaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		``:                          "not a JSON object",
		`[]`:                        "not a JSON object",
		`{"a":"subscribe"}`:         "not a JSON object",
		`{"a":[1]}`:                 "not a JSON object",
		`{"a":[]}`:                  `"a": the list of operations is empty`,
		`{"a":["subscribe","*"]}`:   `"*" has to stand alone`,
		`{"a":["subscribe","fly"]}`: `there is no operation "fly"`,
		`{"":["*"]}`:                "no name",
		`{"[meta]":["*"]}`:          "no name",
		`{"[nope]x":["*"]}`:         "there is no kind of resource [nope]",
		`{"[meta":["*"]}`:           `"[" without "]"`,
	} {
		if _, err := ParseCapabilityJSON(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
	}
}

func TestCapabilityText(t *testing.T) {
	c := parse(t, `{"b":["subscribe","publish","channel-metadata"],"a":["*"]}`)
	if got, want := c.String(), `{"a":["*"],"b":["channel-metadata","publish","subscribe"]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if again := parse(t, c.String()); again.Ops("b") != c.Ops("b") || again.Ops("a") != AllOps {
		t.Error("the text does not give the capability back")
	}
	if len(opNames) != 17 || AllOps != 1<<17-1 {
		t.Errorf("%d names, all operations %b", len(opNames), AllOps)
	}
}

func TestModesOfOperations(t *testing.T) {
	for _, c := range []struct {
		ops  OpSet
		want protocol.Flags
	}{
		{0, 0},
		{Publish, protocol.ModePublish},
		{Subscribe, protocol.ModeSubscribe | protocol.ModePresenceSubscribe},
		{Presence | History, protocol.ModePresence},
		{ObjectSubscribe | AnnotationPublish, protocol.ModeObjectSubscribe | protocol.ModeAnnotationPublish},
		{AllOps, protocol.AllModes},
	} {
		if got := c.ops.Modes(); got != c.want {
			t.Errorf("%s allows %s, want %s", c.ops, protocol.ModeNames(got), protocol.ModeNames(c.want))
		}
	}
}
