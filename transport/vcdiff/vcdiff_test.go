package vcdiff

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const most = 1 << 20

func roundTrip(t testing.TB, base, target []byte) []byte {
	t.Helper()
	delta := Encode(nil, base, target)
	got, err := Decode(delta, base, most)
	if err != nil || !bytes.Equal(got, target) {
		t.Fatalf("base %q, target %q: delta %x gives %q, %v", base, target, delta, got, err)
	}
	return delta
}

// The bytes are those that RFC 3284 asks for; they were worked out by hand.
func TestGolden(t *testing.T) {
	for _, c := range []struct{ base, target, want string }{
		{"", "", "d6c3c400 00 00 05 00 00 00 00 00"},
		{"", "ab", "d6c3c400 00 00 08 02 00 02 01 00 6162 03"},
		{"abcdefgh", "abcdefgh", "d6c3c400 00 01 08 00 07 08 00 00 01 01 18 00"},
		{"abcdefgh", "efgh!abcd", "d6c3c400 00 01 08 00 0b 09 00 01 03 02 21 14 02 14 04 00"},
		{"", strings.Repeat("x", 20), "d6c3c400 00 00 0a 14 00 01 03 01 78 02 13 13 00"},
	} {
		got := hex.EncodeToString(roundTrip(t, []byte(c.base), []byte(c.target)))
		if want := strings.ReplaceAll(c.want, " ", ""); got != want {
			t.Errorf("%q to %q: %s, want %s", c.base, c.target, got, want)
		}
	}
}

func TestTableIsComplete(t *testing.T) {
	// Samples of RFC 3284 §5.6.
	for code, want := range map[int][2]half{
		0: {{kind: run}}, 1: {{kind: add}}, 18: {{kind: add, size: 17}}, 19: {{kind: copying}}, 20: {{kind: copying, size: 4}},
		162: {{kind: copying, size: 18, mode: 8}}, 163: {{kind: add, size: 1}, {kind: copying, size: 4}},
		234: {{kind: add, size: 4}, {kind: copying, size: 6, mode: 5}}, 235: {{kind: add, size: 1}, {kind: copying, size: 4, mode: 6}},
		247: {{kind: copying, size: 4}, {kind: add, size: 1}}, 255: {{kind: copying, size: 4, mode: 8}, {kind: add, size: 1}},
	} {
		if table[code] != want {
			t.Errorf("code %d is %v, want %v", code, table[code], want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.IntRange(1, 256).Draw(t, "letters")
		letter := rapid.Custom(func(t *rapid.T) byte { return byte(rapid.IntRange(0, letters-1).Draw(t, "letter")) })
		base := rapid.SliceOfN(letter, 0, 600).Draw(t, "base")
		var target []byte
		for range rapid.IntRange(0, 8).Draw(t, "pieces") {
			if rapid.Bool().Draw(t, "copied") && len(base) > 0 {
				from := rapid.IntRange(0, len(base)-1).Draw(t, "from")
				target = append(target, base[from:rapid.IntRange(from, len(base)).Draw(t, "to")]...)
			} else {
				target = append(target, rapid.SliceOfN(letter, 0, 40).Draw(t, "new")...)
			}
		}
		delta := Encode([]byte("before"), base, target)
		got, err := Decode(delta[6:], base, most)
		if err != nil || !bytes.Equal(got, target) {
			t.Fatalf("%q, %v", got, err)
		}
		if len(delta) > len(target)+len(target)/16+40 {
			t.Fatalf("%d bytes for %d", len(delta), len(target))
		}
	})
}

// A small change of a large message makes a small delta.
func TestDeltasAreSmall(t *testing.T) {
	var base strings.Builder
	for i := range 200 {
		fmt.Fprintf(&base, `{"id":%d,"name":"player %d","x":%d,"y":%d},`, i, i, i*37%1000, i*91%1000)
	}
	target := strings.Replace(base.String(), `"x":370`, `"x":371`, 1) + `{"id":200}`
	if delta := roundTrip(t, []byte(base.String()), []byte(target)); len(delta) > 70 {
		t.Errorf("%d bytes for one digit and ten bytes of %d", len(delta), len(target))
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := Encode(nil, []byte("some text to begin with"), []byte("some other text to begin with"))
	if _, err := Decode(good, []byte("short"), most); !errors.Is(err, ErrFormat) {
		t.Errorf("another base: %v", err)
	}
	if _, err := Decode(good, []byte("some text to begin with"), 10); !errors.Is(err, ErrFormat) {
		t.Errorf("too much: %v", err)
	}
	for cut := 5 + 1; cut < len(good); cut++ {
		if _, err := Decode(good[:cut], []byte("some text to begin with"), most); !errors.Is(err, ErrFormat) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello world"), []byte("hello, world"))
	f.Add([]byte(""), []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"))
	f.Add([]byte("abcabcabcabc"), []byte("bcabcabcabcabcabca"))
	f.Fuzz(func(t *testing.T, base, target []byte) { roundTrip(t, base, target) })
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(nil, []byte("hello world"), []byte("hello, world")), []byte("hello world"))
	f.Add(Encode(nil, nil, bytes.Repeat([]byte("ab"), 50)), []byte{})
	f.Fuzz(func(t *testing.T, delta, base []byte) {
		got, err := Decode(delta, base, 1<<12)
		if err != nil && (!errors.Is(err, ErrFormat) || got != nil) || len(got) > 1<<12 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{512, 8 << 10, 64 << 10} {
		rng := rand.New(rand.NewPCG(1, 2))
		base := make([]byte, size)
		for i := range base {
			base[i] = byte('a' + rng.IntN(26))
		}
		target := bytes.Clone(base)
		for range 10 {
			target[rng.IntN(size)] = '!'
		}
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var delta []byte
			for b.Loop() {
				delta = Encode(delta[:0], base, target)
			}
			b.ReportMetric(float64(len(delta)), "B/delta")
		})
	}
}
