package vcdiff

// The format (RFC 3284 §4 and §5).
const (
	magic0, magic1, magic2 = 'V' | 0x80, 'C' | 0x80, 'D' | 0x80

	headerCompressor = 1 << 0
	headerCodeTable  = 1 << 1

	windowSource   = 1 << 0
	windowTarget   = 1 << 1
	windowChecksum = 1 << 2 // an extension: Adler-32 of the target behind the lengths

	nearSlots = 4
	sameSlots = 3
)

type kind uint8

const (
	noop kind = iota
	add
	run
	copying
)

// half is one of the two instructions a code stands for. Size 0: the size follows.
type half struct {
	kind kind
	size uint8
	mode uint8
}

// table is the default table of codes (RFC 3284 §5.6).
var table = func() (t [256][2]half) {
	t[0] = [2]half{{kind: run}}
	i := 1
	for size := range uint8(18) {
		t[i] = [2]half{{kind: add, size: size}}
		i++
	}
	for mode := range uint8(nearSlots + sameSlots + 2) {
		t[i] = [2]half{{kind: copying, mode: mode}}
		i++
		for size := uint8(4); size <= 18; size++ {
			t[i] = [2]half{{kind: copying, size: size, mode: mode}}
			i++
		}
	}
	for mode := range uint8(nearSlots + sameSlots + 2) {
		last := uint8(6)
		if mode >= 6 {
			last = 4
		}
		for size := uint8(1); size <= 4; size++ {
			for n := uint8(4); n <= last; n++ {
				t[i] = [2]half{{kind: add, size: size}, {kind: copying, size: n, mode: mode}}
				i++
			}
		}
	}
	for mode := range uint8(nearSlots + sameSlots + 2) {
		t[i] = [2]half{{kind: copying, size: 4, mode: mode}, {kind: add, size: 1}}
		i++
	}
	return t
}()

// cache remembers addresses of copies, so that those near or same to earlier ones take one byte (RFC 3284 §5.1).
type cache struct {
	near [nearSlots]int
	next int
	same [sameSlots * 256]int
}

func (c *cache) update(addr int) {
	c.near[c.next] = addr
	c.next = (c.next + 1) % nearSlots
	c.same[addr%len(c.same)] = addr
}

// appendInt writes a number, seven bits a byte, the highest first.
func appendInt(b []byte, n int) []byte {
	shift := 0
	for n>>shift >= 128 {
		shift += 7
	}
	for ; shift > 0; shift -= 7 {
		b = append(b, byte(n>>shift)|0x80)
	}
	return append(b, byte(n)&0x7f)
}

func intLen(n int) int {
	l := 1
	for n >= 128 {
		n >>= 7
		l++
	}
	return l
}
