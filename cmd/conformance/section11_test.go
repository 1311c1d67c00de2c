package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// shop is an app of a check's own, whose limits hurt nobody else.
type shop struct {
	e            *env
	id, account  string
	key          string
	connectByKey string
}

// account is the name of an account that no other check uses.
func (e *env) account() string { return "acc-" + e.format + e.name("") }

// settling is how long a cluster has moved its partitions about for the first time. While a channel changes its owner those
// who wait for it are let in, whatever the limit.
const settling = 20 * time.Second

// shop makes an app of an account, on a cluster at rest.
func (e *env) shop(account string) *shop {
	time.Sleep(settling - time.Since(e.began))
	s := &shop{e: e, id: strings.Trim(e.format+e.name(""), "-"), account: account}
	e.steer(0, "POST", "/accounts/"+account+"/apps", m{"id": s.id})
	s.key = e.steer(1, "POST", "/apps/"+s.id+"/keys", m{"capability": m{"[*]*": []string{"*"}}}).str("key")
	s.connectByKey = "key=" + s.key
	return s
}

// limits sets limits of the app, until the end of the check's use of it.
func (s *shop) limits(set m) { s.e.steer(2, "PATCH", "/apps/"+s.id+"/limits", set) }

func (s *shop) keyName() string { name, _, _ := strings.Cut(s.key, ":"); return name }
func (s *shop) keyID() string   { return strings.TrimPrefix(s.keyName(), s.id+".") }
func (s *shop) secret() string  { _, secret, _ := strings.Cut(s.key, ":"); return secret }

func (s *shop) connect(node int) *client { return s.e.connect(node, s.connectByKey) }

// rest sends a request with the key of the app.
func (s *shop) rest(node int, method, path string, body any) *reply {
	return s.e.rest(node, method, path, body, "Authorization: "+basic(s.key))
}

// publish is a REST publish of one small message.
func (s *shop) publish(node int, name string) *reply {
	return s.rest(node, "POST", channelPath(name)+"/messages", text("a", "b"))
}

// steer changes something through the control API of a node.
func (e *env) steer(node int, method, path string, body m) m {
	at := e.nodes[node%len(e.nodes)]
	b, err := json.Marshal(body)
	if err != nil {
		e.fatalf("%v", err)
	}
	req, err := http.NewRequest(method, "http://"+at.ip+":"+number(adminPort)+"/v1"+path, bytes.NewReader(b))
	if err != nil {
		e.fatalf("%v", err)
	}
	res, err := web(e.net.Host(e.ownIP())).Do(req)
	if err != nil {
		e.fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode >= 300 {
		e.fatalf("%s %s: %d %s", method, path, res.StatusCode, answer)
	}
	if res.StatusCode == http.StatusNoContent {
		return nil
	}
	v, err := decode("json", answer)
	if err != nil {
		e.fatalf("%s %s: %v", method, path, err)
	}
	o, _ := v.(m)
	return o
}

// opened attaches to many channels at once, and sorts what comes of it.
func (c *client) opened(names []string) (fine int, refused []m) {
	c.opens(names)
	return c.outcome(len(names))
}

func (c *client) opens(names []string) {
	for _, name := range names {
		c.send(m{"action": attach, "channel": name})
	}
}

// outcome sorts what n attaches were answered with.
func (c *client) outcome(n int) (fine int, refused []m) {
	for range n {
		f := c.expectAny(attached, detached, failed)
		if f.int("action") == attached {
			fine++
		} else {
			refused = append(refused, f)
		}
	}
	return fine, refused
}

// settled publishes many messages at once, and sorts what comes of it.
func (c *client) settled(name string, n int) (fine int, refused []m) {
	for range n {
		c.say(name, text("a", "b"))
	}
	for done := 0; done < n; {
		f := c.expectAny(ack, nack)
		count := int(f.int("count"))
		if done += count; f.int("action") == ack {
			fine += count
		} else {
			for range count {
				refused = append(refused, f.obj("error"))
			}
		}
	}
	return fine, refused
}

func (e *env) manyNames(n int) (list []string) {
	for range n {
		list = append(list, e.name("many"))
	}
	return list
}

// limitations is about limits of apps and accounts.
func limitations() []check {
	return []check{
		{section: "11.3", name: "channels of an app, over WebSocket and REST", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"channels": m{"hard": 3}})
			fine, refused := s.connect(0).opened(e.manyNames(10))
			e.is("opened", fine, 3)
			for _, f := range refused {
				e.is("action", f["action"], failed)
				e.fails(f.obj("error"), 40114, 401)
			}
			e.fails(s.connect(1).nacked(e.name("nack"), text("a", "b")), 40114, 401)
			e.refuses(s.publish(2, e.name("rest")), 40114, 401)
			s.limits(m{"channels": m{"hard": 4}})
			s.connect(2).attach(e.name("next"))
		}},
		{section: "11.3", name: "channels opened too fast, over WebSocket and REST", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"channelRate": m{"hard": 2}})
			c := s.connect(0)
			names := e.manyNames(30)
			fine, refused := c.opened(names)
			e.ok("some and not all: "+number(fine), fine >= 2 && fine <= 4*len(e.nodes))
			for _, f := range refused {
				e.is("a refusal after which SDKs try again", f["action"], detached)
				e.fails(f.obj("error"), 90021, 429)
			}
			fine, rest := 0, m(nil)
			for i := range 30 {
				if r := s.publish(i, e.name("rest")); r.status == http.StatusCreated {
					fine++
				} else {
					e.refuses(r, 90021, 429)
					rest = r.obj()
				}
			}
			e.ok("some and not all: "+number(fine), rest != nil && fine <= 10*len(e.nodes))
			e.sleep(5)
			c.attach(refused[0].str("channel"))
		}},
		{section: "11.3", name: "connections of an app", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"connections": m{"hard": 2}})
			first, second := s.connect(0), s.connect(1)
			e.fails(e.refused(2, s.connectByKey), 40150, 401)
			second.send(m{"action": closing})
			second.ends()
			e.sleep(2)
			s.connect(2)
			first.alive()
		}},
		{section: "11.3", name: "connections opened too fast", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"connectionRate": m{"hard": 2}})
			s.connect(0)
			s.connect(0)
			c := e.dial(0, s.connectByKey)
			f := c.next()
			e.is("a refusal after which SDKs try again", f["action"], disconnected)
			e.fails(f.obj("error"), 80021, 429)
			c.ends()
			e.sleep(3)
			s.connect(0).alive()
		}},
		{section: "11.3", name: "published too fast: by a connection, on a channel, by an app", run: func(e *env) {
			s := e.shop(e.account())
			c := s.connect(0)
			name := e.name("fast")
			c.publish(name, text("a", "b")) // its channel is open
			for limit, code := range map[string]int64{"connectionInRate": 42911, "channelMessageRate": 42913, "messageRate": 42917} {
				e.sleep(2)
				s.limits(m{limit: m{"hard": 4}})
				fine, refused := c.settled(name, 20)
				e.ok(limit+" lets some through and not all: "+number(fine), fine >= 4 && fine <= 6)
				for _, err := range refused {
					e.fails(err, code, 429)
				}
				if limit != "connectionInRate" {
					r := s.publish(0, name)
					e.refuses(r, code, 429)
					e.ok("Retry-After", r.header.Get("Retry-After") != "")
				}
				s.limits(m{limit: nil})
			}
			c.alive()
		}},
		{section: "11.3", name: "a connection that floods is ended with 42920", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"connectionInRate": m{"hard": 2}})
			c := s.connect(0)
			name := e.name("flood")
			for range 60 {
				c.say(name, text("a", "b"))
			}
			f := c.expect(failed)
			e.ok("of the whole connection", !f.has("channel"))
			e.fails(f.obj("error"), 42920, 429)
			c.ends()
			s.connect(0).alive() // who comes anew may
		}},
		{section: "11.3", name: "more than may be delivered: some is left out and told with 42915", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"connectionOutRate": m{"hard": 5}})
			c, other, p := s.connect(0), s.connect(1), s.connect(2)
			name, quiet := e.name("much"), e.name("little")
			c.attach(name)
			other.attach(quiet)
			for range 20 {
				p.publish(name, text("a", "b"))
			}
			f := c.expect(attached, "channel", name)
			e.is("RESUMED", f.int("flags")&resumed, 0)
			e.fails(f.obj("error"), 80020, 400)
			e.ok("it says why: "+show(f), strings.Contains(f.obj("error").str("message"), "42915"))
			heard := 0
			for _, f := range c.pending {
				if f.int("action") == message {
					heard += len(f.list("messages"))
				}
			}
			e.ok("some were heard and not all: "+number(heard), heard >= 5 && heard < 20)
			c.pending = nil
			e.sleep(2)
			p.publish(name, text("after", "b"))
			e.is("name", c.hear(name)["name"], "after")
			p.publish(quiet, text("a", "b"))
			e.is("name", other.hear(quiet)["name"], "a")
			other.silent(attached)
		}},
		{section: "11.3", name: "more than may be delivered: an ATTACH in place does not hide what was left out", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"connectionOutRate": m{"hard": 5}})
			p := s.connect(1)
			for _, modes := range []int{defaultModes, modeSubscribe} {
				c, name := s.connect(0), e.name("again")
				c.attach(name)
				for range 20 {
					p.publish(name, text("a", "b"))
				}
				f := c.attach(name, "flags", modes)
				e.is("RESUMED", f.int("flags")&resumed, 0)
				e.fails(f.obj("error"), 80020, 400)
				e.ok("it says why: "+show(f), strings.Contains(f.obj("error").str("message"), "42915"))
				e.sleep(1)
				c.pending = nil
				p.publish(name, text("after", "b"))
				e.is("name", c.hear(name)["name"], "after")
				c.silent(attached)
			}
		}},
		{section: "11.3", name: "requests of an app", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"apiRequestRate": m{"hard": 2}})
			var late *reply
			for range 10 {
				if r := s.rest(0, "GET", "/channels?limit=1", nil); r.status == http.StatusTooManyRequests {
					late = r
				}
			}
			e.ok("some are refused", late != nil)
			e.refuses(late, 42918, 429)
			e.ok("Retry-After", late.header.Get("Retry-After") != "")
			e.sleep(2)
			e.is("status", s.rest(0, "GET", "/channels?limit=1", nil).status, http.StatusOK)
		}},
		{section: "11.3", name: "the size of a publish, and members of a channel", run: func(e *env) {
			s := e.shop(e.account())
			s.limits(m{"messageSize": m{"hard": 2048}, "presenceMembers": m{"hard": 1}})
			c := s.connect(0)
			e.is("maxMessageSize", c.details()["maxMessageSize"], 2048)
			name := e.name("size")
			c.attach(name)
			e.fails(c.nacked(name, text("a", strings.Repeat("x", 2048))), 40009, 400)
			e.refuses(s.rest(1, "POST", channelPath(name)+"/messages", text("a", strings.Repeat("x", 2048))), 40009, 400)
			enter := func(who string) {
				c.send(m{"action": presenceFrame, "channel": name, "msgSerial": c.serial, "presence": []m{{"action": 2, "clientId": who}}})
				c.serial++
			}
			enter("a")
			c.expect(ack, "msgSerial", c.serial-1)
			enter("b")
			e.fails(c.expect(nack, "msgSerial", c.serial-1).obj("error"), 91003, 400)
		}},
		{section: "11.3", name: "the size of changes, annotations and presence", run: func(e *env) {
			s := e.shop(e.account())
			e.steer(0, "POST", "/apps/"+s.id+"/namespaces", m{"id": "mutable", "mutable_messages": true})
			s.limits(m{"messageSize": m{"hard": 1024}})
			name := "mutable:" + e.name("size")
			path := channelPath(name) + "/messages"
			c := e.connect(0, s.connectByKey, "clientId=alice")
			c.attach(name)
			serial := serials(c.publish(name, text("a", strings.Repeat("x", 600))))[0]
			large := strings.Repeat("x", 2000)
			e.refuses(s.rest(1, "PATCH", path+"/"+url.PathEscape(serial), m{"action": updateAction, "data": large}), 40009, 400)
			e.refuses(s.rest(2, "POST", path, m{"action": updateAction, "serial": serial, "data": large}), 40009, 400)
			e.fails(c.nacked(name, m{"action": updateAction, "serial": serial, "data": large}), 40009, 400)
			much := strings.Repeat("x", 600) // fits, and not behind what is there
			e.refuses(s.rest(1, "PATCH", path+"/"+url.PathEscape(serial), m{"action": appendAction, "data": much}), 40009, 400)
			e.refuses(s.rest(1, "POST", path, m{"action": appendAction, "serial": serial, "data": much}), 40009, 400)
			e.fails(c.nacked(name, m{"action": appendAction, "serial": serial, "data": much}), 40009, 400)
			note := m{"action": 0, "type": "note:total.v1", "data": large}
			e.refuses(s.rest(2, "POST", path+"/"+url.PathEscape(serial)+"/annotations", []m{note}), 40009, 400)
			c.send(m{"action": annotation, "channel": name, "msgSerial": c.serial, "annotations": []m{note.but("messageSerial", serial)}})
			c.serial++
			e.fails(c.expect(nack, "msgSerial", c.serial-1).obj("error"), 40009, 400)
			c.send(m{"action": presenceFrame, "channel": name, "msgSerial": c.serial, "presence": []m{{"action": 2, "data": large}}})
			c.serial++
			e.fails(c.expect(nack, "msgSerial", c.serial-1).obj("error"), 40009, 400)
			c.publish(name, m{"action": updateAction, "serial": serial, "data": "small"})
			e.is("data", e.rest(1, "GET", path+"/"+url.PathEscape(serial), nil, "Authorization: "+basic(s.key)).obj()["data"], "small")
		}},
		{section: "11.3", name: "apps of an account share its channels", run: func(e *env) {
			account := e.account()
			a, b, stranger := e.shop(account), e.shop(account), e.shop(e.account())
			e.steer(0, "PATCH", "/accounts/"+account+"/limits", m{"channels": m{"hard": 5}})
			b.limits(m{"channels": m{"hard": 2}})
			fine, refused := b.connect(1).opened(e.manyNames(4))
			e.is("the app's own limit counts as well", fine, 2)
			e.ok("refused by the app: "+show(refused), strings.Contains(refused[0].obj("error").str("message"), `app "`+b.id))
			fine, refused = a.connect(0).opened(e.manyNames(6))
			e.is("what the account has left", fine, 3)
			for _, f := range refused {
				e.fails(f.obj("error"), 40114, 401)
				e.ok("refused by the account: "+show(f), strings.Contains(f.obj("error").str("message"), account))
			}
			e.refuses(a.publish(2, e.name("rest")), 40114, 401)
			e.refuses(b.publish(0, e.name("rest")), 40114, 401)
			fine, _ = stranger.connect(2).opened(e.manyNames(6))
			e.is("another account's", fine, 6)
			e.steer(1, "PATCH", "/accounts/"+account+"/limits", m{"channels": m{"hard": 6}})
			a.connect(2).attach(e.name("next"))
		}},
		{section: "11.3", name: "apps of an account that open channels at all nodes at once", run: func(e *env) {
			const hard, each = 20, 15
			account := e.account()
			e.steer(0, "PATCH", "/accounts/"+account+"/limits", m{"channels": m{"hard": hard}})
			var all []*client
			for range 3 {
				s := e.shop(account)
				all = append(all, s.connect(0), s.connect(1), s.connect(2))
			}
			for _, c := range all {
				c.opens(e.manyNames(each))
			}
			sum := 0
			for _, c := range all {
				fine, refused := c.outcome(each)
				sum += fine
				for _, f := range refused {
					e.fails(f.obj("error"), 40114, 401)
				}
			}
			e.is("open of all apps", sum, hard)
		}},
		{section: "11.3", name: "apps of an account share its connections and its rates", run: func(e *env) {
			account := e.account()
			a, b, stranger := e.shop(account), e.shop(account), e.shop(e.account())
			e.steer(0, "PATCH", "/accounts/"+account+"/limits", m{"connections": m{"hard": 2}, "messageRate": m{"hard": 4}})
			ca, cb := a.connect(0), b.connect(0)
			for node, s := range []*shop{a, b, a} {
				e.fails(e.refused(node, s.connectByKey), 40111, 401)
			}
			stranger.connect(1)
			name := e.name("rate")
			fa, ra := ca.settled(name, 10)
			fb, rb := cb.settled(name, 10)
			e.ok("a second's worth for both together: "+number(fa+fb), fa+fb >= 4 && fa+fb <= 6)
			for _, err := range append(ra, rb...) {
				e.fails(err, 42917, 429)
			}
			r := b.publish(0, name)
			e.refuses(r, 42917, 429)
		}},
	}
}

// expectAny is the oldest frame of one of some actions.
func (c *client) expectAny(actions ...int64) m {
	for end := time.Now().Add(patience); ; {
		if i := slices.IndexFunc(c.pending, func(f m) bool { return slices.Contains(actions, f.int("action")) }); i >= 0 {
			f := c.pending[i]
			c.pending = slices.Delete(c.pending, i, i+1)
			return f
		}
		f := c.take(time.Until(end))
		if f == nil {
			c.e.fatalf("no frame of %v (ended: %v)", actions, c.over)
		}
		c.pending = append(c.pending, f)
	}
}
