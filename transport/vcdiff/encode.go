package vcdiff

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

const (
	// minMatch is the shortest run that is copied: shorter ones cost as much as they save.
	minMatch = 4
	// tries is how many places with the same hash are looked at.
	tries = 16
	// goodMatch is a length that is not worth looking further for.
	goodMatch = 256
	// MaxInput is the longest base or target, in bytes.
	MaxInput = 1 << 24
)

// finder is the memory of an Encode.
type finder struct {
	head []int32 // by hash: the last place, plus one
	prev []int32 // by place: the one before it of the same hash, plus one

	data, inst, addr []byte
	cache            cache
}

var finders = sync.Pool{New: func() any { return new(finder) }}

// Encode appends to dst what makes target of base. It is appended even where it is longer than target. Base and target
// have MaxInput bytes at most, together; of more, nothing is copied.
func Encode(dst, base, target []byte) []byte {
	f := finders.Get().(*finder)
	defer finders.Put(f)
	f.data, f.inst, f.addr = f.data[:0], f.inst[:0], f.addr[:0]
	f.cache = cache{}
	if len(base)+len(target) <= MaxInput {
		f.matches(base, target)
	} else {
		f.add(target)
	}
	dst = append(dst, magic0, magic1, magic2, 0, 0)
	if len(base) > 0 {
		dst = append(dst, windowSource)
		dst = appendInt(dst, len(base))
		dst = append(dst, 0) // from its beginning
	} else {
		dst = append(dst, 0)
	}
	dst = appendInt(dst, intLen(len(target))+1+intLen(len(f.data))+intLen(len(f.inst))+intLen(len(f.addr))+len(f.data)+len(f.inst)+len(f.addr))
	dst = appendInt(dst, len(target))
	dst = append(dst, 0) // nothing is compressed further
	dst = appendInt(dst, len(f.data))
	dst = appendInt(dst, len(f.inst))
	dst = appendInt(dst, len(f.addr))
	dst = append(dst, f.data...)
	dst = append(dst, f.inst...)
	return append(dst, f.addr...)
}

// matches writes the instructions.
func (f *finder) matches(base, target []byte) {
	width := max(8, bits.Len(uint(len(base)+len(target))))
	f.head = zeroed(f.head, 1<<width)
	f.prev = grown(f.prev, len(base)+len(target))
	shift := 32 - width
	// at gives the place of U, the base followed by the target, where a text begins.
	insert := func(text []byte, i, place int) {
		h := hash(text[i:], shift)
		f.prev[place] = f.head[h]
		f.head[h] = int32(place + 1)
	}
	for i := 0; i+minMatch <= len(base); i++ {
		insert(base, i, i)
	}
	from := 0
	for i := 0; i < len(target); {
		place, n := -1, 0
		if i+minMatch <= len(target) {
			place, n = f.longest(base, target, i, f.head[hash(target[i:], shift)])
		}
		if n < minMatch {
			if i+minMatch <= len(target) {
				insert(target, i, len(base)+i)
			}
			i++
			continue
		}
		// What was given up on before may belong to the match.
		for i > from && place > 0 && place != len(base) && at(base, target, place-1) == target[i-1] {
			i, place, n = i-1, place-1, n+1
		}
		f.add(target[from:i])
		f.copy(place, n, len(base)+i)
		end := i + n
		for ; i < end; i++ {
			if i+minMatch <= len(target) {
				insert(target, i, len(base)+i)
			}
		}
		from = end
	}
	f.add(target[from:])
}

// longest finds the longest run at target[i:] among places of one hash.
func (f *finder) longest(base, target []byte, i int, candidate int32) (place, n int) {
	for range tries {
		if candidate == 0 {
			break
		}
		p := int(candidate - 1)
		text := target
		start := p - len(base)
		if p < len(base) {
			text, start = base, p
		}
		if l := common(text[start:], target[i:]); l > n {
			place, n = p, l
		}
		if n >= goodMatch {
			break
		}
		candidate = f.prev[p]
	}
	return place, n
}

func at(base, target []byte, place int) byte {
	if place < len(base) {
		return base[place]
	}
	return target[place-len(base)]
}

// common is how many bytes two texts have in common at their beginnings.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}

func hash(b []byte, shift int) uint32 {
	return binary.LittleEndian.Uint32(b) * 2654435761 >> shift
}

// add writes bytes as they are, a long run of one byte as such.
func (f *finder) add(text []byte) {
	for len(text) > 0 {
		n := 1
		for n < len(text) && text[n] == text[0] {
			n++
		}
		if n > 2*minMatch {
			f.inst = appendInt(append(f.inst, 0), n)
			f.data = append(f.data, text[0])
			text = text[n:]
			continue
		}
		// Up to where a run begins.
		n, same := 1, 1
		for ; n < len(text); n++ {
			if text[n] != text[n-1] {
				same = 1
			} else if same++; same > 2*minMatch {
				n -= same - 1
				break
			}
		}
		n = max(n, 1)
		if n <= 17 {
			f.inst = append(f.inst, byte(1+n))
		} else {
			f.inst = appendInt(append(f.inst, 1), n)
		}
		f.data = append(f.data, text[:n]...)
		text = text[n:]
	}
}

// copy writes a copy of n bytes at a place; here is where it goes to.
func (f *finder) copy(place, n, here int) {
	mode, cost := 0, intLen(place)
	value := place
	take := func(m, v int) {
		if c := intLen(v); c < cost {
			mode, cost, value = m, c, v
		}
	}
	take(1, here-place)
	for i, near := range f.cache.near {
		if place >= near {
			take(2+i, place-near)
		}
	}
	slot := place % len(f.cache.same)
	if cost > 1 && f.cache.same[slot] == place {
		mode = 2 + nearSlots + slot/256
		f.addr = append(f.addr, byte(slot))
	} else {
		f.addr = appendInt(f.addr, value)
	}
	f.cache.update(place)
	code := 19 + 16*mode
	if n <= 18 {
		f.inst = append(f.inst, byte(code+n-3))
	} else {
		f.inst = appendInt(append(f.inst, byte(code)), n)
	}
}

func zeroed(s []int32, n int) []int32 {
	s = grown(s, n)
	clear(s)
	return s
}

func grown(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	return s[:n]
}
