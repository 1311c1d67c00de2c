package dispatch

import (
	"testing"

	"pgregory.net/rapid"
)

// The cursor must be what a naive reader of the whole history would say.
func TestPrefixAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64Range(0, 1000).Draw(t, "start")
		p := prefix{read: start}
		at := start
		var open []uint64
		check := func() {
			want := at
			for _, seq := range open {
				want = min(want, seq-1)
			}
			if got := p.cursor(); got != want {
				t.Fatalf("cursor = %d, want %d; open %v", got, want, open)
			}
			if p.read != at {
				t.Fatalf("read = %d, want %d", p.read, at)
			}
			if len(open) == 0 && p.held() != 0 {
				t.Fatalf("holds %d marks with nothing open", p.held())
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"add": func(t *rapid.T) {
				at += rapid.Uint64Range(1, 3).Draw(t, "gap")
				p.add(at)
				open = append(open, at)
			},
			"skip": func(t *rapid.T) {
				at += rapid.Uint64Range(1, 3).Draw(t, "gap")
				p.skip(at)
			},
			"finish": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("nothing open")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				p.finish(open[i])
				open = append(open[:i:i], open[i+1:]...)
			},
		})
	})
}

func TestPrefixRefusesNonsense(t *testing.T) {
	for name, fn := range map[string]func(*prefix){
		"reading backwards":    func(p *prefix) { p.add(5) },
		"finishing twice":      func(p *prefix) { p.add(8); p.add(9); p.finish(9); p.finish(9) },
		"finishing an unknown": func(p *prefix) { p.add(9); p.finish(8) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			fn(&prefix{read: 5})
		})
	}
}
