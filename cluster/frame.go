package cluster

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// frameType says what a frame is to the link itself.
type frameType byte

const (
	framePing     frameType = iota + 1 // answered by one pongByte against the stream
	frameMessage                       // for the handler of its kind
	frameRequest                       // an id and a timeout before the payload
	frameResponse                      // an id before the payload; the kind is a status
)

// A frame is the length of its payload (4 bytes, little-endian), its type, its kind, the payload.
const (
	frameHeader    = 6
	requestPrefix  = 12 // id, timeout in milliseconds
	responsePrefix = 8  // id
	pongByte       = 'P'
)

// The statuses of a response.
const (
	statusOK    byte = iota
	statusError      // the payload is the error's text
	statusBusy       // too many requests of this peer are being served
)

type frame struct {
	typ     frameType
	kind    byte
	payload []byte
}

func appendFrameHeader(dst []byte, typ frameType, kind byte, n int) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(n)), byte(typ), kind)
}

// readFrame reads the next frame. Its payload is a slice of its own and belongs to the caller.
func readFrame(br *bufio.Reader, max int) (frame, error) {
	h, err := br.Peek(frameHeader)
	if err != nil {
		if err == io.EOF && len(h) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	n := binary.LittleEndian.Uint32(h)
	f := frame{typ: frameType(h[4]), kind: h[5]}
	low := 0
	switch f.typ {
	case framePing:
		max = 0
	case frameMessage:
	case frameRequest:
		low = requestPrefix
	case frameResponse:
		low = responsePrefix
	default:
		return frame{}, fmt.Errorf("%w: frame type %d", errWire, f.typ)
	}
	if uint64(n) > uint64(max+low) || int(n) < low {
		return frame{}, fmt.Errorf("%w: %d bytes in a frame of type %d", errWire, n, f.typ)
	}
	br.Discard(frameHeader) // cannot fail: Peek has seen them
	if n == 0 {
		return f, nil
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(br, f.payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	return f, nil
}
