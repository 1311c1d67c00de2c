package transport

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

var tokenKeys = []auth.Key{
	{App: "demo", ID: "root", Secret: "secret", Capability: auth.AllowAll()},
	{App: "demo", ID: "rev", Secret: "secret", Capability: auth.AllowAll(), Revocable: true},
	{App: "other", ID: "root", Secret: "secret", Capability: auth.AllowAll()},
}

// tokenBubble is a bubble with keys, and a way to issue tokens: of the key, for a client, for so long, with a capability.
func tokenBubble(t *testing.T, f func(t *testing.T, w *world, format string, issue issuer)) {
	bubbleWith(t, func(c *GatewayConfig) { c.Auth = auth.NewKeys(tokenKeys) }, func(t *testing.T, w *world, format string) {
		f(t, w, format, func(key, client string, ttl time.Duration, capability string) string {
			t.Helper()
			by, err := w.g.cfg.Auth.Authenticate(auth.Credentials{Key: key + ":secret"})
			if err != nil {
				t.Fatal(err)
			}
			d, err := w.g.cfg.Auth.Issue(key, &auth.TokenRequest{
				ClientID: client, TTL: fmt.Sprint(ttl.Milliseconds()), Capability: capability, // 0 is the default
			}, &by, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return d.Token
		})
	})
}

type issuer func(key, client string, ttl time.Duration, capability string) string

func withToken(format, token string) string {
	return format + "&key=&access_token=" + url.QueryEscape(token)
}

// awaits reads until a frame of the action comes, however long that takes.
func (c *client) awaits(a protocol.Action) *protocol.ProtocolMessage {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 48*time.Hour)
	defer cancel()
	pm, err := c.read(ctx)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	if pm.Action != a {
		c.t.Fatalf("got %v (%v), want %v", pm.Action, pm.Error, a)
	}
	return pm
}

func TestConnectWithToken(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		for _, c := range []struct {
			token, param, want string
			code               int
		}{
			{"alice", "", "alice", 0}, {"alice", "alice", "alice", 0}, {"alice", "bob", "", 40102},
			{"*", "", "*", 0}, {"*", "alice", "alice", 0}, {"", "", "", 0}, {"", "alice", "", 40102},
		} {
			client := w.open(withToken(format, issue("demo.root", c.token, 0, "")) + "&clientId=" + c.param)
			if c.code != 0 {
				if pm := client.expect(protocol.ActionError); pm.Error.Code != c.code || pm.Error.StatusCode != 401 || pm.HasChannel {
					t.Errorf("token for %q as %q: %v", c.token, c.param, pm.Error)
				}
				client.ends()
				continue
			}
			if pm := client.expect(protocol.ActionConnected); pm.Details.ClientID != c.want {
				t.Errorf("token for %q as %q: clientId %q, want %q", c.token, c.param, pm.Details.ClientID, c.want)
			}
			client.close()
		}
	})
}

func TestReauth(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.open(withToken(format, issue("demo.root", "alice", 0, "")))
		defer c.close()
		first := c.expect(protocol.ActionConnected)
		c.send(protocol.AppendClientAuth(nil, c.f, issue("demo.root", "alice", 0, "")))
		again := c.expect(protocol.ActionConnected)
		if again.ConnectionID != first.ConnectionID || again.Details.ConnectionKey != first.Details.ConnectionKey || again.Details.ClientID != "alice" || again.Error != nil {
			t.Errorf("first %+v %+v, then %+v %+v", first, first.Details, again, again.Details)
		}
		c.attach("x", nil)
	})
}

func TestReauthKeepsTheIdentity(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		for _, c := range []struct {
			name, connect, key, client string
			token                      string
			code                       int
		}{
			{"another client", withToken(format, issue("demo.root", "alice", 0, "")), "demo.root", "bob", "", 40102},
			{"no client", withToken(format, issue("demo.root", "alice", 0, "")), "demo.root", "", "", 40102},
			{"any client, which includes it", withToken(format, issue("demo.root", "alice", 0, "")), "demo.root", "*", "", 0},
			{"another key of the app", withToken(format, issue("demo.root", "alice", 0, "")), "demo.rev", "alice", "", 0},
			{"another app", withToken(format, issue("demo.root", "alice", 0, "")), "other.root", "alice", "", 40102},
			{"unidentified stays so", withToken(format, issue("demo.root", "", 0, "")), "demo.root", "", "", 0},
			{"unidentified becomes somebody", withToken(format, issue("demo.root", "", 0, "")), "demo.root", "alice", "", 40102},
			{"a key for alice, then her token", format + "&clientId=alice", "demo.root", "alice", "", 0},
			{"a key for anybody, then a token for alice", format, "demo.root", "alice", "", 0},
			{"nonsense", format, "", "", "demo.nonsense!", 40145},
			{"nothing", format, "", "", "", 40101},
		} {
			client := w.connect(c.connect)
			if c.key != "" {
				c.token = issue(c.key, c.client, 0, "")
			}
			client.send(protocol.AppendClientAuth(nil, client.f, c.token))
			if c.code == 0 {
				client.expect(protocol.ActionConnected)
				client.close()
				continue
			}
			if pm := client.expect(protocol.ActionError); pm.Error.Code != c.code || pm.Error.StatusCode != 401 || pm.HasChannel {
				t.Errorf("%s: %v, want %d", c.name, pm.Error, c.code)
			}
			client.ends()
		}
	})
}

// A connection is the client's, whichever key of the app it comes with; another app's is nobody's business.
func TestResumeWithAnotherKey(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.open(withToken(format, issue("demo.root", "alice", 0, "")))
		first := c.expect(protocol.ActionConnected)
		key, other := first.Details.ConnectionKey, issue("demo.rev", "alice", 0, "")
		c.send(protocol.AppendClientAuth(nil, c.f, other))
		c.expect(protocol.ActionConnected)
		c.close()
		stranger := w.open(withToken(format, issue("other.root", "alice", 0, "")) + "&resume=" + key)
		if pm := stranger.expect(protocol.ActionConnected); pm.ConnectionID == first.ConnectionID || pm.Error == nil || pm.Error.Code != 80011 {
			t.Errorf("another app: %+v, error %v", pm, pm.Error)
		}
		stranger.close()
		for _, token := range []string{other, issue("demo.root", "alice", 0, ""), other} {
			c := w.open(withToken(format, token) + "&resume=" + key)
			pm := c.expect(protocol.ActionConnected)
			if pm.ConnectionID != first.ConnectionID || pm.Error != nil {
				t.Errorf("got %+v, error %v; want connection %s", pm, pm.Error, first.ConnectionID)
			}
			key = pm.Details.ConnectionKey
			c.close()
		}
	})
}

func TestReauthTakesCapabilitiesAway(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.connect(withToken(format, issue("demo.root", "", 0, "")))
		defer c.close()
		c.attach("keep", nil)
		c.attach("gone", nil)
		c.attach("less", map[string]string{"modes": "publish,subscribe"})
		c.attach("also-gone", nil)
		c.attach("seen", map[string]string{"occupancy": "metrics"})
		for c.next().Channel != "seen" { // its first occupancy event
		}
		c.send(protocol.AppendClientAuth(nil, c.f, issue("demo.root", "", 0,
			`{"keep":["*"],"less":["publish","channel-metadata"],"seen":["subscribe"]}`)))
		c.expect(protocol.ActionConnected)
		failed, narrowed := map[string]int{}, map[string]protocol.Flags{}
		for len(failed) < 2 || len(narrowed) < 2 {
			pm := c.next()
			switch pm.Action {
			case protocol.ActionError:
				failed[pm.Channel] = pm.Error.Code
			case protocol.ActionAttached:
				if !pm.Flags.Has(protocol.FlagResumed) || pm.Channel == "seen" && pm.Params["occupancy"] != "" ||
					pm.Channel == "less" && pm.Params["modes"] != "publish" {
					t.Errorf("attached %q: flags %x, params %v", pm.Channel, pm.Flags, pm.Params)
				}
				narrowed[pm.Channel] = pm.Flags & protocol.AllModes
			case protocol.ActionMessage: // occupancy that was on its way
			default:
				t.Fatalf("got %v", pm.Action)
			}
		}
		if failed["gone"] != 40160 || failed["also-gone"] != 40160 {
			t.Errorf("failed: %v", failed)
		}
		if narrowed["less"] != protocol.ModePublish || narrowed["seen"] != protocol.ModeSubscribe|protocol.ModePresenceSubscribe {
			t.Errorf("narrowed: %v", narrowed)
		}
		c.publish("gone", 0, "x")
		if pm := c.expect(protocol.ActionNack); pm.Error.Code != 40160 {
			t.Errorf("publish: %v", pm.Error)
		}
		c.publish("keep", 1, "x")
		c.expect(protocol.ActionMessage)
		c.expect(protocol.ActionAck)
		await1(t, w.owner, func(r *channel.Register) bool { return r.Name == "gone" && r.Counts == channel.Counts{} })
	})
}

func TestTokenEndsWithTheConnection(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		start := time.Now()
		c := w.connect(withToken(format, issue("demo.root", "", 100*time.Millisecond, "")))
		if pm := c.awaits(protocol.ActionDisconnected); pm.Error.Code != 40142 || pm.Error.StatusCode != 401 {
			t.Errorf("error %v", pm.Error)
		}
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("after %v", took)
		}
		c.ends()
		if n := w.g.count.endings[endExpired].Load(); n != 1 {
			t.Errorf("%d connections are counted as expired", n)
		}
	})
}

func TestServerAsksForRenewal(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		start := time.Now()
		token := issue("demo.root", "", 10*time.Minute, "")
		c := w.connect(withToken(format, token))
		c.awaits(protocol.ActionAuth)
		if took := time.Since(start); took != 10*time.Minute-30*time.Second {
			t.Errorf("asked after %v", took)
		}
		c.send(protocol.AppendClientAuth(nil, c.f, token)) // the same once more: no reason to ask again
		c.awaits(protocol.ActionConnected)
		c.send(protocol.AppendClientAuth(nil, c.f, issue("demo.root", "", 10*time.Minute, "")))
		c.awaits(protocol.ActionConnected)
		renewed := time.Now()
		c.awaits(protocol.ActionAuth)
		if took := time.Since(renewed); took != 10*time.Minute-30*time.Second {
			t.Errorf("asked again after %v", took)
		}
		if pm := c.awaits(protocol.ActionDisconnected); pm.Error.Code != 40142 {
			t.Errorf("error %v", pm.Error)
		}
		if took := time.Since(renewed); took != 10*time.Minute {
			t.Errorf("ended after %v", took)
		}
		c.ends()
	})
}

func TestRevocationEndsConnections(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		keys := w.g.cfg.Auth
		alice := w.connect(withToken(format, issue("demo.rev", "alice", 0, "")))
		bob := w.connect(withToken(format, issue("demo.rev", "bob", 0, "")))
		basic := w.connect(format)
		time.Sleep(time.Second)
		now := time.Now().UnixMilli()
		keys.ReplaceRevocations([]auth.Revocation{
			{KeyName: "demo.rev", Target: "clientId:alice", IssuedBeforeMs: now, AppliesAtMs: now},
			{KeyName: "demo.rev", Target: "clientId:bob", IssuedBeforeMs: now, AppliesAtMs: now + 30_000},
		})
		w.g.CredentialsChanged()
		if pm := alice.awaits(protocol.ActionDisconnected); pm.Error.Code != 40141 || pm.Error.StatusCode != 401 {
			t.Errorf("error %v", pm.Error)
		}
		alice.ends()
		basic.quiet()
		basic.close()
		bob.expect(protocol.ActionAuth)
		w.g.CredentialsChanged() // something else changed: bob is not asked again
		if pm := bob.awaits(protocol.ActionDisconnected); pm.Error.Code != 40141 {
			t.Errorf("error %v", pm.Error)
		}
		if at := time.Now().UnixMilli(); at != now+30_000 {
			t.Errorf("%d ms after the revocation", at-now)
		}
		bob.ends()
		renewed := w.connect(withToken(format, issue("demo.rev", "alice", 0, "")))
		w.g.CredentialsChanged()
		renewed.quiet()
		renewed.close()
	})
}

func TestRevokedInTimeToRenew(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.connect(withToken(format, issue("demo.rev", "bob", 0, "")))
		defer c.close()
		time.Sleep(time.Second)
		now := time.Now().UnixMilli()
		w.g.cfg.Auth.ReplaceRevocations([]auth.Revocation{{KeyName: "demo.rev", Target: "clientId:bob", IssuedBeforeMs: now, AppliesAtMs: now + 30_000}})
		w.g.CredentialsChanged()
		c.expect(protocol.ActionAuth)
		c.send(protocol.AppendClientAuth(nil, c.f, issue("demo.rev", "bob", 0, "")))
		c.expect(protocol.ActionConnected)
		c.awaits(protocol.ActionAuth) // half a minute before the new one ends
		if got := time.Duration(time.Now().UnixMilli()-now) * time.Millisecond; got != time.Hour-30*time.Second {
			t.Errorf("asked after %v", got)
		}
	})
}

func TestKeyThatIsGoneEndsConnections(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		basic := w.connect(format)
		token := w.connect(withToken(format, issue("demo.root", "", 0, "")))
		w.g.cfg.Auth.Replace(tokenKeys[1:])
		w.g.CredentialsChanged()
		for _, c := range []*client{basic, token} {
			if pm := c.expect(protocol.ActionError); pm.Error.Code != 40131 || pm.Error.StatusCode != 401 || pm.HasChannel {
				t.Errorf("error %v", pm.Error)
			}
			c.ends()
		}
	})
}

// The heap keeps no connection that is gone, and none with a key.
func TestLapsesForgetConnections(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		size := func() int {
			w.g.lapses.mu.Lock()
			defer w.g.lapses.mu.Unlock()
			return len(w.g.lapses.heap)
		}
		var all []*client
		for range 10 {
			all = append(all, w.connect(withToken(format, issue("demo.root", "", 0, ""))), w.connect(format))
		}
		synctest.Wait() // a client hears that it is connected a moment before it is taken in
		if n := size(); n != 10 {
			t.Errorf("%d connections wait for their end, want 10", n)
		}
		for _, c := range all {
			c.close()
		}
		synctest.Wait()
		eventually(t, "all forgotten", func() bool { return size() == 0 })
	})
}
