package conformance

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// restBasics is about what all requests share, and publishing.
func restBasics() []check {
	return []check{
		{section: "7.1", name: "GET /time needs no credentials", run: func(e *env) {
			list, _ := e.get(0, "/time", "Authorization:").body.([]any)
			e.ok("one number, the time", len(list) == 1 && list[0].(int64)-time.Now().UnixMilli() < 1000 && time.Now().UnixMilli()-list[0].(int64) < 1000)
		}},
		{section: "7.1", name: "credentials in the query", run: func(e *env) {
			name := e.name("query")
			for _, arg := range []string{"key=" + e.key(keyAll), "access_token=" + e.jwt(keyAll, nil), "accessToken=" + e.jwt(keyAll, nil)} {
				e.get(0, channelPath(name)+"?"+strings.Replace(arg, "+", "%2B", -1), "Authorization:")
			}
		}},
		{section: "7.1", name: "Bearer with base64 of the token, and with the token", run: func(e *env) {
			name, token := e.name("bearer"), e.jwt(keyAll, nil)
			e.get(0, channelPath(name), "Authorization: "+bearer(token))
			e.get(1, channelPath(name), "Authorization: Bearer "+token)
			e.get(2, channelPath(name), "Authorization: Bearer "+e.token(keyAll, nil).str("token"))
		}},
		{section: "7.1", name: "X-Ably-ClientId is the identity", run: func(e *env) {
			name := e.name("identity")
			alice := "X-Ably-ClientId: " + base64.StdEncoding.EncodeToString([]byte("alice"))
			e.post(0, channelPath(name)+"/messages", text("a", ""), alice)
			e.is("clientId", e.get(1, channelPath(name)+"/messages").list()[0]["clientId"], "alice")
			token := bearer(e.jwt(keyAll, m{"x-ably-clientId": "bob"}))
			e.refuses(e.rest(0, "POST", channelPath(name)+"/messages", text("a", ""), alice, "Authorization: "+token), 40102, 401)
			e.refuses(e.rest(0, "GET", channelPath(name), nil, "X-Ably-ClientId: ***"), 40012, 400)
		}},
		{section: "7.1", name: "Accept chooses the format of the reply and wins over format", run: func(e *env) {
			for _, row := range []struct{ accept, format, want string }{
				{"application/json", "", "json"}, {"application/x-msgpack", "", "msgpack"}, {"", "msgpack", "msgpack"}, {"", "", "json"},
				{"application/json", "msgpack", "json"}, {"application/x-msgpack,application/json", "", "msgpack"}, {"*/*", "msgpack", "msgpack"},
			} {
				path := "/time"
				if row.format != "" {
					path += "?format=" + row.format
				}
				e.is(row.accept+" "+path, e.get(0, path, "Accept: "+row.accept).header.Get("Content-Type"), mediaTypes[row.want])
			}
		}},
		{section: "7.1", name: "a body in one format, the reply in the other", run: func(e *env) {
			other := formats[0]
			if other == e.format {
				other = formats[1]
			}
			r := e.post(0, channelPath(e.name("mixed"))+"/messages", text("a", ""), "Accept: "+mediaTypes[other])
			e.is("Content-Type", r.header.Get("Content-Type"), mediaTypes[other])
		}},
		{section: "7.1", name: "unknown parameters are ignored", run: func(e *env) {
			e.get(0, channelPath(e.name("ignored"))+"?rnd=1&request_id=x&newBatchResponse=true&future=1")
		}},
		{section: "7.1", name: "CORS", run: func(e *env) {
			r := e.rest(0, "OPTIONS", "/channels/x/messages", nil, "Authorization:", "Origin: https://page.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-ably-version")
			e.ok("preflight", r.status == 204 || r.status == 200)
			for _, r := range []*reply{r, e.get(0, "/time", "Origin: https://page.example"), e.rest(0, "GET", "/nothing", nil, "Origin: https://page.example")} {
				e.is("origin", r.header.Get("Access-Control-Allow-Origin"), "https://page.example")
				e.is("credentials", r.header.Get("Access-Control-Allow-Credentials"), "true")
			}
			for _, h := range []string{"authorization", "content-type", "x-ably-version", "x-ably-clientid", "ably-agent", "accept"} {
				e.ok(h, strings.Contains(r.header.Get("Access-Control-Allow-Headers"), h))
			}
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				e.ok(method, strings.Contains(r.header.Get("Access-Control-Allow-Methods"), method))
			}
			exposed := e.get(0, "/time", "Origin: https://page.example").header.Get("Access-Control-Expose-Headers")
			for _, h := range []string{"Link", "X-Ably-Errorcode", "X-Ably-Errormessage", "X-Ably-ServerId", "Server"} {
				e.ok(h, strings.Contains(exposed, h))
			}
		}},
		{section: "7.1", name: "offers to upgrade to anything but a WebSocket are passed over", run: func(e *env) {
			name := e.name("upgrade")
			as := []string{"Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"}
			for _, offer := range []string{"h2c", "H2C", "TLS/1.0, h2c"} {
				headers := append(slices.Clone(as), "Upgrade: "+offer)
				e.get(0, "/time", headers...)
				e.post(1, channelPath(name)+"/messages", text("a", ""), headers...)
			}
			e.is("published", len(e.get(2, channelPath(name)+"/messages").list()), 3)
		}},
		{section: "7.2", name: "errors in body and headers, in the format of the reply", run: func(e *env) {
			r := e.rest(0, "GET", "/nothing", nil)
			e.refuses(r, 40400, 404)
			e.is("Content-Type", r.header.Get("Content-Type"), mediaTypes[e.format])
			e.ok("X-Ably-ServerId", r.header.Get("X-Ably-ServerId") != "")
		}},
		{section: "7.2", name: "errors for pages are JSON", run: func(e *env) {
			r := e.rest(0, "GET", "/nothing", nil, "Origin: https://page.example")
			e.refuses(r, 40400, 404)
			e.is("Content-Type", r.header.Get("Content-Type"), mediaTypes["json"])
		}},
		{section: "7.3", name: "unknown routes and methods are 40400", run: func(e *env) {
			for _, path := range []string{"/", "/nothing", "/keys/x.y/requestToken", "/channels/", "/push/deviceRegistrations", "/channels/x/objects"} {
				e.refuses(e.rest(0, "GET", path, nil), 40400, 404)
			}
			e.refuses(e.rest(0, "DELETE", "/channels/x", nil), 40400, 404)
			e.refuses(e.rest(0, "POST", "/time", nil), 40400, 404)
		}},
		{section: "7.3", name: "publish one message, and several", run: func(e *env) {
			name := e.name("publish")
			c := e.connect(1)
			c.attach(name)
			r := e.post(0, channelPath(name)+"/messages", text("a", "x")).obj()
			e.is("channel", r["channel"], name)
			f := c.hears(name)
			e.is("id", f["id"], r["messageId"])
			e.is("serials", r["serials"], []any{f.all("messages")[0]["serial"]})
			e.ok("no connectionId", !f.has("connectionId"))
			r = e.post(0, channelPath(name)+"/messages", []m{text("b", ""), text("c", "")}).obj()
			e.is("serials", len(r.list("serials")), 2)
			e.is("messages", len(c.hears(name).list("messages")), 2)
		}},
		{section: "7.3", name: "publish refuses what it cannot read", run: func(e *env) {
			path := channelPath(e.name("unreadable")) + "/messages"
			e.refuses(e.rest(0, "POST", path, []byte{0xc1, '{'}), 40001, 400)
			e.refuses(e.rest(0, "POST", path, []byte("x"), "Content-Type: text/xml"), 40004, 400)
			e.refuses(e.rest(0, "POST", path, []any{}), 40030, 400)
			e.refuses(e.rest(0, "POST", path, 5), 40001, 400)
		}},
		{section: "7.3", name: "a body too large is refused", run: func(e *env) {
			r := e.rest(0, "POST", channelPath(e.name("large"))+"/messages", text("a", strings.Repeat("x", 3<<20)))
			e.is("code", r.obj().code(), 40009)
			e.ok("400 or 413", r.status == 400 || r.status == 413)
		}},
		{section: "7.3", name: "_forceNack on REST", run: func(e *env) {
			e.refuses(e.rest(0, "POST", channelPath(e.name("forced"))+"/messages?_forceNack=true", text("a", "")), 40099, 400)
		}},
		{section: "7.3", name: "the name in a path may or may not be escaped", run: func(e *env) {
			name := e.name("a/b:c")
			e.connect(0).attach(name)
			e.is("connections", e.metrics(1, name)["connections"], 1)
			e.is("channelId", e.get(1, "/channels/"+name).obj()["channelId"], name)
		}},
		{section: "7.5", name: "an envelope has status, headers and body", run: func(e *env) {
			name := e.name("enveloped")
			r := e.get(0, channelPath(name)+"?envelope="+e.format).obj()
			e.is("statusCode", r["statusCode"], 200)
			e.is("channelId", r.obj("response")["channelId"], name)
			r = e.get(0, "/channels?limit=1&envelope="+e.format).obj()
			e.ok("Link", strings.Contains(fmt.Sprint(r["headers"]), "rel="))
			r = e.get(0, "/nothing?envelope="+e.format).obj()
			e.is("statusCode of an error", r["statusCode"], 404)
			e.is("code", r.obj("response").code(), 40400)
		}},
	}
}

// restHistory is about the past of a channel.
func restHistory() []check {
	// past publishes at every node in turn and returns the channel's path.
	past := func(e *env, n int) string {
		name := e.name("history")
		for i := range n {
			e.post(i, channelPath(name)+"/messages", text(number(i), ""))
		}
		return channelPath(name) + "/messages"
	}
	names := func(items []any) (list []string) {
		for _, v := range items {
			list = append(list, v.(m).str("name"))
		}
		return list
	}
	up := []string{"0", "1", "2", "3", "4", "5", "6"}
	down := slices.Clone(up)
	slices.Reverse(down)
	list := []check{
		{section: "7.3", name: "an empty history is an empty array without next", run: func(e *env) {
			r := e.get(0, channelPath(e.name("empty"))+"/messages")
			e.is("items", r.body, []any{})
			e.ok("no next", e.links(r, "messages")["next"] == "")
		}},
		{section: "7.3", name: "history is newest first, 100 at a time", run: func(e *env) {
			name := e.name("hundred")
			c := e.connect(0)
			for i := range 120 {
				c.publish(name, text(number(i), ""))
			}
			r := e.get(1, channelPath(name)+"/messages")
			e.is("items", len(r.list()), 100)
			e.is("first", r.list()[0]["name"], "119")
			items, _ := e.pages(channelPath(name)+"/messages", "")
			e.is("all", len(items), 120)
		}},
		{section: "7.3", name: "start and end bound the history, both inclusive", run: func(e *env) {
			name := e.name("bounds")
			var at []int64
			for i := range 3 {
				e.post(0, channelPath(name)+"/messages", text(number(i), ""))
				at = append(at, e.get(0, channelPath(name)+"/messages?limit=1").list()[0].int("timestamp"))
				time.Sleep(time.Second)
			}
			got, _ := e.pages(channelPath(name)+"/messages", fmt.Sprintf("start=%d&end=%d&direction=forwards", at[1], at[2]))
			e.is("names", names(got), []string{"1", "2"})
			got, _ = e.pages(channelPath(name)+"/messages", fmt.Sprintf("end=%d", at[1]))
			e.is("names", names(got), []string{"1", "0"})
		}},
		{section: "7.3", name: "until an attach", run: func(e *env) {
			name := e.name("until")
			e.post(0, channelPath(name)+"/messages", text("before", ""))
			at := e.connect(0).attach(name).str("channelSerial")
			e.post(0, channelPath(name)+"/messages", text("behind", ""))
			for _, param := range []string{"from_serial", "fromSerial"} {
				got, _ := e.pages(channelPath(name)+"/messages", param+"="+url.QueryEscape(at))
				e.is("names", names(got), []string{"before"})
			}
		}},
		{section: "7.3", name: "a message in history is as it was live", run: func(e *env) {
			name := e.name("same")
			c := e.connect(0, "clientId=alice")
			c.attach(name)
			c.publish(name, m{"name": "n", "data": "d", "extras": m{"headers": m{"k": "v"}}})
			f := c.hears(name)
			got := e.get(1, channelPath(name)+"/messages").list()[0]
			for key, v := range f.all("messages")[0] {
				e.is(key, got[key], v)
			}
			e.is("id", got["id"], c.id()+":0:0")
			e.is("connectionId", got["connectionId"], c.id())
			e.is("timestamp", got["timestamp"], f["timestamp"])
		}},
		{section: "7.3", name: "history needs its capability", run: func(e *env) {
			path := channelPath(e.name("denied")) + "/messages"
			e.refuses(e.rest(0, "GET", path, nil, "Authorization: "+basic(e.key(keyPublish))), 40160, 401)
			e.refuses(e.rest(0, "GET", path, nil, "Authorization: "+basic(e.key(keySubscribe))), 40160, 401)
		}},
		{section: "7.3", name: "history lasts two minutes", run: func(e *env) {
			name := e.name("lasts")
			e.post(0, channelPath(name)+"/messages", text("a", ""))
			e.sleep(115)
			e.is("kept", len(e.get(1, channelPath(name)+"/messages").list()), 1)
			e.sleep(60)
			e.is("gone", len(e.get(1, channelPath(name)+"/messages").list()), 0)
		}},
	}
	for _, limit := range []int{1, 2, 3, 7, 1000} {
		for direction, want := range map[string][]string{"forwards": up, "backwards": down} {
			list = append(list, check{section: "7.4", name: fmt.Sprintf("history %s in pages of %d, each from another node", direction, limit), run: func(e *env) {
				got, pages := e.pages(past(e, 7), fmt.Sprintf("limit=%d&direction=%s", limit, direction))
				e.is("names", names(got), want)
				e.ok("as few pages as can be", pages <= (7+limit-1)/limit+1)
			}})
		}
	}
	for query, code := range map[string]int64{"limit=0": 40003, "limit=1001": 40003, "limit=x": 40003, "direction=up": 40003, "start=5&end=4": 40003, "start=x": 40003, "cursor=x": 40003} {
		list = append(list, check{section: "7.3", name: "history refuses " + query, run: func(e *env) {
			e.refuses(e.rest(0, "GET", channelPath(e.name("bad"))+"/messages?"+query, nil), code, 400)
		}})
	}
	return list
}

// enumeration is about GET /channels.
func enumeration() []check {
	// open opens channels under a prefix of their own and returns it.
	open := func(e *env, n int) string {
		prefix := e.name("list")
		c := e.connect(0)
		for i := range n {
			c.send(m{"action": attach, "channel": prefix + "," + number(i)})
		}
		for range n {
			c.expect(attached)
		}
		return url.QueryEscape(prefix + ",")
	}
	list := []check{
		{section: "7.4", name: "a prefix with spaces goes along with the pages", run: func(e *env) {
			prefix := e.name("my list") + " + "
			c := e.connect(0)
			for i := range 3 {
				c.attach(prefix + number(i))
			}
			query := "limit=1&prefix=" + url.QueryEscape(prefix)
			items, _ := e.pages("/channels", query)
			e.is("channels", len(items), 3)
			first := e.links(e.get(1, "/channels?"+query), "channels")["first"]
			e.is("first", e.get(2, "/channels?"+first).body, e.get(0, "/channels?"+query).body)
		}},
		{section: "7.6", name: "names by default, details with by=value", run: func(e *env) {
			prefix := open(e, 1)
			_, isText := e.get(1, "/channels?prefix="+prefix).body.([]any)[0].(string)
			e.ok("a name", isText)
			d := e.get(2, "/channels?by=value&prefix="+prefix).list()[0]
			e.is("connections", d.obj("status").obj("occupancy").obj("metrics")["connections"], 1)
		}},
		{section: "7.6", name: "details by default for version 2 and none", run: func(e *env) {
			prefix := open(e, 1)
			for _, version := range []string{"X-Ably-Version: 2", "X-Ably-Version: 1.2", "X-Ably-Version:"} {
				e.ok(version, e.get(1, "/channels?prefix="+prefix, version).list()[0].has("channelId"))
			}
		}},
		{section: "7.6", name: "it needs channel-metadata on *", run: func(e *env) {
			e.refuses(e.rest(0, "GET", "/channels", nil, "Authorization: "+basic(e.key(keySubscribe))), 40160, 401)
			narrow := e.jwt(keyAll, m{"x-ably-capability": `{"list*":["channel-metadata"],"list:*":["*"]}`})
			e.refuses(e.rest(0, "GET", "/channels", nil, "Authorization: "+bearer(narrow)), 40160, 401)
			wide := e.jwt(keyAll, m{"x-ably-capability": `{"*":["channel-metadata"]}`})
			e.get(0, "/channels", "Authorization: "+bearer(wide))
		}},
		{section: "7.6", name: "what it refuses", run: func(e *env) {
			for _, query := range []string{"limit=0", "limit=1001", "by=x", "cursor=x"} {
				e.refuses(e.rest(0, "GET", "/channels?"+query, nil), 40003, 400)
			}
		}},
		{section: "7.6", name: "apps do not see each other's channels", run: func(e *env) {
			name := e.name("private")
			other := e.connect(0, "key=demo.root:secret")
			other.attach(name)
			e.is("listed", e.get(1, "/channels?prefix="+name).body, []any{})
			e.is("connections", e.metrics(1, name)["connections"], 0)
			c := e.connect(1)
			c.attach(name)
			other.publish(name, text("a", ""))
			c.silent(message)
		}},
		{section: "7.6", name: "reading opens no channel", run: func(e *env) {
			name := e.name("read")
			e.is("isActive", e.get(0, channelPath(name)).obj().obj("status")["isActive"], false)
			e.get(0, channelPath(name)+"/messages")
			e.is("listed", e.get(1, "/channels?prefix="+name).body, []any{})
		}},
		{section: "11.1", name: "a publish opens a channel for a minute", run: func(e *env) {
			name := e.name("minute")
			e.post(0, channelPath(name)+"/messages", text("a", ""))
			e.is("listed", e.get(1, "/channels?prefix="+name).body, []any{name})
			e.sleep(50)
			e.is("isActive", e.get(0, channelPath(name)).obj().obj("status")["isActive"], true)
			e.sleep(20)
			e.is("isActive", e.get(0, channelPath(name)).obj().obj("status")["isActive"], false)
		}},
		{section: "11.1", name: "a channel closes a minute after the last detach", run: func(e *env) {
			name := e.name("detached")
			c := e.connect(0)
			c.attach(name)
			e.sleep(90)
			c.send(m{"action": detach, "channel": name})
			e.sleep(50)
			e.is("isActive", e.get(1, channelPath(name)).obj().obj("status")["isActive"], true)
			e.sleep(20)
			e.is("isActive", e.get(1, channelPath(name)).obj().obj("status")["isActive"], false)
		}},
	}
	for _, limit := range []int{1, 4, 30, 1000} {
		list = append(list, check{section: "7.6", name: fmt.Sprintf("every channel once in pages of %d, each from another node", limit), run: func(e *env) {
			items, _ := e.pages("/channels", fmt.Sprintf("limit=%d&prefix=%s", limit, open(e, 30)))
			seen := map[any]bool{}
			for _, v := range items {
				seen[v] = true
			}
			e.is("channels", len(seen), 30)
			e.is("items", len(items), 30)
		}})
	}
	return list
}

// batches is about publishing to several channels and reading several presence sets.
func batches() []check {
	return []check{
		{section: "7.7", name: "one publish to several channels", run: func(e *env) {
			a, b := e.name("a"), e.name("b")
			c := e.connect(1)
			c.attach(a)
			c.attach(b)
			r := e.post(0, "/messages", m{"channels": []string{a, b}, "messages": []m{text("n", "d"), text("o", "p")}}).obj()
			e.is("successCount", r["successCount"], 2)
			e.is("failureCount", r["failureCount"], 0)
			for i, name := range []string{a, b} {
				e.is("channel", r.all("results")[i]["channel"], name)
				f := c.hears(name)
				e.is("messages", len(f.list("messages")), 2)
				e.is("id", f["id"], r.all("results")[i]["messageId"])
				e.is("serials", len(r.all("results")[i].list("serials")), 2)
			}
		}},
		{section: "7.7", name: "an array of specs is answered by an array", run: func(e *env) {
			a, b := e.name("a"), e.name("b")
			r := e.post(0, "/messages", []m{{"channels": a, "messages": text("n", "d")}, {"channels": []string{b}, "messages": []m{text("n", "d")}}})
			e.is("results", len(r.list()), 2)
			for _, one := range r.list() {
				e.is("successCount", one["successCount"], 1)
			}
			e.is("history", len(e.get(1, channelPath(a)+"/messages").list()), 1)
		}},
		{section: "7.7", name: "what is denied is an error of its channel", run: func(e *env) {
			a := e.name("a")
			token := e.jwt(keyAll, m{"x-ably-capability": `{"` + a + `":["publish"]}`})
			r := e.post(0, "/messages", m{"channels": []string{a, "denied", ":hell"}, "messages": text("n", "d")}, "Authorization: "+bearer(token)).obj()
			e.is("successCount", r["successCount"], 1)
			e.is("failureCount", r["failureCount"], 2)
			e.fails(r.all("results")[1].obj("error"), 40160, 401)
			e.fails(r.all("results")[2].obj("error"), 40010, 400)
		}},
		{section: "7.7", name: "version 2 has another form", run: func(e *env) {
			a := e.name("a")
			spec := m{"channels": []string{a}, "messages": text("n", "d")}
			e.is("results", e.post(0, "/messages", spec, "X-Ably-Version: 2").list()[0]["channel"], a)
			spec["channels"] = []string{a, ":hell"}
			r := e.rest(0, "POST", "/messages", spec, "X-Ably-Version: 2")
			e.is("code", r.obj().code(), 40020)
			e.is("status", r.status, 400)
			e.is("batchResponse", len(r.obj().list("batchResponse")), 2)
		}},
		{section: "7.7", name: "a channel named often counts once, and is published to as often", run: func(e *env) {
			dup, other := e.name("dup"), e.name("other")
			names := slices.Repeat([]string{dup}, 60)
			for i := range 60 {
				names = append(names, other+number(i))
			}
			r := e.post(0, "/messages", m{"channels": names, "messages": text("n", "d")}).obj()
			e.is("successCount", r["successCount"], 120)
			e.is("results", len(r.list("results")), 120)
			e.is("of the first", len(e.get(1, channelPath(dup)+"/messages").list()), 60)
			e.is("of the last", len(e.get(2, channelPath(other+"59")+"/messages").list()), 1)
			for i := range 41 {
				names = append(names, other+number(60+i))
			}
			r = e.rest(0, "POST", "/messages", m{"channels": names, "messages": text("n", "d")}).obj()
			e.is("code with 102 channels", r.code(), 90010)
			e.is("nothing more", len(e.get(1, channelPath(dup)+"/messages").list()), 60)
			r = e.rest(0, "POST", "/messages", []m{{"channels": names[:110], "messages": text("n", "d")}, {"channels": names[110:], "messages": text("n", "d")}}).obj()
			e.is("code with 102 channels in two specs", r.code(), 90010)
			r = e.rest(0, "POST", "/messages", m{"channels": slices.Repeat([]string{dup}, 10_001), "messages": text("n", "d")}).obj()
			e.is("code of a channel named too often", r.code(), 90010)
		}},
		{section: "7.7", name: "1000 messages for a channel, and not one more", run: func(e *env) {
			many := slices.Repeat([]m{text("n", "d")}, 1001)
			r := e.post(0, "/messages", m{"channels": e.name("many"), "messages": many[1:]}).obj()
			e.is("successCount", r["successCount"], 1)
			e.is("serials", len(r.all("results")[0].list("serials")), 1000)
			name := e.name("many")
			r = e.post(0, "/messages", m{"channels": name, "messages": many}).obj()
			e.fails(r.all("results")[0].obj("error"), 40034, 400)
			e.is("published", len(e.get(1, channelPath(name)+"/messages").list()), 0)
		}},
		{section: "7.7", name: "a body of 2 MiB, and not more", run: func(e *env) {
			specs := func(n int) (list []m) { // of 60,000 bytes and little more each
				for range n {
					list = append(list, m{"channels": e.name("big"), "messages": text("n", strings.Repeat("x", 60_000))})
				}
				return list
			}
			for _, one := range e.post(0, "/messages", specs(34)).list() {
				e.is("successCount", one["successCount"], 1)
			}
			e.refuses(e.rest(0, "POST", "/messages", specs(35)), 40009, 413)
		}},
		{section: "7.7", name: "what is no batch", run: func(e *env) {
			var many []string
			for i := range 101 {
				many = append(many, "c"+number(i))
			}
			e.is("code", e.rest(0, "POST", "/messages", m{"channels": many, "messages": text("n", "d")}).obj().code(), 90010)
			for _, body := range []any{m{}, m{"channels": []string{}, "messages": text("n", "d")}, "x", []any{5}} {
				e.is(show(body), e.rest(0, "POST", "/messages", body).status, 400)
			}
		}},
		{section: "7.8", name: "presence of several channels", run: func(e *env) {
			a, b := e.name("a"), e.name("b")
			c := e.connect(0, "clientId=alice")
			c.attach(a)
			c.enters(a, member(enter, ""))
			for _, query := range []string{"channels=" + a + "," + b, "separator=|&channels=" + a + "%7C" + b} {
				r := e.get(1, "/presence?"+query).obj()
				e.is("successCount", r["successCount"], 2)
				e.is("channel", r.all("results")[0]["channel"], a)
				e.is("member", r.all("results")[0].all("presence")[0]["clientId"], "alice")
				e.is("empty", r.all("results")[1]["presence"], []any{})
			}
			r := e.get(1, "/presence?channels="+a+"&x=1", "Authorization: "+basic(e.key(keyPublish))).obj()
			e.is("failureCount", r["failureCount"], 1)
			e.fails(r.all("results")[0].obj("error"), 40160, 401)
		}},
		{section: "7.8", name: "version 2 has another form, and pages get it as JSON", run: func(e *env) {
			for origin, format := range map[string]string{"Origin:": e.format, "Origin: https://page.example": "json"} {
				r := e.rest(0, "GET", "/presence?channels="+e.name("a"), nil, "X-Ably-Version: 2", origin, "Authorization: "+basic(e.key(keyPublish)))
				e.refuses(r, 40020, 400)
				e.is("Content-Type", r.header.Get("Content-Type"), mediaTypes[format])
				e.is("batchResponse", len(r.obj().list("batchResponse")), 1)
			}
		}},
		{section: "7.8", name: "a clientId beside the channels is not who asks", run: func(e *env) {
			token := "Authorization: " + bearer(e.jwt(keyAll, m{"x-ably-clientId": "alice"}))
			r := e.get(0, "/presence?clientId=bob&channels="+e.name("a"), token).obj()
			e.is("successCount", r["successCount"], 1)
		}},
	}
}

// stats is about GET /stats.
func stats() []check {
	list := []check{
		{section: "7.9", name: "an entry has what the schema asks for", run: func(e *env) {
			e.connect(0).attach(e.name("stats"))
			e.sleep(130)
			entry := e.get(0, "/stats?limit=1").list()[0]
			e.is("unit", entry["unit"], "minute")
			e.ok("intervalId", len(entry.str("intervalId")) == len("2026-03-04:15:03"))
			e.ok("schema", strings.HasPrefix(entry.str("schema"), "https://schemas.ably.com/json/app-stats"))
			e.is("appId", entry["appId"], e.app.AppID)
			for key, v := range entry.obj("entries") {
				e.ok(key+" is no zero", !equal(v, 0))
			}
		}},
		{section: "7.9", name: "every node tells the same", run: func(e *env) {
			e.connect(0).attach(e.name("stats"))
			e.sleep(130)
			want := e.get(0, "/stats?limit=1").list()[0]
			for node := 1; node < 3; node++ {
				at := want.str("intervalId")
				e.is("entry", e.get(node, "/stats?limit=1&start="+at+"&end="+at).list()[0], want)
			}
		}},
		{section: "7.9", name: "it needs stats on *", run: func(e *env) {
			e.refuses(e.rest(0, "GET", "/stats", nil, "Authorization: "+basic(e.key(keySubscribe))), 40160, 401)
			e.get(0, "/stats", "Authorization: "+bearer(e.jwt(keyAll, m{"x-ably-capability": `{"*":["stats"]}`})))
		}},
		{section: "7.9", name: "what it refuses", run: func(e *env) {
			for _, query := range []string{"unit=year", "limit=0", "limit=1001", "start=x", "direction=up", "start=2026-01-02&end=2026-01-01"} {
				r := e.rest(0, "GET", "/stats?"+query, nil)
				e.is(query, r.status, 400)
			}
		}},
	}
	for _, unit := range []string{"minute", "hour", "day", "month"} {
		for _, at := range []string{"2026-03-04:15:03", "2026-03-04:15", "2026-03-04", "2026-03"} {
			list = append(list, check{section: "7.9", name: "unit " + unit + " from and to " + at, run: func(e *env) {
				e.is("entries", e.get(0, "/stats?unit="+unit+"&start="+at+"&end="+at).body, []any{})
			}})
		}
	}
	return list
}
