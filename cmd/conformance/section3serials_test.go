package conformance

import (
	"fmt"
	"net/url"
	"slices"
	"time"
)

// forged is serials that no server gave, by what is odd about them.
func forged() map[string]string {
	at := func(d time.Duration, n int) string {
		return fmt.Sprintf("%014d-%03d@x", time.Now().Add(d).UnixMilli(), n)
	}
	return map[string]string{
		"the greatest there are":  "99999999999999-999@x",
		"as great as can be read": "99000000000000-998@x",
		"far ahead":               "98000000000000-000@x",
		"where nobody stands":     "98000000000000-999@x",
		"a little ahead":          at(30*time.Second, 0),
		"just now":                at(-300*time.Millisecond, 7),
		"a second ago":            at(-time.Second, 3),
		"long ago":                "00000000000001-000@x",
	}
}

// quietly runs what somebody does who may be up to something, and fails if anybody else on the channel comes to harm: who
// listens hears every publish and is told of no loss, and who comes back with a true serial has missed nothing.
func quietly(e *env, name string, do func(what, serial string)) {
	p, l := e.connect(0), e.connect(1)
	l.attach(name)
	p.publish(name, text("first", ""))
	at := l.hears(name).str("channelSerial")
	time.Sleep(2 * time.Second)
	serialsGiven := []string{at}
	for what, serial := range forged() {
		do(what, serial)
		given := serials(p.publish(name, text(what, "")))
		f := l.hears(name)
		e.is("name", f.all("messages")[0]["name"], what)
		serialsGiven = append(serialsGiven, f.str("channelSerial"))
		now := fmt.Sprintf("%014d", time.Now().Add(time.Second).UnixMilli())
		e.ok("the serial is of this time: "+given[0], given[0] < now)
		back := e.connect(2)
		f = back.attach(name, "channelSerial", at)
		e.resumed(f)
		e.is("name", back.hear(name)["name"], what)
		at = serialsGiven[len(serialsGiven)-1]
		back.cut()
	}
	e.ok("serials grow", slices.IsSorted(serialsGiven))
	l.silent(attached)
}

// clientSerials is about channelSerials that clients bring along, and what comes in which order behind ATTACHED.
func clientSerials() []check {
	return []check{
		{section: "3.2", name: "an invented channelSerial is the client's own affair", run: func(e *env) {
			name := e.name("forged")
			quietly(e, name, func(what, serial string) {
				c := e.connect(2, "key="+e.key(keySubscribe))
				f := c.attach(name, "channelSerial", serial)
				e.ok("not RESUMED: "+what, f.int("flags")&resumed == 0)
				e.fails(f.obj("error"), 90003, 400)
				e.ok("it goes on from another", f.str("channelSerial") != serial && f.str("channelSerial") != "")
				c.cut()
			})
		}},
		{section: "3.2", name: "an invented channelSerial on a channel that nobody has used", run: func(e *env) {
			for _, serial := range forged() {
				name := e.name("fresh")
				c, p := e.connect(0, "key="+e.key(keySubscribe)), e.connect(1)
				e.ok("not RESUMED", c.attach(name, "channelSerial", serial).int("flags")&resumed == 0)
				p.publish(name, text("a", ""))
				at := c.hears(name).str("channelSerial")
				e.resumed(e.connect(2).attach(name, "channelSerial", at))
				c.silent(attached)
			}
		}},
		{section: "7.3", name: "an invented cursor changes nothing", run: func(e *env) {
			name := e.name("cursor")
			quietly(e, name, func(_, serial string) {
				for _, direction := range []string{"forwards", "backwards"} {
					e.get(2, channelPath(name)+"/messages?direction="+direction+"&cursor="+url.QueryEscape(serial+":0"))
					e.get(2, channelPath(name)+"/messages?direction="+direction+"&from_serial="+url.QueryEscape(serial))
				}
			})
		}},
		{section: "3.2", name: "with a serial, and nothing missed when its node died: RESUMED", sizes: clusters, alone: true, run: func(e *env) {
			e.sleep(15) // until every partition has a copy
			c := e.connect(1)
			at := map[string]string{}
			for range 12 { // some of them are owned by node 1, and nobody else has heard of their serials
				name := e.name("still")
				at[name] = c.attach(name).str("channelSerial")
			}
			e.sleep(5)
			defer e.down(1)()
			again := e.connect(2)
			for name, serial := range at {
				e.resumed(again.attach(name, "channelSerial", serial))
			}
		}},
		{section: "3.2", name: "order: ATTACHED, SYNC, occupancy, live", run: func(e *env) {
			name := e.name("peopled")
			for i := range 3 {
				g := e.connect(i, "clientId=guest"+number(i))
				g.attach(name)
				g.enters(name, m{"action": 2})
			}
			for node := range 3 {
				c := e.connect(node)
				f := c.attach(name, "params", m{"occupancy": "metrics"})
				e.ok("HAS_PRESENCE", f.int("flags")&hasPresence != 0)
				f = c.next()
				e.is("second", f["action"], syncFrame)
				e.is("members", len(f.list("presence")), 3)
				f = c.next()
				e.is("third", f.all("messages")[0]["name"], "[meta]occupancy")
				c.publish(name, text("live", ""))
				e.is("name", c.hear(name)["name"], "live")
				c.silent(syncFrame)
				c.cut()
			}
		}},
	}
}

// rewinding is about how much a rewind gives.
func rewinding() []check {
	// past publishes frames of so many messages, named by a count, and returns where a client attaches then.
	past := func(e *env, frames ...int) (name string, c *client) {
		name = e.name("much")
		p, n := e.connect(0), 0
		for _, size := range frames {
			var list []m
			for range size {
				list = append(list, text(number(n), ""))
				n++
			}
			p.publish(name, list...)
		}
		return name, e.connect(1)
	}
	// hears takes the messages of a rewind, which have the names from..to-1.
	hears := func(e *env, c *client, name string, from, to int) {
		for from < to {
			for _, one := range c.hears(name).all("messages") {
				e.is("name", one["name"], number(from))
				from++
			}
		}
		e.is("end", from, to)
		c.silent(message)
	}
	var list []check
	for _, r := range []struct {
		what     string
		frames   []int
		params   m
		from, to int
		short    bool
	}{
		{"ends within a publish", []int{5}, m{"rewind": "2"}, 3, 5, false},
		{"ends between publishes", []int{3, 2}, m{"rewind": "2"}, 3, 5, false},
		{"goes back into a publish", []int{4, 4, 2}, m{"rewind": "7"}, 3, 10, false},
		{"of 100 ends within a publish", []int{150}, m{"rewind": "100"}, 50, 150, false},
		{"of 101 is cut within a publish", []int{150}, m{"rewind": "101"}, 50, 150, true},
		{"of more than there is", []int{60}, m{"rewind": "500"}, 0, 60, false},
		{"of time with a limit", []int{1, 1, 1, 1, 1}, m{"rewind": "1m", "rewindLimit": "2"}, 3, 5, false},
		{"of time with a limit within a publish", []int{5}, m{"rewind": "1m", "rewindLimit": "2"}, 3, 5, false},
		{"of time with a limit of 100", []int{60, 60}, m{"rewind": "1m", "rewindLimit": "100"}, 20, 120, false},
		{"of time with a limit above 100", []int{60, 60}, m{"rewind": "1m", "rewindLimit": "119"}, 20, 120, true},
		{"of time without a limit", []int{60, 60}, m{"rewind": "1m"}, 20, 120, true},
		{"of time that has little", []int{2, 3}, m{"rewind": "1m"}, 0, 5, false},
		{"of time with a limit that is not reached", []int{5}, m{"rewind": "1m", "rewindLimit": "5"}, 0, 5, false},
	} {
		list = append(list, check{section: "3.4", name: "a rewind counts messages: " + r.what, run: func(e *env) {
			name, c := past(e, r.frames...)
			f := c.attach(name, "params", r.params)
			e.ok("HAS_BACKLOG and not RESUMED", f.int("flags")&(hasBacklog|resumed) == hasBacklog)
			if e.is("error", f.has("error"), r.short); r.short {
				e.fails(f.obj("error"), 90004, 400)
			}
			hears(e, c, name, r.from, r.to)
		}})
	}
	return append(list,
		check{section: "3.4", name: "messages of a publish that is cut are as they were", run: func(e *env) {
			name := e.name("cut")
			c := e.connect(0)
			c.attach(name)
			c.publish(name, text("a", "1"), text("b", "2"), m{"name": "c", "data": "3", "extras": m{"headers": m{"x": 1}}})
			live := c.hears(name)
			for _, delta := range []m{{"rewind": "2"}, {"rewind": "2", "delta": "vcdiff"}, {"rewind": "2", "appendMode": "full"}} {
				d := e.connect(1)
				d.attach(name, "params", delta)
				f := d.hears(name)
				e.is("messages", f.list("messages"), live.list("messages")[1:])
				for _, field := range []string{"id", "connectionId", "channelSerial", "timestamp"} {
					e.is(field, f[field], live[field])
				}
			}
		}},
		check{section: "3.4", name: "a rewind is nothing to who does not hear messages", run: func(e *env) {
			name, _ := past(e, 1, 1)
			at := e.connect(0).attach(name).str("channelSerial")
			for _, modes := range []int64{modePresence, modePresenceSub, modePublish, modeAnnotationSub} {
				c := e.connect(1)
				f := c.attach(name, "flags", modes, "params", m{"rewind": "2"})
				e.ok("neither HAS_BACKLOG nor an error", f.int("flags")&hasBacklog == 0 && !f.has("error"))
				e.is("channelSerial", f["channelSerial"], at)
				c.silent(message)
			}
		}},
	)
}
