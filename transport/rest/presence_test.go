package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/auth"
)

// A question for one member's presence says nothing of who asks.
func TestMembersOfAClientAreAskedForByAnybody(t *testing.T) {
	b := &fakeBackend{members: map[string][]channel.Member{"room": {
		{Action: channel.Present, ConnID: "c", ClientID: "alice"}, {Action: channel.Present, ConnID: "c", ClientID: "bob"},
	}}}
	keys := auth.NewKeys([]auth.Key{{App: "demo", ID: "root", Secret: "secret", Capability: auth.AllowAll()}})
	h := New(Config{Backend: b, Keys: keys})
	self, _ := keys.Authenticate(auth.Credentials{Key: "demo.root:secret"})
	for _, of := range []string{"", "alice", "bob", "*"} {
		d, err := keys.Issue("demo.root", &auth.TokenRequest{ClientID: of}, &self, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w := do(h, "GET", "/channels/room/presence?clientId=bob", "", "Authorization: Bearer "+d.Token)
		if w.Code != 200 || strings.Contains(w.Body.String(), "alice") || !strings.Contains(w.Body.String(), "bob") {
			t.Errorf("with a token of %q: %d %s", of, w.Code, w.Body)
		}
		w = do(h, "GET", "/presence?channels=room&clientId=bob", "", "Authorization: Bearer "+d.Token)
		if w.Code != 200 {
			t.Errorf("several channels with a token of %q: %d %s", of, w.Code, w.Body)
		}
	}
}

// Members come in pages whose links carry the whole state, however little the owner answers at once.
func TestMembersArePaged(t *testing.T) {
	b, h := setup(t)
	b.members = map[string][]channel.Member{"room": nil}
	for i := range 11 {
		b.members["room"] = append(b.members["room"], channel.Member{Action: channel.Present, ConnID: "c", ClientID: fmt.Sprintf("m%02d", i)})
	}
	for query, want := range map[string][]int{"?limit=4": {4, 4, 3}, "": {11}, "?clientId=m03": {1}, "?connectionId=x": {0}} {
		var sizes []int
		for next := "/channels/room/presence" + query; next != ""; {
			w := do(h, "GET", next, "")
			var members []struct{ ClientID string }
			if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil || w.Code != 200 {
				t.Fatalf("%s: %d %s", next, w.Code, w.Body)
			}
			sizes, next = append(sizes, len(members)), ""
			for _, l := range w.Header().Values("Link") {
				if url, ok := strings.CutSuffix(l, `>; rel="next"`); ok {
					next = "/channels/room" + strings.TrimPrefix(url, "<.")
				}
			}
		}
		if fmt.Sprint(sizes) != fmt.Sprint(want) {
			t.Errorf("%q gives pages of %v, want %v", query, sizes, want)
		}
	}
}

func TestPresenceOfSeveralChannels(t *testing.T) {
	b := &fakeBackend{}
	b.members = map[string][]channel.Member{"foo:a": {{Action: channel.Present, ConnID: "c", ClientID: "m"}}}
	for _, c := range []struct {
		version string
		status  int
		has     []string
	}{
		{"3", 200, []string{`"successCount":1,"failureCount":1`, `{"channel":"foo:a","presence":[{"action":1`, `"code":40160`}},
		{"2", 400, []string{`"code":40020`, `"batchResponse":[`}},
	} {
		_, h := setup(t)
		h.cfg.Backend = b
		w := do(h, "GET", "/presence?channels=foo:a,bar", "", "Authorization: "+basic("demo.foo:secret"), "X-Ably-Version: "+c.version)
		if failed := h.Stats().Failed; failed != uint64(c.status/400) {
			t.Errorf("version %s: %d requests have failed", c.version, failed)
		}
		for _, has := range c.has {
			if w.Code != c.status || !strings.Contains(w.Body.String(), has) {
				t.Errorf("version %s: %d %s, want %d with %s", c.version, w.Code, w.Body, c.status, has)
			}
		}
	}
}

// Pages read errors as JSON whatever they ask for, and this one has a body of its own.
func TestPresenceOfSeveralChannelsFailsForPages(t *testing.T) {
	_, h := setup(t)
	w := do(h, "GET", "/presence?channels=bar", "", "Authorization: "+basic("demo.foo:secret"), "X-Ably-Version: 2",
		"Origin: https://page.example", "Accept: application/x-msgpack")
	if w.Code != 400 || w.Header().Get("Content-Type") != "application/json" || !strings.HasPrefix(w.Body.String(), `{"error":{`) {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
	if code := w.Header().Get("X-Ably-Errorcode"); code != "40020" {
		t.Errorf("code %s", code)
	}
}

// A channel that is named again is not answered again.
func TestRepeatedChannelsAreOne(t *testing.T) {
	b, h := setup(t)
	b.members = map[string][]channel.Member{"a": {{Action: channel.Present, ConnID: "c", ClientID: "m"}}}
	w := do(h, "GET", "/presence?channels=a,b,a"+strings.Repeat(",a", 200), "", "X-Ably-Version: 3")
	if got := strings.Count(w.Body.String(), `"channel":`); w.Code != 200 || got != 2 {
		t.Errorf("%d with %d channels: %.200s", w.Code, got, w.Body)
	}
}

// Many large members are refused before they are gathered; who asks for pages gets them.
func TestAnswersOfMembersHaveABound(t *testing.T) {
	b, h := setup(t)
	b.members = map[string][]channel.Member{}
	data := []byte(strings.Repeat("x", 60_000))
	for _, name := range []string{"a", "b"} {
		for i := range 80 {
			b.members[name] = append(b.members[name], channel.Member{
				Action: channel.Present, ConnID: "c", ClientID: fmt.Sprintf("m%02d", i), Kind: channel.StringData, Data: data,
			})
		}
	}
	w := do(h, "GET", "/presence?channels=a,b", "", "X-Ably-Version: 3")
	if s := w.Body.String(); w.Code != 200 || !strings.Contains(s, `"successCount":1,"failureCount":1`) ||
		!strings.Contains(s, `"code":40009`) || !strings.Contains(s, "have more than 8388608 bytes; ask for fewer channels") {
		t.Errorf("%d with %d bytes", w.Code, len(s))
	}
	b.members["a"] = append(b.members["a"], b.members["b"]...)
	for i := range b.members["a"] {
		b.members["a"][i].ClientID = fmt.Sprintf("m%03d", i)
	}
	if w := do(h, "GET", "/channels/a/presence?limit=1000", ""); w.Code != 400 || !strings.Contains(w.Body.String(), `"code":40009`) {
		t.Errorf("one page: %d with %d bytes", w.Code, w.Body.Len())
	}
	if w := do(h, "GET", "/channels/a/presence?limit=100", ""); w.Code != 200 || len(w.Header().Values("Link")) != 3 {
		t.Errorf("a smaller page: %d with %d bytes", w.Code, w.Body.Len())
	}
}
