package rest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"

	"github.com/vmihailenco/msgpack/v5"
)

// fakeBackend keeps what it is asked and answers from what it is given.
type fakeBackend struct {
	mu        sync.Mutex
	published []channel.Publish
	queried   []string
	open      []channel.Listed
	short     int // longest page, whatever the limit; 0 is none
	result    channel.QueryResult
	members   map[string][]channel.Member
	err       error
}

func (b *fakeBackend) Publish(_ context.Context, app, name string, p channel.Publish) (string, error) {
	if b.err != nil {
		return "", b.err
	}
	if app != p.App || name != p.Name {
		return "", fmt.Errorf("asked for %s/%s with a publish for %s/%s", app, name, p.App, p.Name)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.published = append(b.published, p)
	return "01726585978590-001@series", nil
}

func (b *fakeBackend) Query(_ context.Context, app, name string) (channel.QueryResult, error) {
	b.queried = append(b.queried, app+"/"+name)
	return b.result, b.err
}

func (b *fakeBackend) List(_ context.Context, app string, after channel.Position, prefix string, limit int) ([]channel.Listed, *channel.Position, error) {
	if b.err != nil {
		return nil, nil, b.err
	}
	if b.short > 0 {
		limit = min(limit, b.short)
	}
	var page []channel.Listed
	for _, l := range b.open { // in order of their hash
		p := channel.Position{Hash: ring.Hash(l.App, l.Name), App: l.App, Name: l.Name}
		if l.App != app || !strings.HasPrefix(l.Name, prefix) || p.Hash < after.Hash || p.Hash == after.Hash && p.Name <= after.Name {
			continue
		}
		if len(page) == limit {
			last := page[limit-1]
			return page, &channel.Position{Hash: ring.Hash(last.App, last.Name), App: last.App, Name: last.Name}, nil
		}
		page = append(page, l)
	}
	return page, nil, nil
}

// refusal is an error as a gateway may give it.
type refusal channel.Refusal

func (r refusal) Error() string            { return "refused" }
func (r refusal) Refusal() channel.Refusal { return channel.Refusal(r) }

func capability(t testing.TB, text string) auth.Capability {
	t.Helper()
	c, err := auth.ParseCapabilityJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func setup(t testing.TB) (*fakeBackend, *Handler) {
	b := &fakeBackend{}
	return b, New(Config{Backend: b, ServerID: "n1", MaxMessageSize: 1000, MaxBodyBytes: 4000, Keys: auth.NewKeys([]auth.Key{
		{App: "demo", ID: "root", Secret: "secret", Capability: auth.AllowAll()},
		{App: "demo", ID: "sub", Secret: "secret", Capability: capability(t, `{"*":["subscribe"]}`)},
		{App: "demo", ID: "foo", Secret: "secret", Capability: capability(t, `{"foo:*":["*"]}`)},
		{App: "other", ID: "root", Secret: "secret", Capability: auth.AllowAll()},
	})})
}

// do sends a request. Headers are given as "Name: value"; the key demo.root is used unless there is an Authorization.
func do(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", basic("demo.root:secret"))
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func basic(key string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(key)) }

const noAuth = "Authorization: "

// wantError checks all the places an error is told in.
func wantError(t *testing.T, what string, w *httptest.ResponseRecorder, status, code int, text string) {
	t.Helper()
	var body struct {
		Error struct {
			Message    string
			Code       int
			StatusCode int
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Errorf("%s: body %q: %v", what, w.Body, err)
		return
	}
	e := body.Error
	if w.Code != status || e.StatusCode != status || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("%s: status %d, body %s; want %d/%d and %q", what, w.Code, w.Body, status, code, text)
	}
	if got := w.Header().Get("X-Ably-Errorcode"); got != strconv.Itoa(code) {
		t.Errorf("%s: X-Ably-Errorcode %q", what, got)
	}
	if w.Header().Get("X-Ably-Errormessage") == "" || w.Header().Get("X-Ably-ServerId") != "n1" {
		t.Errorf("%s: headers %v", what, w.Header())
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: Content-Type %q", what, got)
	}
}

func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := setup(t)
		want := time.Now().UnixMilli()
		w := do(h, "GET", "/time", "", noAuth)
		if w.Code != 200 || w.Body.String() != fmt.Sprintf("[%d]", want) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
		}
		w = do(h, "GET", "/time", "", noAuth, "Accept: application/x-msgpack,application/json")
		var got []int64
		if err := msgpack.Unmarshal(w.Body.Bytes(), &got); err != nil || !slices.Equal(got, []int64{want}) || w.Header().Get("Content-Type") != "application/x-msgpack" {
			t.Errorf("%v %v %v", got, err, w.Header())
		}
		if w = do(h, "HEAD", "/time", "", noAuth); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != strconv.Itoa(len(fmt.Sprintf("[%d]", want))) {
			t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
		}
	})
}

func TestReplyFormat(t *testing.T) {
	for _, c := range []struct {
		accept, param string
		want          protocol.Format
	}{
		{"", "", protocol.JSON},
		{"", "msgpack", protocol.MsgPack},
		{"", "xml", protocol.JSON},
		{"*/*", "msgpack", protocol.MsgPack},
		{"application/json", "msgpack", protocol.JSON},
		{"application/x-msgpack", "json", protocol.MsgPack},
		{"application/x-msgpack,application/json", "", protocol.MsgPack},
		{"application/json, application/x-msgpack", "", protocol.JSON},
		{"application/json;q=0.5, application/x-msgpack", "", protocol.MsgPack},
		{"application/x-msgpack;q=0, text/html", "", protocol.JSON},
		{"text/html", "", protocol.JSON},
		{";;;,", "", protocol.JSON},
	} {
		if got := replyFormat([]string{c.accept}, c.param); got != c.want {
			t.Errorf("Accept %q, format %q: %s", c.accept, c.param, got)
		}
	}
}

func TestPublish(t *testing.T) {
	str := func(name, data string) channel.Message {
		return channel.Message{Name: name, Kind: channel.StringData, Data: []byte(data)}
	}
	for _, c := range []struct {
		what, path, body string
		headers          []string
		name, id         string // id "" is a random one
		want             []channel.Message
	}{
		{"one", "/channels/a/messages", `{"name":"n","data":"x"}`, nil, "a", "", []channel.Message{str("n", "x")}},
		{"array", "/channels/a/messages", `[{"name":"n","data":"x"},{"name":"m","data":"y"}]`, []string{"Content-Type: application/json"}, "a", "", []channel.Message{str("n", "x"), str("m", "y")}},
		{"charset", "/channels/a/messages", `{"data":"x"}`, []string{"Content-Type: application/json; charset=utf-8"}, "a", "", []channel.Message{str("", "x")}},
		{"what curl sends", "/channels/a/messages", ` {"data":"x"}`, []string{"Content-Type: application/x-www-form-urlencoded"}, "a", "", []channel.Message{str("", "x")}},
		{"bare object", "/channels/a/messages", `{"data":{"b": [1]}}`, nil, "a", "", []channel.Message{{Encoding: "json", Kind: channel.StringData, Data: []byte(`{"b":[1]}`)}}},
		{"ids", "/channels/a/messages", `[{"id":"base:0"},{"id":"base:1"}]`, nil, "a", "base", make([]channel.Message, 2)},
		{"own id", "/channels/a/messages", `{"id":"mine"}`, nil, "a", "mine", []channel.Message{{ID: "mine"}}},
		{"base64", "/channels/a/messages", `{"data":"AQI=","encoding":"base64"}`, nil, "a", "", []channel.Message{{Kind: channel.BinaryData, Data: []byte{1, 2}}}},
		{"escaped slash", "/channels/a%2Fb%3Fc%25/messages", `{}`, nil, "a/b?c%", "", make([]channel.Message, 1)},
		{"plain slash", "/channels/a/b/messages", `{}`, nil, "a/b", "", make([]channel.Message, 1)},
		{"unclean name", "/channels/a%2F%2F..%2Fb//c/messages", `{}`, nil, "a//../b//c", "", make([]channel.Message, 1)},
		{"name like a path", "/channels/messages/messages", `{}`, nil, "messages", "", make([]channel.Message, 1)},
		{"emoji", "/channels/%F0%9F%98%80/messages", `{}`, nil, "😀", "", make([]channel.Message, 1)},
		{"param qualifier", "/channels/%5B%3Frewind%3D1%5Dfoo/messages", `{}`, nil, "foo", "", make([]channel.Message, 1)},
		{"identity", "/channels/a/messages", `{}`, []string{"X-Ably-ClientId: " + base64.StdEncoding.EncodeToString([]byte("alice"))}, "a", "", []channel.Message{{ClientID: "alice"}}},
		{"any client", "/channels/a/messages", `{"clientId":"bob"}`, nil, "a", "", []channel.Message{{ClientID: "bob"}}},
		{"key parameter", "/channels/a/messages?key=demo.root:secret", `{}`, []string{noAuth}, "a", "", make([]channel.Message, 1)},
	} {
		b, h := setup(t)
		w := do(h, "POST", c.path, c.body, c.headers...)
		if w.Code != 201 || len(b.published) != 1 {
			t.Errorf("%s: %d %s", c.what, w.Code, w.Body)
			continue
		}
		p := b.published[0]
		if p.App != "demo" || p.Name != c.name || p.ConnID != "" || c.id != "" && p.ID != c.id || len(p.ID) < 4 || !reflect.DeepEqual(p.Messages, c.want) {
			t.Errorf("%s: published %+v, want %+v", c.what, p, c.want)
		}
		var reply struct {
			Channel, MessageID string
			Serials            []string
		}
		given, _ := url.PathUnescape(strings.TrimSuffix(strings.TrimPrefix(strings.Split(c.path, "?")[0], "/channels/"), "/messages"))
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply.Channel != given || reply.MessageID != p.ID || len(reply.Serials) != len(c.want) || reply.Serials[0] != "01726585978590-001@series:000" {
			t.Errorf("%s: reply %s, %v", c.what, w.Body, err)
		}
		if s := h.Stats(); s.Published != uint64(len(c.want)) || s.Requests != 1 || s.Failed != 0 {
			t.Errorf("%s: stats %+v", c.what, s)
		}
	}
}

func TestPublishInMsgpack(t *testing.T) {
	b, h := setup(t)
	want := []channel.Message{{Name: "n", Kind: channel.BinaryData, Data: []byte{0, 255}, Extras: []byte(`{"a":1}`)}, {Kind: channel.StringData, Data: []byte("x")}}
	body := protocol.AppendMessages(nil, protocol.MsgPack, want...)
	w := do(h, "POST", "/channels/a/messages", string(body), "Content-Type: application/x-msgpack", "Accept: application/x-msgpack")
	var reply map[string]any
	if err := msgpack.Unmarshal(w.Body.Bytes(), &reply); err != nil || w.Code != 201 || reply["channel"] != "a" || len(reply["serials"].([]any)) != 2 {
		t.Fatalf("%d %x %v", w.Code, w.Body, err)
	}
	if !reflect.DeepEqual(b.published[0].Messages, want) {
		t.Errorf("published %+v", b.published[0])
	}
}

func TestGeneratedIDsDiffer(t *testing.T) {
	b, h := setup(t)
	for range 2 {
		do(h, "POST", "/channels/a/messages", `{}`)
	}
	if x, y := b.published[0].ID, b.published[1].ID; x == y || len(x) < 8 || strings.Contains(x, ":") {
		t.Errorf("id bases %q and %q", x, y)
	}
}

func TestErrors(t *testing.T) {
	publish := "/channels/a/messages"
	for _, c := range []struct {
		what, method, path, body string
		headers                  []string
		status, code             int
		text                     string
	}{
		{"no credentials", "POST", publish, `{}`, []string{noAuth}, 401, 40101, "no credentials"},
		{"token", "GET", "/channels", ``, []string{"Authorization: Bearer eyJh.eyJz.c2ln"}, 401, 40144, "invalid JWT format"},
		{"wrong secret", "POST", publish, `{}`, []string{"Authorization: " + basic("demo.root:wrong")}, 401, 40101, ""},
		{"unknown key", "GET", "/channels", ``, []string{"Authorization: " + basic("demo.nope:secret")}, 401, 40400, "no key"},
		{"unknown app", "GET", "/channels", ``, []string{"Authorization: " + basic("nope.root:secret")}, 401, 40101, ""},
		{"not a key", "GET", "/channels", ``, []string{"Authorization: " + basic("nonsense")}, 401, 40005, "appId.keyId:secret"},
		{"no capability to publish", "POST", publish, `{}`, []string{"Authorization: " + basic("demo.sub:secret")}, 401, 40160, "publish"},
		{"no capability on the channel", "POST", publish, `{}`, []string{"Authorization: " + basic("demo.foo:secret")}, 401, 40160, ""},
		{"no capability to look", "GET", "/channels/a", ``, []string{"Authorization: " + basic("demo.sub:secret")}, 401, 40160, "channel-metadata"},
		{"no capability to enumerate", "GET", "/channels", ``, []string{"Authorization: " + basic("demo.foo:secret")}, 401, 40160, "channel-metadata"},
		{"bad name", "POST", "/channels/:hell/messages", `{}`, nil, 400, 40010, ""},
		{"bad name to look at", "GET", "/channels/%5Bnope%5Dx", ``, nil, 400, 40010, "does not exist"},
		{"line break", "GET", "/channels/a%0Ab", ``, nil, 400, 40010, "line break"},
		{"metachannel", "POST", "/channels/%5Bmeta%5Dlog/messages", `{}`, nil, 401, 40160, "nothing can be published"},
		{"broken body", "POST", publish, `{"name":`, nil, 400, 40001, "invalid JSON"},
		{"empty body", "POST", publish, ``, nil, 400, 40001, ""},
		{"body is a string", "POST", publish, `"x"`, nil, 400, 40001, "a string"},
		{"no messages", "POST", publish, `[]`, nil, 400, 40030, ""},
		{"JSON said to be msgpack", "POST", publish, `{}`, []string{"Content-Type: application/x-msgpack"}, 400, 40001, ""},
		{"content type", "POST", publish, `x`, []string{"Content-Type: text/xml"}, 400, 40004, "text/xml"},
		{"form", "POST", publish, `name=x`, []string{"Content-Type: application/x-www-form-urlencoded"}, 400, 40004, ""},
		{"content encoding", "POST", publish, `x`, []string{"Content-Encoding: gzip"}, 400, 40004, "gzip"},
		{"bad name of a message", "POST", publish, `{"name":5}`, nil, 400, 40016, ""},
		{"bad data", "POST", publish, `{"data":5}`, nil, 400, 40013, ""},
		{"bad extras", "POST", publish, `{"extras":5}`, nil, 400, 40032, ""},
		{"bad ids", "POST", publish, `[{"id":"a:0"},{"id":"b:1"}]`, nil, 400, 40031, ""},
		{"update", "POST", publish, `{"action":1}`, nil, 400, 40003, "serial"},
		{"connectionKey", "POST", publish, `{"connectionKey":"k"}`, nil, 400, 40006, ""},
		{"other client", "POST", publish, `{"clientId":"bob"}`, []string{"X-Ably-ClientId: YWxpY2U="}, 400, 40012, "bob"},
		{"too large", "POST", publish, `{"data":"` + strings.Repeat("x", 1001) + `"}`, nil, 400, 40009, "1000"},
		{"body too large", "POST", publish, `{"data":"` + strings.Repeat("x", 4001) + `"}`, nil, 413, 40009, "4000"},
		{"too many", "POST", publish, `[` + strings.Repeat(`{},`, 1000) + `{}]`, nil, 400, 40034, ""},
		{"forced", "POST", publish + "?_forceNack=true", `{}`, nil, 400, 40099, ""},
		{"limit 0", "GET", "/channels?limit=0", ``, nil, 400, 40003, "limit"},
		{"limit too high", "GET", "/channels?limit=1001", ``, nil, 400, 40003, "limit"},
		{"limit no number", "GET", "/channels?limit=x", ``, nil, 400, 40003, "limit"},
		{"by", "GET", "/channels?by=name", ``, nil, 400, 40003, "by"},
		{"cursor", "GET", "/channels?cursor=nonsense!", ``, nil, 400, 40003, "cursor"},
		{"short cursor", "GET", "/channels?cursor=AQ", ``, nil, 400, 40003, "cursor"},
		{"cursor of another version", "GET", "/channels?cursor=" + base64.RawURLEncoding.EncodeToString([]byte("\x02345678901234")), ``, nil, 400, 40011, "start"},
		{"cursor of another app", "GET", "/channels?cursor=" + formatCursor(channel.Position{Hash: 1, App: "other", Name: "x"}), ``, nil, 400, 40003, "app"},
		{"version", "GET", "/channels", ``, []string{"X-Ably-Version: six"}, 400, 40017, "six"},
		{"query", "GET", "/channels?prefix=%zz", ``, nil, 400, 40003, "query"},
		{"root", "GET", "/", ``, nil, 404, 40400, ""},
		{"unknown", "GET", "/keys/demo.root/requestToken", ``, []string{noAuth}, 404, 40400, ""},
		{"no name", "GET", "/channels/", ``, nil, 404, 40400, ""},
		{"unclean", "GET", "//time", ``, nil, 404, 40400, ""},
		{"method on time", "POST", "/time", ``, nil, 404, 40400, ""},
		{"method on channels", "POST", "/channels", ``, nil, 404, 40400, ""},
		{"method on a channel", "DELETE", "/channels/a", ``, nil, 404, 40400, ""},
		{"nor more of presence", "GET", "/channels/a/presence/now", ``, nil, 404, 40400, ""},
		{"a cursor of presence", "GET", "/channels/a/presence?cursor=x", ``, nil, 400, 40003, "cursor"},
		{"a batch of nothing", "GET", "/presence", ``, nil, 400, 40003, "channels"},
		{"change without an action", "PATCH", "/channels/a/messages/serial", `{}`, nil, 400, 40003, "action"},
		{"change of another", "PATCH", "/channels/a/messages/serial", `{"action":1,"serial":"x"}`, nil, 400, 40003, "path"},
		{"bare annotation", "POST", "/channels/a/messages/serial/annotations", `{"type":"a:flag.v1"}`, nil, 400, 40001, "array"},
		{"annotation of no type", "POST", "/channels/a/messages/serial/annotations", `[{"type":"a"}]`, nil, 400, 40003, "<method>"},
		{"below a message", "GET", "/channels/a/messages/serial/others", ``, nil, 404, 40400, ""},
		{"versions backwards", "GET", "/channels/a/messages/serial/versions?direction=backwards", ``, nil, 400, 40003, "forwards"},
		{"batch of nothing", "POST", "/messages", `[]`, nil, 400, 40001, "empty"},
		{"batch without channels", "POST", "/messages", `{"messages":[]}`, nil, 400, 40001, "channels"},
		{"batch that is none", "POST", "/messages", `[1]`, nil, 400, 40001, "object"},
	} {
		b, h := setup(t)
		w := do(h, c.method, c.path, c.body, c.headers...)
		wantError(t, c.what, w, c.status, c.code, c.text)
		if len(b.published) > 0 {
			t.Errorf("%s: published all the same", c.what)
		}
		if s := h.Stats(); s.Requests != 1 || s.Failed != 1 {
			t.Errorf("%s: stats %+v", c.what, s)
		}
	}
}

func TestErrorsOfTheBackend(t *testing.T) {
	for _, c := range []struct {
		err          error
		status, code int
	}{
		{refusal(channel.NotOwner), 504, 50003},
		{refusal(channel.Busy), 503, 50004},
		{fmt.Errorf("publish: %w", refusal(channel.Busy)), 503, 50004},
		{context.DeadlineExceeded, 504, 50003},
		{fmt.Errorf("at the gateway: %w", protocol.NewError(protocol.CodeRateChannel)), 429, 42913},
		{errors.New("disk on fire at /secret/place"), 500, 50000},
	} {
		b, h := setup(t)
		b.err = c.err
		for _, target := range []string{"POST /channels/a/messages", "GET /channels/a", "GET /channels"} {
			method, path, _ := strings.Cut(target, " ")
			w := do(h, method, path, `{}`)
			wantError(t, target, w, c.status, c.code, "")
			if strings.Contains(w.Body.String()+fmt.Sprint(w.Header()), "/secret") {
				t.Errorf("%s: the cause was told to the client: %s", target, w.Body)
			}
			if w.Header()["Link"] != nil {
				t.Errorf("%s: links beside an error: %v", target, w.Header())
			}
		}
	}
	b, h := setup(t)
	b.result.Refusal = channel.NotOwner
	wantError(t, "refusal as a field", do(h, "GET", "/channels/a", ""), 504, 50003, "")
}

func TestErrorHeadersAreHeaders(t *testing.T) {
	_, h := setup(t)
	w := do(h, "GET", "/channels/"+url.PathEscape(":ä\u00a0"+strings.Repeat("x", 1000)), "")
	got := w.Header().Get("X-Ably-Errormessage")
	if len(got) > 512 || !regexp.MustCompile(`^[ -~]+$`).MatchString(got) {
		t.Errorf("X-Ably-Errormessage %q", got)
	}
	w = do(h, "GET", "/nope", "", "Accept: application/x-msgpack")
	var body map[string]map[string]any
	if err := msgpack.Unmarshal(w.Body.Bytes(), &body); err != nil || body["error"]["message"] == "" || w.Header().Get("Content-Type") != "application/x-msgpack" {
		t.Errorf("%v %v %v", body, err, w.Header())
	}
}

func TestDetails(t *testing.T) {
	for path, want := range map[string]string{
		"/channels/a":                       "demo/a",
		"/channels/a%2Fb":                   "demo/a/b",
		"/channels/a/b":                     "demo/a/b",
		"/channels/a//b/../c":               "demo/a//b/../c",
		"/channels/messages":                "demo/messages",
		"/channels/a%2Fmessages":            "demo/a/messages",
		"/channels/%5B%3Frewind%3D1%5Da":    "demo/a",
		"/channels/%5Bmeta%5Dlog":           "demo/[meta]log",
		"/channels/a:b*c%20d?envelope=json": "demo/a:b*c d",
	} {
		b, h := setup(t)
		b.result = channel.QueryResult{Active: true, Counts: channel.Counts{3, 2, 1}}
		w := do(h, "GET", path, "")
		if w.Code != 200 || !slices.Equal(b.queried, []string{want}) {
			t.Errorf("%s: %d %s, queried %q", path, w.Code, w.Body, b.queried)
		}
	}
	b, h := setup(t)
	b.result = channel.QueryResult{Active: true, Counts: channel.Counts{3, 2, 1}}
	w := do(h, "GET", "/channels/a", "")
	if want := `{"channelId":"a","name":"a","status":{"isActive":true,"occupancy":{"metrics":{"connections":3,"publishers":2,"subscribers":1,"presenceConnections":0,"presenceMembers":0,"presenceSubscribers":0,"objectPublishers":0,"objectSubscribers":0}}}}`; w.Body.String() != want {
		t.Errorf("got  %s\nwant %s", w.Body, want)
	}
}

func openChannels(names ...string) (open []channel.Listed) {
	for _, n := range names {
		open = append(open, channel.Listed{App: "demo", Name: n, Counts: channel.Counts{1}})
	}
	slices.SortFunc(open, func(a, b channel.Listed) int {
		if ring.Hash(a.App, a.Name) < ring.Hash(b.App, b.Name) {
			return -1
		}
		return 1
	})
	return open
}

func TestListForms(t *testing.T) {
	for _, c := range []struct{ path, version, want string }{
		{"/channels", "6", `["a"]`},
		{"/channels", "3", `["a"]`},
		{"/channels?by=id", "", `["a"]`},
		{"/channels", "2", `[{"channelId":"a",`},
		{"/channels", "1.2", `[{"channelId":"a",`},
		{"/channels", "", `[{"channelId":"a",`},
		{"/channels?v=5", "", `["a"]`},
		{"/channels?by=value", "6", `[{"channelId":"a","name":"a","status":{"isActive":true,"occupancy":{"metrics":{"connections":1,`},
		{"/channels?prefix=zzz", "6", `[]`},
	} {
		b, h := setup(t)
		b.open = openChannels("a")
		headers := []string{"X-Ably-Version: " + c.version}
		w := do(h, "GET", c.path, "", headers...)
		if w.Code != 200 || !strings.HasPrefix(w.Body.String(), c.want) {
			t.Errorf("%s version %q: %d %s, want %s", c.path, c.version, w.Code, w.Body, c.want)
		}
	}
}

// The form that SDKs parse.
var linkForm = regexp.MustCompile(`^<(\./channels\?[^,>]*)>; rel="(first|current|next)"$`)

func links(t *testing.T, w *httptest.ResponseRecorder) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, line := range w.Header()["Link"] {
		m := linkForm.FindStringSubmatch(line)
		if m == nil || strings.Contains(m[1][2:], "/") || strings.Contains(m[1], "secret") {
			t.Fatalf("link %q", line)
		}
		got[m[2]] = strings.TrimPrefix(m[1], ".")
	}
	return got
}

func TestListPages(t *testing.T) {
	b, h := setup(t)
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprintf("chat/%d,ä", i))
	}
	b.open = openChannels(append(names, "elsewhere")...)
	for _, b.short = range []int{0, 3} {
		target := "/channels?limit=10&prefix=" + url.QueryEscape("chat/") + "&key=demo.root:secret&rnd=1"
		var got []string
		var pages int
		for {
			w := do(h, "GET", target, "", "X-Ably-Version: 6")
			var page []string
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 || len(page) > 10 {
				t.Fatalf("%s: %d %s", target, w.Code, w.Body)
			}
			got = append(got, page...)
			l := links(t, w)
			if l["first"] == "" || l["current"] == "" {
				t.Fatalf("links %v", l)
			}
			if again := do(h, "GET", l["current"], "", "X-Ably-Version: 6"); !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) {
				t.Fatalf("current %s is another page: %s", l["current"], again.Body)
			}
			if pages++; l["next"] == "" {
				break
			}
			target = l["next"]
		}
		if pages < 3 || len(got) != len(names) {
			t.Errorf("%d channels on %d pages, want %d", len(got), pages, len(names))
		}
		slices.Sort(got)
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Errorf("got %q\nwant %q", got, names)
		}
	}
}

func TestCursor(t *testing.T) {
	for _, p := range []channel.Position{{Hash: 1<<64 - 1, App: "demo", Name: "x\x00y"}, {Hash: 5}, {Hash: 7, App: "demo"}} {
		if got, err := parseCursor(formatCursor(p), "demo"); err != nil || got != p {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(formatCursor(channel.Position{Hash: 5, App: "demo", Name: "x"}))
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parseCursor(s, "demo"); err == nil && formatCursor(p) != s {
			t.Fatalf("%q is read as %+v and written as %q", s, p, formatCursor(p))
		}
	})
}

func TestCORS(t *testing.T) {
	_, h := setup(t)
	w := do(h, "OPTIONS", "/channels/a/messages", "", noAuth, "Origin: https://example.com", "Access-Control-Request-Method: POST")
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "https://example.com" || w.Header().Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
	for _, name := range []string{"accept", "authorization", "content-type", "x-ably-version", "x-ably-clientid", "ably-agent"} {
		if !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("preflight does not allow %s", name)
		}
	}
	for _, name := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		if !strings.Contains(w.Header().Get("Access-Control-Allow-Methods"), name) {
			t.Errorf("preflight does not allow %s", name)
		}
	}
	for _, path := range []string{"/time", "/nope"} {
		w = do(h, "GET", path, "", "Origin: https://example.com")
		exposed := w.Header().Get("Access-Control-Expose-Headers")
		if w.Header().Get("Access-Control-Allow-Origin") != "https://example.com" || !strings.Contains(exposed, "Link") || !strings.Contains(exposed, "X-Ably-Errorcode") {
			t.Errorf("%s: %v", path, w.Header())
		}
	}
	if w = do(h, "GET", "/time", ""); w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Vary") != "Origin" {
		t.Errorf("without an origin: %v", w.Header())
	}
}

func TestAuthorizeAndFail(t *testing.T) {
	_, h := setup(t)
	r := httptest.NewRequest("GET", "/events?key=demo.sub:secret", nil)
	id, err := h.Authorize(r, func(auth.Identity) *protocol.ErrorInfo { return nil })
	if err != nil || id.KeyName != "demo.sub" {
		t.Errorf("%+v, %v", id, err)
	}
	no := auth.Denied(auth.ChannelMetadata, "*")
	if _, err := h.Authorize(r, func(auth.Identity) *protocol.ErrorInfo { return no }); err != no {
		t.Errorf("%v, want %v", err, no)
	}
	w := httptest.NewRecorder()
	h.Fail(w, r, auth.Denied(auth.ChannelMetadata, "*"))
	wantError(t, "Fail", w, 401, 40160, "channel-metadata")
}

// endless is a body without an end and without a length.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	if e.read > 1<<20 {
		return 0, errors.New("read far beyond the limit")
	}
	for i := range b {
		b[i] = '['
	}
	e.read += len(b)
	return len(b), nil
}

func TestBodyWithoutLengthIsBounded(t *testing.T) {
	_, h := setup(t)
	r := httptest.NewRequest("POST", "/channels/a/messages?key=demo.root:secret", &endless{})
	r.ContentLength = -1
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	wantError(t, "endless body", w, 413, 40009, "4000")
}
