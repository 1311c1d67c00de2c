package cluster

import (
	"encoding/binary"
	"errors"
)

// errWire is what every decoder of this room returns for bytes that nobody of ours would send.
var errWire = errors.New("cluster: malformed message")

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendPeer(dst []byte, p Peer) []byte {
	return appendString(appendString(dst, p.Node), p.Boot)
}

// wireReader takes apart what the append functions put together. The first fault sticks and makes all that follows zero.
type wireReader struct {
	b   []byte
	err error
}

func (r *wireReader) fail() {
	r.err, r.b = errWire, nil
}

func (r *wireReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *wireReader) bool() bool {
	switch r.byte() {
	case 0:
		return false
	case 1:
		return true
	}
	r.fail()
	return false
}

func (r *wireReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things to come, max at most.
func (r *wireReader) count(max int) int {
	n := r.uvarint()
	if n > uint64(max) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *wireReader) string(max int) string {
	n := r.count(max)
	if n > len(r.b) {
		r.fail()
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *wireReader) peer() Peer {
	return Peer{r.string(idMax), r.string(idMax)}
}

// end gives the first fault, bytes left over being one.
func (r *wireReader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	return r.err
}
