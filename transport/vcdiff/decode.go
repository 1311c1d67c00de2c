package vcdiff

import (
	"errors"
	"fmt"
)

// ErrFormat is what every decoding error wraps.
var ErrFormat = errors.New("vcdiff: malformed delta")

func bad(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

// Decode applies a delta to its base. The result has at most max bytes; a delta that makes more is refused.
func Decode(delta, base []byte, max int) ([]byte, error) {
	if len(delta) < 5 || delta[0] != magic0 || delta[1] != magic1 || delta[2] != magic2 || delta[3] != 0 {
		return nil, bad("no header")
	}
	if delta[4]&^(headerCompressor|headerCodeTable) != 0 || delta[4] != 0 {
		return nil, bad("secondary compression, a code table or an extension")
	}
	r := reader{b: delta[5:]}
	out := []byte{}
	for len(r.b) > 0 {
		if err := window(&r, base, &out, max); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) int() int {
	n := 0
	for {
		c := r.byte()
		if n > 1<<30 {
			r.bad = true
			return 0
		}
		n = n<<7 | int(c&0x7f)
		if c < 128 {
			return n
		}
	}
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// window decodes one window behind what is in out.
func window(r *reader, base []byte, out *[]byte, max int) error {
	indicator := r.byte()
	if indicator&^(windowSource|windowTarget|windowChecksum) != 0 || indicator&windowSource != 0 && indicator&windowTarget != 0 {
		return bad("unknown kind of window")
	}
	var source []byte
	if indicator&(windowSource|windowTarget) != 0 {
		from := base
		if indicator&windowTarget != 0 {
			from = *out
		}
		n, at := r.int(), r.int()
		if r.bad || at > len(from) || n > len(from)-at {
			return bad("a segment beyond the base")
		}
		source = from[at : at+n : at+n]
	}
	whole := reader{b: r.take(r.int())}
	size := whole.int()
	if r.bad || whole.bad || size > max-len(*out) {
		return bad("a window too long")
	}
	if whole.byte() != 0 {
		return bad("secondary compression")
	}
	dataLen, instLen, addrLen := whole.int(), whole.int(), whole.int()
	if indicator&windowChecksum != 0 {
		whole.take(4)
	}
	data, inst, addr := reader{b: whole.take(dataLen)}, reader{b: whole.take(instLen)}, reader{b: whole.take(addrLen)}
	if whole.bad || len(whole.b) > 0 {
		return bad("sections of wrong lengths")
	}
	made := make([]byte, 0, min(size, 1<<16))
	var c cache
	for len(inst.b) > 0 {
		for _, h := range table[inst.byte()] {
			if h.kind == noop {
				continue
			}
			n := int(h.size)
			if n == 0 {
				n = inst.int()
			}
			if inst.bad || n > size-len(made) {
				return bad("an instruction beyond its window")
			}
			switch h.kind {
			case add:
				made = append(made, data.take(n)...)
			case run:
				v := data.byte()
				for range n {
					made = append(made, v)
				}
			case copying:
				here := len(source) + len(made)
				place := c.decode(&addr, int(h.mode), here)
				if addr.bad || place < 0 || place >= here {
					return bad("a copy from nowhere")
				}
				for i := range n { // byte by byte: it may read what it writes
					if p := place + i; p < len(source) {
						made = append(made, source[p])
					} else {
						made = append(made, made[p-len(source)])
					}
				}
			}
			if data.bad {
				return bad("too little data")
			}
		}
	}
	if len(made) != size || len(data.b) > 0 || len(addr.b) > 0 {
		return bad("a window that does not come out even")
	}
	*out = append(*out, made...)
	return nil
}

// decode reads an address.
func (c *cache) decode(r *reader, mode, here int) int {
	addr := 0
	switch {
	case mode == 0:
		addr = r.int()
	case mode == 1:
		addr = here - r.int()
	case mode < 2+nearSlots:
		addr = c.near[mode-2] + r.int()
	default:
		addr = c.same[(mode-2-nearSlots)*256+int(r.byte())]
	}
	if addr >= 0 {
		c.update(addr)
	}
	return addr
}
