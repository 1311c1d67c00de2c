package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestReplay(t *testing.T) {
	var asked string
	var fail error
	c := Config{Replay: func(_ context.Context, app, rule string, from uint64) error {
		asked = fmt.Sprint(app, " ", rule, " ", from)
		return fail
	}}
	got := ask(t, c, "POST", "/rules/demo/state/replay?from=7", 200)
	if asked != "demo state 7" || got["from"] != 7.0 || got["rule"] != "state" {
		t.Errorf("asked %q, answered %v", asked, got)
	}
	for _, query := range []string{"", "?from=0", "?from=x", "?from=-1"} {
		if got := message(t, ask(t, c, "POST", "/rules/demo/state/replay"+query, 400)); !strings.Contains(got, "parameter from is") {
			t.Errorf("%s: %q", query, got)
		}
	}
	if got := message(t, ask(t, c, "GET", "/rules/demo/state/replay?from=7", 405)); !strings.Contains(got, "use POST") {
		t.Errorf("GET: %q", got)
	}
	for _, test := range []struct {
		err    error
		status int
		want   string
	}{
		{&Refusal{409, errors.New("the oldest is 9")}, 409, "the oldest is 9"},
		{&Elsewhere{}, 503, "no leader is known"},
		{&Elsewhere{Leader: "n2"}, 503, "which is n2"},
		{&Elsewhere{Leader: "n2", Admin: "10.0.0.2:8180"}, 307, "at http://10.0.0.2:8180"},
		{errors.New("disk on fire"), 503, "disk on fire"},
	} {
		fail = test.err
		if got := message(t, ask(t, c, "POST", "/rules/demo/state/replay?from=7", test.status)); !strings.Contains(got, test.want) {
			t.Errorf("%v: %q", test.err, got)
		}
	}
}

// A client that follows redirects reaches the leader with the same request.
func TestReplayIsRedirectedToTheLeader(t *testing.T) {
	asked := make(chan string, 1)
	leader := httptest.NewServer(New(Config{Gatherer: prometheus.NewRegistry(), Replay: func(_ context.Context, app, rule string, from uint64) error {
		asked <- fmt.Sprint(app, " ", rule, " ", from)
		return nil
	}}))
	defer leader.Close()
	other := httptest.NewServer(New(Config{Gatherer: prometheus.NewRegistry(), Replay: func(context.Context, string, string, uint64) error {
		return &Elsewhere{Leader: "n2", Admin: leader.Listener.Addr().String()}
	}}))
	defer other.Close()
	resp, err := http.Post(other.URL+"/rules/demo/state/replay?from=7", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-asked; resp.StatusCode != 200 || got != "demo state 7" {
		t.Errorf("answered %s, asked %q", resp.Status, got)
	}
}

func TestWebPagesChangeNothing(t *testing.T) {
	h := New(Config{Gatherer: prometheus.NewRegistry(), Replay: func(context.Context, string, string, uint64) error {
		t.Error("the change was made")
		return nil
	}})
	r, w := httptest.NewRequest("POST", "http://127.0.0.1:8180/rules/demo/state/replay?from=1", nil), httptest.NewRecorder()
	r.Header.Set("Origin", "https://evil.example")
	h.ServeHTTP(w, r)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "web pages") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}
