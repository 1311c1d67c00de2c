package conformance

import (
	"encoding/json"
	"net/url"
	"slices"
	"time"
)

// metas are the metachannels.
var metas = []string{"channel.lifecycle", "connection.lifecycle", "clientEvents:connections", "clientEvents:apiRequests", "stats:minute", "log", "log:push"}

// about is the data of the next message on a metachannel that fits, and the event's name.
func (c *client) about(meta string, fits func(event string, data m) bool) m {
	for {
		got := c.hear(meta)
		c.e.is("encoding", got["encoding"], "json")
		c.e.ok("no clientId", !got.has("clientId"))
		var v any
		if err := json.Unmarshal([]byte(got.str("data")), &v); err != nil {
			c.e.fatalf("the data of %s is %q", meta, got.str("data"))
		}
		data, _ := normal(v).(m)
		if fits(got.str("name"), data) {
			return data
		}
	}
}

// watch attaches, and waits until every node knows that somebody listens: they look every two seconds.
func (c *client) watch(meta string) {
	c.attach(meta)
	c.e.sleep(3)
}

// metachannels is about channels on which the server speaks of itself.
func metachannels() []check {
	list := []check{
		{section: "8", alone: true, name: "[meta]channel.lifecycle tells when channels open and close, each once", run: func(e *env) {
			const meta = "[meta]channel.lifecycle"
			w, c := e.connect(0), e.connect(1)
			name := e.name("life")
			w.attach(meta)
			c.attach(name)
			c.cut()
			mine := func(want string) func(string, m) bool {
				return func(event string, data m) bool { return data.str("channelId") == name && event == want }
			}
			opened := w.about(meta, mine("channel.opened"))
			e.is("name", opened["name"], name)
			e.is("isActive", opened.obj("status")["isActive"], true)
			e.sleep(60)
			closed := w.about(meta, mine("channel.closed"))
			e.is("isActive", closed.obj("status")["isActive"], false)
			e.is("connections", closed.obj("status").obj("occupancy").obj("metrics")["connections"], 0)
			e.sleep(30)
			n := 0
			items, _ := e.pages(channelPath(meta)+"/messages", "limit=1000")
			for _, got := range items {
				var data m
				json.Unmarshal([]byte(got.(m).str("data")), &data)
				if data.str("channelId") == name {
					n++
				}
			}
			e.is("events of the channel", n, 2)
		}},
		{section: "8", alone: true, name: "[meta]connection.lifecycle tells of connections", run: func(e *env) {
			const meta = "[meta]connection.lifecycle"
			w := e.connect(0)
			w.watch(meta)
			c := e.connect(1, "clientId=alice")
			mine := func(want string) func(string, m) bool {
				return func(event string, data m) bool { return data.str("connectionId") == c.id() && event == want }
			}
			e.is("clientId", w.about(meta, mine("connection.opened"))["clientId"], "alice")
			c.send(m{"action": closing})
			w.about(meta, mine("connection.closed"))
		}},
		{section: "8", alone: true, name: "[meta]clientEvents:connections tells who was refused and why, without secrets", run: func(e *env) {
			const meta = "[meta]clientEvents:connections"
			w := e.connect(0)
			w.watch(meta)
			mark := e.name("mark")
			e.refused(1, "key="+e.app.Keys[keyAll].KeyName+":wrong", "mark="+mark)
			data := w.about(meta, func(event string, data m) bool {
				return event == "connection.refused" && data.obj("query").str("mark") == mark
			})
			e.is("code", data.code(), 40101)
			e.ok("no key", !data.obj("query").has("key"))
			for _, field := range []string{"host", "site", "headers", "query"} {
				e.ok(field, data.has(field))
			}
		}},
		{section: "8", alone: true, name: "[meta]clientEvents:apiRequests tells of requests", run: func(e *env) {
			const meta = "[meta]clientEvents:apiRequests"
			w := e.connect(0)
			w.watch(meta)
			mark := e.name("mark")
			e.get(1, channelPath(mark)+"?mark="+mark)
			data := w.about(meta, func(event string, data m) bool {
				return event == "request.succeeded" && data.obj("query").str("mark") == mark
			})
			e.is("method", data["method"], "GET")
			e.ok("path", data.str("path") != "")
		}},
		{section: "8", name: "[meta]stats:minute tells each minute's figures", run: func(e *env) {
			const meta = "[meta]stats:minute"
			w := e.connect(0)
			w.attach(meta)
			begun := time.Now()
			data := w.nextMinute(meta)
			e.ok("within two minutes", time.Since(begun) < 2*time.Minute+10*time.Second)
			e.is("unit", data["unit"], "minute")
			e.ok("connections", data.obj("entries").int("connections.all.peak") >= 1)
			late := e.connect(1)
			late.attach("[meta?rewind=1]stats:minute")
			e.is("name", late.hear("[meta?rewind=1]stats:minute")["name"], "update")
		}},
		{section: "8", name: "only [meta] in a resource covers metachannels", run: func(e *env) {
			for resource, allowed := range map[string]bool{"*": false, "channel.lifecycle": false, "[meta]*": true, "[meta]channel.lifecycle": true, "[*]*": true, "[meta]log": false} {
				token := e.jwt(keyAll, m{"x-ably-capability": `{"` + resource + `":["*"]}`})
				c := e.connect(0, "access_token="+token)
				history := e.rest(1, "GET", channelPath("[meta]channel.lifecycle")+"/messages", nil, "Authorization: "+bearer(token))
				if allowed {
					c.attach("[meta]channel.lifecycle")
					e.is("history", history.status, 200)
				} else {
					e.fails(c.denied("[meta]channel.lifecycle"), 40160, 401)
					e.refuses(history, 40160, 401)
				}
			}
		}},
		{section: "8", name: "nobody publishes to a metachannel or is present on it", run: func(e *env) {
			c := e.connect(0, "clientId=alice")
			e.is("modes", c.attach("[meta]log").int("flags")&modeBits, modeSubscribe)
			e.ok("40160 or 40165", slices.Contains([]int64{40160, 40165}, c.nacked("[meta]log", text("a", "b")).int("code")))
			err := c.expect(nack, "msgSerial", c.tell("[meta]log", member(enter, ""))).obj("error")
			e.ok("40160 or 40165", slices.Contains([]int64{40160, 40165}, err.int("code")))
			e.refuses(e.rest(0, "POST", channelPath("[meta]log")+"/messages", text("a", "b")), 40160, 401)
		}},
		{section: "8", name: "there is no metachannel of another name", run: func(e *env) {
			e.is("code", e.connect(0).denied("[meta]nothing")["code"], 40010)
		}},
		{section: "8", name: "metachannels are not enumerated", run: func(e *env) {
			e.connect(0).attach("[meta]log")
			e.is("listed", e.get(1, "/channels?prefix="+url.QueryEscape("[meta]")).body, []any{})
		}},
	}
	for _, meta := range metas {
		list = append(list, check{section: "8", name: "attach to [meta]" + meta, run: func(e *env) {
			c := e.connect(0)
			e.is("modes", c.attach("[meta]"+meta).int("flags")&modeBits, modeSubscribe)
			c.alive()
		}})
	}
	return list
}

// nextMinute is the next event of the metachannel of statistics, which takes up to two minutes.
func (c *client) nextMinute(meta string) m {
	for end := time.Now().Add(150 * time.Second); len(c.pending) == 0 && time.Now().Before(end); {
		if f := c.take(time.Until(end)); f != nil {
			c.pending = append(c.pending, f)
		}
	}
	return c.about(meta, func(event string, _ m) bool { return event == "update" })
}
