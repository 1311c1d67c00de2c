package conformance

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// backend is a backend that the one rule of an app tells.
type backend struct {
	*shop
	rule     string
	server   http.Server
	serving  sync.WaitGroup
	mu       sync.Mutex
	requests []heard
}

// heard is a request that came.
type heard struct {
	header http.Header
	raw    []byte
	body   m
}

// backend makes an app with a rule, and a backend that takes all. target is what the rule says beside the URL.
func (e *env) backend(source string, target m) *backend {
	b := &backend{shop: e.shop(e.account()), rule: "told"}
	e.steer(1, "POST", "/apps/"+b.id+"/namespaces", m{"id": "mutable", "mutable_messages": true})
	host := e.net.Host(e.ownIP())
	listener, err := host.Listen(host.IP() + ":80")
	if err != nil {
		e.fatalf("%v", err)
	}
	b.server.Handler = b
	b.serving.Go(func() { b.server.Serve(listener) })
	_, keyID, _ := strings.Cut(strings.Split(b.key, ":")[0], ".")
	target = target.but("signing_key", keyID, "url", "http://"+host.IP()+"/", "format", "ably")
	e.steer(0, "POST", "/apps/"+b.id+"/rules", m{"id": b.rule, "source": source, "target": target})
	e.sleep(2) // until every node knows
	return b
}

func (b *backend) close() {
	b.e.steer(0, "DELETE", "/apps/"+b.id+"/rules/"+b.rule, nil)
	b.server.Close()
	b.serving.Wait()
}

func (b *backend) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	one := heard{header: r.Header, raw: raw}
	for format, media := range mediaTypes {
		if r.Header.Get("Content-Type") == media {
			v, _ := decode(format, raw)
			one.body, _ = v.(m)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, one)
}

// got waits until so many requests fit and gives all there are.
func (b *backend) got(what string, enough func([]heard) bool) (list []heard) {
	b.e.within(time.Minute, what, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		list = append([]heard(nil), b.requests...)
		return enough(list)
	})
	return list
}

// items are those of all batches.
func items(list []heard) (all []m) {
	for _, r := range list {
		all = append(all, r.body.all("items")...)
	}
	return all
}

// told are the messages of all batches.
func told(list []heard) (all []m) {
	for _, it := range items(list) {
		all = append(all, it.obj("data").all("messages")...)
	}
	return all
}

// integrationRules is about what backends are sent.
func integrationRules() []check {
	return []check{
		{section: "10", alone: true, name: "a request has no more messages than batch_size, and all are told in order and once", run: func(e *env) {
			name := e.name("batches")
			b := e.backend("channel.message", m{"batch_size": 3})
			defer b.close()
			c := b.connect(1)
			for i := range 20 {
				c.say(name, text(number(i), ""))
			}
			var large []m
			for i := range 5 {
				large = append(large, text(number(20+i), ""))
			}
			c.say(name, large...)
			got := b.got("25 messages", func(list []heard) bool { return len(told(list)) >= 25 })
			for i, one := range told(got) {
				e.is("name", one["name"], number(i))
			}
			for _, r := range got {
				n, of := len(told([]heard{r})), len(r.body.all("items"))
				e.ok(fmt.Sprintf("%d messages in %d items", n, of), n <= 3 || of == 1 && n == 5)
			}
		}},
		{section: "10", alone: true, name: "a request has a million bytes at most", run: func(e *env) {
			b := e.backend("channel.message", m{"batch_size": 1000, "linger": "5s"})
			defer b.close()
			c := b.connect(1)
			names := []string{e.name("first")} // what comes after it waits and goes out together
			c.publish(names[0], text("0", ""))
			for range 12 {
				names = append(names, e.name("bytes"))
			}
			for _, name := range names[1:] {
				for i := range 3 {
					c.say(name, text(number(i), strings.Repeat("x", 60_000)))
				}
			}
			got := b.got("37 messages", func(list []heard) bool { return len(told(list)) >= 37 })
			next := map[string]int{}
			for _, it := range items(got) {
				data := it.obj("data")
				for _, one := range data.all("messages") {
					e.is("name", one["name"], number(next[data.str("channelId")]))
					next[data.str("channelId")]++
				}
			}
			e.is("channels", len(next), len(names))
			for _, r := range got {
				e.ok(fmt.Sprintf("%d bytes", len(r.raw)), len(r.raw) <= 1_000_000)
			}
		}},
		{section: "10", name: "batches are JSON or msgpack, and signed", run: func(e *env) {
			name := e.name("batched")
			b := e.backend("channel.message", m{"encoding": e.format})
			defer b.close()
			b.connect(0).publish(name, m{"name": "n", "data": []byte{0, 0xff}}.of(e.format))
			got := b.got("a message", func(list []heard) bool { return len(told(list)) > 0 })
			e.is("Content-Type", got[0].header.Get("Content-Type"), mediaTypes[e.format])
			it := items(got)[0]
			e.is("webhookId", it["webhookId"], b.rule)
			e.is("name", it["name"], "channel.message")
			e.is("channelId", it.obj("data")["channelId"], name)
			e.binary(told(got)[0])
			keyName, secret, _ := strings.Cut(b.key, ":")
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(got[0].raw)
			e.is("X-Ably-Key", got[0].header.Get("X-Ably-Key"), keyName)
			e.is("X-Ably-Signature", got[0].header.Get("X-Ably-Signature"), base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}},
		{section: "10", name: "envelopes of single messages are JSON or msgpack", run: func(e *env) {
			name := e.name("single")
			b := e.backend("channel.message", m{"mode": "single", "encoding": e.format})
			defer b.close()
			b.connect(0).publish(name, m{"name": "n", "data": []byte{0, 0xff}}.of(e.format))
			r := b.got("a request", func(list []heard) bool { return len(list) > 0 })[0]
			e.is("Content-Type", r.header.Get("Content-Type"), mediaTypes[e.format])
			e.is("X-Ably-Version", r.header.Get("X-Ably-Version"), "1.2")
			for key, want := range (m{"source": "channel.message", "appId": b.id, "channel": name, "ruleId": b.rule}) {
				e.is(key, r.body[key], want)
			}
			e.binary(r.body.all("messages")[0])
		}},
		{section: "10", name: "presence is told in JSON or msgpack", run: func(e *env) {
			name := e.name("members")
			b := e.backend("channel.presence", m{"encoding": e.format})
			defer b.close()
			c := e.connect(0, b.connectByKey, "clientId=alice")
			c.attach(name)
			c.enters(name, member(enter, "", "data", []byte{0, 0xff}).of(e.format))
			got := b.got("a member", func(list []heard) bool { return len(items(list)) > 0 })
			it := items(got)[0]
			e.is("name", it["name"], "presence.message")
			one := it.obj("data").all("presence")[0]
			e.is("action", one["action"], enter)
			e.is("clientId", one["clientId"], "alice")
			e.binary(one)
		}},
		{section: "10", name: "plain requests say what was done, and to which message", run: func(e *env) {
			name := "mutable:" + e.name("plain")
			b := e.backend("channel.message", m{"mode": "plain"})
			defer b.close()
			c := e.connect(0, b.connectByKey, "clientId=alice")
			serial := serials(c.publish(name, text("n", "one")))[0]
			path := channelPath(name) + "/messages/" + url.PathEscape(serial)
			e.is("status", b.rest(1, "PATCH", path, m{"action": updateAction, "data": "two"}).status, 200)
			e.is("status", b.rest(2, "PATCH", path, m{"action": appendAction, "data": "!"}).status, 200)
			e.is("status", b.rest(2, "PATCH", path, m{"action": deleteAction}).status, 200)
			got := b.got("four requests", func(list []heard) bool { return len(list) >= 4 })
			version := ""
			for i, want := range []struct{ action, payload string }{{"0", "one"}, {"1", "two"}, {"1", "two!"}, {"2", ""}} {
				head := got[i].header
				e.is("action", head.Get("X-Ably-Message-Action"), want.action)
				e.is("serial", head.Get("X-Ably-Message-Serial"), serial)
				e.is("channel", head.Get("X-Ably-Envelope-Channel"), name)
				if i < 3 { // a delete keeps what the message had, or has nothing
					e.is("payload", string(got[i].raw), want.payload)
				}
				next := head.Get("X-Ably-Message-Version")
				e.ok("a later version", (i == 0) == (next == "") && next >= version)
				version = next
			}
		}},
		{section: "10", name: "channels that open and close have all eight metrics", run: func(e *env) {
			name := e.name("life")
			b := e.backend("channel.lifecycle", m{})
			defer b.close()
			c := b.connect(1)
			c.attach(name)
			e.sleep(1)
			c.cut()
			e.sleep(120)
			got := items(b.got("a closed", func(list []heard) bool { return len(items(list)) > 1 }))
			for i, want := range []string{"channel.opened", "channel.closed"} {
				e.is("name", got[i]["name"], want)
				metrics := got[i].obj("data").obj("status").obj("occupancy").obj("metrics")
				for _, key := range categories {
					e.ok(want+" has "+key, metrics.has(key) && (i == 0 || metrics.int(key) == 0))
				}
			}
		}},
		{section: "10", name: "extras.privileged.skipRule hides a message", run: func(e *env) {
			name := e.name("skip")
			b := e.backend("channel.message", m{})
			defer b.close()
			c := b.connect(0)
			c.publish(name, m{"name": "all", "extras": m{"privileged": m{"skipRule": "*"}}})
			c.publish(name, m{"name": "this", "extras": m{"privileged": m{"skipRule": []string{b.rule}}}})
			c.publish(name, m{"name": "other", "extras": m{"privileged": m{"skipRule": []string{"other"}}}})
			c.publish(name, text("last", ""))
			got := told(b.got("the last", func(list []heard) bool { return len(told(list)) > 1 }))
			e.is("names", []any{got[0]["name"], got[1]["name"]}, []any{"other", "last"})
		}},
	}
}

// of is a message as a client of a format sends it: binary data is base64 in JSON.
func (o m) of(format string) m {
	data, binary := o["data"].([]byte)
	if !binary || format == "msgpack" {
		return o
	}
	return o.but("data", base64.StdEncoding.EncodeToString(data), "encoding", "base64")
}

// binary fails unless a message has the bytes 00 ff as the env's format has them.
func (e *env) binary(one m) {
	if e.format == "json" {
		e.is("data", one["data"], "AP8=")
		e.is("encoding", one["encoding"], "base64")
		return
	}
	data, _ := one["data"].([]byte)
	e.ok("binary data", bytes.Equal(data, []byte{0, 0xff}) && !one.has("encoding"))
}
