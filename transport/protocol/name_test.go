package protocol

import (
	"reflect"
	"strings"
	"testing"

	"innkeeper/channel"
)

func TestParseName(t *testing.T) {
	for _, c := range []struct {
		name              string
		want              Name
		channel, resource string
	}{
		{"foo", Name{Base: "foo"}, "foo", "foo"},
		{"a/b?c*😀 :,[x]", Name{Base: "a/b?c*😀 :,[x]"}, "a/b?c*😀 :,[x]", "a/b?c*😀 :,[x]"},
		{"]", Name{Base: "]"}, "]", "]"},
		{"\x00", Name{Base: "\x00"}, "\x00", "\x00"},
		{"[?rewind=1]foo", Name{Params: map[string]string{"rewind": "1"}, Base: "foo"}, "foo", "foo"},
		{"[?a=1&b=x%20y&a=2]foo:bar", Name{Params: map[string]string{"a": "1", "b": "x y"}, Base: "foo:bar"}, "foo:bar", "foo:bar"},
		{"[meta]channel.lifecycle", Name{Qualifier: "meta", Base: "channel.lifecycle"}, "[meta]channel.lifecycle", "[meta]channel.lifecycle"},
		{"[meta?rewind=1]stats:minute", Name{Qualifier: "meta", Params: map[string]string{"rewind": "1"}, Base: "stats:minute"}, "[meta]stats:minute", "[meta]stats:minute"},
		{"[filter=bmFtZT09YA==]foo", Name{Qualifier: "filter", Filter: "bmFtZT09YA==", Base: "foo"}, "foo", "[filter]foo"},
		{"[filter=eA==?rewind=1]foo", Name{Qualifier: "filter", Filter: "eA==", Params: map[string]string{"rewind": "1"}, Base: "foo"}, "foo", "[filter]foo"},
	} {
		got, err := ParseName(c.name)
		if err != nil || !reflect.DeepEqual(got, c.want) || got.Channel() != c.channel || got.Resource() != c.resource {
			t.Errorf("ParseName(%q) = %+v (channel %q, resource %q), %v", c.name, got, got.Channel(), got.Resource(), err)
		}
		if got.Meta() != (c.want.Qualifier == "meta") {
			t.Errorf("%q: Meta() = %v", c.name, got.Meta())
		}
	}
}

func TestParseNameRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"":                             "empty",
		":hell":                        `begins with ':'`,
		",x":                           `begins with ','`,
		" x":                           "white space",
		"\tx":                          "white space",
		"\u00a0x":                      "white space",
		"a\nb":                         "line break",
		"a\rb":                         "line break",
		"a\vb":                         "line break",
		"a\fb":                         "line break",
		"a\u0085b":                     "line break",
		"a\u2028":                      "line break",
		"a\u2029":                      "line break",
		"\xff":                         "UTF-8",
		"[":                            "never ends",
		"[foo":                         "never ends",
		"[]foo":                        "empty qualifier",
		"[?]foo":                       "empty qualifier",
		"[=x]foo":                      "without a name",
		"[nope]foo":                    "does not exist",
		"[*]foo":                       "does not exist",
		"[Meta]foo":                    "does not exist",
		"[meta=x]foo":                  "does not exist",
		"[filter]foo":                  "without an expression",
		"[filter=]foo":                 "without an expression",
		"[meta]":                       "nothing behind",
		"[?rewind=1]":                  "nothing behind",
		"[?rewind=1][meta]x":           "two qualifiers",
		"[?rewind=1]:x":                `begins with ':'`,
		"[?rewind=1] x":                "white space",
		"[?a=%zz]foo":                  "query",
		"[?a=1;b=2]foo":                "query",
		strings.Repeat("x", 2049):      "longer than 2048",
		"[?" + strings.Repeat("a", 60): "never ends",
	} {
		err := ValidateName(name)
		if err == nil || err.Code != 40010 || err.StatusCode != 400 || !strings.Contains(err.Message, text) {
			t.Errorf("ValidateName(%.40q) = %v, want code 40010 and %q", name, err, text)
		}
	}
}

func TestParseNameOfPlainNamesIsFree(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { ParseName("chat:room:1") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestModes(t *testing.T) {
	if got := ParseModes("subscribe, PUBLISH,presence_subscribe,nonsense"); got != ModeSubscribe|ModePublish|ModePresenceSubscribe {
		t.Errorf("ParseModes = %b", got)
	}
	for _, c := range []struct {
		params map[string]string
		flags  Flags
		want   Flags
	}{
		{nil, 0, DefaultModes},
		{nil, FlagAttachResume, DefaultModes},
		{nil, ModeSubscribe | FlagAttachResume, ModeSubscribe},
		{map[string]string{"modes": "publish"}, ModeSubscribe, ModePublish},
		{map[string]string{"modes": "object_subscribe,annotation_subscribe"}, 0, ModeObjectSubscribe | ModeAnnotationSubscribe},
		{map[string]string{"modes": ""}, 0, DefaultModes},
	} {
		if got := RequestedModes(c.params, c.flags); got != c.want {
			t.Errorf("RequestedModes(%v, %b) = %s, want %s", c.params, c.flags, ModeNames(got), ModeNames(c.want))
		}
	}
	for bits := range Flags(1 << 10) {
		f := bits << 16 & AllModes
		if got := ParseModes(ModeNames(f)); got != f {
			t.Errorf("%q became %q", ModeNames(f), ModeNames(got))
		}
	}
}

func TestModeCounts(t *testing.T) {
	for modes, want := range map[Flags]channel.Counts{
		0:                            {1},
		ModePublish:                  {1, 1},
		DefaultModes:                 {1, 1, 1, 1, 0, 1},
		AllModes | FlagResumed:       {1, 1, 1, 1, 0, 1, 1, 1},
		ModeSubscribe | ModePresence: {1, 0, 1, 1},
	} {
		if got := ModeCounts(modes); got != want {
			t.Errorf("ModeCounts(%s) = %v, want %v", ModeNames(modes), got, want)
		}
	}
}

func TestParseOccupancy(t *testing.T) {
	for i, name := range categoryNames {
		if c, ok := ParseOccupancy("metrics." + name); !ok || c != channel.Category(i) || CategoryName(c) != name {
			t.Errorf("metrics.%s = %d, %v", name, c, ok)
		}
	}
	if c, ok := ParseOccupancy("metrics"); !ok || c != AllCategories {
		t.Errorf("metrics = %d, %v", c, ok)
	}
	for _, bad := range []string{"", "metrics.", "metrics.nope", "Metrics", "metricsX", "metrics.connections "} {
		if _, ok := ParseOccupancy(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}
