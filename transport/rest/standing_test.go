package rest

import (
	"net/http"
	"testing"

	"innkeeper/transport/auth"
	"innkeeper/transport/standing"
)

// TestStanding: a node that has just started judges nobody, and one that is cut off tells nobody that a credential is no
// good, nor what was measured while it cannot know.
func TestStanding(t *testing.T) {
	now := standing.Behind
	h := New(Config{Backend: &fakeBackend{}, Stats: &archive{}, Authority: &fakeAuthority{}, Standing: func() standing.Standing { return now }, Keys: auth.NewKeys([]auth.Key{
		{App: "demo", ID: "root", Secret: "secret", Capability: auth.AllowAll()},
	})})
	for _, tc := range []struct {
		method, path            string
		behind, cutOff, inTouch int
	}{
		{http.MethodGet, "/time", 200, 200, 200},
		{http.MethodGet, "/channels/a?key=demo.root:secret", 503, 200, 200},
		{http.MethodGet, "/channels?key=demo.root:secret", 503, 200, 200},
		{http.MethodGet, "/stats?key=demo.root:secret", 503, 503, 200},
		{http.MethodGet, "/channels/a?key=new.root:secret", 503, 503, 401},
		{http.MethodGet, "/channels/a?key=demo.new:secret", 503, 503, 401},
		{http.MethodGet, "/channels/a?access_token=new.abc", 503, 503, 401},
		{http.MethodPost, "/keys/demo.new/requestToken", 503, 503, 401},
		{http.MethodPost, "/keys/demo.root/revokeTokens", 503, 503, 401},
	} {
		for at, want := range map[standing.Standing]int{standing.Behind: tc.behind, standing.CutOff: tc.cutOff, standing.InTouch: tc.inTouch} {
			now = at
			w := do(h, tc.method, tc.path, "", "Authorization: ")
			if w.Code != want {
				t.Errorf("%s %s at standing %d: %d %s, want %d", tc.method, tc.path, at, w.Code, w.Body, want)
			}
			if want == 503 && w.Header().Get("X-Ably-Errorcode") != "50003" {
				t.Errorf("%s %s at standing %d: code %s", tc.method, tc.path, at, w.Header().Get("X-Ably-Errorcode"))
			}
		}
	}
}
