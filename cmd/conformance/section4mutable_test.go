package conformance

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// The actions of messages.
const (
	createAction  = 0
	updateAction  = 1
	deleteAction  = 2
	summaryAction = 4
	appendAction  = 5
)

// edits is about messages that change, and annotations.
func edits() []check {
	// original publishes a message on a channel whose messages can change; a subscriber has heard it.
	original := func(e *env, args ...string) (name, serial string, c, s *client) {
		name = "mutable:" + e.name("m")
		c, s = e.connect(0, args...), e.connect(1)
		s.attach(name)
		serial = serials(c.publish(name, m{"name": "n", "data": "one", "extras": m{"headers": m{"a": "b"}}}))[0]
		e.is("serial", s.hear(name)["serial"], serial)
		return name, serial, c, s
	}
	edit := func(action int, serial string, more ...any) m {
		return with(m{"action": action, "serial": serial}, more)
	}
	messagePath := func(name, serial string) string {
		return channelPath(name) + "/messages/" + url.PathEscape(serial)
	}
	list := []check{
		{section: "4.8", name: "an update keeps what it does not replace", run: func(e *env) {
			name, serial, c, s := original(e)
			version := serials(c.publish(name, edit(updateAction, serial, "data", "two", "version", m{"description": "why", "metadata": m{"k": "v"}})))[0]
			e.ok("a later version", version > serial)
			got := s.hear(name)
			e.is("action", got["action"], updateAction)
			e.is("serial", got["serial"], serial)
			e.is("name", got["name"], "n")
			e.is("data", got["data"], "two")
			e.is("extras", got["extras"], m{"headers": m{"a": "b"}})
			e.is("version", got.obj("version")["serial"], version)
			e.is("description", got.obj("version")["description"], "why")
			e.is("metadata", got.obj("version")["metadata"], m{"k": "v"})
		}},
		{section: "4.8", name: "a delete keeps the record", run: func(e *env) {
			name, serial, c, s := original(e)
			c.publish(name, edit(deleteAction, serial))
			got := s.hear(name)
			e.is("action", got["action"], deleteAction)
			e.is("serial", got["serial"], serial)
			e.is("action in history", e.get(2, channelPath(name)+"/messages").list()[0]["action"], deleteAction)
		}},
		{section: "4.8", name: "an append adds to text", run: func(e *env) {
			name, serial, c, _ := original(e)
			c.publish(name, edit(appendAction, serial, "data", " two"))
			c.publish(name, edit(appendAction, serial, "data", " three"))
			e.is("data", e.get(1, channelPath(name)+"/messages").list()[0]["data"], "one two three")
		}},
		{section: "4.8", name: "an append is heard as a whole or as what it adds", run: func(e *env) {
			name, serial, c, s := original(e)
			c.publish(name, edit(appendAction, serial, "data", " two"))
			got := s.hear(name)
			whole := got.int("action") == updateAction && got.str("data") == "one two"
			added := got.int("action") == appendAction && got.str("data") == " two"
			e.ok("one of both: "+show(got), whole || added)
			full := e.connect(2)
			full.attach(name, "params", m{"appendMode": "full"})
			c.publish(name, edit(appendAction, serial, "data", " three"))
			e.is("data", full.hear(name)["data"], "one two three")
		}},
		{section: "4.8", name: "history shows the latest version in the first place", run: func(e *env) {
			name, serial, c, _ := original(e)
			c.publish(name, text("second", ""))
			c.publish(name, edit(updateAction, serial, "data", "two"))
			list := e.get(2, channelPath(name)+"/messages?direction=forwards").list()
			e.is("messages", len(list), 2)
			e.is("serial", list[0]["serial"], serial)
			e.is("data", list[0]["data"], "two")
			e.is("name", list[1]["name"], "second")
		}},
		{section: "4.8", name: "updates over REST, and what there is to read", run: func(e *env) {
			name, serial, _, s := original(e)
			r := e.rest(1, "PATCH", messagePath(name, serial), edit(updateAction, serial, "data", "two"))
			e.is("status", r.status, 200)
			version := r.obj().str("versionSerial")
			e.is("version", s.hear(name).obj("version")["serial"], version)
			e.is("data", e.get(2, messagePath(name, serial)).obj()["data"], "two")
			versions := e.get(0, messagePath(name, serial)+"/versions").list()
			e.is("versions", len(versions), 2)
			e.is("oldest first", versions[0]["data"], "one")
			e.refuses(e.rest(0, "GET", messagePath(name, serial+"x"), nil), 40400, 404)
		}},
		{section: "4.8", name: "only where the namespace allows it", run: func(e *env) {
			c := e.connect(0)
			name := e.name("fixed")
			serial := serials(c.publish(name, text("a", "b")))[0]
			for _, action := range []int{updateAction, deleteAction, appendAction} {
				e.fails(c.nacked(name, edit(action, serial, "data", "x")), 93002, 400)
			}
			e.refuses(e.rest(0, "PATCH", messagePath(name, serial), edit(updateAction, serial)), 93002, 400)
		}},
		{section: "4.8", name: "an update needs a serial", run: func(e *env) {
			c := e.connect(0)
			e.fails(c.nacked("mutable:"+e.name("none"), m{"action": updateAction, "data": "x"}), 40003, 400)
		}},
		{section: "4.8", name: "an update of what is not there", run: func(e *env) {
			c := e.connect(0)
			err := c.nacked("mutable:"+e.name("none"), edit(updateAction, "01700000000000-000@x:000", "data", "x"))
			e.is("code", err["code"], 40400)
		}},
		{section: "4.8", name: "own messages and any", run: func(e *env) {
			name, serial, _, _ := original(e, "clientId=alice")
			as := func(who, operation string) *client {
				return e.connect(2, "access_token="+e.jwt(keyAll, m{"x-ably-clientId": who, "x-ably-capability": fmt.Sprintf(`{"*":["publish",%q]}`, operation)}))
			}
			as("alice", "message-update-own").publish(name, edit(updateAction, serial, "data", "x"))
			as("bob", "message-update-any").publish(name, edit(updateAction, serial, "data", "x"))
			e.fails(as("bob", "message-update-own").nacked(name, edit(updateAction, serial, "data", "x")), 40160, 401)
			e.fails(as("alice", "publish").nacked(name, edit(updateAction, serial, "data", "x")), 40160, 401)
			e.fails(as("alice", "message-update-any").nacked(name, edit(deleteAction, serial)), 40160, 401)
			as("alice", "message-delete-own").publish(name, edit(deleteAction, serial))
		}},
		{section: "4.8", name: "an annotation is rolled up into a summary", run: func(e *env) {
			name, serial, c, s := original(e, "clientId=alice")
			c.attach(name)
			annotate := func(action int, who *client, more ...any) {
				who.send(m{"action": annotation, "channel": name, "msgSerial": who.serial, "annotations": []m{with(m{"action": action, "messageSerial": serial, "type": "likes:flag.v1"}, more)}})
				who.serial++
				who.expect(ack, "msgSerial", who.serial-1)
			}
			annotate(0, c)
			got := s.hear(name)
			e.is("action", got["action"], summaryAction)
			e.is("serial", got["serial"], serial)
			e.is("total", got.obj("annotations").obj("summary").obj("likes:flag.v1")["total"], 1)
			annotate(1, c)
			total := s.hear(name).obj("annotations").obj("summary").obj("likes:flag.v1")
			e.ok("taken back", len(total) == 0 || equal(total["total"], 0))
		}},
		{section: "4.8", name: "annotations themselves reach who asks for them", run: func(e *env) {
			name, serial, c, s := original(e, "clientId=alice")
			w := e.connect(2)
			w.attach(name, "flags", modeAnnotationSub|modeSubscribe)
			c.attach(name)
			c.send(m{"action": annotation, "channel": name, "msgSerial": c.serial, "annotations": []m{{"action": 0, "messageSerial": serial, "type": "emoji:distinct.v1", "name": "👍"}}})
			f := w.expect(annotation)
			one := f.all("annotations")[0]
			e.is("name", one["name"], "👍")
			e.is("clientId", one["clientId"], "alice")
			e.is("messageSerial", one["messageSerial"], serial)
			s.silent(annotation)
		}},
		{section: "4.8", name: "annotations over REST", run: func(e *env) {
			name, serial, _, _ := original(e)
			path := messagePath(name, serial) + "/annotations"
			r := e.rest(0, "POST", path, []m{{"action": 0, "type": "stars:multiple.v1", "name": "five", "clientId": "bob", "count": 2}})
			e.is("status", r.status, 201)
			list := e.get(1, path).list()
			e.is("annotations", len(list), 1)
			e.is("name", list[0]["name"], "five")
			e.is("status", e.rest(0, "POST", path, m{"action": 0, "type": "stars:multiple.v1"}).status, 400)
		}},
	}
	list = append(list, check{section: "4.9", name: "what follows on an occupancy event is no delta", run: func(e *env) {
		name := e.name("counted")
		d, p, o := e.connect(0), e.connect(1), e.connect(2)
		d.attach(name, "params", m{"delta": "vcdiff", "occupancy": "metrics.publishers"}, "flags", modeSubscribe)
		e.is("seed", d.occupancyEvent(name), m{"publishers": 0})
		data := func(i int) string { return strings.Repeat("the same all the time, ", 100) + number(i) }
		for i := range 3 {
			p.publish(name, text("n", data(2*i)))
			e.is("whole", d.hear(name)["data"], data(2*i))
			p.publish(name, text("n", data(2*i+1)))
			got := d.hear(name)
			e.ok("a delta: "+show(got), strings.Contains(got.str("encoding"), "vcdiff"))
			o.send(m{"action": []int{attach, detach}[i%2], "channel": name, "flags": modePublish})
			e.is("event", d.occupancyEvent(name), m{"publishers": (i + 1) % 2})
		}
	}})
	return append(list, check{section: "4.9", name: "deltas of what changes little", run: func(e *env) {
		name := e.name("delta")
		d, whole, p := e.connect(0), e.connect(1), e.connect(2)
		e.is("params", d.attach(name, "params", m{"delta": "vcdiff"})["params"], m{"delta": "vcdiff"})
		whole.attach(name)
		data := func(i int) string {
			b, _ := json.Marshal(map[string]any{"i": i, "long": strings.Repeat("the same all the time, ", 100)})
			return string(b)
		}
		var last m
		for i := range 3 {
			p.publish(name, m{"name": "n", "data": data(i), "encoding": "json"})
			e.is("whole", whole.hear(name)["data"], data(i))
			f := d.hears(name)
			got := f.all("messages")[0]
			if i == 0 {
				e.is("the first is whole", got["data"], data(0))
				e.is("encoding", got["encoding"], "json")
			} else {
				e.ok("a delta: "+show(got), strings.Contains(got.str("encoding"), "vcdiff"))
				e.is("format", got.obj("extras").obj("delta")["format"], "vcdiff")
				e.is("from", got.obj("extras").obj("delta")["from"], last["id"])
				size := len(got.str("data"))
				if b, ok := got["data"].([]byte); ok {
					size = len(b)
				}
				e.ok("it is small", size < len(data(i))/4)
			}
			last = f.fill(got, 0)
		}
		c := e.connect(1)
		c.attach(name, "params", m{"delta": "vcdiff"}, "channelSerial", "")
		p.publish(name, m{"name": "n", "data": data(9), "encoding": "json"})
		e.is("whole to who comes", c.hear(name)["data"], data(9))
	}})
}
