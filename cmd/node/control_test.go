package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"innkeeper/cmd/node/config"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// steer asks the control API and wants a status. The answer is decoded into into, unless that is nil.
func (r *running) steer(method, path, body string, status int, into any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.AdminAddr()+"/v1"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != status {
		r.t.Fatalf("%s %s: %d, want %d: %s", method, path, res.StatusCode, status, b)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(b, into); err != nil {
		r.t.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
}

// refused attaches to a channel and wants to be refused. It returns the error's code.
func (c *client) refused(name string) int {
	c.t.Helper()
	c.send(protocol.AppendAttach(nil, c.format, &protocol.Attach{Channel: name}))
	pm := c.next()
	if pm.Action != protocol.ActionError && pm.Action != protocol.ActionDetached || pm.Channel != name || pm.Error == nil {
		c.t.Fatalf("attach to %s: %v %v, want it refused", name, pm.Action, pm.Error)
	}
	return pm.Error.Code
}

// gone waits for the end of the connection, whatever is said before.
func (c *client) gone() {
	c.t.Helper()
	for {
		if _, _, err := c.read(); err != nil {
			return
		}
	}
}

// close ends the connection in order.
func (c *client) close() {
	c.send([]byte(`{"action":7}`))
	c.gone()
}

// refusal is what an error of the control API says.
type refusal struct {
	Error struct {
		Message string
		Code    int
		Details []struct{ Field, Message string }
	}
}

// says fails unless the control API refuses a request with a status and all parts in what it says.
func (r *running) says(method, path, body string, status int, parts ...string) {
	r.t.Helper()
	var e refusal
	r.steer(method, path, body, status, &e)
	for _, part := range parts {
		if !strings.Contains(e.Error.Message, part) {
			r.t.Errorf("%s %s %s: %q is missing in %q", method, path, body, part, e.Error.Message)
		}
	}
}

func TestAppsAndKeysAtRunTime(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	var app struct{ ID, Name, AccountID, Status, KeptIn string }
	n.steer("POST", "/accounts/acme/apps", `{"id":"shop","name":"Shop"}`, 201, &app)
	if app.ID != "shop" || app.AccountID != "acme" || app.KeptIn != "log" {
		t.Errorf("%+v", app)
	}
	n.says("POST", "/accounts/acme/apps", `{"id":"shop"}`, 409, `"shop"`, "change that one")
	n.says("POST", "/accounts/acme/apps", `{"id":"demo"}`, 409, "configuration")
	n.says("POST", "/accounts/acme/apps", `{"id":"no id"}`, 400, "id:", `"no id"`, "letters")
	n.says("POST", "/accounts/acme/apps", `{"nam":"x"}`, 400, "nam")
	n.says("PATCH", "/apps/demo", `{"name":"x"}`, 409, "configuration")
	n.says("DELETE", "/apps/demo", ``, 409, "configuration")
	n.says("GET", "/apps/none", ``, 404, `"none"`)
	var list []struct{ ID, AccountID, KeptIn string }
	n.steer("GET", "/apps", "", 200, &list)
	if fmt.Sprint(list) != "[{demo default configuration} {shop acme log}]" {
		t.Errorf("apps: %v", list)
	}
	n.steer("GET", "/accounts/acme/apps", "", 200, &list)
	if len(list) != 1 {
		t.Errorf("apps of acme: %v", list)
	}

	var key struct{ ID, Key, Status string }
	n.steer("POST", "/apps/shop/keys", `{"name":"web","capability":{"chat:*":["subscribe","publish"]},"revocableTokens":true}`, 201, &key)
	if name, secret, ok := strings.Cut(key.Key, ":"); !ok || name != "shop."+key.ID || secret == "" {
		t.Fatalf("key %+v", key)
	}
	publish := func(channel string, want int) {
		t.Helper()
		res, body := request(t, "POST", "http://"+n.ClientAddr()+"/channels/"+channel+"/messages", key.Key, "application/json", []byte(`{"data":"x"}`))
		if res.StatusCode != want {
			t.Errorf("publish on %s: %s %s", channel, res.Status, body)
		}
	}
	publish("chat:a", 201)
	publish("other", 401)
	n.says("POST", "/apps/shop/keys", `{"capability":{"*":["fly"]}}`, 400, "capability[*]", `"fly"`)
	n.says("POST", "/apps/shop/keys", `{"id":"`+key.ID+`"}`, 409)
	n.steer("PATCH", "/apps/shop/keys/"+key.ID, `{"capability":{"*":["publish"]}}`, 200, nil)
	publish("other", 201)
	n.steer("PATCH", "/apps/shop", `{"status":"disabled"}`, 200, nil)
	publish("other", 403)
	n.steer("PATCH", "/apps/shop", `{"status":"enabled"}`, 200, nil)
	publish("other", 201)

	c := n.connect("format=json&key=" + url.QueryEscape(key.Key))
	n.steer("POST", "/apps/shop/keys/"+key.ID+"/revoke", ``, 200, &key)
	if key.Status != "revoked" {
		t.Errorf("%+v", key)
	}
	c.gone() // its connections end
	publish("other", 401)
	var keys []struct{ ID, Key, Status string }
	n.steer("GET", "/apps/shop/keys", "", 200, &keys)
	if len(keys) != 1 || keys[0].Key != "" || keys[0].Status != "revoked" {
		t.Errorf("keys: %+v", keys)
	}
	n.steer("DELETE", "/apps/shop/keys/"+key.ID, "", 204, nil)
	n.steer("GET", "/apps/shop/keys", "", 200, &keys)
	if len(keys) != 0 {
		t.Errorf("keys: %+v", keys)
	}

	// An app of the configuration takes keys, and shows its own without their secrets.
	n.steer("POST", "/apps/demo/keys", `{"id":"more"}`, 201, &key)
	n.says("DELETE", "/apps/demo/keys/root", "", 409, "configuration")
	n.steer("GET", "/apps/demo/keys", "", 200, &keys)
	if len(keys) != 3 || keys[0].Key != "" {
		t.Errorf("keys of demo: %+v", keys)
	}
	publish("other", 201)
	n.steer("DELETE", "/apps/shop", "", 204, nil)
	n.says("GET", "/apps/shop", "", 404)
}

func TestNamespacesAtRunTimeReachOpenChannels(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.StateEvents.VacatedDelay = time.Hour
	n := run(t, cfg).ready()
	c := n.occupy("quick:a")
	n.steer("POST", "/apps/demo/namespaces", `{"id":"quick","vacated_delay":"50ms"}`, 201, nil)
	n.says("POST", "/apps/demo/namespaces", `{"id":"quick"}`, 409)
	n.says("POST", "/apps/demo/namespaces", `{"id":"a:b"}`, 400, "id:", "colon")
	n.says("POST", "/apps/demo/namespaces", `{"id":"x","vacated_delay":5}`, 400, "vacated_delay", "5 is a number", "such as 500ms")
	n.says("POST", "/apps/demo/namespaces", `{"id":"x","vacated_dela":"5s"}`, 400, "vacated_dela", "the nearest known one is vacated_delay")
	n.says("POST", "/apps/demo/namespaces", `{"id":"x","presence_members":-1,"occupied_by":"ghosts"}`, 400, "presence_members", "occupied_by", "ghosts")
	c.close()
	n.until("vacated", func() bool {
		return slices.ContainsFunc(n.events(), func(e event) bool { return e.Type == "vacated" && e.Channel == "quick:a" })
	})
	var ns map[string]any
	n.steer("PATCH", "/apps/demo/namespaces/quick", `{"vacated_delay":null,"presence_members":7}`, 200, &ns)
	if _, ok := ns["vacated_delay"]; ok || ns["presence_members"] != 7.0 {
		t.Errorf("%v", ns)
	}
	n.steer("DELETE", "/apps/demo/namespaces/quick", "", 204, nil)
	n.says("GET", "/apps/demo/namespaces/quick", "", 404)
}

// sink takes what rules send.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	events []map[string]any
}

func newSink(t *testing.T) *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Events []map[string]any }
		b, _ := io.ReadAll(r.Body)
		json.NewDecoder(bytes.NewReader(b)).Decode(&body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, body.Events...)
	}))
	t.Cleanup(s.Close)
	return s
}

// got are the types and channels, or limits, of what came, in order.
func (s *sink) got() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		what := e["channel"]
		if l, ok := e["limit"].(map[string]any); ok {
			what = fmt.Sprint(l["scope"], "/", l["id"], "/", l["name"])
		}
		list = append(list, fmt.Sprint(e["type"], " ", what))
	}
	return list
}

func TestRulesAtRunTime(t *testing.T) {
	cfg := settings(t.TempDir())
	n := run(t, cfg).ready()
	first, second := newSink(t), newSink(t)
	n.occupy("chat:before", "other")
	rule := func(id, url string) string {
		return fmt.Sprintf(`{"id":%q,"source":"channel.state","channels":"^chat:","target":{"url":%q,"secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}}`, id, url)
	}
	var made map[string]any
	n.steer("POST", "/apps/demo/rules", rule("hook", first.URL), 201, &made)
	if made["kept_in"] != "log" || made["enabled"] != true || strings.Contains(fmt.Sprint(made), "whsec") {
		t.Errorf("%v", made)
	}
	n.says("POST", "/apps/demo/rules", rule("hook", first.URL), 409)
	n.says("POST", "/apps/demo/rules", `{"source":"channel.stat","target":{"url":"ftp://x","timeout":"9s"}}`, 400, "source", `"channel.stat"`, "target.url", "ftp", "target.timeout")
	n.says("POST", "/apps/demo/rules", `{"source":"channel.state","channels":"(","target":{"url":"http://127.0.0.1:1"}}`, 400, "channels", "RE2")
	for channels, code := range map[string]int{"(": protocol.CodeBadRegexp, "a(?=b)": protocol.CodeBadRegexp, "a": protocol.CodeBadRequest} {
		var e refusal
		n.steer("POST", "/apps/demo/rules", fmt.Sprintf(`{"source":"channel.state","channels":%q,"target":{"url":"ftp://x"}}`, channels), 400, &e)
		if e.Error.Code != code {
			t.Errorf("channels %q: code %d, want %d: %s", channels, e.Error.Code, code, e.Error.Message)
		}
	}
	c := n.occupy("chat:a", "other:b")
	n.until("the event", func() bool { return slices.Equal(first.got(), []string{"occupied chat:a"}) }) // what was before is not sent
	n.steer("PATCH", "/apps/demo/rules/hook", fmt.Sprintf(`{"target":{"url":%q}}`, second.URL), 200, nil)
	c.close()
	n.until("the next at the other target", func() bool { return slices.Equal(second.got(), []string{"vacated chat:a"}) })
	n.steer("PATCH", "/apps/demo/rules/hook", `{"channels":null}`, 200, nil)
	n.occupy("elsewhere")
	n.until("other channels too", func() bool { return slices.Contains(second.got(), "occupied elsewhere") })

	// It goes on where it was after a restart.
	n.cancel()
	n.end()
	again := run(t, cfg).ready()
	again.until("what the restart made", func() bool { return slices.Contains(second.got(), "vacated elsewhere") || len(again.occupied()) > 0 })
	again.occupy("chat:again")
	again.until("events after the restart", func() bool { return slices.Contains(second.got(), "occupied chat:again") })
	again.steer("DELETE", "/apps/demo/rules/hook", "", 204, nil)
	again.until("no cursor", func() bool { return len(again.boot.Load().store.Cursors()) == 0 })
	if got := second.got(); slices.Contains(got, "occupied chat:a") {
		t.Errorf("what was sent to the first target was sent again: %q", got)
	}
}

// A rule whose source becomes one that owners serve is not served from the log any longer.
func TestRuleGetsAnotherSource(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	hook := newSink(t)
	n.steer("POST", "/apps/demo/rules", fmt.Sprintf(`{"id":"hook","source":"channel.state","target":{"url":%q}}`, hook.URL), 201, nil)
	n.occupy("a")
	n.until("the event", func() bool { return slices.Equal(hook.got(), []string{"occupied a"}) })
	n.steer("PATCH", "/apps/demo/rules/hook", `{"source":"channel.message","target":{"format":"ably"}}`, 200, nil)
	n.until("no cursor", func() bool { return len(n.boot.Load().store.Cursors()) == 0 })
}

// A rule that is switched on again sends what comes, nothing that it sent before, and says what it missed.
func TestRuleOffAndOn(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	hook := newSink(t)
	n.steer("POST", "/apps/demo/rules", fmt.Sprintf(`{"id":"hook","source":"channel.state","target":{"url":%q}}`, hook.URL), 201, nil)
	set := func(enabled bool) {
		t.Helper()
		n.steer("PATCH", "/apps/demo/rules/hook", fmt.Sprintf(`{"enabled":%v}`, enabled), 200, nil)
	}
	gone := func() {
		t.Helper()
		n.until("no cursor", func() bool { return len(n.boot.Load().store.Cursors()) == 0 })
	}
	n.occupy("a")
	n.until("the cursor", func() bool { return n.boot.Load().store.Cursors()["demo/hook"] == 1 })
	set(false)
	gone()
	set(true) // nothing was missed
	n.occupy("b")
	n.until("the cursor", func() bool { return n.boot.Load().store.Cursors()["demo/hook"] == 2 })
	set(false)
	gone()
	n.occupy("meanwhile", "meanwhile too")
	set(true)
	n.occupy("after")
	n.until("what came then", func() bool { return slices.Contains(hook.got(), "occupied after") })
	if got := hook.got(); !slices.Equal(got, []string{"occupied a", "occupied b", "gap <nil>", "occupied after"}) {
		t.Errorf("got %q", got)
	}
	if gap := hook.events[2]; gap["from"] != 3.0 || gap["to"] != 4.0 {
		t.Errorf("%v", gap)
	}
}

// The rules of an app that is disabled go on: its channels are vacated.
func TestDisabledAppTellsItsSinks(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	hook := newSink(t)
	var key struct{ Key string }
	n.steer("POST", "/accounts/acme/apps", `{"id":"shop"}`, 201, nil)
	n.steer("POST", "/apps/shop/keys", `{"id":"web"}`, 201, &key)
	n.steer("POST", "/apps/shop/rules", fmt.Sprintf(`{"id":"hook","source":"channel.state","target":{"url":%q}}`, hook.URL), 201, nil)
	c := n.connect("format=json&key=" + url.QueryEscape(key.Key))
	c.attach("room")
	n.steer("PATCH", "/apps/shop", `{"status":"disabled"}`, 200, nil)
	c.gone()
	n.until("vacated at the sink", func() bool { return slices.Equal(hook.got(), []string{"occupied room", "vacated room"}) })
	n.steer("PATCH", "/apps/shop", `{"status":"enabled"}`, 200, nil)
	c = n.connect("format=json&key=" + url.QueryEscape(key.Key))
	c.attach("room")
	n.until("occupied again", func() bool {
		return slices.Equal(hook.got(), []string{"occupied room", "vacated room", "occupied room"})
	})
}

func TestKeyThatSignsIsNotDeleted(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	hook := newSink(t)
	n.steer("POST", "/apps/demo/keys", `{"id":"sign"}`, 201, nil)
	n.steer("POST", "/apps/demo/rules", fmt.Sprintf(`{"id":"said","source":"channel.message","target":{"url":%q,"format":"ably","signing_key":"sign"}}`, hook.URL), 201, nil)
	n.says("DELETE", "/apps/demo/keys/sign", "", 409, `"sign"`, "said", "signing_key")
	n.steer("PATCH", "/apps/demo/rules/said", `{"target":{"signing_key":null}}`, 200, nil)
	n.steer("DELETE", "/apps/demo/keys/sign", "", 204, nil)
}

// A rule that the log has and nobody can serve is shown with the reason, hides no other, and can be mended.
func TestRuleThatCannotBeRead(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	s := steering{n.boot.Load().authority}
	_, err := s.change(t.Context(), "demo", func(_ *config.App, app *auth.App) error {
		app.Rules = append(app.Rules, auth.Rule{ID: "said", Config: json.RawMessage(
			`{"id":"said","source":"channel.message","target":{"url":"http://127.0.0.1:1","format":"ably","signing_key":"lost","secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}}`)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n.steer("POST", "/apps/demo/rules", `{"id":"well","source":"channel.state","target":{"url":"http://127.0.0.1:1"}}`, 201, nil)
	var rules []map[string]any
	n.steer("GET", "/apps/demo/rules", "", 200, &rules)
	if len(rules) != 2 || rules[0]["id"] != "said" || !strings.Contains(fmt.Sprint(rules[0]["problem"]), `"lost"`) || rules[1]["problem"] != nil {
		t.Errorf("%v", rules)
	}
	if strings.Contains(fmt.Sprint(rules), "MfKQ9r8G") {
		t.Errorf("shows secrets: %v", rules)
	}
	n.says("PATCH", "/apps/demo/rules/said", `{"channels":"^chat:"}`, 400, `"lost"`)
	var rule map[string]any
	n.steer("PATCH", "/apps/demo/rules/said", `{"target":{"signing_key":null,"secrets":null}}`, 200, &rule)
	if rule["problem"] != nil {
		t.Errorf("%v", rule)
	}
}

func TestLimitsAtRunTime(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	hook := newSink(t)
	n.steer("POST", "/apps/demo/rules", fmt.Sprintf(`{"source":"limits","target":{"url":%q}}`, hook.URL), 201, nil)
	n.says("PATCH", "/apps/demo/limits", `{"channels":{"hard":-1}}`, 400, "channels.hard", "-1")
	n.says("PATCH", "/apps/demo/limits", `{"chanels":{"hard":1}}`, 400, "chanels", "known are channels")
	n.says("PATCH", "/apps/demo/limits", `{"messageSize":{"soft":2000}}`, 400, "messageSize.soft")
	n.says("PATCH", "/apps/demo/limits", `{"channels":{"soft":9,"hard":8}}`, 400, "channels.soft", "above")
	n.steer("PATCH", "/apps/demo/limits", `{"channels":{"hard":5},"messageSize":{"hard":1024}}`, 200, nil)
	c := n.connect("format=json")
	for i := range 5 {
		c.attach(fmt.Sprint("c", i))
	}
	if code := c.refused("one too many"); code != 40114 {
		t.Errorf("attach refused with %d", code)
	}
	c.attach("c0") // what is open is
	res, body := request(t, "POST", "http://"+n.ClientAddr()+"/channels/another/messages", rootKey, "application/json", []byte(`{"data":"x"}`))
	if res.StatusCode != 401 || !strings.Contains(string(body), "40114") {
		t.Errorf("REST: %s %s", res.Status, body)
	}
	res, body = request(t, "POST", "http://"+n.ClientAddr()+"/channels/c0/messages", rootKey, "application/json", []byte(`{"data":"`+strings.Repeat("x", 1025)+`"}`))
	if res.StatusCode != 400 || !strings.Contains(string(body), "40009") {
		t.Errorf("large: %s %s", res.Status, body)
	}
	n.until("events", func() bool {
		got := hook.got()
		return slices.Contains(got, "limit.exceeded app/demo/channels")
	})
	if got := hook.got(); len(got) > 2 {
		t.Errorf("told too often: %q", got)
	}
	var shown struct {
		Now map[string]struct {
			Value int64
			Level string
		}
	}
	n.until("figures", func() bool {
		n.steer("GET", "/apps/demo/limits", "", 200, &shown)
		return shown.Now["channels"].Value == 5 && shown.Now["channels"].Level == "exceeded"
	})
	n.steer("PATCH", "/apps/demo/limits", `{"channels":{"hard":6}}`, 200, nil)
	c.attach("the next one")
	n.steer("DELETE", "/apps/demo/limits", "", 204, nil)
	for i := range 10 {
		c.attach(fmt.Sprint("more", i))
	}
	n.until("counted", func() bool {
		var stats []struct{ Entries map[string]float64 }
		n.steer("GET", "/apps/demo/stats", "", 200, &stats)
		sum := 0.0
		for _, s := range stats {
			sum += s.Entries["channels.refused"]
		}
		return sum == 2
	})
}

func TestTokensGuardTheAdminAPI(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Admin.Tokens = []string{"a-token-that-is-long"}
	n := run(t, cfg).ready()
	n.steer("GET", "/apps", "", 401, nil)
	for path, want := range map[string]int{"/healthz": 200, "/metrics": 200, "/backup": 401, "/openapi.json": 200} {
		res, _ := request(t, "GET", "http://"+n.AdminAddr()+path, "", "", nil)
		if res.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, res.Status, want)
		}
	}
}
