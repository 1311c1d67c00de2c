package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// roster is what a client makes of SYNC and PRESENCE: who is there, and under which id.
type roster struct {
	there map[string]m
	named map[string]bool // by the sync under way, or since it began; nil: there is none
}

func (r *roster) take(f m) {
	if f.int("action") == syncFrame && r.named == nil {
		r.named = map[string]bool{}
	}
	for i, one := range f.all("presence") {
		one = f.fill(one, i)
		key := one.str("connectionId") + " " + one.str("clientId")
		if r.named != nil {
			r.named[key] = true
		}
		if was := r.there[key]; was != nil && !later(one, was) {
			continue
		}
		r.there[key] = one
	}
	if _, cursor, _ := strings.Cut(f.str("channelSerial"), ":"); f.int("action") == syncFrame && cursor == "" {
		for key := range r.there {
			if !r.named[key] {
				delete(r.there, key)
			}
		}
		r.named = nil
	}
	for key, one := range r.there {
		if r.named == nil && one.int("action") == leave {
			delete(r.there, key)
		}
	}
}

// later compares two messages of one member: by msgSerial and index, or by time where not both are the client's own.
func later(one, was m) bool {
	at := func(o m) (list []int) {
		rest, own := strings.CutPrefix(o.str("id"), o.str("connectionId")+":")
		for part := range strings.SplitSeq(rest, ":") {
			n, err := strconv.Atoi(part)
			if own = own && err == nil; own {
				list = append(list, n)
			}
		}
		if len(list) != 2 {
			return nil
		}
		return list
	}
	a, b := at(one), at(was)
	if a == nil || b == nil {
		return one.int("timestamp") >= was.int("timestamp")
	}
	return slices.Compare(a, b) > 0
}

func (r *roster) String() string {
	var list []string
	for _, one := range r.there {
		list = append(list, fmt.Sprintf("%v=%v", one["clientId"], one["data"]))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// membership is about members whose channel is detached, full or told of page by page.
func membership() []check {
	crowd := func(from, to int) (list []m) {
		for i := from; i < to; i++ {
			list = append(list, member(enter, fmt.Sprintf("c%04d", i)))
		}
		return list
	}
	return []check{
		{section: "5.1", name: "LEAVE or ENTER, and DETACH without waiting: both are done", run: func(e *env) {
			name := e.name("hurry")
			w, c := e.connect(1), e.connect(0, "clientId=alice")
			w.attach(name)
			for i, action := range []int{leave, enter, update} {
				c.attach(name)
				if action != enter {
					c.enters(name, member(enter, ""))
					w.sees(name)
				}
				data := number(i)
				serial := c.tell(name, member(action, "", "data", data))
				c.send(m{"action": detach, "channel": name})
				c.expect(detached, "channel", name)
				c.expect(ack, "msgSerial", serial)
				e.is("data", w.sees(name)["data"], data)
				if action != leave {
					e.is("then it leaves", w.sees(name)["action"], leave)
				}
				c.silent(nack)
			}
			e.is("members", len(e.get(2, channelPath(name)+"/presence").list()), 0)
		}},
		{section: "5.1", name: "what members have together is limited", sizes: []int{1}, run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"presenceMembers": m{"hard": 1000}})
			c, name := s.connect(0), e.name("total")
			c.attach(name, "flags", modePresence)
			data := strings.Repeat("x", 65000)
			for i := range 1000 {
				serial := c.tell(name, member(enter, "c"+number(i), "data", data))
				f := c.expectAny(ack, nack)
				e.is("msgSerial", f["msgSerial"], serial)
				if f.int("action") == nack {
					e.fails(f.obj("error"), 91006, 400)
					e.ok("16 MiB fit: "+number(i), i > 200 && i < 300)
					c.enters(name, member(leave, "c0"))
					c.enters(name, member(enter, "c"+number(i), "data", data))
					return
				}
			}
			e.fatalf("there is no limit")
		}},
		{section: "5.3", name: "members come and go while a large set is told", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"presenceMembers": m{"hard": 2000}})
			name := e.name("crowd")
			c := s.connect(0)
			c.attach(name, "flags", modePresence)
			for from := 0; from < 1200; from += 100 {
				c.enters(name, crowd(from, from+100)...)
			}
			w := s.connect(1)
			seen := &roster{there: map[string]m{}}
			w.send(m{"action": attach, "channel": name})
			live := 0
			change := func() { // the ends of the set and its middle, in turn
				live++
				at := []int{live, 1200 - live, 600 + live}[live%3]
				c.tell(name, member(leave, fmt.Sprintf("c%04d", at)))
				c.tell(name, member(update, fmt.Sprintf("c%04d", (at+400)%1200), "data", number(live)))
				c.tell(name, member(enter, fmt.Sprintf("n%04d", live)))
			}
			pages := 0
			for range 10 {
				change()
			}
			for last := ""; live < 60 || last != "done"; {
				f := w.next()
				if f.int("action") == syncFrame {
					pages++
				}
				seen.take(f)
				if live < 60 {
					change()
				}
				if live == 60 && last == "" {
					last = "to come"
					c.tell(name, member(enter, "the last"))
				}
				if _, there := seen.there[c.id()+" the last"]; there && seen.named == nil {
					last = "done"
				}
			}
			e.ok("several pages: "+number(pages), pages >= 3)
			path := channelPath(name) + "/presence"
			first := s.rest(2, "GET", path+"?limit=1000", nil)
			items := append(first.list(), s.rest(2, "GET", path+"?"+e.links(first, "presence")["next"], nil).list()...)
			truth := &roster{there: map[string]m{}}
			for _, one := range items {
				truth.there[one.str("clientId")] = one
			}
			e.ok("all of them: "+number(len(truth.there)), len(truth.there) > 1000)
			e.is("seen", seen.String(), truth.String())
		}},
		{section: "5.3", name: "who may not see others is sent its own members when it asks", run: func(e *env) {
			name := e.name("own")
			a, b := e.connect(0, "clientId=alice"), e.connect(1)
			a.attach(name)
			a.enters(name, member(enter, ""))
			b.attach(name, "flags", modePresence)
			b.send(m{"action": syncFrame, "channel": name})
			set, _ := b.synced(name)
			e.is("members", len(set), 0)
			b.enters(name, member(enter, "bob"), member(enter, "carol", "data", "x"))
			b.send(m{"action": syncFrame, "channel": name})
			set, _ = b.synced(name)
			e.is("members", len(set), 2)
			e.is("action", set["bob"]["action"], presentAction)
			e.is("data", set["carol"]["data"], "x")
			e.is("id", set["carol"]["id"], b.id()+":0:1")
			d := e.connect(2)
			d.attach(name, "flags", modeSubscribe)
			d.send(m{"action": syncFrame, "channel": name})
			set, _ = d.synced(name)
			e.is("without a mode of presence", len(set), 0)
		}},
		{section: "5.4", name: "DETACH of the name with PRESENCE leaves at once, whatever else is attached", run: func(e *env) {
			name := e.name("names")
			w, c := e.connect(1), e.connect(0, "clientId=alice")
			w.attach(name)
			c.attach(name)
			c.attach("[?occupancy=metrics]"+name, "flags", modeSubscribe)
			c.enters(name, member(enter, ""))
			w.sees(name)
			begun := time.Now()
			c.send(m{"action": detach, "channel": name})
			e.is("action", w.sees(name)["action"], leave)
			e.ok("at once", time.Since(begun) < time.Second)
			// Of two that can have members the first one keeps them.
			c.attach(name)
			c.attach("[?rewind=1]" + name)
			c.enters(name, member(enter, ""))
			w.sees(name)
			c.send(m{"action": detach, "channel": "[?rewind=1]" + name})
			w.silent(presenceFrame)
		}},
		{section: "5.4", name: "who is revoked leaves at once", run: func(e *env) {
			name, who := e.name("revoked"), e.name("who")
			token := e.jwt(keyRevocable, m{"iat": time.Now().Unix() - 10, "x-ably-clientId": who})
			w, c := e.connect(1), e.connect(0, "access_token="+token)
			w.attach(name)
			c.attach(name)
			c.enters(name, member(enter, "", "data", "x"))
			w.sees(name)
			begun := time.Now()
			e.post(2, "/keys/"+e.app.Keys[keyRevocable].KeyName+"/revokeTokens", m{"targets": []string{"clientId:" + who}},
				"Authorization: "+basic(e.key(keyRevocable)))
			c.expect(disconnected)
			got := w.sees(name)
			e.is("action", got["action"], leave)
			e.is("data", got["data"], "x")
			e.ok("at once", time.Since(begun) < 2*time.Second)
		}},
		{section: "11.3", name: "members that enter too fast: by a connection, on a channel, by an app; nobody is kept from leaving", run: func(e *env) {
			s := e.shop(e.account())
			c, name := s.connect(0), e.name("fast")
			c.attach(name)
			for limit, code := range map[string]int64{"connectionInRate": 42911, "channelMessageRate": 42913, "messageRate": 42917} {
				e.sleep(2)
				s.limits(m{limit: m{"hard": 4}})
				var last int64
				for i := range 20 {
					last = c.tell(name, member(enter, "c"+number(i)))
				}
				fine := 0
				for at := last - 19; at <= last; {
					f := c.expectAny(ack, nack)
					e.is("msgSerial", f["msgSerial"], at)
					if at += f.int("count"); f.int("action") == ack {
						fine += int(f.int("count"))
					} else {
						e.fails(f.obj("error"), code, 429)
					}
				}
				e.ok(limit+" lets some in and not all: "+number(fine), fine >= 4 && fine <= 6)
				e.is("members", len(s.rest(1, "GET", channelPath(name)+"/presence", nil).list()), fine)
				e.fails(c.expect(nack, "msgSerial", c.tell(name, member(update, "c0"))).obj("error"), code, 429)
				for i := range 20 {
					last = c.tell(name, member(leave, "c"+number(i)))
				}
				for at := last - 19; at <= last; {
					f := c.expect(ack)
					e.is("msgSerial", f["msgSerial"], at)
					at += f.int("count")
				}
				e.is("members", len(s.rest(1, "GET", channelPath(name)+"/presence", nil).list()), 0)
				s.limits(m{limit: nil})
			}
		}},
		{section: "11.3", name: "updates, appends and annotations count as messages", run: func(e *env) {
			s := e.shop(e.account())
			e.steer(0, "POST", "/apps/"+s.id+"/namespaces", m{"id": "mutable", "mutable_messages": true})
			name := "mutable:" + e.name("edits")
			c := e.connect(0, s.connectByKey, "clientId=alice")
			serial := serials(c.publish(name, text("a", "b")))[0]
			edits := map[string]func(){
				"updates": func() { c.say(name, m{"action": updateAction, "serial": serial, "data": "x"}) },
				"appends": func() { c.say(name, m{"action": appendAction, "serial": serial, "data": "x"}) },
				"annotations": func() {
					c.send(m{"action": annotation, "channel": name, "msgSerial": c.serial, "annotations": []m{{"action": 0, "messageSerial": serial, "type": "likes:total.v1"}}})
					c.serial++
				},
			}
			for limit, code := range map[string]int64{"connectionInRate": 42911, "channelMessageRate": 42913, "messageRate": 42917} {
				for what, edit := range edits {
					e.sleep(2)
					s.limits(m{limit: m{"hard": 4}})
					for range 12 {
						edit()
					}
					fine := 0
					for done := 0; done < 12; {
						f := c.expectAny(ack, nack)
						if done += int(f.int("count")); f.int("action") == ack {
							fine += int(f.int("count"))
						} else {
							e.fails(f.obj("error"), code, 429)
						}
					}
					e.ok(limit+" lets some "+what+" through and not all: "+number(fine), fine >= 4 && fine <= 6)
					s.limits(m{limit: nil})
				}
			}
		}},
	}
}
