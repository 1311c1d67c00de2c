package auth

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIntersect(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{`{"channel2":["*"]}`, `{"channel2":["publish","subscribe"]}`, `{"channel2":["publish","subscribe"]}`},
		{`{"channel2":["presence","subscribe"]}`, `{"channel2":["publish","subscribe"],"channel0":["publish"]}`, `{"channel2":["subscribe"]}`},
		{`{"channel0":["subscribe"]}`, `{"channel0":["publish"]}`, `{}`},
		{`{"channelx":["publish"]}`, `{"channel0":["publish"]}`, `{}`},
		{`{"*":["*"]}`, `{"a":["publish"],"b:*":["history"]}`, `{"a":["publish"],"b:*":["history"]}`},
		{`{"*":["*"]}`, `{"*":["*"]}`, `{"*":["*"]}`},
		{`{"cansubscribe:check":["subscribe"]}`, `{"cansubscribe:*":["subscribe"]}`, `{"cansubscribe:check":["subscribe"]}`},
		{`{"cansubscribe:*":["*"]}`, `{"cansubscribe:*":["subscribe"]}`, `{"cansubscribe:*":["subscribe"]}`},
		{`{"a:*":["*"]}`, `{"*:b":["publish"]}`, `{"a:b":["publish"]}`},
		{`{"a:*:c":["*"]}`, `{"a:b:*":["publish"]}`, `{"a:b:c":["publish"]}`},
		{`{"a:*":["*"]}`, `{"a":["publish"]}`, `{}`},
		{`{"a:b":["*"]}`, `{"a:b:c":["publish"]}`, `{}`},
		{`{"*:*":["*"]}`, `{"a":["publish"]}`, `{}`},
		{`{"*:*":["*"]}`, `{"a:*":["publish"]}`, `{"a:*":["publish"]}`},
		{`{"a":["*"]}`, `{"*":["subscribe"],"a":["publish"]}`, `{"a":["publish","subscribe"]}`},
		{`{"[meta]log":["*"]}`, `{"*":["*"]}`, `{}`},
		{`{"[meta]*":["subscribe"]}`, `{"[*]*":["*"]}`, `{"[meta]*":["subscribe"]}`},
		{`{"[*]*":["*"]}`, `{"*":["publish"]}`, `{"*":["publish"]}`},
		{`{"foo*":["*"]}`, `{"foobar":["publish"]}`, `{}`},
		{`{}`, `{"*":["*"]}`, `{}`},
	} {
		for _, pair := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			if got := parse(t, pair[0]).Intersect(parse(t, pair[1])).String(); got != c.want {
				t.Errorf("%s ∩ %s = %s, want %s", pair[0], pair[1], got, c.want)
			}
		}
	}
}

// Whatever two capabilities are, their intersection allows on a name what both allow there through any pair of their
// resources, and nothing else.
func TestIntersectAllowsWhatBothAllow(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "*", "*"})
	join := func(t *rapid.T, s *rapid.Generator[string], label string) string {
		return strings.Join(rapid.SliceOfN(s, 1, 4).Draw(t, label), ":")
	}
	kinds := rapid.SampledFrom([]string{"", "", "[meta]", "[*]"})
	capability := func(t *rapid.T, label string) Capability {
		m := map[string][]string{}
		for range rapid.IntRange(0, 3).Draw(t, label) {
			m[kinds.Draw(t, "kind")+join(t, segment, label)] = []string{rapid.SampledFrom([]string{"publish", "subscribe", "*"}).Draw(t, "op")}
		}
		c, err := ParseCapability(m)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := capability(t, "a"), capability(t, "b")
		name := rapid.SampledFrom([]string{"", "[meta]"}).Draw(t, "of") + join(t, rapid.SampledFrom([]string{"a", "b", "c"}), "name")
		both := a.Intersect(b)
		if got, want := both.Ops(name), a.Ops(name)&b.Ops(name); got != want {
			t.Fatalf("%s ∩ %s = %s: on %q %s, want %s", a, b, both, name, got, want)
		}
		for _, text := range []string{both.String()} {
			if again, err := ParseCapabilityJSON(text); err != nil || again.String() != text {
				t.Fatalf("%s does not read back: %v", text, err)
			}
		}
	})
}
