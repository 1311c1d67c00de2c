package node

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"innkeeper/transport/protocol"
)

// Opcodes of WebSocket frames.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
)

// client is a client below the level of any WebSocket library: it can say what no library would.
type client struct {
	t      *testing.T
	raw    net.Conn
	r      *bufio.Reader
	format protocol.Format
}

// dial opens a connection, whatever the server makes of it.
func dial(t *testing.T, addr, query string) *client {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(patience))
	c := &client{t: t, raw: raw, r: bufio.NewReader(raw)}
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	c.format, _ = protocol.ParseFormat(values.Get("format"))
	io.WriteString(raw, "GET /?"+values.Encode()+" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", res, err)
	}
	return c
}

// connect opens a connection with the root key and waits for CONNECTED.
func (r *running) connect(query string) *client {
	r.t.Helper()
	if !strings.Contains(query, "key=") {
		query += "&key=" + url.QueryEscape(rootKey)
	}
	c := dial(r.t, r.ClientAddr(), "v=5&"+query)
	c.expect(protocol.ActionConnected)
	return c
}

// write sends one WebSocket frame as it is given.
func (c *client) write(op byte, payload []byte) {
	head := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n <= 0xffff:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	c.raw.Write(append(append(head, 0, 0, 0, 0), payload...)) // who is cut off reads why
}

// send sends a frame of the connection's format.
func (c *client) send(payload []byte) {
	op := byte(opText)
	if c.format == protocol.MsgPack {
		op = opBinary
	}
	c.write(op, payload)
}

// read reads one WebSocket frame.
func (c *client) read() (op byte, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(h[1] & 0x7f)
	var ext [8]byte
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, ext[6:])
		n = binary.BigEndian.Uint64(ext[:])
	case 127:
		_, err = io.ReadFull(c.r, ext[:])
		n = binary.BigEndian.Uint64(ext[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(c.r, payload)
	return h[0] & 0x0f, payload, err
}

// next is the next frame of the protocol, whatever it is but a heartbeat.
func (c *client) next() *protocol.ProtocolMessage {
	c.t.Helper()
	for {
		op, payload, err := c.read()
		if err != nil {
			c.t.Fatalf("reading: %v", err)
		}
		switch op {
		case opPing:
			continue
		case opClose:
			c.t.Fatalf("the server closed the connection: %q", payload)
		}
		pm, err := protocol.Decode(c.format, payload)
		if err != nil {
			c.t.Fatalf("the server sent what cannot be read: %v: %q", err, payload)
		}
		return pm
	}
}

func (c *client) expect(action protocol.Action) *protocol.ProtocolMessage {
	c.t.Helper()
	pm := c.next()
	if pm.Action != action {
		c.t.Fatalf("got %v (%v), want %v", pm.Action, pm.Error, action)
	}
	return pm
}

// attach attaches to a channel and waits until it is confirmed.
func (c *client) attach(name string) {
	c.t.Helper()
	c.send(protocol.AppendAttach(nil, c.format, &protocol.Attach{Channel: name}))
	if pm := c.expect(protocol.ActionAttached); pm.Channel != name {
		c.t.Fatalf("attached to %q, want %q", pm.Channel, name)
	}
}

// alive shows that the connection still works, by a publish that comes back.
func (c *client) alive() {
	c.t.Helper()
	c.send(protocol.AppendPublish(nil, c.format, "alive", 7, nil, message("x")))
	c.expect(protocol.ActionAck)
}

// ends reads a close frame and the end of the connection.
func (c *client) ends(status uint16) {
	c.t.Helper()
	op, payload, err := c.read()
	if err != nil || op != opClose || len(payload) < 2 || binary.BigEndian.Uint16(payload) != status {
		c.t.Fatalf("got %d %q %v, want the connection closed with %d", op, payload, err, status)
	}
	c.raw.Write([]byte{0x88, 0x80, 0, 0, 0, 0}) // as clients answer it
	if _, _, err := c.read(); !isEnd(err) {
		c.t.Fatalf("got %v behind the close, want the end", err)
	}
}
