package ring

import (
	"math"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// The places of channels on the ring are part of cursors and of the log: they hold across versions.
func TestHashIsStable(t *testing.T) {
	for _, c := range []struct {
		app, name string
		want      uint64
	}{
		{"demo", "chat:a", 0x526212054ab2b16b},
		{"demo", "", 0xc72236dd8d73e572},
		{"", "chat:a", 0x16039318e04c7640},
		{"demo", "a name of more than thirty-two bytes, in two blocks", 0x624aca51ccb8f3e4},
	} {
		if got := Hash(c.app, c.name); got != c.want {
			t.Errorf("Hash(%q, %q) = %#x, want %#x", c.app, c.name, got, c.want)
		}
		if got := xxhash.Sum64String(c.app + "\x00" + c.name); got != c.want {
			t.Errorf("in one piece %q, %q gives %#x, want %#x", c.app, c.name, got, c.want)
		}
	}
	if Hash("ab", "c") == Hash("a", "bc") {
		t.Error("two different channels share their input")
	}
}

func TestPartitionCoversItsRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<16).Draw(t, "n")
		hash := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, math.MaxUint64, math.MaxUint64 - 1, 1 << 63})).Draw(t, "hash")
		p := Partition(hash, n)
		if int(p) >= n {
			t.Fatalf("Partition(%#x, %d) = %d", hash, n, p)
		}
		if first := First(p, n); hash < first {
			t.Fatalf("%#x lies in %d but before its first hash %#x", hash, p, first)
		}
		if int(p)+1 < n && hash >= First(p+1, n) {
			t.Fatalf("%#x lies in %d but not before %#x, where the next begins", hash, p, First(p+1, n))
		}
	})
}

func TestFirstIsTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<16).Draw(t, "n")
		p := uint32(rapid.IntRange(0, n-1).Draw(t, "p"))
		first := First(p, n)
		if got := Partition(first, n); got != p {
			t.Fatalf("First(%d, %d) = %#x lies in partition %d", p, n, first, got)
		}
		if p > 0 {
			if got := Partition(first-1, n); got != p-1 {
				t.Fatalf("the hash before First(%d, %d) lies in partition %d", p, n, got)
			}
		}
	})
}
