package conformance

import (
	"slices"
	"strings"
	"time"
)

// attaching is about ATTACH, DETACH, modes and names.
func attaching() []check {
	list := []check{
		{section: "3.2", name: "ATTACHED has the default modes, a serial and nothing else", run: func(e *env) {
			f := e.connect(0).attach(e.name("plain"))
			e.is("flags", f["flags"], defaultModes)
			e.ok("channelSerial", f.str("channelSerial") != "")
			e.ok("neither params nor error", !f.has("params") && !f.has("error"))
		}},
		{section: "3.2", name: "a first attach is not RESUMED", run: func(e *env) {
			e.ok("not RESUMED", e.connect(0).attach(e.name("first")).int("flags")&resumed == 0)
		}},
		{section: "3.2", name: "an ATTACH in place is RESUMED and keeps the attachment", run: func(e *env) {
			c := e.connect(0)
			name := e.name("place")
			c.attach(name)
			e.resumed(c.attach(name))
			e.is("connections", e.metrics(1, name)["connections"], 1)
		}},
		{section: "3.1", name: "ATTACH_RESUME is ignored", run: func(e *env) {
			f := e.connect(0).attach(e.name("flag"), "flags", attachResume)
			e.is("flags", f["flags"], defaultModes)
		}},
		{section: "3.2", name: "with a serial: what was missed, in order and once, from any node", run: func(e *env) {
			name := e.name("missed")
			p := e.connect(0)
			c := e.connect(1)
			c.attach(name)
			p.publish(name, text("0", ""))
			at := c.hears(name).str("channelSerial")
			c.cut()
			for i := 1; i <= 5; i++ {
				p.publish(name, text(number(i), ""))
			}
			for node := range 3 {
				c := e.connect(node)
				f := c.attach(name, "channelSerial", at)
				e.resumed(f)
				for i := 1; i <= 5; i++ {
					e.is("name", c.hear(name)["name"], number(i))
				}
				c.silent(message)
			}
		}},
		{section: "3.2", name: "with a serial, and nothing missed: RESUMED", run: func(e *env) {
			name := e.name("nothing")
			c := e.connect(0)
			at := c.attach(name).str("channelSerial")
			c.cut()
			time.Sleep(time.Minute)
			f := e.connect(1).attach(name, "channelSerial", at)
			e.resumed(f)
		}},
		{section: "3.2", name: "with a serial older than what is kept: 90003 and not RESUMED", run: func(e *env) {
			name := e.name("old")
			c, p := e.connect(0), e.connect(1)
			at := c.attach(name).str("channelSerial")
			c.cut()
			p.publish(name, text("lost", ""))
			time.Sleep(4 * time.Minute)
			p.publish(name, text("kept", ""))
			f := e.connect(1).attach(name, "channelSerial", at)
			e.ok("not RESUMED", f.int("flags")&resumed == 0)
			e.fails(f.obj("error"), 90003, 400)
		}},
		{section: "3.2", name: "with a serial that is none: not RESUMED, and attached", run: func(e *env) {
			name := e.name("odd")
			f := e.connect(0).attach(name, "channelSerial", "whatever")
			e.ok("not RESUMED", f.int("flags")&resumed == 0)
			e.ok("an error", f.has("error"))
		}},
		{section: "3.2", name: "order: ATTACHED, what was missed, occupancy, live", run: func(e *env) {
			name := e.name("order")
			c, p := e.connect(0), e.connect(1)
			at := c.attach(name).str("channelSerial")
			c.cut()
			p.publish(name, text("missed", ""))
			c = e.connect(2)
			c.send(m{"action": attach, "channel": name, "channelSerial": at, "params": m{"occupancy": "metrics"}})
			e.is("first", c.next()["action"], attached)
			e.is("second", c.next().all("messages")[0]["name"], "missed")
			e.is("third", c.next().all("messages")[0]["name"], "[meta]occupancy")
			p.publish(name, text("live", ""))
			e.is("fourth", c.next().all("messages")[0]["name"], "live")
		}},
		{section: "3.3", name: "modes by flags are granted and told", run: func(e *env) {
			for _, modes := range []int64{modeSubscribe, modePublish, modePresence | modePublish, modeSubscribe | modePresenceSub, modeAnnotationSub} {
				f := e.connect(0).attach(e.name("modes"), "flags", modes)
				e.is("modes", f.int("flags")&modeBits, modes)
			}
		}},
		{section: "3.3", name: "modes by params are granted, told and echoed", run: func(e *env) {
			f := e.connect(0).attach(e.name("modes"), "params", m{"modes": "publish,subscribe"}, "flags", modePresence)
			e.is("modes", f.int("flags")&modeBits, modePublish|modeSubscribe)
			e.is("params", f["params"], m{"modes": "publish,subscribe"})
		}},
		{section: "3.3", name: "modes are bounded by capability in silence", run: func(e *env) {
			c := e.connect(0, "key="+e.key(keySubscribe))
			e.is("modes", c.attach(e.name("part")).int("flags")&modeBits, modeSubscribe|modePresenceSub)
		}},
		{section: "3.3", name: "an empty grant is 40160", run: func(e *env) {
			c := e.connect(0, "key="+e.key(keySubscribe))
			e.fails(c.denied(e.name("none"), "flags", modePublish), 40160, 401)
			c.alive()
		}},
		{section: "3.3", name: "publishing without the mode is 40165, without the capability 40160", run: func(e *env) {
			c := e.connect(0)
			name := e.name("mode")
			c.attach(name, "flags", modeSubscribe)
			e.fails(c.nacked(name, text("a", "b")), 40165, 401)
			s := e.connect(0, "key="+e.key(keySubscribe))
			s.attach(name)
			e.fails(s.nacked(name, text("a", "b")), 40160, 401)
		}},
		{section: "3.3", name: "without SUBSCRIBE there is no MESSAGE", run: func(e *env) {
			c := e.connect(0)
			name := e.name("deaf")
			c.attach(name, "flags", modePublish)
			c.publish(name, text("a", "b"))
			c.silent(message)
		}},
		{section: "3.3", name: "modes can change in place", run: func(e *env) {
			c := e.connect(0)
			name := e.name("change")
			c.attach(name, "flags", modePublish)
			f := c.attach(name, "flags", modePublish|modeSubscribe)
			e.is("modes", f.int("flags")&modeBits, modePublish|modeSubscribe)
			c.publish(name, text("a", "b"))
			c.hear(name)
			c.attach(name, "flags", modePublish)
			c.publish(name, text("c", "d"))
			c.silent(message)
			e.within(2*time.Second, "no subscriber counts", func() bool { return e.metrics(1, name).int("subscribers") == 0 })
		}},
		{section: "3.3", name: "modes that are asked for twice in a row are there once they are told", run: func(e *env) {
			c, p := e.connect(0), e.connect(1)
			for i := range 20 {
				name := e.name("twice" + number(i))
				c.attach(name, "flags", modePublish)
				for range 2 {
					c.send(m{"action": attach, "channel": name, "flags": modePublish | modeSubscribe})
				}
				f := c.expect(attached, "channel", name)
				e.is("modes", f.int("flags")&modeBits, modePublish|modeSubscribe)
				p.publish(name, text("a", "b"))
				c.hear(name)
			}
		}},
		{section: "3.5", name: "names that differ in their qualifier are separate attachments", run: func(e *env) {
			c := e.connect(0)
			base := e.name("twice")
			c.attach(base)
			c.attach("[?rewind=1]" + base)
			e.is("connections", e.metrics(1, base)["connections"], 2)
			c.publish(base, text("a", "b"))
			c.hears(base)
			c.hears("[?rewind=1]" + base)
		}},
		{section: "3.5", name: "a qualifier's query is params, those of ATTACH win", run: func(e *env) {
			c := e.connect(0)
			base := e.name("query")
			e.is("params", c.attach("[?modes=subscribe&echo=false]" + base)["params"], m{"modes": "subscribe", "echo": "false"})
			e.is("params", c.attach("[?modes=subscribe]"+base, "params", m{"modes": "publish"})["params"], m{"modes": "publish"})
		}},
		{section: "3.5", name: "publishing under a qualified name reaches the channel", run: func(e *env) {
			c := e.connect(0)
			base := e.name("qualified")
			c.attach(base)
			c.publish("[?rewind=1]"+base, text("a", "b"))
			c.hear(base)
		}},
		{section: "3.5", name: "200 channels on a connection, and not one more", run: func(e *env) {
			c := e.connect(0)
			base := e.name("many")
			for i := range 200 {
				c.send(m{"action": attach, "channel": base + number(i)})
			}
			for range 200 {
				c.expect(attached)
			}
			e.fails(c.denied(base+"more"), 90010, 400)
			c.send(m{"action": detach, "channel": base + "0"})
			c.expect(detached)
			c.attach(base + "more")
		}},
		{section: "3.6", name: "serials have one order on all nodes", run: func(e *env) {
			name := e.name("sorted")
			var given []string
			a, b := e.connect(0), e.connect(1)
			for range 10 {
				given = append(given, serials(a.publish(name, text("a", "")))...)
				given = append(given, serials(b.publish(name, text("b", "")))...)
			}
			e.ok("sorted", slices.IsSorted(given))
			e.is("different", len(slices.Compact(given)), 20)
		}},
		{section: "3.7", name: "DETACH is answered, attached or not", run: func(e *env) {
			c := e.connect(0)
			name := e.name("detach")
			c.attach(name)
			for range 2 {
				c.send(m{"action": detach, "channel": name})
				f := c.expect(detached, "channel", name)
				e.ok("no error", !f.has("error"))
			}
			e.within(time.Second, "nobody attached", func() bool { return e.metrics(1, name).int("connections") == 0 })
		}},
		{section: "3.7", name: "nothing is heard behind DETACHED", run: func(e *env) {
			c, p := e.connect(0), e.connect(1)
			name := e.name("gone")
			c.attach(name)
			c.send(m{"action": detach, "channel": name})
			c.expect(detached)
			p.publish(name, text("a", "b"))
			c.silent(message)
		}},
		{section: "3.7", name: "ATTACH and DETACH in a row leave it detached", run: func(e *env) {
			c := e.connect(0)
			name := e.name("row")
			for range 5 {
				c.send(m{"action": attach, "channel": name})
				c.send(m{"action": detach, "channel": name})
			}
			for range 5 {
				c.expect(detached, "channel", name)
			}
			e.within(time.Second, "nobody attached", func() bool { return e.metrics(1, name).int("connections") == 0 })
		}},
		{section: "3.7", name: "a refused ATTACH behind one under way: the ERROR is the last word", run: func(e *env) {
			c := e.connect(0)
			for range 20 {
				name := e.name("order")
				c.attach(name)
				c.send(m{"action": attach, "channel": name})
				c.send(m{"action": attach, "channel": name, "params": m{"rewind": "x"}})
				e.is("first", c.next()["action"], attached)
				f := c.next()
				e.is("second", f["action"], failed)
				e.fails(f.obj("error"), 40003, 400)
			}
			c.silent(attached)
		}},
		{section: "3.7", name: "a refused ATTACH in place ends the attachment", run: func(e *env) {
			c := e.connect(0)
			name := e.name("refused")
			c.attach(name)
			e.fails(c.denied(name, "params", m{"rewind": "x"}), 40003, 400)
			e.within(time.Second, "nobody attached", func() bool { return e.metrics(1, name).int("connections") == 0 })
		}},
	}
	for _, name := range []string{"", ":a", ",a", " a", "\ta", "[a", "[x]a", "[]a", "[?]a", "[?rewind=1]", "[filter]a", "[filter=]a", "[meta=x]a",
		"a\nb", "a\rb", "a\vb", "a\fb", "a\u0085b", "a\u2028b", "a\u2029b", "[?rewind=1][meta]a", strings.Repeat("x", 3000)} {
		list = append(list, check{section: "3.5", name: "no channel name: " + quoted(name), run: func(e *env) {
			c := e.connect(0)
			e.fails(c.denied(name), 40010, 400)
			e.fails(c.nacked(name, text("a", "b")), 40010, 400)
			if name != "" {
				e.refuses(e.rest(0, "POST", channelPath(name)+"/messages", text("a", "b")), 40010, 400)
			}
			c.alive()
		}})
	}
	for _, name := range []string{"a/b", "a?b", "a*b", "*", "emoji 😀", "a,b:c", "a b", "ä", "a%2Fb", "a//..//b", "#", "a]b", "a[b]"} {
		list = append(list, check{section: "3.5", name: "a channel name: " + quoted(name), run: func(e *env) {
			name := name + e.name("")
			c := e.connect(0)
			c.attach(name)
			c.publish(name, text("realtime", ""))
			e.is("name", c.hear(name)["name"], "realtime")
			e.is("channel", e.post(1, channelPath(name)+"/messages", text("rest", "")).obj()["channel"], name)
			e.is("name", c.hear(name)["name"], "rest")
			e.is("connections", e.metrics(2, name)["connections"], 1)
		}})
	}
	return list
}

func quoted(s string) string {
	r := strings.NewReplacer("\n", "\\n", "\r", "\\r", "\v", "\\v", "\f", "\\f", "\t", "\\t", "\u0085", "\\u0085", "\u2028", "\\u2028", "\u2029", "\\u2029", "/", "∕")
	if len(s) > 40 {
		s = s[:10] + "… of " + number(len(s))
	}
	return "'" + r.Replace(s) + "'"
}

// channelParams is about the params of ATTACH.
func channelParams() []check {
	// past publishes n messages and returns where a client attaches then.
	past := func(e *env, n int) (name string, c *client) {
		name = e.name("past")
		p := e.connect(0)
		for i := range n {
			p.publish(name, text(number(i), ""))
		}
		return name, e.connect(1)
	}
	list := []check{
		{section: "3.4", name: "unknown params are dropped", run: func(e *env) {
			f := e.connect(0).attach(e.name("unknown"), "params", m{"nonsense": "foo", "agent": "react-hooks/1"})
			e.ok("not echoed", !f.has("params") || len(f.obj("params")) == 0)
			e.is("flags", f["flags"], defaultModes)
		}},
		{section: "3.4", name: "the echo has what was recognised and nothing else", run: func(e *env) {
			f := e.connect(0).attach(e.name("echoed"), "params", m{"modes": "subscribe", "delta": "vcdiff", "nonsense": "foo"})
			e.is("params", f["params"], m{"modes": "subscribe", "delta": "vcdiff"})
			e.is("modes", f.int("flags")&modeBits, modeSubscribe)
		}},
		{section: "3.4", name: "echo=false on one channel", run: func(e *env) {
			c, other := e.connect(0), e.connect(1)
			quiet, loud := e.name("quiet"), e.name("loud")
			e.is("params", c.attach(quiet, "params", m{"echo": "false"})["params"], m{"echo": "false"})
			c.attach(loud)
			c.publish(quiet, text("own", ""))
			c.publish(loud, text("own", ""))
			other.publish(quiet, text("other", ""))
			e.is("name", c.hear(loud)["name"], "own")
			e.is("name", c.hear(quiet)["name"], "other")
		}},
		{section: "3.4", name: "rewind by number", run: func(e *env) {
			name, c := past(e, 5)
			f := c.attach(name, "params", m{"rewind": "2"})
			e.ok("HAS_BACKLOG", f.int("flags")&hasBacklog != 0)
			e.is("params", f["params"], m{"rewind": "2"})
			e.is("name", c.hear(name)["name"], "3")
			e.is("name", c.hear(name)["name"], "4")
			c.silent(message)
		}},
		{section: "3.4", name: "rewind by time", run: func(e *env) {
			name := e.name("time")
			p, c := e.connect(0), e.connect(1)
			p.publish(name, text("old", ""))
			time.Sleep(30 * time.Second)
			p.publish(name, text("new", ""))
			c.attach(name, "params", m{"rewind": "20s"})
			e.is("name", c.hear(name)["name"], "new")
			c.silent(message)
			d := e.connect(2)
			d.attach(name, "params", m{"rewind": "1m"})
			e.is("name", d.hear(name)["name"], "old")
		}},
		{section: "3.4", name: "rewindLimit", run: func(e *env) {
			name, c := past(e, 5)
			c.attach(name, "params", m{"rewind": "1m", "rewindLimit": "2"})
			e.is("name", c.hear(name)["name"], "3")
			e.is("name", c.hear(name)["name"], "4")
		}},
		{section: "3.4", name: "rewind of more than 100 is cut with an error", run: func(e *env) {
			name, c := past(e, 105)
			f := c.attach(name, "params", m{"rewind": "103"})
			e.ok("an error", f.has("error"))
			e.is("name", c.hear(name)["name"], "5")
			for range 99 {
				c.hear(name)
			}
		}},
		{section: "3.4", name: "rewind does not repeat for who comes back with a serial", run: func(e *env) {
			name, c := past(e, 3)
			c.attach(name, "params", m{"rewind": "3"})
			at := ""
			for range 3 {
				at = c.hears(name).str("channelSerial")
			}
			c.cut()
			again := e.connect(2)
			again.attach(name, "params", m{"rewind": "3"}, "channelSerial", at)
			again.silent(message)
		}},
		{section: "3.4", name: "rewind of an empty channel", run: func(e *env) {
			f := e.connect(0).attach(e.name("empty"), "params", m{"rewind": "10"})
			e.ok("no HAS_BACKLOG", f.int("flags")&(hasBacklog|resumed) == 0)
		}},
		{section: "3.4", name: "rewind in a qualifier", run: func(e *env) {
			name, c := past(e, 2)
			c.attach("[?rewind=1]" + name)
			e.is("name", c.hear("[?rewind=1]" + name)["name"], "1")
		}},
		{section: "3.4", name: "messages of a rewind are as they were", run: func(e *env) {
			name := e.name("same")
			c := e.connect(0)
			c.attach(name)
			c.publish(name, m{"name": "n", "data": "d", "extras": m{"headers": m{"a": 1}}, "id": "own", "clientId": "x"})
			live := c.hear(name)
			d := e.connect(1)
			d.attach(name, "params", m{"rewind": "1"})
			e.is("message", d.hear(name), live)
		}},
	}
	for _, text := range []string{"x", "-1", "1.5", "5x", "", "s", "99999999999999999999"} {
		list = append(list, check{section: "3.4", name: "rewind that cannot be read: " + quoted(text), run: func(e *env) {
			e.fails(e.connect(0).denied(e.name("bad"), "params", m{"rewind": text}), 40003, 400)
		}})
	}
	return list
}
