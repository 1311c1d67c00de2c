package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// event takes one message and its data.
func (c *client) event(name string) map[string]any {
	c.t.Helper()
	pm := c.expect(protocol.ActionMessage)
	if len(pm.Messages) != 1 || pm.Messages[0].Name != name || pm.Messages[0].Encoding != "json" || pm.Messages[0].ClientID != "" {
		c.t.Fatalf("got %+v, want %s", pm.Messages, name)
	}
	var data map[string]any
	if err := json.Unmarshal(pm.Messages[0].Data, &data); err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	return data
}

// drain takes what is there.
func (c *client) drain() {
	c.t.Helper()
	c.send(protocol.AppendHeartbeat(nil, c.f, "drain"))
	for c.next().Action != protocol.ActionHeartbeat {
	}
}

func TestMetachannelGrantsSubscribeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("")
		defer c.close()
		c.send([]byte(`{"action":10,"channel":"[meta?rewind=1]stats:minute"}`))
		pm := c.expect(protocol.ActionAttached)
		if got := pm.Flags & protocol.AllModes; got != protocol.ModeSubscribe {
			t.Errorf("granted %v", got)
		}
		r, _ := await1(t, w.owner, func(r *channel.Register) bool { return r.Name == "[meta]stats:minute" })
		if r.Counts[channel.Subscribers] != 1 || r.Counts[channel.Publishers] != 0 {
			t.Errorf("registered %+v", r)
		}
	})
}

func TestLifecycleThatIsOffIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, func(c *GatewayConfig) { c.Lifecycle = func(app string) bool { return app != "demo" } })
		defer w.close()
		c := w.connect("")
		defer c.close()
		c.send([]byte(`{"action":10,"channel":"[meta]channel.lifecycle"}`))
		if pm := c.expect(protocol.ActionError); pm.Error.Code != 40010 || !strings.Contains(pm.Error.Message, "lifecycle: true") {
			t.Errorf("got %v", pm.Error)
		}
	})
}

func TestConnectionsAreAnnouncedToThoseWhoWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("")
		defer c.close()
		c.attach("[meta]clientEvents:connections", nil)
		time.Sleep(2 * interestTTL) // that nobody watches was known until a moment ago
		c.drain()
		other := w.connect("clientId=alice&key=" + testKey)
		opened := c.event("connection.opened")
		if opened["connectionId"] != other.id || opened["clientId"] != "alice" || opened["transport"] != "web_socket" || opened["host"] == "" {
			t.Errorf("got %v", opened)
		}
		for _, field := range []string{"host", "site", "headers", "query"} {
			if _, ok := opened[field]; !ok {
				t.Errorf("%s is missing", field)
			}
		}
		if all, _ := json.Marshal(opened); strings.Contains(string(all), "secret") {
			t.Errorf("a secret in %s", all)
		}
		other.attach("room", nil)
		time.Sleep(time.Second)
		other.close()
		closed := c.event("connection.closed")
		if closed["connectionId"] != other.id || closed["duration"].(float64) < 1000 || closed["channels"].([]any)[0] != "room" || closed["host"] != opened["host"] {
			t.Errorf("got %v", closed)
		}
		w.open("key=demo.root:wrong").close()
		if refused := c.event("connection.refused"); refused["error"].(map[string]any)["code"].(float64) != 40101 {
			t.Errorf("got %v", refused)
		}
	})
}

func TestWhatNobodyWatchesIsNotAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		for range 10 {
			w.connect("").close()
		}
		time.Sleep(time.Minute)
		queries := 0
		w.owner.set(func(o *owner) {
			for _, h := range o.heard {
				switch m := h.m.(type) {
				case *channel.Query:
					queries++
				case *channel.Publish:
					t.Errorf("published %+v", m)
				}
			}
		})
		if queries == 0 || queries > 2*10 {
			t.Errorf("%d questions", queries)
		}
	})
}

func TestMetaMessageKeepsItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		if err := w.g.PublishMeta(context.Background(), "demo", MetaChannelLifecycle, "channel.opened", "event-1",
			DetailsOf("room", "c", true, &channel.Counts{2, 1})); err != nil {
			t.Fatal(err)
		}
		p, _ := await1(t, w.owner, anyOf[*channel.Publish])
		const want = `{"channelId":"room","name":"room","region":"c","cluster":"c","status":{"isActive":true,"occupancy":{"metrics":` +
			`{"connections":2,"publishers":1,"subscribers":0,"presenceConnections":0,"presenceMembers":0,"presenceSubscribers":0,"objectPublishers":0,"objectSubscribers":0}}}}`
		if p.ID != "event-1" || p.Name != "[meta]channel.lifecycle" || string(p.Messages[0].Data) != want {
			t.Errorf("got %+v: %s", p, p.Messages[0].Data)
		}
	})
}

// What a client puts into a request is told of in part only: it needs no secret for that.
func TestEventsOfRequestsHaveBounds(t *testing.T) {
	r := httptest.NewRequest("GET", "/"+strings.Repeat("p", 9000)+"?"+strings.Repeat("q", 9000)+"="+strings.Repeat("é", 9000), nil)
	r.Host = strings.Repeat("h", 9000)
	r.Header.Set("X-Request-Id", strings.Repeat("i", 9000))
	for i := range 1000 {
		r.Header.Set(fmt.Sprint("X-H", i), strings.Repeat("<", 800))
	}
	e := NewClientEvent(r, "n1")
	b, err := json.Marshal(e)
	if err != nil || len(b) > 160_000 || !utf8.Valid(b) || strings.Contains(string(b), "\ufffd") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if len(e.Headers) != eventFields || len(e.Query) != 1 || !strings.HasSuffix(e.Host, "…") {
		t.Errorf("%d headers, %d params, host %.20q", len(e.Headers), len(e.Query), e.Host)
	}
}
