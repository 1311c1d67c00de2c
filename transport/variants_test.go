package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
	"innkeeper/transport/vcdiff"
)

// deliver has the owner tell of a publish on a channel.
func (w *world) deliver(name, conn string, messages ...channel.Message) *channel.Delivery {
	var d *channel.Delivery
	w.owner.set(func(o *owner) {
		d = o.keep(&channel.Publish{App: "demo", Name: name, ConnID: conn, ID: fmt.Sprint("id", o.serials), Messages: messages})
	})
	w.g.FromOwner("n1", ring.Partition(ring.Hash("demo", name), testPartitions), 1, d)
	return d
}

func stringMessage(text string) channel.Message {
	return channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(text)}
}

// applied decodes a message as a client does, with what it was sent before.
func applied(t *testing.T, m *protocol.Message, before []byte) (data []byte, delta bool) {
	t.Helper()
	c, _, err := protocol.Canonical([]protocol.Message{{Shape: m.Shape, Data: m.Data, Encoding: m.Encoding}}, protocol.CanonicalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(c[0].Encoding, "vcdiff") {
		return c[0].Data, false
	}
	out, bad := vcdiff.Decode(c[0].Data, before, 1<<20)
	if bad != nil {
		t.Fatal(bad)
	}
	return out, true
}

// noise is a text that no delta can make shorter by itself.
func noise() string {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 400)
	for i := range b {
		b[i] = byte('a' + rnd.IntN(26))
	}
	return string(b)
}

func TestDeltas(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		pm := c.attach("room", map[string]string{"delta": "vcdiff"})
		if pm.Params["delta"] != "vcdiff" {
			t.Errorf("params %v", pm.Params)
		}
		other := w.connect(format)
		defer other.close()
		other.attach("room", nil)
		text := func(i int) string { return noise() + fmt.Sprint(i) }
		var before []byte
		var id string
		for i, step := range []struct {
			m     channel.Message
			delta bool
		}{
			{stringMessage(text(0)), false}, {stringMessage(text(1)), true}, {stringMessage(text(2)), true}, {stringMessage("short"), false},
			{stringMessage(text(3)), false}, {channel.Message{Name: "m"}, false}, {stringMessage(text(4)), false},
			{channel.Message{Name: "m", Kind: channel.BinaryData, Data: []byte(text(5))}, true},
			{channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(text(6)), Encoding: "json"}, true}, // no JSON: clients fail on it
			{stringMessage(text(7)), false},
			{channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(text(8)), Extras: []byte(`{"headers":{"a":1}}`)}, true},
		} {
			w.deliver("room", "elsewhere", step.m)
			m := &c.expect(protocol.ActionMessage).Messages[0]
			data, delta := applied(t, m, before)
			if delta != step.delta || !bytes.Equal(data, step.m.Data) {
				t.Errorf("%d: delta %v, want %v; %q", i, delta, step.delta, data)
			}
			if delta && !strings.Contains(string(m.Extras), `"delta":{"format":"vcdiff","from":"`+id+`"}`) && !strings.Contains(string(m.Extras), `"delta":{"from":"`+id+`","format":"vcdiff"}`) {
				t.Errorf("%d: extras %s, want those of a delta from %s", i, m.Extras, id)
			}
			if step.m.Extras != nil && !strings.Contains(string(m.Extras), `"headers":{"a":1}`) {
				t.Errorf("%d: extras %s", i, m.Extras)
			}
			if plain, _ := applied(t, &other.expect(protocol.ActionMessage).Messages[0], nil); !bytes.Equal(plain, step.m.Data) {
				t.Errorf("%d: others get %q", i, plain)
			}
			before, id = data, m.ID
		}
	})
}

// What follows on several messages builds on the last of them; what a connection does not get back is no base of anything.
func TestDeltasWithinAPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("echo=false")
		defer c.close()
		c.attach("room", map[string]string{"delta": "vcdiff"})
		long := noise()
		w.deliver("room", "x", stringMessage("first"))
		c.expect(protocol.ActionMessage)
		w.deliver("room", "x", stringMessage(long+"a"), stringMessage(long+"b"))
		pm := c.expect(protocol.ActionMessage)
		first, one := applied(t, &pm.Messages[0], []byte("first"))
		second, two := applied(t, &pm.Messages[1], first)
		if one || !two || string(second) != long+"b" {
			t.Errorf("%v %v %q", one, two, second)
		}
		var own string
		w.g.sweeper.each(func(c *conn) { own = c.id })
		w.deliver("room", own, stringMessage(strings.Repeat("z", 300)))
		w.deliver("room", "x", stringMessage(long+"c"))
		pm = c.expect(protocol.ActionMessage)
		if third, delta := applied(t, &pm.Messages[0], second); !delta || string(third) != long+"c" {
			t.Errorf("%v %q", delta, third)
		}
	})
}

// A client that could not apply a delta attaches again with where it got to.
func TestClientThatLostTrackIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("")
		defer c.close()
		params := map[string]string{"delta": "vcdiff"}
		c.attach("room", params)
		long := noise()
		var serials []string
		for i := range 3 {
			serials = append(serials, w.deliver("room", "x", stringMessage(long+fmt.Sprint(i))).Serial)
			c.expect(protocol.ActionMessage)
		}
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", ChannelSerial: serials[0], Params: params}))
		if pm := c.expect(protocol.ActionAttached); !pm.Flags.Has(protocol.FlagResumed) {
			t.Errorf("%+v", pm)
		}
		var before []byte
		for i := 1; i < 3; i++ {
			m := &c.expect(protocol.ActionMessage).Messages[0]
			data, delta := applied(t, m, before)
			if delta != (i > 1) || string(data) != long+fmt.Sprint(i) {
				t.Errorf("%d: delta %v, %q", i, delta, data)
			}
			before = data
		}
		// One that stands where it was sent to is not told anything again.
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", ChannelSerial: serials[2], Params: params}))
		c.expect(protocol.ActionAttached)
		w.deliver("room", "x", stringMessage(long+"3"))
		if data, delta := applied(t, &c.expect(protocol.ActionMessage).Messages[0], nil); delta || string(data) != long+"3" {
			t.Errorf("delta %v, %q", delta, data)
		}
	})
}

func TestFormsOfEdits(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		connect := func(params map[string]string) *client {
			c := w.connect(format)
			t.Cleanup(c.close)
			c.attach("room", params)
			return c
		}
		plain, full := connect(nil), connect(map[string]string{"appendMode": "full"})
		both := connect(map[string]string{"modes": "subscribe,annotation_subscribe"})
		raw := connect(map[string]string{"modes": "annotation_subscribe"})
		serial := "01700000000000-000@test:000"
		w.deliver("room", "x", channel.Message{Name: "m", Kind: channel.StringData, Data: []byte("!"), Edit: &channel.Edit{
			Action: channel.MessageAppend, Serial: serial, CreatedMs: 5, Version: "v", Whole: &channel.Message{Name: "m", Kind: channel.StringData, Data: []byte("hello!")},
		}})
		for c, want := range map[*client]string{plain: "5 !", both: "5 !", full: "1 hello!"} {
			m := c.expect(protocol.ActionMessage).Messages[0]
			if got := fmt.Sprint(int(m.Action), " ", string(m.Data)); got != want || m.Serial != serial || m.Timestamp != 5 {
				t.Errorf("an append comes as %q, want %q; %+v", got, want, m)
			}
		}
		w.deliver("room", "x", channel.Message{Name: "👍", ClientID: "bob", Edit: &channel.Edit{
			Action: channel.Annotate, Serial: serial, CreatedMs: 5, Version: "v", Type: "r:flag.v1", Summary: []byte(`{"r:flag.v1":{"total":1}}`),
		}})
		for _, c := range []*client{both, raw} {
			pm := c.expect(protocol.ActionAnnotation)
			if a := pm.Annotations[0]; a.Type != "r:flag.v1" || a.MessageSerial != serial || a.ClientID != "bob" || a.Serial != "v" || pm.ChannelSerial == "" {
				t.Errorf("%+v", pm)
			}
		}
		for _, c := range []*client{both, plain, full} {
			if m := c.expect(protocol.ActionMessage).Messages[0]; m.Action != protocol.MessageSummary || m.Serial != serial {
				t.Errorf("%+v", m)
			}
		}
		w.deliver("room", "x", stringMessage("after"))
		for _, c := range []*client{both, plain, full} {
			c.expect(protocol.ActionMessage)
		}
		raw.quiet()
		if w.owner.watched["room"] != true {
			t.Error("who hears annotations alone is not counted as a watcher")
		}
	})
}

func TestEchoUnwanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("")
		defer c.close()
		c.attach("room", nil)
		c.send([]byte(`{"action":15,"channel":"room","msgSerial":0,"messages":[{"name":"a","extras":{"echo":false}}]}`))
		c.expect(protocol.ActionAck)
		c.send([]byte(`{"action":15,"channel":"room","msgSerial":1,"messages":[{"name":"b","extras":{"echo":true}}]}`))
		c.hears("b")
	})
}
