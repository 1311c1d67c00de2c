package channel

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSerialForm(t *testing.T) {
	p := Stamp{ms: 1_726_585_978_590, n: 1}
	if got := p.serial("abc"); got != "01726585978590-001@abc" {
		t.Fatal(got)
	}
	for text, want := range map[string]Stamp{
		"01726585978590-001@abc":     p,
		"01726585978590-001@abc:002": p,
		"01726585978590-001":         p,
		"":                           {},
		"1726585978590-001@abc":      {},
		"01726585978590-0001@abc":    {},
		"0172658597859x-001@abc":     {},
		"01726585978590-0x1@abc":     {},
		"-1726585978590-001@abc":     {},
		"99999999999999-001@abc":     {},
	} {
		if got := parseSerial(text); got != want {
			t.Errorf("%q reads as %v, want %v", text, got, want)
		}
	}
}

func TestSerialsSortAsTheirPositions(t *testing.T) {
	draw := func(t *rapid.T, label string) Stamp {
		return Stamp{ms: rapid.Int64Range(0, msMax).Draw(t, label+" ms"), n: uint16(rapid.IntRange(0, countMax).Draw(t, label+" n"))}
	}
	rapid.Check(t, func(t *rapid.T) {
		p, q := draw(t, "p"), draw(t, "q")
		if parseSerial(p.serial("s")) != p {
			t.Fatalf("%v reads back as %v", p, parseSerial(p.serial("s")))
		}
		if p.less(q) != (p.serial("s") < q.serial("s")) {
			t.Fatalf("%v and %v sort otherwise as text", p, q)
		}
		next := p.after(rapid.Int64Range(0, msMax).Draw(t, "clock"))
		if !p.less(next) || p.serial("z") >= next.serial("a") {
			t.Fatalf("%v is followed by %v", p, next)
		}
	})
}
