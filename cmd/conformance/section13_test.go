package conformance

import "time"

// errorCodes is about errors that no other section has.
func errorCodes() []check {
	return []check{
		{section: "13", name: "every error has the status of its code", run: func(e *env) {
			c := e.connect(0)
			for _, err := range []m{c.denied(":a"), c.nacked(":a", text("a", "")), c.nacked("a", m{"name": 5}), c.nacked("a", m{"data": 5})} {
				e.is("statusCode", err["statusCode"], err.int("code")/100)
			}
		}},
	}
}

// nodeDeaths breaks nodes: what clients are promised goes on all the same.
func nodeDeaths() []check {
	list := []check{
		{section: "1.6", name: "resume and hear what was missed after the death of the node", sizes: clusters, alone: true, run: func(e *env) {
			e.sleep(15) // until every partition has a copy
			name := e.name("death")
			p := e.connect(0)
			c := e.connect(1)
			c.attach(name)
			p.publish(name, text("0", ""))
			at := c.hears(name).str("channelSerial")
			defer e.down(1)()
			c.ends()
			e.nodes[1].restart(e)
			p.publish(name, text("1", ""))
			again := e.connect(2, "resume="+c.key())
			e.is("connectionId", again.id(), c.id())
			e.ok("no error", !again.hello.has("error"))
			f := again.attach(name, "channelSerial", at)
			e.resumed(f)
			e.is("name", again.hear(name)["name"], "1")
		}},
		{section: "1.6", name: "no resume when the node died longer than connectionStateTtl ago", sizes: clusters, alone: true, run: func(e *env) {
			c := e.connect(1)
			e.down(1)()
			time.Sleep(connectionStateTTL + 20*time.Second)
			for node := range 3 {
				again := e.connect(node, "resume="+c.key())
				e.ok("another id", again.id() != c.id())
				e.fails(again.hello.obj("error"), 80008, 400)
			}
		}},
		{section: "1.6", name: "resume in time although the node that gave the key does not answer", sizes: clusters, alone: true, run: func(e *env) {
			for i := range 3 {
				c := e.connect(i)
				e.net.Isolate(e.nodes[i].ip)
				begun := time.Now()
				again := e.dial(i+1, "resume="+c.key())
				e.ok("the upgrade took less than 4 s", time.Since(begun) < 4*time.Second)
				f := again.next()
				e.is("action", f["action"], connected)
				e.ok("CONNECTED took less than 10 s", time.Since(begun) < 10*time.Second)
				e.is("connectionId", f["connectionId"], c.id())
				e.net.Rejoin(e.nodes[i].ip)
				e.sleep(10)
				e.nodes[i].ready()
			}
		}},
		{section: "1.7", name: "a node that stops sends its clients elsewhere with DISCONNECTED", sizes: clusters, alone: true, run: func(e *env) {
			c := e.connect(1)
			defer e.nodes[1].restart(e)
			e.nodes[1].stop()
			f := c.expect(disconnected)
			e.fails(f.obj("error"), 80003, 400)
			c.ends()
			e.is("connectionId", e.connect(0, "resume="+c.key()).id(), c.id())
		}},
	}
	for i := range 3 {
		list = append(list, check{section: "3.6", name: "acknowledged messages survive the death of node " + number(i), sizes: clusters, alone: true, run: func(e *env) {
			p, s := e.connect(i+1), e.connect(i+2)
			var names []string
			for range 8 {
				names = append(names, e.name("survive"))
			}
			e.sleep(15) // until every partition has a copy
			for _, name := range names {
				s.attach(name)
				p.publish(name, text("before", ""))
			}
			defer e.down(i)()
			for _, name := range names {
				p.publish(name, text("behind", ""))
			}
			for _, name := range names {
				e.is("name", s.hear(name)["name"], "before")
				e.is("name", s.hear(name)["name"], "behind")
				e.is("history", len(e.get(i+1, channelPath(name)+"/messages").list()), 2)
			}
			for _, f := range s.pending {
				e.ok("continuity is not lost", !f.has("error"))
			}
		}})
	}
	return list
}

// down kills a node; what it returns brings the node back.
func (e *env) down(i int) (up func()) {
	e.nodes[i].kill()
	return func() { e.nodes[i].restart(e) }
}

// restart brings a node back, unless it is there already.
func (m *machine) restart(e *env) {
	if m.node.Ready() == nil {
		return
	}
	m.kill()
	m.start()
	for end := time.Now().Add(time.Minute); m.node.Ready() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			e.fatalf("node %d is not ready a minute after it came back: %v", m.index, m.node.Ready())
		}
	}
}
