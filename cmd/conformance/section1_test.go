package conformance

import (
	"strings"
	"time"
)

// connections are about the query of the upgrade, CONNECTED, heartbeats, and how connections end.
func connections() []check {
	list := []check{
		{section: "1.1", name: "json is the default format", run: func(e *env) {
			if e.format != "json" {
				return
			}
			e.ok("connected", e.connect(0, "format").id() != "")
		}},
		{section: "1.1", name: "format decides the kind of frames in both directions", run: func(e *env) {
			e.connect(0).alive() // the client refuses frames of the other kind
		}},
		{section: "1.1", name: "an unknown format is refused", run: func(e *env) {
			if e.format == "json" { // which is what the refusal is written in
				e.fails(e.refused(0, "format=xml"), 40003, 400)
			}
		}},
		{section: "1.1", name: "the token may be called access_token or accessToken", run: func(e *env) {
			e.connect(0, "access_token="+e.jwt(keyAll, nil))
			e.connect(1, "accessToken="+e.jwt(keyAll, nil))
		}},
		{section: "1.1", name: "unknown parameters are ignored", run: func(e *env) {
			e.connect(0, "rnd=17", "lib=js", "stream=true", "timestamp=1", "clientType=x", "connectionSerial=-1", "agent=ably-js/2.26.0 nodejs/20").alive()
		}},
		{section: "1.1", name: "echo=false: not the connection's own messages", run: func(e *env) {
			name := e.name("echo")
			quiet, other := e.connect(0, "echo=false"), e.connect(1)
			quiet.attach(name)
			quiet.publish(name, text("own", ""))
			other.publish(name, text("other", ""))
			e.is("name", quiet.hear(name)["name"], "other")
		}},
		{section: "1.1", name: "echo=true is the default", run: func(e *env) {
			for _, args := range [][]string{nil, {"echo=true"}} {
				name := e.name("echo")
				c := e.connect(0, args...)
				c.attach(name)
				c.publish(name, text("own", ""))
				e.is("name", c.hear(name)["name"], "own")
			}
		}},
		{section: "1.2", name: "the upgrade completes although the client is refused", run: func(e *env) {
			e.fails(e.refused(0, "key=this.is:wrong"), 40101, 401)
		}},
		{section: "1.3", name: "connectionId is URL-safe, of fair length and unique", run: func(e *env) {
			a, b := e.connect(0), e.connect(1)
			e.ok("differ", a.id() != b.id() && a.key() != b.key())
			e.ok("URL-safe", len(a.id()) >= 10 && strings.Trim(a.id(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == "")
			e.ok("the key has more than the id", strings.HasPrefix(a.key(), a.id()) && len(a.key()) > len(a.id())+16)
		}},
		{section: "1.3", name: "the promised numbers", run: func(e *env) {
			d := e.connect(0).details()
			e.is("maxMessageSize", d["maxMessageSize"], 65536)
			e.is("connectionStateTtl", d["connectionStateTtl"], 120000)
			e.is("maxIdleInterval", d["maxIdleInterval"], 15000)
			e.ok("serverId", d.str("serverId") != "")
		}},
		{section: "1.5", name: "pings keep an idle connection without heartbeats", run: func(e *env) {
			c := e.connect(0, "heartbeats=false")
			time.Sleep(time.Minute)
			c.alive()
			e.ok("pinged at least every maxIdleInterval", c.pings.Load() >= 4)
			c.silent(heartbeat)
		}},
		{section: "1.5", name: "heartbeats=true: never silent for longer than maxIdleInterval", run: func(e *env) {
			c := e.connect(0, "heartbeats=true")
			for range 4 {
				before := time.Now()
				c.expect(heartbeat)
				e.ok("in time", time.Since(before) <= maxIdleInterval)
			}
		}},
		{section: "1.5", name: "a ping is answered with its id", run: func(e *env) {
			c := e.connect(0)
			for _, id := range []string{"a", "b9dA_-"} {
				c.send(m{"action": heartbeat, "id": id})
				c.expect(heartbeat, "id", id)
			}
		}},
		{section: "1.5", name: "a heartbeat without id is not answered", run: func(e *env) {
			c := e.connect(0)
			c.send(m{"action": heartbeat})
			c.silent(heartbeat)
		}},
		{section: "1.5", name: "heartbeatInterval is what the client is promised", run: func(e *env) {
			for arg, want := range map[string]int64{"5000": 5000, "7500": 7500, "60000": 60000, "1800000": 1800000, "1000": 5000, "9999999999": 1800000, "x": 15000, "-1": 15000} {
				e.is("maxIdleInterval for "+arg, e.connect(0, "heartbeatInterval="+arg).until(), want)
			}
		}},
		{section: "1.5", name: "a short heartbeatInterval is kept", run: func(e *env) {
			c := e.connect(0, "heartbeatInterval=5000", "heartbeats=true")
			for range 5 {
				before := time.Now()
				c.expect(heartbeat)
				e.ok("in time", time.Since(before) <= 5*time.Second)
			}
		}},
		{section: "1.5", name: "a long heartbeatInterval spares HEARTBEATs", run: func(e *env) {
			c := e.connect(0, "heartbeatInterval=60000", "heartbeats=true")
			time.Sleep(5 * time.Minute)
			c.alive()
			n := 0
			for _, f := range c.pending {
				if f.int("action") == heartbeat {
					n++
				}
			}
			e.ok("4 to 8 in 5 minutes", n >= 4 && n <= 8)
		}},
		{section: "1.5", name: "a half-open connection is ended within 30 s and stops counting", run: func(e *env) {
			name := e.name("halfopen")
			c := e.connect(0)
			c.attach(name)
			c.deaf.Store(true)
			e.net.Isolate(c.ip)
			e.within(30*time.Second, "nobody attached", func() bool { return e.metrics(1, name).int("connections") == 0 })
		}},
		{section: "1.5", name: "a connection that answers no ping is ended", run: func(e *env) {
			c := e.connect(0)
			c.deaf.Store(true)
			before := time.Now()
			for time.Since(before) < 40*time.Second && !c.over {
				c.take(time.Second)
			}
			e.ok("ended within 30 s", c.over && time.Since(before) <= 30*time.Second)
		}},
		{section: "1.7", name: "CLOSE is answered with CLOSED and the end", run: func(e *env) {
			name := e.name("close")
			c := e.connect(0)
			c.attach(name)
			c.send(m{"action": closing})
			c.expect(closed)
			c.ends()
			e.within(time.Second, "nobody attached", func() bool { return e.metrics(1, name).int("connections") == 0 })
		}},
		{section: "1.7", name: "a connection that was closed is not resumed", run: func(e *env) {
			c := e.connect(0)
			c.send(m{"action": closing})
			c.expect(closed)
			c.ends()
			again := e.connect(1, "resume="+c.key())
			e.ok("another id", again.id() != c.id())
			e.fails(again.hello.obj("error"), 80008, 400)
		}},
		{section: "1.7", name: "DISCONNECT ends the socket and keeps the connection", run: func(e *env) {
			c := e.connect(0)
			c.send(m{"action": disconnect})
			c.ends()
			e.is("connectionId", e.connect(1, "resume="+c.key()).id(), c.id())
		}},
		{section: "1.8", name: "the server asks for a token 30 s before the old one ends", run: func(e *env) {
			begun := time.Now()
			c := e.connect(0, "access_token="+e.jwt(keyAll, m{"exp": begun.Unix() + 120}))
			f := m(nil)
			for f == nil {
				f = c.take(patience)
			}
			e.is("action", f["action"], reauth)
			e.ok("about 30 s ahead", time.Since(begun) > 85*time.Second && time.Since(begun) < 95*time.Second)
			c.send(m{"action": reauth, "auth": m{"accessToken": e.jwt(keyAll, m{"exp": time.Now().Unix() + 3600})}})
			c.expect(connected)
			time.Sleep(time.Minute)
			c.alive()
		}},
		{section: "1.8", name: "an expired token ends the connection with DISCONNECTED 40142", run: func(e *env) {
			c := e.connect(0, "access_token="+e.jwt(keyAll, m{"exp": time.Now().Unix() + 5}))
			e.fails(c.expect(disconnected).obj("error"), 40142, 401)
			c.ends()
		}},
		{section: "1.8", name: "AUTH without a token ends the connection", run: func(e *env) {
			c := e.connect(0)
			c.send(m{"action": reauth})
			f := c.expect(failed)
			e.fails(f.obj("error"), 40101, 401)
			e.ok("of the connection", !f.has("channel"))
			c.ends()
		}},
		{section: "1.8", name: "AUTH as another client ends the connection with 40102", run: func(e *env) {
			c := e.connect(0, "access_token="+e.jwt(keyAll, m{"x-ably-clientId": "alice"}))
			c.send(m{"action": reauth, "auth": m{"accessToken": e.jwt(keyAll, m{"x-ably-clientId": "bob"})}})
			e.fails(c.expect(failed).obj("error"), 40102, 401)
		}},
		{section: "1.8", name: "AUTH with an expired token ends the connection with 40142", run: func(e *env) {
			c := e.connect(0)
			now := time.Now().Unix()
			c.send(m{"action": reauth, "auth": m{"accessToken": e.jwt(keyAll, m{"iat": now - 20, "exp": now - 10})}})
			e.fails(c.expect(failed).obj("error"), 40142, 401)
		}},
		{section: "1.8", name: "AUTH with less capability fails the channels it does not allow", run: func(e *env) {
			keep, lose := e.name("keep"), e.name("lose")
			c := e.connect(0, "access_token="+e.jwt(keyAll, nil))
			c.attach(keep)
			c.attach(lose)
			c.send(m{"action": reauth, "auth": m{"accessToken": e.jwt(keyAll, m{"x-ably-capability": `{"` + keep + `":["*"]}`})}})
			c.expect(connected)
			e.fails(c.expect(failed, "channel", lose).obj("error"), 40160, 401)
			c.publish(keep, text("a", "b"))
			c.hear(keep)
		}},
		{section: "1.8", name: "AUTH with more capability gives attached channels the modes they asked for", run: func(e *env) {
			all, some := e.name("all"), e.name("some")
			sub := e.jwt(keyAll, m{"x-ably-clientId": "alice", "x-ably-capability": `{"*":["subscribe"]}`})
			c := e.connect(0, "access_token="+sub)
			e.is("modes", c.attach(all).int("flags")&modeBits, modeSubscribe|modePresenceSub)
			c.attach(some, "flags", modeSubscribe)
			e.fails(c.nacked(all, text("a", "b")), 40160, 401)
			c.send(m{"action": reauth, "auth": m{"accessToken": e.jwt(keyAll, m{"x-ably-clientId": "alice"})}})
			c.expect(connected)
			f := c.expect(attached, "channel", all)
			e.resumed(f)
			e.is("modes", f.int("flags")&modeBits, defaultModes)
			c.publish(all, text("a", "b"))
			e.is("name", c.hear(all)["name"], "a")
			c.enters(all, member(enter, ""))
			e.fails(c.nacked(some, text("a", "b")), 40165, 401)
			c.silent(attached)
			e.within(2*time.Second, "a publisher", func() bool { return e.metrics(1, all).int("publishers") == 1 })

			c.send(m{"action": reauth, "auth": m{"accessToken": sub}})
			c.expect(connected)
			f = c.expect(attached, "channel", all)
			e.resumed(f)
			e.is("modes", f.int("flags")&modeBits, modeSubscribe|modePresenceSub)
			e.fails(c.nacked(all, text("a", "b")), 40160, 401)
		}},
		{section: "1.8", name: "AUTH with more capability allows more", run: func(e *env) {
			name := e.name("more")
			c := e.connect(0, "access_token="+e.jwt(keyAll, m{"x-ably-capability": `{"nothing":["*"]}`}))
			e.fails(c.denied(name), 40160, 401)
			c.send(m{"action": reauth, "auth": m{"accessToken": e.jwt(keyAll, nil)}})
			c.expect(connected)
			c.attach(name)
		}},
	}
	for version, served := range map[string]bool{"": true, "2": true, "5": true, "6": true, "99": true, "1.2": false, "1": false, "0": false, "x": false} {
		list = append(list, check{section: "1.1", name: "version " + version, run: func(e *env) {
			arg := "v=" + version
			if version == "" {
				arg = "v"
			}
			if served {
				e.connect(0, arg)
			} else {
				e.fails(e.refused(0, arg), 40017, 400)
			}
		}})
	}
	const nobody, anybody, alice, bob = "", "*", "alice", "bob"
	for _, row := range []struct{ credential, asked, told string }{ // §1.4
		{"basic", nobody, anybody}, {"basic", alice, alice},
		{alice, nobody, alice}, {alice, alice, alice}, {alice, bob, "40102"},
		{anybody, nobody, anybody}, {anybody, alice, alice},
		{nobody, nobody, nobody}, {nobody, alice, "40102"},
	} {
		name := "clientId of a token of '" + row.credential + "' that asks for '" + row.asked + "'"
		if row.credential == "basic" {
			name = "clientId of a key that asks for '" + row.asked + "'"
		}
		list = append(list, check{section: "1.4", name: name, run: func(e *env) {
			var args []string
			if row.credential != "basic" {
				claims := m{}
				if row.credential != "" {
					claims["x-ably-clientId"] = row.credential
				}
				args = append(args, "access_token="+e.jwt(keyAll, claims))
			}
			if row.asked != "" {
				args = append(args, "clientId="+row.asked)
			}
			switch row.told {
			case "40102":
				e.fails(e.refused(0, args...), 40102, 401)
			case "":
				e.ok("no clientId", !e.connect(0, args...).details().has("clientId"))
			default:
				e.is("clientId", e.connect(0, args...).details()["clientId"], row.told)
			}
		}})
	}
	return list
}

// resuming is about connections that go on over another socket.
func resuming() []check {
	back := func(e *env, c *client, node int) *client {
		again := e.connect(node, "resume="+c.key())
		e.is("connectionId", again.id(), c.id())
		e.ok("no error", !again.hello.has("error"))
		return again
	}
	return []check{
		{section: "1.6", name: "resume at another node keeps the id", run: func(e *env) {
			c := e.connect(0)
			c.cut()
			back(e, c, 1)
		}},
		{section: "1.6", name: "recover is the same", run: func(e *env) {
			c := e.connect(0)
			c.cut()
			e.is("connectionId", e.connect(1, "recover="+c.key()).id(), c.id())
		}},
		{section: "1.6", name: "the new key resumes as well", run: func(e *env) {
			c := e.connect(0)
			for node := range 4 {
				c.cut()
				c = back(e, c, node)
			}
		}},
		{section: "1.6", name: "resume until connectionStateTtl has passed", run: func(e *env) {
			c := e.connect(0)
			time.Sleep(5 * time.Minute) // a connection may be old, if only it was not gone for long
			c.cut()
			time.Sleep(connectionStateTTL - 10*time.Second)
			back(e, c, 1)
		}},
		{section: "1.6", name: "no resume after connectionStateTtl", run: func(e *env) {
			c := e.connect(0)
			c.cut()
			time.Sleep(connectionStateTTL + 10*time.Second)
			again := e.connect(1, "resume="+c.key())
			e.ok("another id", again.id() != c.id())
			e.fails(again.hello.obj("error"), 80008, 400)
		}},
		{section: "1.6", name: "a malformed key is 80018", run: func(e *env) {
			for _, key := range []string{"_____!ablyjs_test_fake-key____", "ablygo_test_fake-key____", "x"} {
				c := e.connect(0, "resume="+key)
				e.fails(c.hello.obj("error"), 80018, 400)
			}
		}},
		{section: "1.6", name: "a forged key is refused", run: func(e *env) {
			c := e.connect(0)
			forged := e.connect(1, "resume="+c.key()[:len(c.key())-4]+"AAAA")
			e.ok("another id", forged.id() != c.id())
			e.ok("an error", forged.hello.has("error"))
		}},
		{section: "1.6", name: "another client's connection is not resumed", run: func(e *env) {
			c := e.connect(0, "clientId=alice")
			c.cut()
			other := e.connect(1, "resume="+c.key(), "clientId=bob")
			e.ok("another id", other.id() != c.id())
			e.ok("80011 or 40102", other.hello.code() == 80011 || other.hello.code() == 40102)
		}},
		{section: "1.6", name: "resume with another key of the app", run: func(e *env) {
			c := e.connect(0)
			c.cut()
			again := e.connect(1, "resume="+c.key(), "key="+e.key(keyOther))
			e.is("connectionId", again.id(), c.id())
			e.ok("no error", !again.hello.has("error"))
			again.cut()
			back(e, again, 2) // with the first one again
		}},
		{section: "1.6", name: "resume with the token of another key that came by AUTH", run: func(e *env) {
			c := e.connect(0, "access_token="+e.jwt(keyAll, m{"x-ably-clientId": "alice"}))
			other := e.jwt(keyOther, m{"x-ably-clientId": "alice"})
			c.send(m{"action": reauth, "auth": m{"accessToken": other}})
			e.is("connectionKey", c.expect(connected).obj("connectionDetails")["connectionKey"], c.key())
			c.cut()
			again := e.connect(1, "resume="+c.key(), "access_token="+other)
			e.is("connectionId", again.id(), c.id())
			e.ok("no error", !again.hello.has("error"))
		}},
		{section: "1.6", name: "another app's connection is not resumed", run: func(e *env) {
			c := e.connect(0)
			other := e.connect(1, "resume="+c.key(), "key=demo.root:secret")
			e.ok("another id", other.id() != c.id())
			e.fails(other.hello.obj("error"), 80011, 401)
			c.alive()
		}},
		{section: "1.6", name: "adopting a connection ends its older socket on the same node", run: func(e *env) {
			c := e.connect(0)
			back(e, c, 0)
			c.ends()
		}},
		{section: "1.6", name: "adopting a connection ends its older socket on another node", run: func(e *env) {
			name := e.name("adopted")
			c := e.connect(0)
			c.attach(name)
			again := back(e, c, 1)
			c.ends()
			again.attach(name)
			e.within(time.Second, "one attachment", func() bool { return e.metrics(2, name).int("connections") == 1 })
		}},
		{section: "1.6", name: "an old key leads to the connection that has moved on", run: func(e *env) {
			c := e.connect(0)
			second := back(e, c, 1)
			third := back(e, c, 2) // CONNECTED of the second was lost, say
			second.ends()
			third.alive()
		}},
		{section: "1.6", name: "a publish said again is acknowledged as before and heard once", run: func(e *env) {
			name := e.name("again")
			watcher, c := e.connect(2), e.connect(0)
			watcher.attach(name)
			first := c.publish(name, text("a", "1"))
			c.cut()
			again := back(e, c, 1)
			second := again.publish(name, text("a", "1"))
			e.is("serials", serials(second), serials(first))
			again.serial = 1
			again.publish(name, text("b", "2"))
			e.is("name", watcher.hear(name)["name"], "a")
			e.is("name", watcher.hear(name)["name"], "b")
		}},
		{section: "1.6", name: "a publish said again at the end of the resume window is heard once", run: func(e *env) {
			name := e.name("late")
			watcher, c := e.connect(2), e.connect(0)
			watcher.attach(name)
			first := c.publish(name, text("a", "1"))
			e.net.Isolate(c.ip) // as if the ACK had not arrived
			// The server finds the connection lost 14 s later at the earliest, and has it resumed for connectionStateTtl then.
			time.Sleep(14*time.Second + connectionStateTTL - 2*time.Second)
			again := back(e, c, 1)
			e.is("serials", serials(again.publish(name, text("a", "1"))), serials(first))
			again.serial = 1
			again.publish(name, text("b", "2"))
			e.is("name", watcher.hear(name)["name"], "a")
			e.is("name", watcher.hear(name)["name"], "b")
		}},
		{section: "1.6", name: "msgSerials go on behind a resume", run: func(e *env) {
			name := e.name("serial")
			c := e.connect(0)
			c.publish(name, text("a", ""))
			c.publish(name, text("b", ""))
			c.cut()
			again := back(e, c, 1)
			again.serial = 2
			again.attach(name)
			again.publish(name, text("c", ""))
			e.is("id", again.hear(name)["id"], c.id()+":2:0")
		}},
		{section: "1.6", name: "a channel resumes although the connection did not", run: func(e *env) {
			name := e.name("channel")
			c, p := e.connect(0), e.connect(1)
			at := c.attach(name).str("channelSerial")
			c.cut()
			p.publish(name, text("missed", ""))
			fresh := e.connect(2)
			f := fresh.attach(name, "channelSerial", at)
			e.resumed(f)
			e.is("name", fresh.hear(name)["name"], "missed")
		}},
	}
}

// metrics is a channel's occupancy, as a node tells it.
func (e *env) metrics(node int, name string) m {
	return e.get(node, channelPath(name)).obj().obj("status").obj("occupancy").obj("metrics")
}
