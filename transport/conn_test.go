package transport

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// bubble runs a test under fake time on pipes, once per format.
func bubble(t *testing.T, f func(t *testing.T, w *world, format string)) {
	bubbleWith(t, nil, f)
}

func bubbleWith(t *testing.T, tune func(*GatewayConfig), f func(t *testing.T, w *world, format string)) {
	for _, format := range []string{"json", "msgpack"} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false, tune)
				defer w.close()
				f(t, w, "format="+format)
			})
		})
	}
}

func TestConnected(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.open(format)
		defer c.close()
		pm := c.expect(protocol.ActionConnected)
		d := pm.Details
		if d == nil {
			t.Fatal("no connectionDetails")
		}
		if pm.ConnectionID == "" || strings.Contains(pm.ConnectionID, ":") || !strings.HasPrefix(d.ConnectionKey, pm.ConnectionID) {
			t.Errorf("id %q, key %q", pm.ConnectionID, d.ConnectionKey)
		}
		if d.ClientID != "*" || d.MaxIdleInterval != 15000 || d.ConnectionStateTTL != 120000 || d.MaxMessageSize != 65536 || d.MaxFrameSize != 524288 || d.ServerID != "n1" {
			t.Errorf("details %+v", d)
		}
		if pm.Error != nil || pm.HasChannel {
			t.Errorf("error %v, channel %v", pm.Error, pm.HasChannel)
		}

		alice := w.open(format + "&clientId=alice")
		defer alice.close()
		if pm := alice.expect(protocol.ActionConnected); pm.Details.ClientID != "alice" {
			t.Errorf("clientId %q", pm.Details.ClientID)
		}
	})
}

func TestHeartbeatIsEchoed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.send(protocol.AppendHeartbeat(nil, c.f, ""))
		c.send(protocol.AppendHeartbeat(nil, c.f, "ping-1"))
		if pm := c.expect(protocol.ActionHeartbeat); pm.ID != "ping-1" {
			t.Errorf("id %q", pm.ID)
		}
	})
}

func TestRefusedAtConnect(t *testing.T) {
	for name, tc := range map[string]struct {
		query string
		code  int
	}{
		"unknown key":   {"key=demo.nobody:secret", 40101},
		"wrong secret":  {"key=demo.root:wrong", 40101},
		"unknown app":   {"key=this.is:wrong", 40101},
		"malformed key": {"key=nonsense", 40005},
		"token":         {"key=&access_token=abc", 40005},
		"nothing":       {"key=", 40101},
		"old version":   {"v=1.2", 40017},
		"no version":    {"v=x", 40017},
		"format":        {"format=xml", 40003},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false, nil)
				defer w.close()
				c := w.open(tc.query)
				pm := c.expect(protocol.ActionError)
				if pm.HasChannel || pm.Error == nil || pm.Error.Code != tc.code || pm.Error.StatusCode == 0 {
					t.Errorf("got %+v, error %v, want code %d", pm, pm.Error, tc.code)
				}
				c.ends()
			})
		})
	}
}

func TestResumeFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		old := w.open(format + "&clientId=alice")
		first := old.expect(protocol.ActionConnected)
		key := first.Details.ConnectionKey
		old.close()
		for query, code := range map[string]int{
			"resume=_____!ablyjs_test_fake-key____":               80018,
			"recover=ablygo_test_fake-key____":                    80018,
			"resume=" + key[1:]:                                   80018,
			"clientId=alice&resume=" + key[:20] + "zz" + key[22:]: 80008,
			"resume=" + key + "&key=" + limitedKey:                80011, // anybody
			"clientId=bob&resume=" + key:                          80011,
		} {
			c := w.open(format + "&" + query)
			pm := c.expect(protocol.ActionConnected)
			if pm.Error == nil || pm.Error.Code != code || pm.Details.ConnectionKey == key || pm.ConnectionID == first.ConnectionID {
				t.Errorf("%s: got %+v, error %v, want %d", query, pm, pm.Error, code)
			}
			c.close()
		}
	})
}

// silent are nodes that answer nobody.
type silent struct{}

func (silent) Release(ctx context.Context, _ uint64, _ string) (Whereabouts, error) {
	<-ctx.Done()
	return Whereabouts{}, ctx.Err()
}

// A client is not kept waiting for a node that does not answer: it gives up an upgrade after 4 s, and a connection that
// is not CONNECTED after 10 s.
func TestResumeFromASilentNode(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		elsewhere := newWorld(t, false, func(cfg *GatewayConfig) { cfg.NodeID, cfg.Boot, cfg.Peers = "n2", "b2", silent{} })
		defer elsewhere.close()
		a := w.open(format)
		first := a.expect(protocol.ActionConnected)
		defer a.close()
		begun := time.Now()
		b := elsewhere.open(format + "&resume=" + first.Details.ConnectionKey)
		defer b.close()
		if took := time.Since(begun); took >= 4*time.Second {
			t.Errorf("the upgrade took %v", took)
		}
		if pm := b.expect(protocol.ActionConnected); pm.ConnectionID != first.ConnectionID || pm.Error != nil {
			t.Errorf("got %+v, error %v", pm, pm.Error)
		}
		if took := time.Since(begun); took >= 10*time.Second {
			t.Errorf("CONNECTED took %v", took)
		}
	})
}

// Any node of the cluster goes on with a connection under its id, and a node has one socket for it.
func TestResume(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		elsewhere := newWorld(t, false, func(cfg *GatewayConfig) { cfg.NodeID, cfg.Boot = "n2", "b2" })
		defer elsewhere.close()
		a := w.open(format + "&clientId=alice")
		first := a.expect(protocol.ActionConnected)
		for i, at := range []*world{w, elsewhere, w} {
			for _, param := range []string{"resume", "recover"} {
				b := at.open(format + "&clientId=alice&" + param + "=" + first.Details.ConnectionKey)
				if pm := b.expect(protocol.ActionConnected); pm.Error != nil || pm.ConnectionID != first.ConnectionID {
					t.Errorf("%d: %+v, error %v", i, pm, pm.Error)
				}
				if at == w {
					a.ends() // superseded
					a = b
				} else {
					defer b.close()
				}
			}
		}
		if n := w.g.Stats().Endings["superseded"]; n != 4 {
			t.Errorf("%d superseded", n)
		}
		// What is sent again bears the ids it had.
		a.publish("room", 7, "x")
		p, _ := await1(t, w.owner, anyOf[*channel.Publish])
		if p.ID != first.ConnectionID+":7" {
			t.Errorf("id %s", p.ID)
		}
		a.close()
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		c.attach("room", nil)
		c.send(protocol.AppendClose(nil, c.f))
		c.expect(protocol.ActionClosed)
		if status := c.ends(); status != 1000 {
			t.Errorf("close status %d", status)
		}
		r, _ := await1(t, w.owner, func(r *channel.Register) bool { return r.Counts == channel.Counts{} })
		if r.Name != "room" {
			t.Errorf("unregistered %q", r.Name)
		}
	})
}

func TestMalformedFrames(t *testing.T) {
	for name, frame := range map[string]string{
		"not JSON": "{", "scalar": "7", "array": "[1]", "wrong type": `{"action":10,"channel":7}`, "binary": "\xff\xfe",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false, nil)
				defer w.close()
				c := w.connect("")
				c.attach("room", nil)
				c.send([]byte(frame))
				pm := c.expect(protocol.ActionError)
				if pm.HasChannel || pm.Error == nil || pm.Error.Code != 80013 && pm.Error.Code != 40000 {
					t.Errorf("got %+v, error %v", pm, pm.Error)
				}
				c.ends()
			})
		})
	}
}

func TestFrameTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, func(c *GatewayConfig) { c.MaxFrameSize = 1000 })
		defer w.close()
		c := w.connect("")
		go c.send(make([]byte, 1001))
		if pm := c.expect(protocol.ActionError); pm.Error.Code != 40009 {
			t.Errorf("error %v", pm.Error)
		}
		c.ends()
	})
}

func TestUnknownActionsAreIgnored(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ string) {
		c := w.connect("")
		defer c.close()
		for _, a := range []int{1, 2, 3, 4, 6, 8, 9, 11, 13, 18, 20, 99, -1} {
			c.send(fmt.Appendf(nil, `{"action":%d,"channel":"x","future":{"a":[1]}}`, a))
		}
		c.quiet()
	})
}

func TestWhatIsNotThereYet(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, _ string) {
		c := w.connect("")
		defer c.close()
		c.attach("room", nil)
		for serial, action := range []int{19} {
			c.send(fmt.Appendf(nil, `{"action":%d,"channel":"room","msgSerial":%d}`, action, serial))
			if pm := c.expect(protocol.ActionNack); pm.MsgSerial != int64(serial) || pm.Count != 1 || pm.Error.Code != 40000 {
				t.Errorf("got %+v, error %v", pm, pm.Error)
			}
		}
	})
}

// The silence a client sees stays within what CONNECTED promised, and a client that cannot see pings gets heartbeats.
func TestIdleConnectionsAreKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format + "&heartbeats=true")
		defer c.close()
		last := time.Now()
		for range 20 {
			c.expect(protocol.ActionHeartbeat)
			if silence := time.Since(last); silence > maxIdleInterval {
				t.Errorf("silent for %v", silence)
			}
			last = time.Now()
		}
	})
}

func TestPingsKeepAClientThatDoesNotAskForHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("")
		defer c.close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if pm, err := c.read(ctx); pm != nil || ctx.Err() == nil {
			t.Errorf("got %+v, %v; want to be left alone", pm, err)
		}
		if st := w.g.Stats(); st.Endings["silent"] != 0 {
			t.Errorf("ended as silent: %v", st.Endings)
		}
	})
}

// A peer that vanishes without a word is found within 30 s, and its attachments go with it.
func TestHalfOpenConnectionIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		raw, err := w.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		upgrade(t, raw, testKey)
		writeMasked(t, raw, protocol.AppendAttach(nil, protocol.JSON, &protocol.Attach{Channel: "room"}))
		await1(t, w.owner, func(r *channel.Register) bool { return r.Counts[channel.Connections] == 1 })
		went := time.Now()
		go discard(raw) // the network takes everything, but nobody answers
		await1(t, w.owner, func(r *channel.Register) bool { return r.Counts[channel.Connections] == 0 })
		if took := time.Since(went); took > 30*time.Second {
			t.Errorf("found after %v", took)
		}
		synctest.Wait()
		if st := w.g.Stats(); st.Endings["silent"] != 1 || st.Connections != 0 {
			t.Errorf("endings %v, %d connections", st.Endings, st.Connections)
		}
	})
}

func TestClosedSocketIsNoticedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		c.attach("room", nil)
		before := time.Now()
		c.close()
		await1(t, w.owner, func(r *channel.Register) bool { return r.Counts[channel.Connections] == 0 })
		if took := time.Since(before); took != 0 {
			t.Errorf("noticed after %v", took)
		}
	})
}

func TestFence(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		a, b := w.connect(format), w.connect(format)
		a.attach("room", nil)
		w.g.Fence(false)
		for _, c := range []*client{a, b} {
			pm := c.expect(protocol.ActionDisconnected)
			if pm.Error == nil || pm.Error.Code != 80003 || pm.Error.StatusCode > 500 {
				t.Errorf("error %v", pm.Error)
			}
			c.ends()
		}
		late := w.open(format)
		if pm := late.expect(protocol.ActionDisconnected); pm.Error.Code != 80003 {
			t.Errorf("error %v", pm.Error)
		}
		late.ends()
		w.g.Fence(true)
		back := w.connect(format)
		back.attach("room", nil)
		back.close()
	})
}

func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		var clients []*client
		for range 10 {
			clients = append(clients, w.connect(format))
		}
		for _, c := range clients {
			go func() {
				c.expect(protocol.ActionDisconnected)
				c.ends()
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := w.g.Drain(ctx, 0); err != nil {
			t.Error(err)
		}
		if n := w.g.Stats().Connections; n != 0 {
			t.Errorf("%d connections left", n)
		}
		late := w.open(format)
		late.expect(protocol.ActionDisconnected)
		late.ends()
	})
}

// A spread goodbye reaches everybody in turn, evenly, and whoever comes meanwhile at once.
func TestDrainIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		const n, spread = 100, 500 * time.Millisecond
		var mu sync.Mutex
		var told []time.Duration
		began := time.Now()
		for range n {
			c := w.connect("json")
			go func() {
				c.expect(protocol.ActionDisconnected)
				mu.Lock()
				told = append(told, time.Since(began))
				mu.Unlock()
				c.ends()
			}()
		}
		w.g.Refuse()
		late := w.open("json")
		late.expect(protocol.ActionDisconnected)
		late.ends()
		began = time.Now()
		if err := w.g.Drain(t.Context(), spread); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if took := time.Since(began); took < spread || took > spread+time.Second {
			t.Errorf("it took %v", took)
		}
		for i, at := range told {
			if want := spread * time.Duration(i+1) / n; (at - want).Abs() > spread/n+2*drainStep {
				t.Errorf("client %d was told after %v, want about %v", i, at, want)
			}
		}
		if len(told) != n {
			t.Errorf("%d were told", len(told))
		}
	})
}

// A few clients are not kept waiting for each other.
func TestFewAreDrainedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("json")
		go func() {
			c.expect(protocol.ActionDisconnected)
			c.ends()
		}()
		began := time.Now()
		if err := w.g.Drain(t.Context(), time.Minute); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestPlainRequestIsNotUpgraded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		hc := &http.Client{Transport: &http.Transport{DialContext: w.dial, DisableKeepAlives: true}}
		res, err := hc.Get("http://pipe/?key=" + testKey)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

// Frames that arrive together with the upgrade are not lost.
func TestEarlyFrames(t *testing.T) {
	w := newWorld(t, true, nil)
	defer w.close()
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var all []byte
	all = append(all, upgradeRequest(testKey)...)
	for i := range 20 {
		all = append(all, masked(protocol.AppendAttach(nil, protocol.JSON, &protocol.Attach{Channel: fmt.Sprint("room", i)}))...)
	}
	if _, err := raw.Write(all); err != nil {
		t.Fatal(err)
	}
	eventually(t, "20 attachments", func() bool { return w.g.Stats().Attachments == 20 })
}
