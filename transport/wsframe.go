package transport

import (
	"encoding/binary"

	"innkeeper/transport/protocol"
)

// Frames of the WebSocket protocol as a server sends them: final, unmasked, uncompressed.
const (
	opText   = 0x80 | 0x1
	opBinary = 0x80 | 0x2
	opClose  = 0x80 | 0x8
	opPing   = 0x80 | 0x9

	headerRoom = 10 // the longest header of an unmasked frame
)

// pingFrame is a ping without payload. Every WebSocket client answers it by itself.
var pingFrame = []byte{opPing, 0}

// closeFrame says goodbye with a status code of RFC 6455 §7.4.
func closeFrame(status uint16) []byte {
	return []byte{opClose, 2, byte(status >> 8), byte(status)}
}

// begin makes room for a frame's header at the front of b, whose capacity is reused. The payload is appended behind it.
func begin(b []byte) []byte {
	var room [headerRoom]byte
	return append(b[:0], room[:]...)
}

// seal writes the header in front of the payload of a buffer that begin made. The result aliases b.
func seal(b []byte, f protocol.Format) []byte {
	op := byte(opText)
	if f == protocol.MsgPack {
		op = opBinary
	}
	n := len(b) - headerRoom
	switch {
	case n < 126:
		b = b[headerRoom-2:]
		b[1] = byte(n)
	case n <= 0xffff:
		b = b[headerRoom-4:]
		b[1] = 126
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	default:
		b = b[headerRoom-10:]
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
	b[0] = op
	return b
}
