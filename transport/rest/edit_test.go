package rest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/limits"
)

const someSerial = "01726585978590-001@series:000"

func (b *fakeBackend) Lookup(_ context.Context, app, name string, q channel.Lookup) (channel.HistoryResult, error) {
	b.queried = append(b.queried, fmt.Sprintf("%s/%s %d %s %d %d", app, name, q.What, q.Serial, q.After, q.Limit))
	if q.Serial != someSerial {
		return channel.HistoryResult{}, refusal(channel.NotFound)
	}
	m := channel.Message{ID: "c:1:0", Name: "n", Kind: channel.StringData, Data: []byte("now"), Edit: &channel.Edit{
		Action: channel.MessageUpdate, Serial: someSerial, CreatedMs: 7, Version: "01726585978590-002@series:000", VersionMs: 8, By: "alice",
		Description: "typo", Metadata: []byte(`{"a":"b"}`), Type: "r:flag.v1", Summary: []byte(`{"r:flag.v1":{"total":1}}`),
	}}
	if q.What == channel.LookupAnnotations {
		m.Edit.Action = channel.Annotate
	}
	d := &channel.Delivery{Serial: "01726585978590-001@series", ConnID: "conn", TimeMs: 7, Messages: []channel.Message{m}}
	return channel.HistoryResult{Deliveries: []*channel.Delivery{d}, More: q.What != channel.LookupMessage && q.After == 0}, nil
}

func escaped(serial string) string {
	return strings.NewReplacer("@", "%40", ":", "%3A").Replace(serial)
}

func TestOneMessage(t *testing.T) {
	b, h := setup(t)
	path := "/channels/a%2Fb/messages/" + escaped(someSerial)
	version := `"version":{"serial":"01726585978590-002@series:000","timestamp":8,"clientId":"alice","description":"typo","metadata":{"a":"b"}}`
	message := `{"id":"c:1:0","name":"n","data":"now","timestamp":7,"action":1,"serial":"` + someSerial + `",` + version +
		`,"annotations":{"summary":{"r:flag.v1":{"total":1}}},"connectionId":"conn"}`
	for target, want := range map[string]string{
		path:               message,
		path + "/versions": "[" + message + "]",
		path + "/annotations?limit=5": `[{"id":"c:1:0","action":0,"serial":"01726585978590-002@series:000","messageSerial":"` + someSerial +
			`","type":"r:flag.v1","name":"n","data":"now","timestamp":7}]`,
	} {
		w := do(h, "GET", target, "")
		if w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %s\nwant %s", target, w.Code, w.Body, want)
		}
		if !strings.HasSuffix(target, "serial:000") && target != path {
			links := strings.Join(w.Header().Values("Link"), "\n")
			last := target[strings.LastIndex(target, "/")+1:]
			last, _, _ = strings.Cut(last, "?")
			if !strings.Contains(links, "<./"+last+"?after=1&limit=") || !strings.Contains(links, `rel="first"`) {
				t.Errorf("%s: links %s", target, links)
			}
		}
	}
	if !slices.Contains(b.queried, "demo/a/b 2 "+someSerial+" 0 5") {
		t.Errorf("asked %q", b.queried)
	}
	if w := do(h, "GET", "/channels/a/messages/none", ""); w.Code != 404 || w.Header().Get("X-Ably-Errorcode") != "40400" {
		t.Errorf("none: %d %s", w.Code, w.Body)
	}
	if w := do(h, "GET", path, "", "Authorization: "+basic("demo.sub:secret")); w.Code != 401 {
		t.Errorf("without the capability: %d", w.Code)
	}
}

func TestMessagesAreChanged(t *testing.T) {
	b, h := setup(t)
	path := "/channels/a/messages/" + escaped(someSerial)
	body := `{"action":1,"id":"c:0:0","clientId":"bob","data":"x","extras":{"delta":{"from":"x"},"a":1},"version":{"clientId":"alice","description":"d","metadata":{"k":"v"}}}`
	w := do(h, "PATCH", path, body)
	if w.Code != 200 || w.Body.String() != `{"versionSerial":"`+someSerial+`"}` {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	p := b.published[0]
	m := p.Messages[0]
	if m.ID != "" || m.ClientID != "" || string(m.Extras) != `{"a":1}` || m.Edit.By != "alice" || m.Edit.Description != "d" || string(m.Edit.Metadata) != `{"k":"v"}` ||
		m.Edit.Serial != someSerial || p.OwnOnly || p.MaxBytes != 1000 || p.ID == "c:0" {
		t.Errorf("published %+v, %+v", p, m.Edit)
	}
	w = do(h, "POST", path+"/annotations", `[{"type":"r:multiple.v1","name":"n","count":3},{"type":"r:flag.v1","action":1,"clientId":"x","id":"given:0"}]`)
	if w.Code != 201 || len(b.published[1].Messages) != 2 || b.published[1].Messages[0].Edit.Count != 3 || b.published[1].Messages[1].Edit.Action != channel.Unannotate {
		t.Errorf("%d %s, published %+v", w.Code, w.Body, b.published[1:])
	}
	if w := do(h, "POST", path+"/annotations", `[{"type":"r:flag.v1"}]`); w.Header().Get("X-Ably-Errorcode") != "40161" {
		t.Errorf("of nobody: %d %s", w.Code, w.Body)
	}
}

func TestWhoMayChangeMessages(t *testing.T) {
	for _, c := range []struct {
		ops, client, by string
		action          int
		code            int
		ownOnly         bool
	}{
		{`"message-update-any"`, "", "", 1, 0, false},
		{`"message-update-any"`, "", "", 5, 0, false},
		{`"message-update-any"`, "", "", 2, 40160, false},
		{`"message-delete-any"`, "", "", 2, 0, false},
		{`"message-update-own"`, "", "", 1, 40166, false},
		{`"message-update-own"`, "alice", "", 1, 0, true},
		{`"message-update-own"`, "", "alice", 1, 0, true},
		{`"message-delete-own","message-delete-any"`, "alice", "", 2, 0, false},
		{`"publish"`, "alice", "", 1, 40160, false},
		{`"message-update-own"`, "alice", "bob", 1, 40012, false},
	} {
		b, _ := setup(t)
		h := New(Config{Backend: b, MaxMessageSize: 1000, Keys: auth.NewKeys([]auth.Key{{App: "demo", ID: "k", Secret: "s", Capability: capability(t, `{"*":[`+c.ops+`]}`)}})})
		w := do(h, "PATCH", "/channels/a/messages/s", fmt.Sprintf(`{"action":%d,"version":{"clientId":%q}}`, c.action, c.by),
			"Authorization: "+basic("demo.k:s"), "X-Ably-ClientId: "+base64.StdEncoding.EncodeToString([]byte(c.client)))
		code := w.Header().Get("X-Ably-Errorcode")
		switch {
		case c.code == 0 && (w.Code != 200 || b.published[0].OwnOnly != c.ownOnly):
			t.Errorf("%+v: %d %s %+v", c, w.Code, w.Body, b.published)
		case c.code != 0 && code != fmt.Sprint(c.code):
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}

func TestBatchPublish(t *testing.T) {
	b, h := setup(t)
	v6 := "X-Ably-Version: 6"
	ok := func(c, id string) string {
		return `{"channel":"` + c + `","messageId":"` + id + `","serials":["01726585978590-001@series:000"]}`
	}
	bad := func(w *httptest.ResponseRecorder, want string) {
		t.Helper()
		if w.Body.String() != want {
			t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
		}
	}
	bad(do(h, "POST", "/messages", `[{"channels":["foo:a","foo:b"],"messages":{"id":"x","data":"d"}},{"channels":"foo:c","messages":[{"id":"y"}]}]`, v6),
		`[{"successCount":2,"failureCount":0,"results":[`+ok("foo:a", "x")+","+ok("foo:b", "x")+`]},{"successCount":1,"failureCount":0,"results":[`+ok("foo:c", "y")+`]}]`)
	names := []string{}
	for _, p := range b.published {
		names = append(names, p.Name)
	}
	slices.Sort(names[:2])
	if fmt.Sprint(names) != "[foo:a foo:b foo:c]" {
		t.Errorf("published on %q", names)
	}
	key := "Authorization: " + basic("demo.foo:secret")
	w := do(h, "POST", "/messages", `{"channels":["foo:a","bar","[meta]x",":"],"messages":{"id":"x"}}`, v6, key)
	for _, part := range []string{`{"successCount":1,"failureCount":3,"results":[` + ok("foo:a", "x"), `{"channel":"bar","error":{`, `"code":40160,"statusCode":401`, `"code":40010`} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("%d %s lacks %s", w.Code, w.Body, part)
		}
	}
	if w.Code != 201 {
		t.Errorf("a failure in part is answered with %d", w.Code)
	}
	bad(do(h, "POST", "/messages", `{"channels":["foo:a"],"messages":{"id":"x"}}`), `[`+ok("foo:a", "x")+`]`)
	w = do(h, "POST", "/messages", `{"channels":["foo:a","bar"],"messages":{"id":"x"}}`, key)
	if w.Code != 400 || w.Header().Get("X-Ably-Errorcode") != "40020" || !strings.Contains(w.Body.String(), `"batchResponse":[`+ok("foo:a", "x")+`,{"channel":"bar","error":`) {
		t.Errorf("for an old client: %d %s", w.Code, w.Body)
	}
	if w := do(h, "POST", "/messages", `{"channels":["a`+strings.Repeat(`","a`, 50)+`"],"messages":{}}`, v6); w.Code != 201 {
		t.Errorf("one channel many times: %d %s", w.Code, w.Body)
	}
	many := strings.Builder{}
	for i := range 101 {
		fmt.Fprintf(&many, `"c%d",`, i)
	}
	if w := do(h, "POST", "/messages", `{"channels":[`+strings.TrimSuffix(many.String(), ",")+`],"messages":{}}`, v6); w.Header().Get("X-Ably-Errorcode") != "90010" {
		t.Errorf("101 channels: %d %s", w.Code, w.Body)
	}
}

func TestEnvelope(t *testing.T) {
	b, h := setup(t)
	b.open = []channel.Listed{{App: "demo", Name: "a"}, {App: "demo", Name: "b"}}
	b.short = 1
	w := do(h, "GET", "/channels?envelope=json&by=id&limit=1", "", "Accept: application/x-msgpack")
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"statusCode":200,"response":["`) || !strings.Contains(w.Body.String(), `"headers":{"Link":"<./channels?by=id&limit=1>; rel=\"first\"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = do(h, "GET", "/channels/a/messages/none?envelope=json", "")
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"statusCode":404,"response":{"error":{`) || !strings.Contains(w.Body.String(), `"X-Ably-Errorcode":"40400"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestEphemeral(t *testing.T) {
	for target, body := range map[string]string{
		"/channels/a/messages?ephemeral=true": `{}`,
		"/channels/a/messages":                `[{"extras":{"ephemeral":true}},{"extras":{"ephemeral":true}}]`,
	} {
		b, h := setup(t)
		if w := do(h, "POST", target, body); w.Code != 201 || !b.published[0].Ephemeral {
			t.Errorf("%s %s: %d %s", target, body, w.Code, w.Body)
		}
	}
	_, h := setup(t)
	for _, body := range []string{`[{"extras":{"ephemeral":true}},{}]`, `{"extras":{"ephemeral":1}}`} {
		if w := do(h, "POST", "/channels/a/messages", body); w.Header().Get("X-Ably-Errorcode") != "40032" {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

// An app's own limit bounds changes and annotations as well, and what meets it is counted.
func TestChangesAreMeasuredByTheApp(t *testing.T) {
	b, _ := setup(t)
	gates := limits.NewGates()
	var set limits.Set
	set[limits.MessageSize].Hard = 100
	gates.Set(limits.Config{Sets: map[limits.Scope]limits.Set{limits.AppScope("demo"): set}, Account: func(string) string { return "" }})
	h := New(Config{Backend: b, ServerID: "n1", MaxMessageSize: 1000, Gates: gates, Keys: auth.NewKeys([]auth.Key{{App: "demo", ID: "root", Secret: "secret", Capability: auth.AllowAll()}})})
	large := strings.Repeat("x", 101)
	for i, c := range []struct{ method, path, body string }{
		{"PATCH", "/channels/a/messages/s", `{"action":1,"data":"` + large + `"}`},
		{"POST", "/channels/a/messages", `{"action":1,"serial":"s","data":"` + large + `"}`},
		{"POST", "/channels/a/messages", `{"data":"` + large + `"}`},
		{"POST", "/channels/a/messages/s/annotations", `[{"action":0,"type":"a:total.v1","data":"` + large + `"}]`},
	} {
		what := c.method + " " + c.path
		wantError(t, what, do(h, c.method, c.path, c.body), 400, 40009, "")
		if got := gates.Refusals()[limits.AppScope("demo")][limits.MessageSize]; got != uint64(i+1) {
			t.Errorf("%s: %d refusals are counted, want %d", what, got, i+1)
		}
		if w := do(h, c.method, c.path, strings.Replace(c.body, large, "x", 1)); w.Code >= 300 {
			t.Errorf("%s with little: %d %s", what, w.Code, w.Body)
		}
		if p := b.published[i]; p.MaxBytes != 100 && strings.Contains(c.body, `"action":1`) {
			t.Errorf("%s: %d bytes at most, want 100", what, p.MaxBytes)
		}
	}
}
