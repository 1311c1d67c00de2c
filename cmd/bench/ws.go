package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The part of the WebSocket protocol that a load generator needs: unfragmented frames, no extensions. It is written
// for few allocations and few system calls; it checks only what would spoil a measurement.

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// frameMax bounds a frame. The servers send nothing near it.
const frameMax = 4 << 20

var (
	errFragmented = errors.New("fragmented frame")
	errFrameSize  = errors.New("frame too large")
)

// dialWebSocket connects and upgrades. size is the size of the read buffer, in bytes.
func dialWebSocket(addr, path string, size int) (net.Conn, *bufio.Reader, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path, addr)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, size)
	res, err := http.ReadResponse(r, nil)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("upgrade refused: %s", res.Status)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	conn.SetDeadline(time.Time{})
	return conn, r, nil
}

// readFrames calls on for each frame until the connection ends. The payload is valid during the call only.
func readFrames(r *bufio.Reader, on func(op byte, payload []byte) error) error {
	var large []byte // for frames that do not fit the buffer
	for {
		head, err := r.Peek(2)
		if err != nil {
			return err
		}
		if head[0]&0x80 == 0 || head[0]&0x0f == 0 {
			return errFragmented
		}
		op, size, n := head[0]&0x0f, uint64(head[1]&0x7f), 2
		switch size {
		case 126:
			n = 4
		case 127:
			n = 10
		}
		if head, err = r.Peek(n); err != nil {
			return err
		}
		switch n {
		case 4:
			size = uint64(binary.BigEndian.Uint16(head[2:]))
		case 10:
			size = binary.BigEndian.Uint64(head[2:])
		}
		if size > frameMax {
			return errFrameSize
		}
		whole := n + int(size)
		if whole <= r.Size() {
			frame, err := r.Peek(whole)
			if err != nil {
				return err
			}
			if err := on(op, frame[n:]); err != nil {
				return err
			}
			r.Discard(whole)
			continue
		}
		r.Discard(n)
		large = slices.Grow(large[:0], int(size))[:size]
		if _, err := io.ReadFull(r, large); err != nil {
			return err
		}
		if err := on(op, large); err != nil {
			return err
		}
	}
}

// appendClientFrame appends a frame as clients send it: masked, with the key zero, under which the bytes stay what they
// are. The server does the same work for any key.
func appendClientFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}

// appendServerFrame appends a frame as servers send it.
func appendServerFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = append(dst, 126, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}

// isClosed tells whether an error is only the end of a connection.
func isClosed(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "reset by peer")
}
