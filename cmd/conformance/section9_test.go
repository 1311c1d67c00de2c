package conformance

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// credentials is about keys, tokens and JWTs that are fine.
func credentials() []check {
	return []check{
		{section: "9.1", name: "generated secrets have neither colon nor point", run: func(e *env) {
			for _, k := range e.app.Keys {
				e.ok(k.KeyStr, k.KeySecret != "" && !strings.ContainsAny(k.KeySecret, ":. \t") && k.KeyStr == k.KeyName+":"+k.KeySecret)
			}
		}},
		{section: "9.3", name: "TokenDetails", run: func(e *env) {
			before := time.Now().UnixMilli()
			d := e.token(keyAll, m{"ttl": 60_000, "clientId": "alice", "capability": `{"b":["subscribe","publish"],"a":["*"]}`})
			e.is("keyName", d["keyName"], e.app.Keys[keyAll].KeyName)
			e.is("expires", d.int("expires"), d.int("issued")+60_000)
			e.ok("issued", d.int("issued") >= before-1 && d.int("issued") <= time.Now().UnixMilli())
			e.is("clientId", d["clientId"], "alice")
			e.is("capability", d["capability"], `{"a":["*"],"b":["publish","subscribe"]}`)
			e.ok("token", strings.HasPrefix(d.str("token"), e.app.AppID+".") && len(d.str("token")) <= 343)
		}},
		{section: "9.3", name: "a token lives for an hour by default and has its key's capability", run: func(e *env) {
			d := e.token(keyMixed, nil)
			e.is("expires", d.int("expires"), d.int("issued")+defaultTokenLifetime.Milliseconds())
			e.is("capability", d["capability"], mixed)
			e.ok("no clientId", !d.has("clientId"))
		}},
		{section: "9.3", name: "the token of one node is one on all", run: func(e *env) {
			token := e.token(keyAll, m{"clientId": "alice"}).str("token")
			for node := range 3 {
				e.is("clientId", e.connect(node, "access_token="+token).details()["clientId"], "alice")
				e.get(node, "/channels", "Authorization: "+bearer(token))
			}
		}},
		{section: "9.3", name: "a ttl of 100 ms is one", run: func(e *env) {
			d := e.token(keyAll, m{"ttl": 100})
			time.Sleep(150 * time.Millisecond)
			e.fails(e.refused(0, "access_token="+d.str("token")), 40142, 401)
		}},
		{section: "9.3", name: "numbers of a token request may be text", run: func(e *env) {
			d := e.token(keyAll, m{"ttl": "60000", "timestamp": fmt.Sprint(time.Now().UnixMilli())})
			e.is("expires", d.int("expires"), d.int("issued")+60_000)
		}},
		{section: "9.2", name: "a request without mac needs the key itself", run: func(e *env) {
			path := "/keys/" + e.app.Keys[keyAll].KeyName + "/requestToken"
			e.ok("token", e.post(0, path, m{"ttl": 1000}).obj().str("token") != "")
			e.refuses(e.rest(0, "POST", path, m{"ttl": 1000}, "Authorization: "+basic(e.key(keyOther))), 40101, 401)
			e.refuses(e.rest(0, "POST", path, m{"ttl": 1000}, "Authorization: "+bearer(e.jwt(keyAll, nil))), 40101, 401)
			e.refuses(e.rest(0, "POST", path, m{"ttl": 1000}, "Authorization:"), 40101, 401)
		}},
		{section: "9.2", name: "a nonce counts once in the whole cluster", run: func(e *env) {
			r := e.tokenRequest(keyAll, nil)
			path := "/keys/" + e.app.Keys[keyAll].KeyName + "/requestToken"
			e.post(0, path, r, "Authorization:")
			for node := range 3 {
				e.refuses(e.rest(node, "POST", path, r, "Authorization:"), 40105, 401)
			}
		}},
		{section: "9.4", name: "a JWT gives identity and capability", run: func(e *env) {
			name := e.name("jwt")
			c := e.connect(0, "access_token="+e.jwt(keyAll, m{"x-ably-clientId": "carol", "x-ably-capability": `{"` + name + `":["publish"]}`}))
			e.is("clientId", c.details()["clientId"], "carol")
			c.publish(name, text("a", ""))
			e.fails(c.nacked(e.name("other"), text("a", "")), 40160, 401)
		}},
		{section: "9.4", name: "what a JWT claims of its user goes with all that the user publishes", run: func(e *env) {
			user := func(node int, claims m) *client {
				return e.connect(node, "access_token="+e.jwt(keyAll, with(claims, []any{"x-ably-clientId", "u"})))
			}
			room := e.name("room")
			name := "mutable:" + room
			s := e.connect(1)
			s.attach(name)
			host := user(0, m{"ably.channel.mutable:" + room: "host", "ably.channel.mutable:*": "guest", "ably.channel.*": "anybody"})
			host.attach(name)
			serial := serials(host.publish(name, m{"name": "n", "data": "d", "extras": m{"headers": m{"a": "b"}, "userClaim": "admin"}}))[0]
			e.is("extras", s.hear(name)["extras"], m{"headers": m{"a": "b"}, "userClaim": "host"})
			host.publish(name, m{"action": updateAction, "serial": serial, "data": "e"})
			e.is("extras of a change without any", s.hear(name)["extras"], m{"headers": m{"a": "b"}, "userClaim": "host"})
			host.send(m{"action": presenceFrame, "channel": name, "msgSerial": host.serial, "presence": []m{{"action": 2}}})
			host.serial++
			e.is("extras of a member", s.expect(presenceFrame).all("presence")[0]["extras"], m{"userClaim": "host"})
			other := e.name("other")
			s.attach(other)
			host.publish(other, text("a", "b"))
			e.is("the most specific claim that fits", s.hear(other)["extras"], m{"userClaim": "anybody"})
			guest := user(2, m{"ably.channel.mutable:*": "guest"})
			guest.publish(name, text("a", "b"))
			e.is("extras", s.hear(name)["extras"], m{"userClaim": "guest"})
			token := "Authorization: " + bearer(e.jwt(keyAll, m{"ably.channel.mutable:*": "by REST"}))
			e.post(0, channelPath(name)+"/messages", text("a", "b"), token)
			e.is("extras", s.hear(name)["extras"], m{"userClaim": "by REST"})
			host.publish(name, m{"action": updateAction, "serial": serial, "extras": m{"userClaim": "admin", "x": 1}})
			e.is("extras of a change", s.hear(name)["extras"], m{"userClaim": "host", "x": 1})
		}},
		{section: "9.4", name: "nobody claims anything of himself", run: func(e *env) {
			name := e.name("room")
			c, s := e.connect(0), e.connect(1)
			s.attach(name)
			for _, extras := range []m{{"userClaim": "admin"}, {"userClaim": m{"a": 1}}} {
				c.publish(name, m{"name": "n", "extras": extras})
				e.ok("no claim", !s.hear(name).has("extras"))
			}
			c.publish(name, m{"name": "n", "extras": m{"userClaim": "admin", "headers": m{"userClaim": "x"}}})
			e.is("extras", s.hear(name)["extras"], m{"headers": m{"userClaim": "x"}})
			e.fails(e.refused(0, "access_token="+e.jwt(keyAll, m{"ably.channel.x": 5})), 40144, 401)
			e.fails(e.refused(0, "access_token="+e.jwt(keyAll, m{"ably.channel.": "x"})), 40144, 401)
		}},
		{section: "9.4", name: "a JWT that carries a token", run: func(e *env) {
			inner := e.token(keyAll, m{"clientId": "dave"})
			exp := inner.int("expires") / 1000
			for _, token := range []string{
				sign("not verified", m{"alg": "HS256", "typ": "JWT", "x-ably-token": inner["token"]}, m{"exp": exp}),
				sign("not verified", m{"alg": "HS256", "typ": "JWT"}, m{"exp": exp, "x-ably-token": inner["token"]}),
			} {
				e.is("clientId", e.connect(1, "access_token="+token).details()["clientId"], "dave")
			}
			late := sign("x", m{"alg": "HS256", "typ": "JWT"}, m{"exp": exp + 60, "x-ably-token": inner["token"]})
			e.fails(e.refused(0, "access_token="+late), 40144, 401)
		}},
		{section: "9.5", name: "a key's new capability is for who comes anew, not for live connections", run: func(e *env) {
			s := e.shop(e.account())
			name, later := e.name("kept"), e.name("later")
			token := e.post(0, "/keys/"+s.keyName()+"/requestToken", m{}, "Authorization: "+basic(s.key)).obj().str("token")
			var all []*client
			for node := range 3 {
				byKey, byToken := s.connect(node), e.connect(node, "access_token="+token)
				byKey.attach(name)
				byToken.attach(name)
				all = append(all, byKey, byToken)
			}
			e.steer(1, "PATCH", "/apps/"+s.id+"/keys/"+s.keyID(), m{"capability": m{name: []string{"subscribe"}}})
			for _, c := range all {
				c.publish(name, text("a", "b"))
				e.is("modes", c.attach(later).int("flags")&modeBits, defaultModes)
				c.publish(later, text("a", "b"))
			}
			for node := range 3 {
				for _, arg := range []string{s.connectByKey, "access_token=" + token} {
					c := e.connect(node, arg)
					e.is("modes", c.attach(name).int("flags")&modeBits, modeSubscribe|modePresenceSub)
					e.fails(c.nacked(name, text("a", "b")), 40160, 401)
					e.fails(c.denied(later), 40160, 401)
				}
				e.refuses(s.publish(node, name), 40160, 401)
			}
			for _, c := range all {
				c.alive()
			}
		}},
		{section: "9.5", name: "a token is bounded by its key as it is", run: func(e *env) {
			token := e.jwt(keySubscribe, m{"x-ably-capability": `{"*":["*"]}`})
			c := e.connect(0, "access_token="+token)
			name := e.name("bounded")
			e.is("modes", c.attach(name).int("flags")&modeBits, modeSubscribe|modePresenceSub)
			e.fails(c.nacked(name, text("a", "")), 40160, 401)
		}},
	}
}

// tokens is about token requests that are refused, and what capability a token gets.
func tokens() (list []check) {
	path := func(e *env, key int) string { return "/keys/" + e.app.Keys[key].KeyName + "/requestToken" }
	for _, row := range []struct {
		what         string
		key          int
		fields       func(*env) m
		code, status int64
	}{
		{"another key than its URL", keyAll, func(e *env) m { return m{"keyName": e.app.Keys[keyOther].KeyName} }, 40101, 401},
		{"a wrong mac", keyAll, func(*env) m { return m{"mac": base64.StdEncoding.EncodeToString(make([]byte, 32))} }, 40101, 401},
		{"a timestamp of the past", keyAll, func(*env) m { return m{"timestamp": time.Now().UnixMilli() - 130_000} }, 40104, 401},
		{"a timestamp of the future", keyAll, func(*env) m { return m{"timestamp": time.Now().UnixMilli() + 130_000} }, 40104, 401},
		{"no timestamp", keyAll, func(*env) m { return m{"timestamp": nil} }, 40003, 400},
		{"a short nonce", keyAll, func(*env) m { return m{"nonce": "short"} }, 40003, 400},
		{"no nonce", keyAll, func(*env) m { return m{"nonce": nil} }, 40003, 400},
		{"a negative ttl", keyAll, func(*env) m { return m{"ttl": -1} }, 40003, 400},
		{"a ttl that is no number", keyAll, func(*env) m { return m{"ttl": "soon"} }, 40003, 400},
		{"a ttl of more than a day", keyAll, func(*env) m { return m{"ttl": 86_400_001} }, 40003, 400},
		{"a ttl of more than an hour where tokens are revocable", keyRevocable, func(*env) m { return m{"ttl": 3_600_001} }, 40003, 400},
		{"a capability that is no JSON", keyAll, func(*env) m { return m{"capability": "x"} }, 40003, 400},
		{"an unknown operation", keyAll, func(*env) m { return m{"capability": `{"a":["fly"]}`} }, 40003, 400},
		{"* beside other operations", keyAll, func(*env) m { return m{"capability": `{"a":["*","publish"]}`} }, 40003, 400},
		{"an empty list of operations", keyAll, func(*env) m { return m{"capability": `{"a":[]}`} }, 40003, 400},
		{"nothing that the key may", keyMixed, func(*env) m { return m{"capability": `{"other":["*"]}`} }, 40160, 401},
		{"no operation that the key may", keyMixed, func(*env) m { return m{"capability": `{"channel0":["subscribe"]}`} }, 40160, 401},
	} {
		list = append(list, check{section: "9.2", name: "refused: " + row.what, run: func(e *env) {
			e.refuses(e.rest(0, "POST", path(e, row.key), e.tokenRequest(row.key, row.fields(e)), "Authorization:"), row.code, row.status)
		}})
	}
	for _, row := range []struct{ asked, got string }{ // ∩ mixed
		{`{"channel2":["*"]}`, `{"channel2":["publish","subscribe"]}`},
		{`{"channel6":["publish","subscribe"]}`, `{"channel6":["publish","subscribe"]}`},
		{`{"channel2":["subscribe","presence"]}`, `{"channel2":["subscribe"]}`},
		{`{"channel6":["*"]}`, `{"channel6":["*"]}`},
		{`{"*":["publish"],"x":["*"]}`, `{"channel0":["publish"],"channel1":["publish"],"channel2":["publish"],"channel4":["publish"],"channel6":["publish"],"space:*":["publish"]}`},
		{`{"space:a":["*"],"space:b:*":["history"]}`, `{"space:a":["*"],"space:b:*":["history"]}`},
		{`{"*":["*"]}`, mixed},
	} {
		list = append(list, check{section: "9.3", name: "intersection of a key with " + strings.ReplaceAll(row.asked, "/", "∕"), run: func(e *env) {
			e.is("capability", decodeJSON(e.token(keyMixed, m{"capability": row.asked}).str("capability")), decodeJSON(row.got))
		}})
	}
	return list
}

func decodeJSON(text string) any {
	v, err := decode("json", []byte(text))
	if err != nil {
		return text
	}
	return v
}

// capabilities is the grammar of resources and what each operation allows, over realtime and REST.
func capabilities() (list []check) {
	for _, row := range []struct {
		resource, channel string
		allowed           bool
	}{
		{"foo", "foo", true}, {"foo", "bar", false}, {"foo", "foo:bar", false}, {"foo", "Foo", false},
		{"*", "foo", true}, {"*", "foo:bar:baz", true},
		{"foo:*", "foo:bar", true}, {"foo:*", "foo:bar:baz", true}, {"foo:*", "foo", false}, {"foo:*", "foox:bar", false},
		{"foo*", "foo", false}, {"foo*", "foobar", false}, {"foo*", "foo*", true},
		{"*:bar", "foo:bar", true}, {"*:bar", "foo:baz", false}, {"*:bar", "a:foo:bar", false},
		{"a:*:c", "a:b:c", true}, {"a:*:c", "a:b:b:c", false}, {"a:*:c", "a:b:d", false}, {"a:*:*", "a:b:c:d", true},
		{"[*]*", "foo", true}, {"[*]foo:*", "foo:bar", true}, {"[meta]*", "foo", false},
	} {
		name := fmt.Sprintf("the resource %s and the channel %s", row.resource, row.channel)
		list = append(list, check{section: "9.5", name: name, run: func(e *env) {
			token := e.jwt(keyAll, m{"x-ably-capability": fmt.Sprintf(`{%q:["subscribe","publish"]}`, row.resource)})
			c := e.connect(0, "access_token="+token)
			r := e.rest(1, "POST", channelPath(row.channel)+"/messages", text("a", ""), "Authorization: "+bearer(token))
			if row.allowed {
				e.is("modes", c.attach(row.channel).int("flags")&modeBits, modePublish|modeSubscribe|modePresenceSub)
				c.publish(row.channel, text("a", ""))
				e.is("status", r.status, 201)
				return
			}
			e.fails(c.denied(row.channel), 40160, 401)
			e.fails(c.nacked(row.channel, text("a", "")), 40160, 401)
			e.refuses(r, 40160, 401)
		}})
	}
	type allow struct{ subscribe, publish, presence, history, metadata bool }
	for operation, may := range map[string]allow{
		"subscribe": {subscribe: true}, "publish": {publish: true}, "presence": {presence: true}, "history": {history: true},
		"channel-metadata": {metadata: true}, "stats": {}, "annotation-publish": {}, "push-subscribe": {},
		"*": {true, true, true, true, true},
	} {
		list = append(list, check{section: "9.5", name: "the operation " + operation, run: func(e *env) {
			name := e.name("operation")
			token := e.jwt(keyAll, m{"x-ably-capability": fmt.Sprintf(`{%q:[%q]}`, name, operation)})
			c := e.connect(0, "access_token="+token)
			realtime := func(what string, allowed bool, do func() m) {
				if f := do(); (f.int("action") != failed && f.int("action") != nack) != allowed {
					e.fatalf("%s: %s", what, show(f))
				} else if !allowed {
					e.fails(f.obj("error"), 40160, 401)
				}
			}
			for what, row := range map[string]struct {
				modes   int64
				allowed bool
			}{"attach to subscribe": {modeSubscribe, may.subscribe}, "attach to publish": {modePublish, may.publish}, "attach for presence": {modePresence, may.presence}} {
				realtime(what, row.allowed, func() m {
					c.send(m{"action": attach, "channel": name, "flags": row.modes})
					return c.next()
				})
			}
			d := e.connect(1, "access_token="+token)
			realtime("publish", may.publish, func() m { d.say(name, text("a", "")); return d.next() })
			rest := func(what string, allowed bool, r *reply) {
				if (r.status < 300) != allowed {
					e.fatalf("%s: %d %s", what, r.status, show(r.body))
				} else if !allowed {
					e.refuses(r, 40160, 401)
				}
			}
			as := "Authorization: " + bearer(token)
			rest("publish", may.publish, e.rest(0, "POST", channelPath(name)+"/messages", text("a", ""), as))
			rest("history", may.history, e.rest(0, "GET", channelPath(name)+"/messages", nil, as))
			rest("metadata", may.metadata, e.rest(0, "GET", channelPath(name), nil, as))
			rest("enumeration", false, e.rest(0, "GET", "/channels", nil, as))
			rest("stats", false, e.rest(0, "GET", "/stats", nil, as))
		}})
	}
	list = append(list, check{section: "9.5", name: "extras.privileged needs privileged-headers, on realtime, REST and in batches", run: func(e *env) {
		name := "mutable:" + e.name("privileged")
		operations := `"publish","presence","annotation-publish","message-update-any"`
		asks := m{"name": "n", "extras": m{"privileged": m{"skipRule": "*"}}}
		plain := m{"name": "n", "extras": m{"headers": m{"privileged": "yes"}}}
		for _, allowed := range []bool{false, true} {
			if allowed {
				operations += `,"privileged-headers"`
			}
			token := e.jwt(keyAll, m{"x-ably-capability": `{"` + name + `":[` + operations + `]}`, "x-ably-clientId": "alice"})
			c := e.connect(0, "access_token="+token)
			c.attach(name, "flags", modePublish|modePresence|modeAnnotationPub)
			serial := serials(c.publish(name, plain))[0]
			realtime := func(what string, f m) {
				c.send(f.but("channel", name, "msgSerial", c.serial))
				c.serial++
				answer := c.expectAny(ack, nack)
				if answer.int("action") == ack != allowed {
					e.fatalf("%s: %s", what, show(answer))
				} else if !allowed {
					e.fails(answer.obj("error"), 40160, 401)
				}
			}
			realtime("publish", m{"action": message, "messages": []m{plain, asks}})
			realtime("update", m{"action": message, "messages": []m{asks.but("action", updateAction, "serial", serial)}})
			realtime("enter", m{"action": presenceFrame, "presence": []m{member(enter, "").but("extras", asks["extras"])}})
			mark := asks.but("action", 0, "type", "x:total.v1", "messageSerial", serial)
			realtime("annotate", m{"action": annotation, "annotations": []m{mark}})
			rest := func(what, method, path string, body any) {
				r := e.rest(1, method, path, body, "Authorization: "+bearer(token))
				if allowed != (r.status < 300) {
					e.fatalf("%s: %d %s", what, r.status, show(r.body))
				} else if !allowed {
					e.refuses(r, 40160, 401)
				}
			}
			path := channelPath(name) + "/messages"
			rest("publish", "POST", path, asks)
			rest("update", "PATCH", path+"/"+url.PathEscape(serial), asks.but("action", updateAction))
			rest("annotate", "POST", path+"/"+url.PathEscape(serial)+"/annotations", []m{mark})
			batch := e.post(2, "/messages", m{"channels": []string{name}, "messages": []m{plain, asks}}, "Authorization: "+bearer(token)).obj()
			e.is("successCount", batch.int("successCount") == 1, allowed)
			if !allowed {
				e.fails(batch.all("results")[0].obj("error"), 40160, 401)
			}
		}
	}})
	return append(list, check{section: "9.5", name: "operations of all resources that match add up", run: func(e *env) {
		name := e.name("sum")
		c := e.connect(0, "access_token="+e.jwt(keyAll, m{"x-ably-capability": `{"` + name + `":["publish"],"*":["subscribe"]}`}))
		e.is("modes", c.attach(name).int("flags")&modeBits, modePublish|modeSubscribe|modePresenceSub)
	}})
}

// authFailures is §9.7, over REST and over realtime. A code of 0 means that the row is not about that side.
func authFailures() (list []check) {
	wrongSecret := func(e *env) string { return e.app.Keys[keyAll].KeyName + ":wrong" }
	text := func(s string) func(*env) string { return func(*env) string { return s } }
	for _, row := range []struct {
		what             string
		key, token       func(*env) string
		realtime         int64
		rest, restStatus int64
	}{
		{"no credentials", text(""), nil, 40101, 40101, 401},
		{"a malformed key", text("nonsense"), nil, 40005, 40005, 401},
		{"an unknown app", text("this.is:wrong"), nil, 40101, 40101, 401},
		{"an unknown key of a known app", func(e *env) string { return e.app.AppID + ".nope:x" }, nil, 40101, 40400, 401},
		{"a wrong secret", wrongSecret, nil, 40101, 40101, 401},
		{"a token that is nothing", nil, text("nonsense"), 40005, 40005, 401},
		{"a token of an unknown app", nil, text("nope.AQRub3BlAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 40143, 40143, 401},
		{"a malformed token of a known app", nil, func(e *env) string { return e.app.AppID + ".***" }, 40145, 40145, 401},
		{"a token that another key sealed", nil, func(e *env) string {
			t := e.token(keyAll, nil).str("token")
			return t[:len(t)-6] + "AAAAAA"
		}, 40143, 40143, 401},
		{"an expired token", nil, func(e *env) string {
			t := e.token(keyAll, m{"ttl": 10}).str("token")
			time.Sleep(20 * time.Millisecond)
			return t
		}, 40142, 40140, 401},
		{"a JWT that cannot be read", nil, text("a.b.c"), 40144, 40144, 401},
		{"a JWT with a wrong signature", nil, func(e *env) string {
			return sign("wrong", m{"alg": "HS256", "typ": "JWT", "kid": e.app.Keys[keyAll].KeyName}, nil)
		}, 40144, 40144, 401},
		{"a JWT of an unknown app", nil, func(*env) string { return sign("x", m{"alg": "HS256", "typ": "JWT", "kid": "nope.nope"}, nil) }, 40400, 40400, 404},
		{"an expired JWT", nil, func(e *env) string {
			return e.jwt(keyAll, m{"iat": time.Now().Unix() - 20, "exp": time.Now().Unix() - 10})
		}, 40142, 40140, 401},
		{"a JWT without exp", nil, func(e *env) string { return e.jwt(keyAll, m{"exp": nil}) }, 40144, 40144, 401},
		{"a JWT without iat", nil, func(e *env) string { return e.jwt(keyAll, m{"iat": nil}) }, 40144, 40144, 401},
		{"a JWT without kid", nil, func(e *env) string { return sign("x", m{"alg": "HS256", "typ": "JWT"}, nil) }, 40144, 40144, 401},
		{"a JWT that signs nothing", nil, func(e *env) string {
			return sign(e.app.Keys[keyAll].KeySecret, m{"alg": "none", "typ": "JWT", "kid": e.app.Keys[keyAll].KeyName}, nil)
		}, 40144, 40144, 401},
		{"a JWT with a capability that is none", nil, func(e *env) string { return e.jwt(keyAll, m{"x-ably-capability": "x"}) }, 40144, 40144, 401},
	} {
		list = append(list, check{section: "9.7", name: row.what, run: func(e *env) {
			var arg, header string
			switch {
			case row.token != nil:
				t := row.token(e)
				arg, header = "access_token="+t, bearer(t)
			case row.key(e) == "":
				arg = "key"
			default:
				arg, header = "key="+row.key(e), basic(row.key(e))
			}
			status := int64(401)
			if row.realtime == 40400 {
				status = 404
			}
			for node := range 2 {
				e.fails(e.refused(node, arg), row.realtime, status)
				r := e.rest(node, "GET", channelPath(e.name("denied")), nil, "Authorization: "+header)
				e.refuses(r, row.rest, row.restStatus)
				if row.rest == 40144 {
					e.ok("the words SDKs look for", strings.Contains(r.obj().obj("error").str("message"), "invalid JWT format"))
				}
			}
		}})
	}
	for _, row := range []struct {
		what         string
		shut, open   func(*shop)
		code, status int64
	}{
		{"a revoked key", func(s *shop) { s.e.steer(0, "POST", "/apps/"+s.id+"/keys/"+s.keyID()+"/revoke", nil) }, nil, 40131, 401},
		{"a disabled app", func(s *shop) { s.e.steer(1, "PATCH", "/apps/"+s.id, m{"status": "disabled"}) },
			func(s *shop) { s.e.steer(2, "PATCH", "/apps/"+s.id, m{"status": "enabled"}) }, 40120, 403},
	} {
		list = append(list, check{section: "9.7", name: row.what + ", for connections that live and for who comes anew", run: func(e *env) {
			s := e.shop(e.account())
			path := "/keys/" + s.keyName() + "/requestToken"
			token := e.post(0, path, m{}, "Authorization: "+basic(s.key)).obj().str("token")
			signed := sign(s.secret(), m{"alg": "HS256", "typ": "JWT", "kid": s.keyName()}, nil)
			var all []*client
			for node := range 3 {
				all = append(all, s.connect(node), e.connect(node, "access_token="+token))
			}
			row.shut(s)
			for _, c := range all {
				f := c.expect(failed)
				e.ok("of the whole connection", !f.has("channel"))
				e.fails(f.obj("error"), row.code, row.status)
				c.ends()
			}
			for node := range 3 {
				for arg, header := range map[string]string{s.connectByKey: basic(s.key), "access_token=" + token: bearer(token), "access_token=" + signed: bearer(signed)} {
					e.fails(e.refused(node, arg), row.code, row.status)
					e.refuses(e.rest(node, "GET", channelPath("x"), nil, "Authorization: "+header), row.code, row.status)
				}
				e.refuses(e.rest(node, "POST", path, m{}, "Authorization: "+basic(s.key)), row.code, row.status)
				e.fails(e.refused(node, "key="+s.keyName()+":wrong"), 40101, 401)
			}
			if row.open != nil {
				row.open(s)
				for node := range 3 {
					s.connect(node)
					e.connect(node, "access_token="+token)
				}
			}
		}})
	}
	return list
}

// revocations is about tokens and keys that end early.
func revocations() []check {
	revoke := func(e *env, body m) *reply {
		return e.post(0, "/keys/"+e.app.Keys[keyRevocable].KeyName+"/revokeTokens", body, "Authorization: "+basic(e.key(keyRevocable)))
	}
	issue := func(e *env, claims m) string {
		token := e.jwt(keyRevocable, claims.but("iat", time.Now().Unix()-10))
		time.Sleep(10 * time.Millisecond)
		return token
	}
	list := []check{
		{section: "9.6", name: "the reply counts and names each target", run: func(e *env) {
			before := time.Now().UnixMilli()
			r := revoke(e, m{"targets": []string{"clientId:" + e.name("x"), "nonsense:y"}}).obj()
			e.is("successCount", r["successCount"], 1)
			e.is("failureCount", r["failureCount"], 1)
			one := r.all("results")[0]
			e.ok("issuedBefore and appliesAt are now", one.int("issuedBefore") >= before && one.int("appliesAt") >= before)
			e.fails(r.all("results")[1].obj("error"), 40000, 400)
		}},
		{section: "9.6", name: "the reply without a version is an array", run: func(e *env) {
			r := e.post(0, "/keys/"+e.app.Keys[keyRevocable].KeyName+"/revokeTokens", m{"targets": []string{"clientId:" + e.name("x")}},
				"Authorization: "+basic(e.key(keyRevocable)), "X-Ably-Version:")
			e.is("results", len(r.list()), 1)
		}},
		{section: "9.6", name: "who may not revoke", run: func(e *env) {
			path := "/keys/" + e.app.Keys[keyRevocable].KeyName + "/revokeTokens"
			body := m{"targets": []string{"clientId:x"}}
			e.refuses(e.rest(0, "POST", path, body, "Authorization: "+bearer(e.jwt(keyRevocable, nil))), 40162, 401)
			e.refuses(e.rest(0, "POST", path, body), 40133, 401)
			e.refuses(e.rest(0, "POST", "/keys/"+e.app.Keys[keyAll].KeyName+"/revokeTokens", body), 40163, 401)
			e.refuses(e.rest(0, "POST", path, body, "Authorization:"), 40101, 401)
		}},
		{section: "9.6", name: "what cannot be revoked", run: func(e *env) {
			path := "/keys/" + e.app.Keys[keyRevocable].KeyName + "/revokeTokens"
			now := time.Now().UnixMilli()
			for _, body := range []m{{}, {"targets": []string{}}, {"targets": make([]string, 101)}, {"targets": []string{"clientId:x"}, "issuedBefore": now + 60_000},
				{"targets": []string{"clientId:x"}, "issuedBefore": now - 3_700_000}} {
				r := e.rest(0, "POST", path, body, "Authorization: "+basic(e.key(keyRevocable)))
				e.ok("40003 or 40000", r.status == 400)
			}
		}},
		{section: "9.6", name: "allowReauthMargin asks with AUTH and ends 30 s later", run: func(e *env) {
			who := e.name("margin")
			c := e.connect(1, "access_token="+issue(e, m{"x-ably-clientId": who}))
			begun := time.Now()
			r := revoke(e, m{"targets": []string{"clientId:" + who}, "allowReauthMargin": true}).obj()
			applies := r.all("results")[0].int("appliesAt") - begun.UnixMilli()
			e.ok("appliesAt", applies > 29_000 && applies < 31_000)
			c.expect(reauth)
			e.ok("asked at once", time.Since(begun) < time.Second)
			for c.take(time.Second) == nil && !c.over {
			}
			e.ok("ended after 30 s", time.Since(begun) > 29*time.Second)
		}},
		{section: "9.6", name: "tokens issued later live", run: func(e *env) {
			who := e.name("later")
			revoke(e, m{"targets": []string{"clientId:" + who}})
			time.Sleep(2 * time.Second)
			e.connect(1, "access_token="+e.jwt(keyRevocable, m{"x-ably-clientId": who}))
		}},
		{section: "9.6", name: "a key is not touched by revocations", run: func(e *env) {
			who := e.name("key")
			c := e.connect(1, "key="+e.key(keyRevocable), "clientId="+who)
			revoke(e, m{"targets": []string{"clientId:" + who}})
			time.Sleep(time.Second)
			c.alive()
		}},
	}
	for _, target := range []string{"clientId", "revocationKey", "channel"} {
		list = append(list, check{section: "9.6", name: "revocation by " + target + " ends live connections on all nodes", run: func(e *env) {
			value := e.name("target")
			claims := map[string]m{
				"clientId": {"x-ably-clientId": value}, "revocationKey": {"x-ably-revocation-key": value},
				"channel": {"x-ably-capability": `{"` + value + `":["*"]}`},
			}[target]
			token := issue(e, claims)
			var all []*client
			for node := range 3 {
				all = append(all, e.connect(node, "access_token="+token))
			}
			other := e.connect(0, "access_token="+issue(e, m{"x-ably-clientId": "somebody"}))
			revoke(e, m{"targets": []string{target + ":" + value}})
			for node, c := range all {
				e.fails(c.expect(disconnected).obj("error"), 40141, 401)
				e.fails(e.refused(node, "access_token="+token), 40141, 401)
				e.refuses(e.rest(node, "GET", channelPath(value), nil, "Authorization: "+bearer(token)), 40141, 401)
			}
			other.alive()
		}})
	}
	return list
}
