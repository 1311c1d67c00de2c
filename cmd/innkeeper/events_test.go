package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// command runs one command line that ends by itself.
func command(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(args, world{stdout: &o, stderr: &e, signals: make(chan os.Signal), exit: func(int) {}})
	return code, o.String(), e.String()
}

// fakeStream serves /events the way a node does: one connection after the other, each from a script.
type fakeStream struct {
	mu      sync.Mutex
	scripts []string
	asked   []string // queries of streams
	users   []string
}

func (f *fakeStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	user, _, _ := r.BasicAuth()
	f.users = append(f.users, user)
	if r.Header.Get("Accept") != "text/event-stream" {
		fmt.Fprint(w, `{"first":1,"last":40,"events":[]}`)
		return
	}
	f.asked = append(f.asked, r.URL.RawQuery)
	if len(f.scripts) == 0 {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":{"message":"invalid credentials","code":40101,"statusCode":401}}`)
		return
	}
	fmt.Fprint(w, f.scripts[0])
	f.scripts = f.scripts[1:]
}

func streamed(seq int, kind, channel string) string {
	name, _ := json.Marshal(channel)
	return fmt.Sprintf("id: %d\ndata: {\"id\":\"c1-%d\",\"seq\":%d,\"app\":\"demo\",\"channel\":%s,\"type\":%q,\"time_ms\":1697206286533}\n\n", seq, seq, seq, name, kind)
}

// The tail begins with what is new, survives a lost connection without losing or repeating an event, tells of gaps, and
// ends when a node refuses it for good.
func TestTail(t *testing.T) {
	f := &fakeStream{scripts: []string{
		"retry: 1000\n\n" + streamed(41, "occupied", "chat:a") + ":\nid: 50\n\n" + "id: 51\ndata: {\"cut",
		"id: 59\nevent: gap\ndata: {\"after\":50,\"first\":60}\n\n" + streamed(60, "vacated", "chat:\x1b[31m"),
	}}
	server := httptest.NewServer(f)
	defer server.Close()
	code, out, errs := command("events", "tail", "--url", server.URL, "--key", "demo.root:secret", "--rule", "state")
	if code != exitRefused || !strings.Contains(errs, "invalid credentials") || !strings.Contains(errs, "events behind seq 50 are forgotten; going on with 60") {
		t.Errorf("code %d, errors %s", code, errs)
	}
	want := "2023-10-13T14:11:26.533Z        41  occupied  chat:a\n2023-10-13T14:11:26.533Z        60  vacated   \"chat:\\x1b[31m\"\n"
	if out != want {
		t.Errorf("out %q, want %q", out, want)
	}
	if got, want := strings.Join(f.asked, " "), "after=40&rule=state after=50&rule=state after=60&rule=state"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	for _, user := range f.users {
		if user != "demo.root" {
			t.Errorf("user %q", user)
		}
	}
}

func TestTailEndsWithTheCount(t *testing.T) {
	f := &fakeStream{scripts: []string{streamed(1, "occupied", "a") + streamed(2, "occupied", "b") + streamed(3, "occupied", "c")}}
	server := httptest.NewServer(f)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("demo.root:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := command("events", "tail", "--url", server.Listener.Addr().String(), "--key-file", file, "--after", "0", "--count", "2", "--json")
	if code != exitOK || strings.Count(out, "\n") != 2 || !strings.HasPrefix(out, `{"id":"c1-1"`) {
		t.Errorf("code %d, out %s, errors %s", code, out, errs)
	}
	if len(f.asked) != 1 || f.asked[0] != "after=0" {
		t.Errorf("asked %v", f.asked)
	}
}

func TestTailStopsWithASignal(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, streamed(1, "occupied", "chat:a"))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	s := start(t, nil, nil, "events", "tail", "--url", server.URL, "--key", "demo.root:secret", "--after", "0")
	s.await("chat:a")
	s.signals <- os.Interrupt
	if code := s.exit(); code != exitOK {
		t.Errorf("code %d: %s", code, s.err.String())
	}
}

func TestTailNeedsAKey(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--key", "nonsense"}, {"--key", "a.b:c", "--key-file", "x"},
	} {
		if code, _, errs := command(append([]string{"events", "tail", "--after", "0"}, args...)...); code != exitUsage || !strings.Contains(errs, "key") {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
	if code, _, errs := command("events", "tail", "--key", "a.b:c", "--url", "ftp://x"); code != exitUsage || !strings.Contains(errs, "--url") {
		t.Errorf("code %d, %s", code, errs)
	}
}

func TestReplayCommand(t *testing.T) {
	var posted string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rules", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"leading":false,"rules":[{"app":"demo","rule":"state"},{"app":"demo","rule":"both"},{"app":"other","rule":"both"}]}`)
	})
	mux.HandleFunc("POST /rules/{app}/{rule}/replay", func(w http.ResponseWriter, r *http.Request) {
		posted = r.URL.String()
		if r.URL.Query().Get("from") == "9" {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"error":{"message":"the oldest is 10"}}`)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	replay := func(args ...string) (int, string, string) {
		return command(append([]string{"events", "replay", "--admin", server.URL}, args...)...)
	}
	if code, out, errs := replay("--rule", "state", "--from", "12"); code != exitOK || posted != "/rules/demo/state/replay?from=12" || !strings.Contains(out, "again from seq 12") {
		t.Errorf("code %d, posted %s, out %s, errors %s", code, posted, out, errs)
	}
	if code, _, _ := replay("--rule", "both", "--app", "other", "--from", "12"); code != exitOK || posted != "/rules/other/both/replay?from=12" {
		t.Errorf("code %d, posted %s", code, posted)
	}
	for want, args := range map[string][]string{
		"choose one with --app": {"--rule", "both", "--from", "12"},
		"there are: demo/state": {"--rule", "none", "--from", "12"},
		`the app "nope" has no rule "state"; there are: demo/state`: {"--rule", "state", "--app", "nope", "--from", "12"},
		"the oldest is 10": {"--rule", "state", "--from", "9"},
	} {
		if code, _, errs := replay(args...); code != exitRefused || !strings.Contains(errs, want) {
			t.Errorf("%v: code %d, %s", args, code, errs)
		}
	}
	if code, _, _ := replay("--rule", "state"); code != exitUsage {
		t.Errorf("without --from: code %d", code)
	}
}
