package conformance

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
)

// hook is a backend of a rule: it keeps the names of the messages it is told of.
type hook struct {
	url string
	srv http.Server

	mu    sync.Mutex
	names []string
}

// hook listens until its end.
func (e *env) hook() *hook {
	ip := e.ownIP()
	l, err := e.net.Host(ip).Listen(":80")
	if err != nil {
		e.fatalf("%v", err)
	}
	h := &hook{url: "http://" + ip + "/"}
	h.srv.Handler = h
	e.wg.Go(func() { h.srv.Serve(l) })
	return h
}

func (h *hook) end() { h.srv.Close() }

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Items []struct {
			Data struct{ Messages []struct{ Name string } }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range body.Items {
		for _, one := range it.Data.Messages {
			h.names = append(h.names, one.Name)
		}
	}
}

// told is the names of all messages told so far.
func (h *hook) told() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.names)
}

// ephemerals is about messages that are delivered and not kept.
func ephemerals() []check {
	passing := func(name string) m { return m{"name": name, "data": "x", "extras": m{"ephemeral": true}} }
	names := func(list []m) (out []string) {
		for _, one := range list {
			out = append(out, one.str("name"))
		}
		return out
	}
	return []check{
		{section: "4.4", name: "an ephemeral message is heard and not kept", run: func(e *env) {
			c, p := e.connect(0), e.connect(1)
			name := e.name("ephemeral")
			path := channelPath(name) + "/messages"
			c.attach(name)
			p.publish(name, text("first", ""))
			serial := c.hears(name).str("channelSerial")
			p.publish(name, passing("frame"))
			e.post(2, path+"?ephemeral=true", text("request", ""))
			p.publish(name, text("last", ""))
			for _, want := range []string{"frame", "request", "last"} {
				e.is("name", c.hear(name)["name"], want)
			}
			e.is("history", names(e.get(2, path+"?direction=forwards").list()), []string{"first", "last"})
			r := e.connect(2)
			r.attach(name, "params", m{"rewind": "10"})
			e.is("rewound", []string{r.hear(name).str("name"), r.hear(name).str("name")}, []string{"first", "last"})
			s := e.connect(1)
			e.resumed(s.attach(name, "channelSerial", serial))
			e.is("missed", s.hear(name)["name"], "last")
			s.silent(message)
		}},
		{section: "4.4", name: "all messages of a publish are ephemeral, or none", run: func(e *env) {
			c := e.connect(0)
			name := e.name("some")
			e.fails(c.nacked(name, passing("a"), text("b", "")), 40032, 400)
			e.refuses(e.rest(1, "POST", channelPath(name)+"/messages", []m{text("a", ""), passing("b")}), 40032, 400)
			c.attach(name)
			c.publish(name, passing("a"), passing("b"))
			e.is("messages", names(c.hears(name).all("messages")), []string{"a", "b"})
		}},
		{section: "4.4", name: "an ephemeral message is told to no webhook", run: func(e *env) {
			h := e.hook()
			defer h.end()
			s := e.shop(e.account())
			name := e.name("told")
			e.steer(1, "POST", "/apps/"+s.id+"/rules", m{"source": "channel.message", "channels": "^" + name + "$", "target": m{"url": h.url, "format": "ably"}})
			c, p := s.connect(0), s.connect(1)
			c.attach(name)
			p.publish(name, text("first", ""))
			p.publish(name, passing("frame"))
			e.is("status", s.rest(2, "POST", channelPath(name)+"/messages?ephemeral=true", text("request", "")).status, http.StatusCreated)
			p.publish(name, text("last", ""))
			for _, want := range []string{"first", "frame", "request", "last"} {
				e.is("heard", c.hear(name)["name"], want)
			}
			e.within(patience, "the last is told", func() bool { return slices.Contains(h.told(), "last") })
			e.is("told", h.told(), []string{"first", "last"})
		}},
	}
}
