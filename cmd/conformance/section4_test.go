package conformance

import (
	"encoding/base64"
	"strings"
)

// messages is about publishing and what is delivered.
func messages() []check {
	list := []check{
		{section: "4.1", name: "ACK has a serial per message", run: func(e *env) {
			c := e.connect(0)
			f := c.publish(e.name("res"), text("a", ""), text("b", ""), text("c", ""))
			e.is("res", len(f.list("res")), 1)
			e.is("serials", len(serials(f)), 3)
		}},
		{section: "4.1", name: "publishing needs no attachment", run: func(e *env) {
			c, s := e.connect(0), e.connect(1)
			name := e.name("transient")
			s.attach(name)
			c.publish(name, text("a", "b"))
			s.hear(name)
			e.is("connections", e.metrics(2, name)["connections"], 1)
		}},
		{section: "4.1", name: "ACKs and NACKs come in order and without gaps", run: func(e *env) {
			c := e.connect(0)
			want := map[int64]bool{}
			for i := range 60 {
				name := e.name("ordered")
				if i%7 == 3 {
					name = ":hell"
				}
				want[c.say(name, text("a", ""))] = i%7 != 3
			}
			for next := int64(0); next < 60; {
				f := c.next()
				e.is("msgSerial", f["msgSerial"], next)
				for range f.int("count") {
					e.is("acknowledged "+number(int(next)), f.int("action") == ack, want[next])
					next++
				}
				if f.int("action") == ack {
					e.is("res", len(f.list("res")), f["count"])
				}
			}
		}},
		{section: "4.1", name: "a NACK concerns one publish alone", run: func(e *env) {
			c := e.connect(0)
			name := e.name("alone")
			c.attach(name)
			a, bad, b := c.say(name, text("a", "")), c.say(name, m{"name": 5}), c.say(name, text("b", ""))
			c.expect(ack, "msgSerial", a)
			c.expect(nack, "msgSerial", bad)
			c.expect(ack, "msgSerial", b)
			e.is("name", c.hear(name)["name"], "a")
			e.is("name", c.hear(name)["name"], "b")
		}},
		{section: "4.1", name: "all messages of a frame or none", run: func(e *env) {
			c := e.connect(0)
			name := e.name("atomic")
			c.attach(name)
			e.fails(c.nacked(name, text("a", ""), m{"name": "b", "data": 5}), 40013, 400)
			c.publish(name, text("c", ""))
			e.is("name", c.hear(name)["name"], "c")
		}},
		{section: "4.1", name: "_forceNack", run: func(e *env) {
			c := e.connect(0)
			c.send(m{"action": message, "channel": e.name("forced"), "msgSerial": 0, "params": m{"_forceNack": "true"}, "messages": []m{text("a", "")}})
			e.fails(c.expect(nack, "msgSerial", 0).obj("error"), 40099, 400)
		}},
		{section: "4.1", name: "a publish without messages is refused", run: func(e *env) {
			c := e.connect(0)
			e.ok("4003x", c.nacked(e.name("empty")).int("code")/10 == 4003)
		}},
		{section: "4.2", name: "what a message has and has not", run: func(e *env) {
			c := e.connect(0, "clientId=alice")
			name := e.name("fields")
			c.attach(name)
			given := serials(c.publish(name, m{"name": "n", "data": "d", "connectionId": "x", "timestamp": 1, "connectionKey": "k"}))
			f := c.hears(name)
			got := f.all("messages")[0]
			e.is("clientId", got["clientId"], "alice")
			e.is("serial", got["serial"], given[0])
			e.is("version", got.obj("version")["serial"], given[0])
			e.is("action", got["action"], 0)
			e.ok("server's time", f.int("timestamp") > 1 && (!got.has("timestamp") || got.int("timestamp") == f.int("timestamp")))
			e.ok("server's connectionId", !got.has("connectionId") || got.str("connectionId") == c.id())
		}},
		{section: "4.2", name: "extras are passed on", run: func(e *env) {
			c := e.connect(0)
			name := e.name("extras")
			c.attach(name)
			extras := m{"headers": m{"a": "b", "n": 1, "f": 1.5, "t": true, "z": nil}, "ref": m{"type": "x", "timeserial": "y"}}
			c.publish(name, m{"name": "n", "extras": extras})
			e.is("extras", c.hear(name)["extras"], extras)
		}},
		{section: "4.3", name: "ids are connectionId:msgSerial:index", run: func(e *env) {
			c := e.connect(0)
			name := e.name("ids")
			c.attach(name)
			c.publish(name, text("a", ""), text("b", ""))
			f := c.hears(name)
			e.is("id", f["id"], c.id()+":0")
			for i, one := range f.all("messages") {
				e.ok("id of the message", !one.has("id") || one.str("id") == c.id()+":0:"+number(i))
			}
			history := e.get(1, channelPath(name)+"/messages?direction=forwards").list()
			e.is("id in history", history[1]["id"], c.id()+":0:1")
		}},
		{section: "4.3", name: "an id of the client's own is kept and known again", run: func(e *env) {
			a, b := e.connect(0), e.connect(1)
			name := e.name("own")
			a.attach(name)
			first := a.publish(name, m{"id": "order-1", "name": "a"})
			again := b.publish(name, m{"id": "order-1", "name": "b"})
			rest := e.post(2, channelPath(name)+"/messages", m{"id": "order-1", "name": "c"}).obj()
			e.is("serial", serials(again), serials(first))
			e.is("serial", rest["serials"], serials(first))
			a.publish(name, text("last", ""))
			e.is("id", a.hear(name)["id"], "order-1")
			e.is("name", a.hear(name)["name"], "last")
		}},
		{section: "4.3", name: "ids of several messages are base:0, base:1, …", run: func(e *env) {
			c := e.connect(0)
			name := e.name("several")
			c.publish(name, m{"id": "x:0"}, m{"id": "x:1"})
			for _, bad := range [][]m{
				{{"id": "x:0"}, {"id": "y:1"}}, {{"id": "x:1"}, {"id": "x:0"}}, {{"id": "x:0"}, {}}, {{}, {"id": "x:1"}}, {{"id": "a"}, {"id": "b"}}, {{"id": "x:0"}, {"id": "x:0"}},
			} {
				e.fails(c.nacked(name, bad...), 40031, 400)
				e.refuses(e.rest(1, "POST", channelPath(name)+"/messages", bad), 40031, 400)
			}
		}},
		{section: "4.3", name: "an id is known for two minutes", run: func(e *env) {
			c := e.connect(0)
			name := e.name("twominutes")
			first := c.publish(name, m{"id": "once", "name": "a"})
			e.sleep(110)
			e.is("serial", serials(c.publish(name, m{"id": "once", "name": "a"})), serials(first))
		}},
		{section: "4.4", name: "one publish is one frame", run: func(e *env) {
			c := e.connect(0)
			name := e.name("frame")
			c.attach(name)
			c.publish(name, text("a", ""), text("b", ""), text("c", ""))
			e.is("messages", len(c.hears(name).list("messages")), 3)
		}},
		{section: "4.4", name: "the order of a publisher is kept on every node", run: func(e *env) {
			p := e.connect(0)
			name := e.name("order")
			var subscribers []*client
			for node := range 3 {
				s := e.connect(node)
				s.attach(name)
				subscribers = append(subscribers, s)
			}
			for i := range 100 {
				p.say(name, text(number(i), ""))
			}
			for _, s := range subscribers {
				for i := range 100 {
					e.is("name", s.hear(name)["name"], number(i))
				}
			}
		}},
		{section: "4.4", name: "all hear the same order", run: func(e *env) {
			name := e.name("total")
			var all []*client
			for node := range 3 {
				c := e.connect(node)
				c.attach(name)
				all = append(all, c)
			}
			for i := range 20 {
				for node, c := range all {
					c.say(name, text(number(node)+"-"+number(i), ""))
				}
			}
			var reference []string
			for k, c := range all {
				for i := range 60 {
					got := c.hears(name).str("channelSerial")
					if k == 0 {
						reference = append(reference, got)
					}
					e.is("channelSerial", got, reference[i])
				}
			}
		}},
		{section: "4.6", name: "a concrete client may use no other clientId", run: func(e *env) {
			c := e.connect(0, "clientId=alice")
			name := e.name("alice")
			e.fails(c.nacked(name, m{"name": "a", "clientId": "bob"}), 40012, 400)
			c.publish(name, m{"name": "a", "clientId": "alice"})
			c.alive()
		}},
		{section: "4.6", name: "a key may use any clientId or none", run: func(e *env) {
			c := e.connect(0)
			name := e.name("any")
			c.attach(name)
			c.publish(name, m{"name": "a", "clientId": "bob"})
			e.is("clientId", c.hear(name)["clientId"], "bob")
			c.publish(name, m{"name": "a"})
			e.ok("none", !c.hear(name).has("clientId"))
		}},
		{section: "4.6", name: "an unidentified token may use none", run: func(e *env) {
			c := e.connect(0, "access_token="+e.jwt(keyAll, nil))
			e.fails(c.nacked(e.name("nobody"), m{"name": "a", "clientId": "bob"}), 40012, 400)
		}},
		{section: "4.6", name: "nobody is called *", run: func(e *env) {
			e.fails(e.connect(0).nacked(e.name("star"), m{"name": "a", "clientId": "*"}), 40012, 400)
		}},
		{section: "4.6", name: "REST publishes for a connection by its connectionKey", run: func(e *env) {
			c, s := e.connect(0, "clientId=alice"), e.connect(1)
			name := e.name("behalf")
			s.attach(name)
			e.post(1, channelPath(name)+"/messages", m{"name": "a", "connectionKey": c.key()})
			f := s.hears(name)
			e.is("connectionId", f["connectionId"], c.id())
			e.is("clientId", f.all("messages")[0]["clientId"], "alice")
			e.refuses(e.rest(2, "POST", channelPath(name)+"/messages", m{"name": "a", "connectionKey": "nonsense"}), 40006, 400)
			e.refuses(e.rest(2, "POST", channelPath(name)+"/messages", m{"name": "a", "connectionKey": c.key(), "clientId": "bob"}), 40012, 400)
		}},
		{section: "4.6", name: "a connectionId beside a connectionKey is of the same connection", run: func(e *env) {
			c, s := e.connect(0, "clientId=alice"), e.connect(1)
			name := e.name("beside")
			s.attach(name)
			path := channelPath(name) + "/messages"
			own := m{"name": "a", "connectionKey": c.key(), "connectionId": c.id()}
			e.refuses(e.rest(2, "POST", path, own.but("connectionId", s.id())), 40006, 400)
			e.refuses(e.rest(0, "POST", path, []m{own, own.but("connectionId", "x")}), 40006, 400)
			e.post(1, path, []m{own, own})
			e.is("connectionId", s.hears(name)["connectionId"], c.id())
			s.silent(message)
		}},
		{section: "4.7", name: "the size limit counts names, clientIds, data and extras", run: func(e *env) {
			c := e.connect(0)
			name := e.name("size")
			fits := strings.Repeat("x", 65536-1-3)
			c.publish(name, m{"name": "n", "clientId": "bob", "data": fits})
			e.fails(c.nacked(name, m{"name": "nn", "clientId": "bob", "data": fits}), 40009, 400)
			e.fails(c.nacked(name, m{"name": "n", "clientId": "bob", "data": fits, "extras": m{"headers": m{}}}), 40009, 400)
			half := strings.Repeat("x", 40000)
			e.fails(c.nacked(name, text("a", half), text("b", half)), 40009, 400)
			e.refuses(e.rest(0, "POST", channelPath(name)+"/messages", []m{text("a", half), text("b", half)}), 40009, 400)
		}},
		{section: "4.7", name: "base64 does not count", run: func(e *env) {
			c := e.connect(0)
			data := base64.StdEncoding.EncodeToString(make([]byte, 65000))
			c.publish(e.name("base64"), m{"data": data, "encoding": "base64"})
		}},
		{section: "4.7", name: "too many messages in one publish", run: func(e *env) {
			c := e.connect(0)
			e.fails(c.nacked(e.name("toomany"), make([]m, 1001)...), 40034, 400)
		}},
	}
	for field, row := range map[string]struct {
		value any
		code  int64
	}{"name": {5, 40016}, "data": {5, 40013}, "encoding": {5, 40013}, "extras": {"x", 40032}, "id": {5, 40031}, "clientId": {5, 40012}} {
		list = append(list, check{section: "4.7", name: "of the wrong type: " + field, run: func(e *env) {
			c := e.connect(0)
			name := e.name("type")
			bad := m{field: row.value}
			e.fails(c.nacked(name, bad), row.code, 400)
			e.refuses(e.rest(0, "POST", channelPath(name)+"/messages", bad), row.code, 400)
			c.alive()
		}})
	}
	for what, data := range map[string]any{"an object": m{"a": 1}, "an array": []any{1}, "a boolean": true} {
		list = append(list, check{section: "4.2", name: "bare data that is " + what, run: func(e *env) {
			e.fails(e.connect(0).nacked(e.name("bare"), m{"data": data}), 40013, 400)
		}})
	}
	return append(list, encodings()...)
}

// encodings is how data of every kind goes from either format to either.
func encodings() (list []check) {
	bin := []byte{0, 1, 254, 255}
	b64 := base64.StdEncoding.EncodeToString
	type wire struct {
		data     any // nil for none
		encoding string
	}
	for _, row := range []struct {
		what          string
		json, msgpack wire // as a publisher says it
		toJSON, toMsg wire // as a subscriber hears it
	}{
		{"text", wire{"täxt", ""}, wire{"täxt", ""}, wire{"täxt", ""}, wire{"täxt", ""}},
		{"empty text", wire{"", ""}, wire{"", ""}, wire{"", ""}, wire{"", ""}},
		{"nothing", wire{}, wire{}, wire{}, wire{}},
		{"binary", wire{b64(bin), "base64"}, wire{bin, ""}, wire{b64(bin), "base64"}, wire{bin, ""}},
		{"binary in base64 even in msgpack", wire{b64(bin), "base64"}, wire{b64(bin), "base64"}, wire{b64(bin), "base64"}, wire{bin, ""}},
		{"empty binary", wire{"", "base64"}, wire{[]byte{}, ""}, wire{"", "base64"}, wire{[]byte{}, ""}},
		{"json", wire{`{"a":[1,null]}`, "json"}, wire{`{"a":[1,null]}`, "json"}, wire{`{"a":[1,null]}`, "json"}, wire{`{"a":[1,null]}`, "json"}},
		{"encrypted text", wire{b64(bin), "utf-8/cipher+aes-128-cbc/base64"}, wire{bin, "utf-8/cipher+aes-128-cbc"},
			wire{b64(bin), "utf-8/cipher+aes-128-cbc/base64"}, wire{bin, "utf-8/cipher+aes-128-cbc"}},
		{"encrypted json", wire{b64(bin), "json/utf-8/cipher+aes-256-cbc/base64"}, wire{bin, "json/utf-8/cipher+aes-256-cbc"},
			wire{b64(bin), "json/utf-8/cipher+aes-256-cbc/base64"}, wire{bin, "json/utf-8/cipher+aes-256-cbc"}},
		{"an encoding nobody knows", wire{"x", "rot13"}, wire{"x", "rot13"}, wire{"x", "rot13"}, wire{"x", "rot13"}},
	} {
		heard := map[string]wire{"json": row.toJSON, "msgpack": row.toMsg}
		same := func(e *env, where string, got m, want wire) {
			if want.data == nil {
				e.ok(where+": no data", !got.has("data"))
			} else {
				e.is(where+": data", got["data"], want.data)
			}
			e.is(where+": encoding", got.str("encoding"), want.encoding)
		}
		list = append(list, check{section: "4.5", name: row.what + " to both formats, live and in history", run: func(e *env) {
			said := row.json
			if e.format == "msgpack" {
				said = row.msgpack
			}
			name := e.name("data")
			listeners := map[string]*client{}
			for i, format := range formats {
				other := &env{world: e.world, number: e.number, format: format, check: e.check, hosts: 50 + 20*i}
				defer other.end()
				listeners[format] = other.connect(1 + i)
				listeners[format].attach(name)
			}
			one := m{"name": "n"}
			if said.data != nil {
				one["data"] = said.data
			}
			if said.encoding != "" {
				one["encoding"] = said.encoding
			}
			e.connect(0).publish(name, one)
			e.post(0, channelPath(name)+"/messages", one)
			for _, format := range formats {
				for _, from := range []string{"realtime", "REST"} {
					same(e, from+" to "+format, listeners[format].hear(name), heard[format])
				}
				for _, got := range e.get(2, channelPath(name)+"/messages", "Accept: "+mediaTypes[format]).list() {
					same(e, "history in "+format, got, heard[format])
				}
			}
		}})
	}
	list = append(list,
		check{section: "4.5", name: "base64 that is none is 40013", run: func(e *env) {
			bad := m{"data": "!!!", "encoding": "base64"}
			name := e.name("bad64")
			e.fails(e.connect(0).nacked(name, bad), 40013, 400)
			e.refuses(e.rest(1, "POST", channelPath(name)+"/messages", bad), 40013, 400)
		}},
		check{section: "4.5", name: "REST takes a bare JSON object as data", run: func(e *env) {
			c := e.connect(0)
			name := e.name("curl")
			c.attach(name)
			e.post(1, channelPath(name)+"/messages", `{"name":"n","data":{"a":1}}`, "Content-Type: application/json")
			got := c.hear(name)
			e.is("data", got["data"], `{"a":1}`)
			e.is("encoding", got["encoding"], "json")
		}})
	return list
}
