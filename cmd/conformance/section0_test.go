package conformance

import (
	"strings"
	"time"
)

// rules are those that break clients when a server does not keep them. That every error has message, code and statusCode,
// that ACK and NACK have msgSerial and count, that SYNC has its array and MESSAGE its messages is looked at in every frame
// of every check (client.lint).
func rules() []check {
	return []check{
		{section: "0.2", name: "CONNECTED has connectionDetails with every number", run: func(e *env) {
			d := e.connect(0).details()
			for _, key := range []string{"maxMessageSize", "maxFrameSize", "maxInboundRate", "connectionStateTtl", "maxIdleInterval"} {
				e.ok(key+" is positive", d.int(key) > 0)
			}
		}},
		{section: "0.3", name: "a failed resume changes id and key and says why", run: func(e *env) {
			c := e.connect(0)
			wrong := e.connect(1, "resume=_____!test_fake-key____")
			e.ok("another id", wrong.id() != c.id())
			e.ok("another key", wrong.key() != "_____!test_fake-key____")
			e.ok("an error", wrong.hello.has("error"))
		}},
		{section: "0.4", name: "CONNECTED after AUTH repeats id and key", run: func(e *env) {
			c := e.connect(0, "access_token="+e.jwt(keyAll, nil))
			c.send(m{"action": reauth, "auth": m{"accessToken": e.jwt(keyAll, nil)}})
			again := c.expect(connected)
			e.is("connectionId", again["connectionId"], c.id())
			e.is("connectionKey", again.obj("connectionDetails")["connectionKey"], c.key())
		}},
		{section: "0.5", name: "the first ACK has msgSerial 0 and count 1", run: func(e *env) {
			c := e.connect(0)
			f := c.publish(e.name("ack"), text("a", "b"))
			e.is("msgSerial", f["msgSerial"], 0)
			e.is("count", f["count"], 1)
		}},
		{section: "0.5", name: "nothing but what has a msgSerial is acknowledged", run: func(e *env) {
			c := e.connect(0)
			name := e.name("unacked")
			c.attach(name, "msgSerial", 0)
			c.send(m{"action": heartbeat, "msgSerial": 0})
			c.send(m{"action": detach, "channel": name, "msgSerial": 0})
			c.expect(detached)
			c.silent(ack)
			c.silent(nack)
		}},
		{section: "0.6", name: "the ERROR of a connection has no key channel", run: func(e *env) {
			e.fails(e.refused(0, "key=nonsense"), 40005, 401)
		}},
		{section: "0.6", name: "the ERROR of a channel has its name", run: func(e *env) {
			c := e.connect(0)
			e.fails(c.denied(":hell"), 40010, 400)
			c.send(m{"action": attach, "channel": ""})
			f := c.expect(failed)
			e.ok("the key is there though the name is empty", f.has("channel") && f.str("channel") == "")
		}},
		{section: "0.7", name: "the SYNC of an empty channel has an empty array", run: func(e *env) {
			c := e.connect(0)
			name := e.name("nobody")
			c.attach(name)
			c.send(m{"action": syncFrame, "channel": name})
			e.is("presence", c.expect(syncFrame, "channel", name)["presence"], []any{})
		}},
		{section: "0.9", name: "a frame without an action is a HEARTBEAT", run: func(e *env) {
			c := e.connect(0)
			c.send(m{"id": "ping"})
			e.is("id", c.expect(heartbeat)["id"], "ping")
		}},
		{section: "0.9", name: "a message without an action is a create", run: func(e *env) {
			c := e.connect(0)
			name := e.name("create")
			c.attach(name)
			c.publish(name, text("a", "b"))
			e.is("action", c.hear(name)["action"], 0)
		}},
		{section: "0.10", name: "clientId is never * when one was asked for", run: func(e *env) {
			for _, args := range [][]string{{"clientId=alice"}, {"access_token=" + e.jwt(keyAll, m{"x-ably-clientId": "*"}), "clientId=alice"}} {
				e.is("clientId", e.connect(0, args...).details()["clientId"], "alice")
			}
		}},
		{section: "0.11", name: "the content type of a REST error has no charset", run: func(e *env) {
			for _, format := range formats {
				r := e.rest(0, "GET", "/channels/:hell", nil, "Accept: "+mediaTypes[format])
				e.is("Content-Type", r.header.Get("Content-Type"), mediaTypes[format])
			}
		}},
		{section: "0.12", name: "frames bear the name the client used", run: func(e *env) {
			c := e.connect(0)
			base := e.name("named")
			name := "[?rewind=1]" + base
			c.attach(name)
			c.publish(base, text("a", "b"))
			c.hears(name)
			c.send(m{"action": detach, "channel": name})
			c.expect(detached, "channel", name)
		}},
		{section: "0.13", name: "heartbeats=true means HEARTBEAT frames", run: func(e *env) {
			c := e.connect(0, "heartbeats=true")
			begun := time.Now()
			e.ok("without id", !c.expect(heartbeat).has("id"))
			e.ok("within maxIdleInterval", time.Since(begun) <= maxIdleInterval)
		}},
		{section: "0.14", name: "history has two paths", run: func(e *env) {
			name := e.name("paths")
			e.post(0, channelPath(name)+"/messages", text("a", "b"))
			for i, last := range []string{"/messages", "/history"} {
				e.is(last, len(e.get(i, channelPath(name)+last).list()), 1)
			}
		}},
		{section: "0.15", name: "links are one per line and relative to the last segment", run: func(e *env) {
			name := e.name("links//a,b")
			e.post(0, channelPath(name)+"/messages", []m{text("a", "b"), text("c", "d")})
			for _, last := range []string{"messages", "history"} {
				found := e.links(e.get(0, channelPath(name)+"/"+last+"?limit=1"), last)
				e.ok("next", strings.Contains(found["next"], "limit=1"))
			}
		}},
		{section: "0.16", name: "version 2 gets nested statistics", run: func(e *env) {
			e.connect(0)
			time.Sleep(2 * time.Minute)
			r := e.get(0, "/stats?limit=1", "X-Ably-Version: 2")
			e.is("entries", len(r.list()), 1)
			e.ok("connections.all.peak", r.list()[0].obj("connections").obj("all").int("peak") >= 1)
			r = e.get(0, "/stats?limit=1")
			e.ok("flat", r.list()[0].obj("entries").int("connections.all.peak") >= 1)
		}},
	}
}
