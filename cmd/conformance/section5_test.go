package conformance

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The actions of presence messages.
const (
	presentAction = 1
	enter         = 2
	leave         = 3
	update        = 4
)

// member makes a presence message. more are fields: "key", value, …
func member(action int, clientID string, more ...any) m {
	p := m{"action": action}
	if clientID != "" {
		p["clientId"] = clientID
	}
	return with(p, more)
}

// tell sends presence messages without waiting and returns the msgSerial.
func (c *client) tell(name string, list ...m) int64 {
	c.send(m{"action": presenceFrame, "channel": name, "msgSerial": c.serial, "presence": list})
	c.serial++
	return c.serial - 1
}

// enters sends presence messages that have to be acknowledged.
func (c *client) enters(name string, list ...m) {
	c.expect(ack, "msgSerial", c.tell(name, list...))
}

// sees is the one presence message of the next PRESENCE on a channel, with what its frame adds.
func (c *client) sees(name string) m {
	f := c.expect(presenceFrame, "channel", name)
	list := f.all("presence")
	if len(list) != 1 {
		c.e.fatalf("%d presence messages in one frame, want one: %s", len(list), show(f))
	}
	return f.fill(list[0], 0)
}

// fill gives a message what its frame says for it.
func (f m) fill(one m, index int) m {
	all := one.but()
	for _, key := range []string{"connectionId", "timestamp"} {
		if !all.has(key) && f.has(key) {
			all[key] = f[key]
		}
	}
	if !all.has("id") && f.has("id") {
		all["id"] = f.str("id") + ":" + number(index)
	}
	return all
}

var syncForm = regexp.MustCompile(`^([\w-]+):(.*)$`)

// synced is the set that the next SYNC tells, by clientId; pages is how many frames it took.
func (c *client) synced(name string) (set map[string]m, pages int) {
	set = map[string]m{}
	sequence := ""
	for {
		f := c.expect(syncFrame, "channel", name)
		pages++
		for i, one := range f.all("presence") {
			set[one.str("clientId")] = f.fill(one, i)
		}
		at := f.str("channelSerial")
		if at == "" {
			return set, pages
		}
		part := syncForm.FindStringSubmatch(at)
		if part == nil || sequence != "" && part[1] != sequence {
			c.e.fatalf("the channelSerial of a SYNC is %q behind %q", at, sequence)
		}
		if sequence = part[1]; part[2] == "" {
			return set, pages
		}
	}
}

// presence is about members of a channel.
func presence() []check {
	present := func(e *env, node int, name string) (ids []string) {
		for _, one := range e.get(node, channelPath(name)+"/presence").list() {
			ids = append(ids, one.str("clientId"))
		}
		slices.Sort(ids)
		return ids
	}
	// watched is a member on one node and who watches on another.
	watched := func(e *env, args ...string) (name string, a, w *client) {
		name = e.name("present")
		a, w = e.connect(0, append([]string{"clientId=alice"}, args...)...), e.connect(1)
		w.attach(name)
		a.attach(name)
		return name, a, w
	}
	list := []check{
		{section: "5.1", name: "enter, update, leave reach others", run: func(e *env) {
			name, a, w := watched(e)
			before := time.Now().UnixMilli()
			for i, action := range []int{enter, update, leave} {
				data := "d" + number(i)
				a.enters(name, member(action, "", "data", data))
				got := w.sees(name)
				e.is("action", got["action"], action)
				e.is("clientId", got["clientId"], "alice")
				e.is("connectionId", got["connectionId"], a.id())
				e.is("id", got["id"], a.id()+":"+number(i)+":0")
				e.is("data", got["data"], data)
				e.ok("timestamp", got.int("timestamp") >= before-1)
			}
		}},
		{section: "5.1", name: "PRESENCE frames have a channelSerial to come back with", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(enter, ""))
			at := w.expect(presenceFrame).str("channelSerial")
			e.ok("channelSerial", at != "")
			a.publish(name, text("behind", ""))
			w.cut()
			again := e.connect(2)
			e.resumed(again.attach(name, "channelSerial", at))
			e.is("name", again.hear(name)["name"], "behind")
		}},
		{section: "5.1", name: "a client that has no identity cannot enter without a clientId", run: func(e *env) {
			for _, args := range [][]string{nil, {"access_token=" + e.jwt(keyAll, nil)}} {
				c := e.connect(0, args...)
				name := e.name("nobody")
				c.attach(name)
				e.fails(c.expect(nack, "msgSerial", c.tell(name, member(enter, ""))).obj("error"), 91000, 400)
			}
		}},
		{section: "5.1", name: "who may enter as whom", run: func(e *env) {
			for _, row := range []struct {
				arg, as string
				code    int64
			}{{"clientId=alice", "alice", 0}, {"clientId=alice", "bob", 40012}, {"clientId", "bob", 0}, {"clientId", "*", 40012},
				{"access_token=" + e.jwt(keyAll, m{"x-ably-clientId": "*"}), "bob", 0}, {"access_token=" + e.jwt(keyAll, nil), "bob", 40012}} {
				c := e.connect(0, row.arg)
				name := e.name("whom")
				c.attach(name)
				serial := c.tell(name, member(enter, row.as))
				if row.code == 0 {
					c.expect(ack, "msgSerial", serial)
				} else {
					e.fails(c.expect(nack, "msgSerial", serial).obj("error"), row.code, 400)
				}
			}
		}},
		{section: "5.1", name: "connectionId is the connection's own or an error", run: func(e *env) {
			name, a, _ := watched(e)
			a.enters(name, member(enter, "", "connectionId", a.id()))
			e.fails(a.expect(nack, "msgSerial", a.tell(name, member(enter, "", "connectionId", "other"))).obj("error"), 40006, 400)
		}},
		{section: "5.1", name: "a leave without data has the last data", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(enter, "", "data", "kept"))
			w.sees(name)
			a.enters(name, member(leave, ""))
			e.is("data", w.sees(name)["data"], "kept")
		}},
		{section: "5.1", name: "a leave of who is not there is acknowledged and not told", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(leave, ""))
			w.silent(presenceFrame)
		}},
		{section: "5.1", name: "an update of who is not there enters", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(update, "", "data", "x"))
			e.is("data", w.sees(name)["data"], "x")
			e.is("members", present(e, 2, name), []string{"alice"})
		}},
		{section: "5.1", name: "to enter again replaces the data", run: func(e *env) {
			name, a, _ := watched(e)
			a.enters(name, member(enter, "", "data", "1"))
			a.enters(name, member(enter, "", "data", "2"))
			set := e.get(1, channelPath(name)+"/presence").list()
			e.is("members", len(set), 1)
			e.is("data", set[0]["data"], "2")
		}},
		{section: "5.1", name: "several members in one frame", run: func(e *env) {
			name, w := e.name("several"), e.connect(1)
			c := e.connect(0)
			w.attach(name)
			c.attach(name)
			c.enters(name, member(enter, "a"), member(enter, "b"), member(enter, "c"))
			f := w.expect(presenceFrame)
			for i, one := range f.all("presence") {
				e.is("id", f.fill(one, i)["id"], c.id()+":0:"+number(i))
			}
			e.is("members", present(e, 2, name), []string{"a", "b", "c"})
		}},
		{section: "5.1", name: "without the capability 40160, without the mode 40165", run: func(e *env) {
			name := e.name("may")
			c := e.connect(0, "key="+e.key(keySubscribe), "clientId=alice")
			c.attach(name)
			e.fails(c.expect(nack, "msgSerial", c.tell(name, member(enter, ""))).obj("error"), 40160, 401)
			d := e.connect(0, "clientId=alice")
			d.attach(name, "flags", modeSubscribe)
			e.fails(d.expect(nack, "msgSerial", d.tell(name, member(enter, ""))).obj("error"), 40165, 401)
		}},
		{section: "5.1", name: "the set has a limit", run: func(e *env) {
			name := e.name("limit")
			c := e.connect(0)
			c.attach(name)
			var list []m
			for i := range 200 {
				list = append(list, member(enter, "c"+number(i)))
			}
			c.enters(name, list...)
			e.fails(c.expect(nack, "msgSerial", c.tell(name, member(enter, "one more"))).obj("error"), 91003, 400)
			c.enters(name, member(update, "c7", "data", "x"))
		}},
		{section: "5.2", name: "one clientId on two connections is two members", run: func(e *env) {
			name, a, _ := watched(e)
			b := e.connect(2, "clientId=alice")
			b.attach(name)
			a.enters(name, member(enter, ""))
			b.enters(name, member(enter, ""))
			e.is("members", present(e, 1, name), []string{"alice", "alice"})
			a.enters(name, member(leave, ""))
			e.is("members", present(e, 1, name), []string{"alice"})
		}},
		{section: "5.2", name: "a member hears of itself without PRESENCE_SUBSCRIBE, and of nobody else", run: func(e *env) {
			name, a, _ := watched(e)
			b := e.connect(2, "clientId=bob")
			b.attach(name, "flags", modePresence|modePublish)
			b.enters(name, member(enter, ""))
			e.is("clientId", b.sees(name)["clientId"], "bob")
			a.enters(name, member(enter, ""))
			b.silent(presenceFrame)
		}},
		{section: "5.2", name: "echo=false does not concern presence", run: func(e *env) {
			c := e.connect(0, "clientId=alice", "echo=false")
			name := e.name("echo")
			c.attach(name)
			c.enters(name, member(enter, ""))
			c.sees(name)
		}},
		{section: "5.2", name: "without PRESENCE_SUBSCRIBE there is neither PRESENCE nor SYNC", run: func(e *env) {
			name, a, _ := watched(e)
			a.enters(name, member(enter, ""))
			c := e.connect(2)
			c.attach(name, "flags", modeSubscribe)
			a.enters(name, member(update, ""))
			c.silent(presenceFrame)
			c.silent(syncFrame)
		}},
		{section: "5.3", name: "who comes later is told with HAS_PRESENCE and SYNC", run: func(e *env) {
			name, a, _ := watched(e)
			a.enters(name, member(enter, "", "data", "x"))
			c := e.connect(2)
			e.ok("HAS_PRESENCE", c.attach(name).int("flags")&hasPresence != 0)
			set, _ := c.synced(name)
			e.is("members", len(set), 1)
			e.is("action", set["alice"]["action"], presentAction)
			e.is("id", set["alice"]["id"], a.id()+":0:0")
			e.is("connectionId", set["alice"]["connectionId"], a.id())
			e.is("data", set["alice"]["data"], "x")
			e.ok("timestamp", set["alice"].int("timestamp") > 0)
		}},
		{section: "5.3", name: "an empty channel has no HAS_PRESENCE, or an empty SYNC", run: func(e *env) {
			c := e.connect(0)
			name := e.name("empty")
			if c.attach(name).int("flags")&hasPresence != 0 {
				set, _ := c.synced(name)
				e.is("members", len(set), 0)
			}
		}},
		{section: "5.3", name: "a client may ask for a SYNC", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(enter, ""))
			w.sees(name)
			w.send(m{"action": syncFrame, "channel": name})
			set, _ := w.synced(name)
			e.ok("alice", set["alice"] != nil)
		}},
		{section: "5.3", name: "a large set is told whole", run: func(e *env) {
			name := e.name("large")
			c := e.connect(0)
			c.attach(name)
			for from := 0; from < 200; from += 50 {
				var list []m
				for i := range 50 {
					list = append(list, member(enter, "c"+number(from+i), "data", strings.Repeat("x", 500)))
				}
				c.enters(name, list...)
			}
			for node := range 3 {
				d := e.connect(node)
				d.attach(name)
				set, _ := d.synced(name)
				e.is("members", len(set), 200)
			}
			e.is("presenceMembers", e.metrics(1, name)["presenceMembers"], 200)
		}},
		{section: "5.4", name: "CLOSE and DETACH leave at once", run: func(e *env) {
			name, a, w := watched(e)
			b := e.connect(2, "clientId=bob")
			b.attach(name)
			a.enters(name, member(enter, "", "data", "x"))
			b.enters(name, member(enter, ""))
			w.sees(name)
			w.sees(name)
			begun := time.Now()
			b.send(m{"action": detach, "channel": name})
			got := w.sees(name)
			e.is("leave of", got["clientId"], "bob")
			a.send(m{"action": closing})
			got = w.sees(name)
			e.is("action", got["action"], leave)
			e.is("data", got["data"], "x")
			e.ok("at once", time.Since(begun) < time.Second)
			e.ok("an id that no client gives", !strings.HasPrefix(got.str("id"), a.id()+":"))
		}},
		{section: "5.4", name: "who is cut off leaves after 15 s", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(enter, ""))
			w.sees(name)
			begun := time.Now()
			a.cut()
			e.is("action", w.sees(name)["action"], leave)
			e.ok("after 15 s", time.Since(begun) >= 14*time.Second && time.Since(begun) <= 17*time.Second)
		}},
		{section: "5.4", name: "remainPresentFor", run: func(e *env) {
			name, a, w := watched(e, "remainPresentFor=2000")
			a.enters(name, member(enter, ""))
			w.sees(name)
			begun := time.Now()
			a.cut()
			e.is("action", w.sees(name)["action"], leave)
			e.ok("after 2 s", time.Since(begun) >= time.Second && time.Since(begun) <= 4*time.Second)
		}},
		{section: "5.4", name: "who comes back in time never leaves", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(enter, "", "data", "x"))
			w.sees(name)
			a.cut()
			e.sleep(10)
			back := e.connect(2, "clientId=alice", "resume="+a.key())
			back.attach(name)
			e.sleep(20)
			w.silent(presenceFrame)
			e.is("members", present(e, 0, name), []string{"alice"})
		}},
		{section: "5.4", name: "to enter again with the first id is no second event", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(enter, "", "data", "x"))
			w.sees(name)
			id := a.id() + ":0:0"
			a.cut()
			back := e.connect(2, "clientId=alice", "resume="+a.key())
			back.serial = 1
			back.attach(name)
			back.enters(name, member(enter, "", "data", "x", "id", id))
			w.silent(presenceFrame)
		}},
		{section: "5.4", name: "to enter on another connection is an enter", run: func(e *env) {
			name, a, w := watched(e)
			a.enters(name, member(enter, ""))
			w.sees(name)
			a.cut()
			b := e.connect(2, "clientId=alice")
			b.attach(name)
			b.enters(name, member(enter, ""))
			got := w.sees(name)
			e.is("action", got["action"], enter)
			e.is("connectionId", got["connectionId"], b.id())
			e.is("leave of the other", w.sees(name)["action"], leave)
			e.is("members", present(e, 0, name), []string{"alice"})
		}},
		{section: "7.3", name: "GET presence", run: func(e *env) {
			name, a, _ := watched(e)
			b := e.connect(2)
			b.attach(name)
			a.enters(name, member(enter, "", "data", "x"))
			b.enters(name, member(enter, "bob"), member(enter, "carol"))
			path := channelPath(name) + "/presence"
			one := e.get(1, path+"?clientId=alice").list()
			e.is("members", len(one), 1)
			e.is("action", one[0]["action"], presentAction)
			e.is("connectionId", one[0]["connectionId"], a.id())
			e.is("data", one[0]["data"], "x")
			e.is("of one connection", len(e.get(1, path+"?connectionId="+url.QueryEscape(b.id())).list()), 2)
			items, _ := e.pages(path, "limit=1")
			e.is("in pages", len(items), 3)
			e.is("of nobody", e.get(0, channelPath(e.name("nobody"))+"/presence").body, []any{})
		}},
		{section: "7.3", name: "the clientId of GET presence is a filter, whoever asks", run: func(e *env) {
			name, a, _ := watched(e)
			b := e.connect(2)
			b.attach(name)
			a.enters(name, member(enter, ""))
			b.enters(name, member(enter, "bob"), member(enter, "carol"))
			for _, claims := range []m{{"x-ably-clientId": "alice"}, {"x-ably-clientId": "bob"}, {"x-ably-clientId": "*"}, {}} {
				one := e.get(1, channelPath(name)+"/presence?clientId=bob", "Authorization: "+bearer(e.jwt(keyAll, claims))).list()
				e.is("members", len(one), 1)
				e.is("clientId", one[0]["clientId"], "bob")
			}
		}},
		{section: "7.4", name: "a clientId with spaces goes along with the pages of presence", run: func(e *env) {
			const who = "John + Smith"
			name := e.name("spaces")
			for range 2 {
				c := e.connect(0)
				c.attach(name)
				c.enters(name, member(enter, who))
			}
			path, query := channelPath(name)+"/presence", "limit=1&clientId="+url.QueryEscape(who)
			items, _ := e.pages(path, query)
			e.is("members", len(items), 2)
			first := e.links(e.get(1, path+"?"+query), "presence")["first"]
			e.is("first", len(e.get(2, path+"?"+first).list()), 1)
		}},
		{section: "7.3", name: "GET presence/history", run: func(e *env) {
			name, a, _ := watched(e)
			for i, action := range []int{enter, update, leave} {
				a.enters(name, member(action, "", "data", number(i)))
			}
			a.publish(name, text("no presence", ""))
			path := channelPath(name) + "/presence/history"
			var got []int64
			for _, one := range e.get(1, path).list() {
				got = append(got, one.int("action"))
			}
			e.is("newest first", got, []int64{leave, update, enter})
			items, _ := e.pages(path, "limit=2&direction=forwards")
			e.is("first", items[0].(m)["action"], enter)
			e.is("messages", len(e.get(2, channelPath(name)+"/messages").list()), 1)
		}},
		{section: "7.3", name: "who may read presence", run: func(e *env) {
			path := channelPath(e.name("read")) + "/presence"
			e.get(0, path, "Authorization: "+basic(e.key(keySubscribe)))
			e.get(0, path, "Authorization: "+bearer(e.jwt(keyAll, m{"x-ably-capability": `{"*":["presence"]}`})))
			e.refuses(e.rest(0, "GET", path, nil, "Authorization: "+basic(e.key(keyPublish))), 40160, 401)
			e.refuses(e.rest(0, "GET", path+"/history", nil, "Authorization: "+basic(e.key(keySubscribe))), 40160, 401)
		}},
	}
	bin := []byte{0, 1, 254, 255}
	b64 := base64.StdEncoding.EncodeToString(bin)
	return append(list, check{section: "5.5", name: "data of every kind in both formats", run: func(e *env) {
		name := e.name("data")
		c := e.connect(0, "clientId=alice")
		c.attach(name)
		said := m{"data": b64, "encoding": "base64"}
		if e.format == "msgpack" {
			said = m{"data": bin}
		}
		for i, format := range formats {
			other := &env{world: e.world, number: e.number, format: format, check: e.check, hosts: 50 + 20*i}
			defer other.end()
			w := other.connect(1)
			w.attach(name)
			c.enters(name, member(enter, "").but("data", said["data"], "encoding", said["encoding"]))
			got := w.sees(name)
			if format == "json" {
				e.is("data", got["data"], b64)
				e.is("encoding", got["encoding"], "base64")
			} else {
				e.is("data", got["data"], bin)
				e.ok("no encoding", !got.has("encoding"))
			}
			c.enters(name, member(update, "", "data", `{"a":1}`, "encoding", "json"))
			got = w.sees(name)
			e.is("data", got["data"], `{"a":1}`)
			e.is("encoding", got["encoding"], "json")
		}
	}})
}
