package node

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"innkeeper/transport/protocol"
)

// mp is a value in msgpack.
func mp(t *testing.T, v any) []byte {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type object = map[string]any

// TestUnreadableFrames sends what no client should, each on a connection of its own. Such a connection ends with a named
// error; nobody else notices, and what the connection held is let go as if it had closed.
func TestUnreadableFrames(t *testing.T) {
	node := run(t, settings(t.TempDir())).ready()
	witness := node.occupy("chat:witness")

	attach := mp(t, object{"action": 10, "channel": "chat:a"})
	length := func(code byte, n uint32) []byte { // a container or string that claims n entries or bytes
		return binary.BigEndian.AppendUint32([]byte{code}, n)
	}
	nested := func(code byte) []byte { // an unknown field, 100,000 deep
		return append(append([]byte{0x81, 0xa1, 'x'}, bytes.Repeat([]byte{code}, 100_000)...), 0xc0)
	}
	for _, c := range []struct {
		name   string
		format string
		op     byte
		frame  []byte
		code   int
		says   []string
	}{
		{"json: empty", "json", opText, nil, 80013, []string{"ends"}},
		{"json: white space", "json", opText, []byte(" \n"), 80013, nil},
		{"json: truncated", "json", opText, []byte(`{"action":10,"channel":"ch`), 80013, nil},
		{"json: truncated after a key", "json", opText, []byte(`{"action"`), 80013, nil},
		{"json: two values", "json", opText, []byte(`{"action":0}{"action":0}`), 80013, nil},
		{"json: scalar", "json", opText, []byte(`7`), 80013, []string{"object", "number"}},
		{"json: array of frames", "json", opText, []byte(`[{"action":0}]`), 80013, []string{"object", "array"}},
		{"json: no UTF-8", "json", opText, []byte("{\"action\":10,\"channel\":\"\xff\xfe\"}"), 80013, []string{"UTF-8"}},
		{"json: action is a string", "json", opText, []byte(`{"action":"attach"}`), 40000, []string{"action", "integer", "string"}},
		{"json: action is huge", "json", opText, []byte(`{"action":1e999}`), 40000, []string{"action"}},
		{"json: channel is a number", "json", opText, []byte(`{"action":10,"channel":7}`), 40000, []string{"channel", "string", "number"}},
		{"json: params is an array", "json", opText, []byte(`{"action":10,"channel":"chat:a","params":[1]}`), 40000, []string{"params", "object"}},
		{"json: deep", "json", opText, []byte(`{"x":` + strings.Repeat(`[`, 100_000)), 80013, []string{"64"}},
		{"json: deep objects", "json", opText, []byte(strings.Repeat(`{"x":`, 50_000)), 80013, []string{"64"}},
		{"json: a msgpack frame", "json", opBinary, attach, 80013, nil},
		{"msgpack: empty", "msgpack", opBinary, nil, 80013, []string{"ends"}},
		{"msgpack: truncated", "msgpack", opBinary, attach[:len(attach)-3], 80013, nil},
		{"msgpack: truncated number", "msgpack", opBinary, []byte{0x81, 0xa6, 'a', 'c', 't', 'i', 'o', 'n', 0xcf, 0, 0}, 80013, nil},
		{"msgpack: two values", "msgpack", opBinary, append(mp(t, object{"action": 0}), 0xc0), 80013, nil},
		{"msgpack: scalar", "msgpack", opBinary, []byte{7}, 80013, []string{"object", "number"}},
		{"msgpack: array", "msgpack", opBinary, mp(t, []int{10}), 80013, []string{"object", "array"}},
		{"msgpack: never used byte", "msgpack", opBinary, []byte{0xc1}, 80013, nil},
		{"msgpack: map of 2^32-1 entries", "msgpack", opBinary, length(0xdf, 1<<32-1), 80013, nil},
		{"msgpack: array of 2^32-1 messages", "msgpack", opBinary, append(append([]byte{0x81, 0xa8}, "messages"...), length(0xdd, 1<<32-1)...), 80013, nil},
		{"msgpack: string of 2^32-1 bytes", "msgpack", opBinary, append(append([]byte{0x81, 0xa7}, "channel"...), length(0xdb, 1<<32-1)...), 80013, nil},
		{"msgpack: binary of 2^32-1 bytes", "msgpack", opBinary, append([]byte{0x81, 0xa1, 'x'}, length(0xc6, 1<<32-1)...), 80013, nil},
		{"msgpack: extension of 2^32-1 bytes", "msgpack", opBinary, append([]byte{0x81, 0xa1, 'x'}, length(0xc9, 1<<32-1)...), 80013, nil},
		{"msgpack: deep", "msgpack", opBinary, nested(0x91), 80013, []string{"64"}},
		{"msgpack: action is a map", "msgpack", opBinary, mp(t, object{"action": object{}}), 40000, []string{"action", "integer", "object"}},
		{"msgpack: channel is binary", "msgpack", opBinary, mp(t, object{"action": 10, "channel": []byte("chat:a")}), 40000, []string{"channel", "string"}},
		{"msgpack: a JSON frame", "msgpack", opText, []byte(`{"action":10,"channel":"chat:a"}`), 80013, nil},
		{"json: larger than a frame may be", "json", opText, append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), 600<<10)...), 40009, []string{"524288"}},
		{"msgpack: larger than a frame may be", "msgpack", opBinary, bytes.Repeat([]byte{0xc0}, 600<<10), 40009, []string{"524288"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := *node
			r.t = t
			victim := r.connect("format=" + c.format)
			victim.attach("chat:victim")
			victim.write(c.op, c.frame)
			pm := victim.expect(protocol.ActionError)
			if pm.HasChannel || pm.Error == nil || pm.Error.Code != c.code {
				t.Fatalf("got %+v with error %v, want %d for the whole connection", pm, pm.Error, c.code)
			}
			for _, part := range c.says {
				if !strings.Contains(pm.Error.Message, part) {
					t.Errorf("%q is missing in %q", part, pm.Error.Message)
				}
			}
			if n := len(pm.Error.Message); n > 400 {
				t.Errorf("the message has %d bytes", n)
			}
			t.Log(pm.Error)
			status := uint16(1007)
			if c.code == 40009 {
				status = 1009
			}
			victim.ends(status)
		})
	}
	witness.alive()
	node.until("end of what bad connections held", func() bool {
		list := node.occupied()
		return len(list) == 1 && list[0].Channel == "chat:witness"
	})
	for _, e := range node.events() {
		if e.Channel == "chat:witness" && e.Type != "occupied" {
			t.Errorf("the witness suffered: %+v", e)
		}
	}
}

// TestFramesThatDoNoHarm sends what is unknown or pointless on one connection, which serves on.
func TestFramesThatDoNoHarm(t *testing.T) {
	node := run(t, settings(t.TempDir())).ready()
	for _, format := range []string{"json", "msgpack"} {
		t.Run(format, func(t *testing.T) {
			r := *node
			r.t = t
			c := r.connect("format=" + format)
			for _, frame := range []object{
				{}, {"action": nil}, {"action": 99}, {"action": -1}, {"action": 1 << 40}, {"action": 3}, {"action": 4}, {"action": 11, "channel": "x"},
				{"action": 99, "channel": 5.5, "unknown": object{"deep": []any{1, "x", nil, true}}},
				{"action": 0, "unknown": strings.Repeat("x", 10_000)},
			} {
				if _, bad := frame["channel"].(float64); bad {
					frame["channel"] = "chat:x" // a field that is known has to have its type, even then
				}
				if c.format == protocol.JSON {
					c.send(jsonOf(t, frame))
				} else {
					c.send(mp(t, frame))
				}
			}
			c.alive() // and nothing was answered before
		})
	}
}

// TestRefusedOnOneChannel asks for what one channel cannot have. The error names the channel, and the connection and its
// other channels live on.
func TestRefusedOnOneChannel(t *testing.T) {
	node := run(t, settings(t.TempDir())).ready()
	long := strings.Repeat("x", 3000)
	for _, c := range []struct {
		key, channel string
		code         int
		says         string
	}{
		{rootKey, "", 40010, "empty"},
		{rootKey, ":a", 40010, ":a"},
		{rootKey, "a\nb", 40010, "line break"},
		{rootKey, "[unknown]a", 40010, "[unknown]a"},
		{rootKey, "[meta", 40010, "[meta"},
		{rootKey, "[?rewind=1]", 40010, "behind its qualifier"},
		{rootKey, long, 40010, "2048"},
		{readerKey, "secret:a", 40160, "secret:a"},
	} {
		for _, format := range []string{"json", "msgpack"} {
			t.Run(fmt.Sprintf("%s %.20q", format, c.channel), func(t *testing.T) {
				r := *node
				r.t = t
				cl := r.connect("format=" + format + "&key=" + url.QueryEscape(c.key))
				cl.attach("chat:kept")

				cl.send(protocol.AppendAttach(nil, cl.format, &protocol.Attach{Channel: c.channel}))
				pm := cl.expect(protocol.ActionError)
				if !pm.HasChannel || pm.Channel != c.channel {
					t.Errorf("the error is of channel %.50q (%v), want %.50q", pm.Channel, pm.HasChannel, c.channel)
				}
				refusal := func(e *protocol.ErrorInfo) {
					t.Helper()
					if e == nil || e.Code != c.code || !strings.Contains(e.Message, c.says) || len(e.Message) > 400 {
						t.Errorf("error %v, want %d with %q", e, c.code, c.says)
					}
				}
				refusal(pm.Error)

				cl.send(protocol.AppendPublish(nil, cl.format, c.channel, 5, nil, message("x")))
				pm = cl.expect(protocol.ActionNack)
				if pm.MsgSerial != 5 || pm.Count != 1 {
					t.Errorf("NACK of %d from %d, want 1 from 5", pm.Count, pm.MsgSerial)
				}
				refusal(pm.Error)

				cl.send([]byte(`{"action":0,"id":"still there"}`))
				if cl.format == protocol.JSON {
					if pm := cl.expect(protocol.ActionHeartbeat); pm.ID != "still there" {
						t.Errorf("heartbeat %q", pm.ID)
					}
				}

				if c.channel == "" {
					return // no such path
				}
				path := "http://" + node.ClientAddr() + "/channels/" + url.PathEscape(c.channel) + "/messages"
				res, body := request(t, http.MethodPost, path, c.key, "application/json", []byte(`{"data":"x"}`))
				want := c.code / 100
				if res.StatusCode != want || res.Header.Get("X-Ably-Errorcode") != fmt.Sprint(c.code) {
					t.Errorf("REST answers %s with code %s, want %d: %s", res.Status, res.Header.Get("X-Ably-Errorcode"), c.code, body)
				}
			})
		}
	}
	if n := len(node.occupied()); n > 1 {
		t.Errorf("%d channels are occupied", n)
	}
}

// TestOversizeMessage is one byte too many: the publish is refused, the connection and the next publish are not.
func TestOversizeMessage(t *testing.T) {
	node := run(t, settings(t.TempDir())).ready()
	const limit = 65536
	for _, format := range []string{"json", "msgpack"} {
		t.Run(format, func(t *testing.T) {
			r := *node
			r.t = t
			c := r.connect("format=" + format)
			c.attach("chat:big")
			fits := strings.Repeat("x", limit-len("m"))
			c.send(protocol.AppendPublish(nil, c.format, "chat:big", 0, nil, message(fits+"x")))
			pm := c.expect(protocol.ActionNack)
			if pm.Error == nil || pm.Error.Code != 40009 || !strings.Contains(pm.Error.Message, "65536") {
				t.Errorf("error %v", pm.Error)
			}
			t.Log(pm.Error)
			c.send(protocol.AppendPublish(nil, c.format, "chat:big", 1, nil, message(fits)))
			got := map[protocol.Action]*protocol.ProtocolMessage{}
			for range 2 {
				pm := c.next()
				got[pm.Action] = pm
			}
			if got[protocol.ActionAck] == nil || got[protocol.ActionMessage] == nil {
				t.Errorf("got %v", got)
			} else if data := got[protocol.ActionMessage].Messages[0].Data; len(data) != len(fits) {
				t.Errorf("%d bytes came, want %d", len(data), len(fits))
			}
		})
	}
	for size, want := range map[int]int{limit: 40009, 1 << 20: 40009} {
		body := jsonOf(t, object{"name": "m", "data": strings.Repeat("x", size)})
		res, text := request(t, http.MethodPost, "http://"+node.ClientAddr()+"/channels/chat:big/messages", rootKey, "application/json", body)
		if got := res.Header.Get("X-Ably-Errorcode"); got != fmt.Sprint(want) || res.StatusCode/100 != 4 {
			t.Errorf("REST answers %s, code %q to %d bytes: %s", res.Status, got, size, text)
		}
	}
}

// TestWrongKey is refused before anything else: an ERROR and the end on a WebSocket, 401 with headers on REST.
func TestWrongKey(t *testing.T) {
	node := run(t, settings(t.TempDir())).ready()
	for name, c := range map[string]struct {
		key  string
		code int
	}{
		"wrong secret": {"demo.root:wrong", 40101}, "unknown key": {"demo.nobody:secret", 40101},
		"unknown app": {"other.root:secret", 40101}, "none": {"", 40101}, "no key at all": {"gibberish", 40005},
	} {
		for _, format := range []string{"json", "msgpack"} {
			t.Run(name+" "+format, func(t *testing.T) {
				cl := dial(t, node.ClientAddr(), "v=5&format="+format+"&key="+url.QueryEscape(c.key))
				pm := cl.expect(protocol.ActionError)
				if pm.HasChannel || pm.Error == nil || pm.Error.Code != c.code || pm.Error.StatusCode != 401 {
					t.Errorf("got %+v, error %v, want %d", pm, pm.Error, c.code)
				}
				if strings.Contains(pm.Error.Message, "secret:") || strings.Contains(pm.Error.Message, "wrong\"") {
					t.Errorf("a secret is repeated: %v", pm.Error)
				}
				t.Log(pm.Error)
				cl.ends(1008)
			})
		}
	}
	for _, path := range []string{"/channels", "/channels/chat:a", "/events?after=0", "/occupied"} {
		for _, key := range []string{"demo.root:wrong", ""} {
			res, body := request(t, http.MethodGet, "http://"+node.ClientAddr()+path, key, "", nil)
			head := res.Header
			if res.StatusCode != 401 || !strings.HasPrefix(head.Get("X-Ably-Errorcode"), "401") || head.Get("X-Ably-Errormessage") == "" || !bytes.Contains(body, []byte(`"statusCode":401`)) {
				t.Errorf("GET %s with key %q: %s %v %s", path, key, res.Status, head, body)
			}
		}
		res, body := request(t, http.MethodGet, "http://"+node.ClientAddr()+path, readerKey, "", nil)
		if res.StatusCode != 401 || res.Header.Get("X-Ably-Errorcode") != "40160" {
			t.Errorf("GET %s without the capability: %s %s", path, res.Status, body)
		}
	}
}
