package transport

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A client below the level of the WebSocket library: it can be rude, and cheap.

func upgradeRequest(key string) string {
	return "GET /?v=5&key=" + key + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
}

// upgrade performs the handshake and reads the CONNECTED frame.
func upgrade(t testing.TB, raw net.Conn, key string) *bufio.Reader {
	t.Helper()
	if _, err := io.WriteString(raw, upgradeRequest(key)); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReaderSize(raw, 1024)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", res, err)
	}
	if b := readFrame(t, br); !strings.Contains(string(b), `"action":4`) {
		t.Fatalf("got %q, want CONNECTED", b)
	}
	return br
}

// masked is a text frame as a client sends it, with a mask of zeros.
func masked(payload []byte) []byte {
	b := []byte{opText}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func writeMasked(t testing.TB, w io.Writer, payload []byte) {
	t.Helper()
	if _, err := w.Write(masked(payload)); err != nil {
		t.Fatal(err)
	}
}

// readFrame reads one frame's payload.
func readFrame(t testing.TB, br *bufio.Reader) []byte {
	t.Helper()
	b, err := nextFrame(br)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// nextFrame reads the next frame that is not a ping.
func nextFrame(br *bufio.Reader) ([]byte, error) {
	for {
		b, op, err := anyFrame(br)
		if err != nil || op != opPing {
			return b, err
		}
	}
}

func anyFrame(br *bufio.Reader) (payload []byte, op byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		return nil, 0, err
	}
	n := uint64(h[1] & 0x7f)
	var ext [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(br, ext[:2]); err != nil {
			return nil, 0, err
		}
		n = uint64(binary.BigEndian.Uint16(ext[:2]))
	case 127:
		if _, err := io.ReadFull(br, ext[:]); err != nil {
			return nil, 0, err
		}
		n = binary.BigEndian.Uint64(ext[:])
	}
	b := make([]byte, n)
	_, err = io.ReadFull(br, b)
	return b, h[0], err
}

func discard(r io.Reader) { io.Copy(io.Discard, r) }
