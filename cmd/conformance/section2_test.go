package conformance

import "strings"

// frames are about what is ignored and what is not.
func frames() []check {
	list := []check{
		{section: "2.1", name: "unknown actions are ignored", run: func(e *env) {
			c := e.connect(0)
			for _, action := range []int{3, 18, 22, 99, 1 << 20, -1} {
				c.send(m{"action": action, "channel": "x", "msgSerial": 5})
			}
			c.alive()
		}},
		{section: "2.1", name: "actions of servers are ignored when a client sends them", run: func(e *env) {
			c := e.connect(0)
			for _, action := range []int{ack, nack, connected, disconnected, closed, failed, attached, detached, objectSync} {
				c.send(m{"action": action, "msgSerial": 0, "count": 1})
			}
			c.alive()
		}},
		{section: "2.3", name: "unknown fields are ignored", run: func(e *env) {
			c := e.connect(0)
			name := e.name("unknown")
			c.attach(name, "future", m{"deep": []any{1, m{"a": nil}}}, "other", 1.5)
			c.publish(name, m{"name": "n", "data": "d", "future": []any{1, 2}})
			e.ok("not passed on", !c.hear(name).has("future"))
		}},
		{section: "2.3", name: "null is the same as absent", run: func(e *env) {
			c := e.connect(0)
			name := e.name("null")
			c.attach(name, "params", nil, "channelSerial", nil, "flags", nil)
			c.publish(name, m{"name": nil, "data": nil, "extras": nil, "id": nil, "clientId": nil, "encoding": nil})
			got := c.hear(name)
			for _, key := range []string{"name", "data", "extras", "clientId", "encoding"} {
				e.ok("no "+key, !got.has(key))
			}
		}},
		{section: "2.3", name: "numbers come in any form", run: func(e *env) {
			c := e.connect(0)
			name := e.name("float")
			c.send(m{"action": 10.0, "channel": name, "flags": float64(modeSubscribe | modePublish)})
			c.expect(attached, "channel", name)
			c.send(m{"action": float32(15), "channel": name, "msgSerial": uint8(0), "messages": []m{text("a", "b")}})
			e.is("msgSerial", c.expect(ack)["msgSerial"], 0)
		}},
		{section: "2.3", name: "the frame has what its messages leave out", run: func(e *env) {
			c := e.connect(0)
			name := e.name("frame")
			c.attach(name)
			c.publish(name, text("a", "b"))
			f := c.hears(name)
			e.is("connectionId", f["connectionId"], c.id())
			e.is("id", f["id"], c.id()+":0")
			e.ok("timestamp", f.int("timestamp") > 0)
			e.ok("channelSerial", f.str("channelSerial") != "")
		}},
		{section: "2.3", name: "a frame that is no object ends the connection", run: func(e *env) {
			c := e.connect(0)
			c.sendAny([]any{1, 2})
			e.fails(c.expect(failed).obj("error"), 80013, 400)
			c.ends()
		}},
		{section: "2.3", name: "a frame that cannot be read ends the connection", run: func(e *env) {
			c := e.connect(0)
			c.sendRaw([]byte{0xc1, '{', '{'})
			e.fails(c.expect(failed).obj("error"), 80013, 400)
			c.ends()
		}},
		{section: "2.3", name: "a frame above maxFrameSize ends the connection", run: func(e *env) {
			c := e.connect(0)
			c.send(m{"action": message, "channel": "x", "msgSerial": 0, "messages": []m{text("a", strings.Repeat("x", 600_000))}})
			e.fails(c.expect(failed).obj("error"), 40009, 400)
			c.ends()
		}},
		{section: "2.3", name: "what is nested too deep ends the connection", run: func(e *env) {
			c := e.connect(0)
			v := any("x")
			for range 100 {
				v = []any{v}
			}
			c.send(m{"action": 0, "extra": v})
			c.expect(failed)
			c.ends()
		}},
	}
	for field, v := range map[string]any{"channel": 5, "params": "x", "msgSerial": "x", "flags": "x", "auth": 5, "channelSerial": []any{}} {
		list = append(list, check{section: "2.3", name: "a field of the wrong type ends the connection: " + field, run: func(e *env) {
			c := e.connect(0)
			c.send(m{"action": 0, field: v})
			e.fails(c.expect(failed).obj("error"), 40000, 400)
			c.ends()
		}})
	}
	return list
}

// sendAny sends what is no frame.
func (c *client) sendAny(v any) { c.sendRaw(encode(c.e.format, v)) }
