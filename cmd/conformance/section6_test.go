package conformance

import (
	"encoding/json"
	"time"
)

// categories are the eight metrics of occupancy.
var categories = []string{
	"connections", "publishers", "subscribers", "presenceConnections", "presenceMembers", "presenceSubscribers", "objectPublishers", "objectSubscribers",
}

// occupancyEvent is the metrics of the next occupancy event of an attachment.
func (c *client) occupancyEvent(name string) m {
	got := c.hear(name)
	c.e.is("name", got["name"], "[meta]occupancy")
	c.e.is("encoding", got["encoding"], "json")
	c.e.ok("no clientId, no connectionId", !got.has("clientId") && !got.has("connectionId"))
	var v struct{ Metrics map[string]any }
	if err := json.Unmarshal([]byte(got.str("data")), &v); err != nil {
		c.e.fatalf("the data of an occupancy event is %q", got.str("data"))
	}
	return normal(v.Metrics).(m)
}

// occupancy is about counts and those who watch them.
func occupancy() []check {
	watch := m{"occupancy": "metrics"}
	list := []check{
		{section: "6.1", name: "counts follow the granted modes over all nodes", run: func(e *env) {
			name := e.name("counted")
			e.connect(0).attach(name)
			e.connect(1).attach(name, "flags", modeSubscribe)
			e.connect(2).attach(name, "flags", modePublish)
			e.connect(0, "key="+e.key(keyPublish)).attach(name)
			e.connect(1).attach(name, "flags", 1<<24|1<<25)
			want := m{"connections": 5, "publishers": 3, "subscribers": 2, "presenceConnections": 1, "presenceMembers": 0, "presenceSubscribers": 1, "objectPublishers": 1, "objectSubscribers": 1}
			for node := range 3 {
				e.is("metrics", e.metrics(node, name), want)
			}
		}},
		{section: "6.1", name: "zeros are told and reading counts nobody", run: func(e *env) {
			name := e.name("zeros")
			for range 2 {
				for _, category := range categories {
					e.is(category, e.metrics(0, name)[category], 0)
				}
			}
		}},
		{section: "6.1", name: "a transient publisher is not counted", run: func(e *env) {
			name := e.name("transient")
			e.connect(0).publish(name, text("a", ""))
			e.is("connections", e.metrics(1, name)["connections"], 0)
		}},
		{section: "6.1", name: "a connection that is gone does not count, though it may resume", run: func(e *env) {
			name := e.name("dropped")
			c := e.connect(0)
			c.attach(name)
			c.cut()
			e.within(2*time.Second, "nobody attached", func() bool { return e.metrics(1, name).int("connections") == 0 })
		}},
		{section: "6.2", name: "the seed comes right behind ATTACHED and counts the watcher", run: func(e *env) {
			name := e.name("seed")
			c := e.connect(0)
			e.is("params", c.attach(name, "params", watch)["params"], watch)
			seed := c.occupancyEvent(name)
			e.is("categories", len(seed), 8)
			e.is("connections", seed["connections"], 1)
		}},
		{section: "6.2", name: "occupancy needs channel-metadata", run: func(e *env) {
			c := e.connect(0, "key="+e.key(keySubscribe))
			e.fails(c.denied(e.name("denied"), "params", watch), 40160, 401)
		}},
		{section: "6.2", name: "an unknown value is dropped", run: func(e *env) {
			c := e.connect(0)
			f := c.attach(e.name("unknown"), "params", m{"occupancy": "metrics.nonsense"})
			e.ok("not echoed", !f.obj("params").has("occupancy"))
			c.silent(message)
		}},
		{section: "6.2", name: "occupancy in a qualifier", run: func(e *env) {
			name := "[?occupancy=metrics.publishers]" + e.name("qualified")
			c := e.connect(0)
			c.attach(name)
			e.is("metrics", c.occupancyEvent(name), m{"publishers": 1})
		}},
		{section: "6.2", name: "without SUBSCRIBE there is no event", run: func(e *env) {
			c := e.connect(0)
			c.attach(e.name("deaf"), "params", watch, "flags", modePublish)
			c.silent(message)
		}},
		{section: "6.3", name: "events are no position in the channel and not in its history", run: func(e *env) {
			name := e.name("position")
			c := e.connect(0)
			c.attach(name, "params", watch)
			e.ok("no channelSerial", !c.hears(name).has("channelSerial"))
			e.is("history", len(e.get(1, channelPath(name)+"/messages").list()), 0)
		}},
		{section: "6.3", name: "only who asked gets events", run: func(e *env) {
			name := e.name("asked")
			c, w := e.connect(0), e.connect(0)
			c.attach(name)
			w.attach(name, "params", watch)
			w.occupancyEvent(name)
			c.silent(message)
		}},
		{section: "6.4", name: "what leaves or reaches zero is told at once", run: func(e *env) {
			name := e.name("atonce")
			w := e.connect(0)
			w.attach(name, "params", m{"occupancy": "metrics.publishers"}, "flags", modeSubscribe)
			e.is("seed", w.occupancyEvent(name), m{"publishers": 0})
			p := e.connect(1)
			begun := time.Now()
			p.attach(name, "flags", modePublish)
			e.is("event", w.occupancyEvent(name), m{"publishers": 1})
			p.send(m{"action": detach, "channel": name})
			e.is("event", w.occupancyEvent(name), m{"publishers": 0})
			e.ok("at once", time.Since(begun) < 500*time.Millisecond)
		}},
		{section: "6.4", name: "the watcher converges to the true numbers", run: func(e *env) {
			name := e.name("converges")
			w := e.connect(0)
			w.attach(name, "params", m{"occupancy": "metrics.connections"})
			for i := range 7 {
				e.connect(i).attach(name)
			}
			for w.occupancyEvent(name).int("connections") != 8 {
			}
		}},
		{section: "6.4", name: "a watcher that is brought what it missed converges, whatever changes meanwhile", run: func(e *env) {
			p := e.connect(1)
			for i := range 20 {
				name := e.name("meanwhile")
				p.publish(name, text("a", "b"))
				w, q := e.connect(i), e.connect(i+1)
				w.send(m{"action": attach, "channel": name, "params": m{"occupancy": "metrics.publishers", "rewind": "1"}, "flags": modeSubscribe})
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				q.attach(name, "flags", modePublish)
				w.expect(attached, "channel", name)
				e.is("rewound", w.hear(name)["name"], "a")
				for w.occupancyEvent(name).int("publishers") != 1 {
				}
			}
		}},
		{section: "6.4", name: "a seed that was true for a moment is put right", run: func(e *env) {
			name := e.name("moment")
			watch := []any{"params", m{"occupancy": "metrics.connections"}, "flags", modeSubscribe}
			a, b, c := e.connect(0), e.connect(0), e.connect(1)
			c.attach(name, "flags", modeSubscribe)
			a.attach(name, watch...)
			e.is("seed", a.occupancyEvent(name), m{"connections": 2})
			b.attach(name, watch...)
			e.is("seed", b.occupancyEvent(name), m{"connections": 3})
			c.send(m{"action": detach, "channel": name}) // so that it is again what the first one knows
			e.is("event", b.occupancyEvent(name), m{"connections": 2})
		}},
		{section: "6.4", name: "what did not change is not told again", run: func(e *env) {
			name := e.name("same")
			w := e.connect(0)
			w.attach(name, "params", m{"occupancy": "metrics.publishers"}, "flags", modeSubscribe)
			w.occupancyEvent(name)
			e.connect(1).attach(name, "flags", modeSubscribe)
			w.silent(message)
		}},
		{section: "6.4", name: "the seed is told again on a re-attach", run: func(e *env) {
			name := e.name("again")
			w := e.connect(0)
			w.attach(name, "params", watch)
			w.occupancyEvent(name)
			w.attach(name, "params", watch)
			w.occupancyEvent(name)
		}},
		{section: "6.5", name: "ChannelDetails", run: func(e *env) {
			name := e.name("details")
			e.connect(0).attach(name)
			d := e.get(1, channelPath(name)).obj()
			e.is("channelId", d["channelId"], name)
			e.is("name", d["name"], name)
			e.is("isActive", d.obj("status")["isActive"], true)
			for _, category := range categories {
				e.ok(category+" is a number", d.obj("status").obj("occupancy").obj("metrics").int(category) >= 0)
			}
		}},
	}
	for i, category := range categories {
		list = append(list, check{section: "6.2", name: "metrics." + category, run: func(e *env) {
			name := e.name("one")
			c := e.connect(i)
			f := c.attach(name, "params", m{"occupancy": "metrics." + category})
			e.is("params", f["params"], m{"occupancy": "metrics." + category})
			got := c.occupancyEvent(name)
			e.ok("that one alone", len(got) == 1 && got.has(category))
		}})
	}
	return list
}
