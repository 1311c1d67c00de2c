package admin

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"innkeeper/channel"
)

var update = flag.Bool("update", false, "write the golden files")

// ask answers a request by a handler and decodes the JSON.
func ask(t *testing.T, c Config, method, target string, status int) map[string]any {
	t.Helper()
	if c.Gatherer == nil {
		c.Gatherer = prometheus.NewRegistry()
	}
	w := httptest.NewRecorder()
	New(c).ServeHTTP(w, httptest.NewRequest(method, target, nil))
	if w.Code != status {
		t.Errorf("%s %s answers %d, want %d: %s", method, target, w.Code, status, w.Body)
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s %s: %v: %s", method, target, err, w.Body)
	}
	if !strings.Contains(w.Body.String(), "\n  ") {
		t.Errorf("%s %s is not indented: %s", method, target, w.Body)
	}
	return got
}

func message(t *testing.T, body map[string]any) string {
	t.Helper()
	e, _ := body["error"].(map[string]any)
	text, _ := e["message"].(string)
	return text
}

func TestReadiness(t *testing.T) {
	well := Readiness{LeaseHeld: true, Leader: "n1", Partitions: 43, Open: 43}
	for _, test := range []struct {
		name string
		bend func(*Readiness)
		want string
	}{
		{"ready", func(*Readiness) {}, ""},
		{"owns nothing", func(r *Readiness) { r.Partitions, r.Open = 0, 0 }, ""},
		{"no lease", func(r *Readiness) { r.LeaseHeld = false }, "holds no lease"},
		{"no leader", func(r *Readiness) { r.Leader = "" }, "no leader is known"},
		{"rebuilding", func(r *Readiness) { r.Open = 40 }, "3 of the node's 43 partitions"},
		{"stopping", func(r *Readiness) { r.Stopping = true }, "stopping"},
	} {
		r := well
		test.bend(&r)
		status := 200
		if test.want != "" {
			status = 503
		}
		got := ask(t, Config{Ready: func() Readiness { return r }}, "GET", "/readyz", status)
		if got["ready"] != (status == 200) || !strings.Contains(fmt.Sprint(got["reasons"]), test.want) {
			t.Errorf("%s: %v", test.name, got)
		}
		if _, list := got["reasons"].([]any); !list {
			t.Errorf("%s: reasons are %v, want a list", test.name, got["reasons"])
		}
	}
}

func TestIndexNamesWhatExists(t *testing.T) {
	c := Config{
		Version: "1.2", Ready: func() Readiness { return Readiness{} },
		Cluster: func() any { return map[string]any{"leader": "n1"} },
		Rules:   func() any { return map[string]any{"leading": true} },
		List: func(context.Context, string, channel.Position, string, int) ([]channel.Listed, *channel.Position, error) {
			return nil, nil, nil
		},
		Operations: Operations{
			Transfer:    func(context.Context) (string, error) { return "n2", nil },
			Remove:      func(context.Context, string, bool) error { return nil },
			Drain:       func(context.Context, string) (string, error) { return "n1", nil },
			Repartition: func(context.Context, int) error { return nil }, Partitioning: func() Partitioning { return Partitioning{} },
			Backup: func(context.Context, bool) (func(io.Writer) error, error) {
				return func(io.Writer) error { return nil }, nil
			},
		},
		Gatherer: prometheus.NewRegistry(),
	}
	got := ask(t, c, "GET", "/", 200)
	if got["innkeeper"] != "1.2" {
		t.Errorf("index = %v", got)
	}
	for _, e := range got["endpoints"].([]any) {
		path := e.(map[string]any)["path"].(string)
		method, ok := e.(map[string]any)["method"].(string)
		if !ok {
			method = "GET"
		}
		w := httptest.NewRecorder()
		New(c).ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code == 404 {
			t.Errorf("the index names %s, which is not there", path)
		}
	}
	if got := ask(t, c, "GET", "/cluster", 200); got["leader"] != "n1" {
		t.Errorf("/cluster = %v", got)
	}
	if got := ask(t, c, "GET", "/rules", 200); got["leading"] != true {
		t.Errorf("/rules = %v", got)
	}
	if got := ask(t, c, "GET", "/healthz", 200); got["alive"] != true {
		t.Errorf("/healthz = %v", got)
	}
}

func TestWrongPathsAndMethodsAreErrorsInJSON(t *testing.T) {
	if got := message(t, ask(t, Config{}, "GET", "/nowhere", 404)); !strings.Contains(got, "no /nowhere here") {
		t.Errorf("message %q", got)
	}
	if got := message(t, ask(t, Config{}, "GET", "/cluster/x", 404)); got == "" {
		t.Error("no message")
	}
	if got := message(t, ask(t, Config{}, "POST", "/channels", 405)); !strings.Contains(got, "POST is not allowed") {
		t.Errorf("message %q", got)
	}
	unshowable := Config{Cluster: func() any { return func() {} }}
	if got := message(t, ask(t, unshowable, "GET", "/cluster", 500)); !strings.Contains(got, "cannot show this") {
		t.Errorf("message %q", got)
	}
}

func TestChannelsPages(t *testing.T) {
	next := channel.Position{Hash: 77, App: "demo", Name: "chat:b"}
	var asked string
	c := Config{List: func(_ context.Context, app string, after channel.Position, prefix string, limit int) ([]channel.Listed, *channel.Position, error) {
		asked = fmt.Sprint(app, after, prefix, limit)
		if after == next {
			return nil, nil, nil
		}
		return []channel.Listed{{App: "demo", Name: "chat:b", Counts: channel.Counts{channel.Connections: 3, channel.Subscribers: 2}}}, &next, nil
	}}
	got := ask(t, c, "GET", "/channels?app=demo&prefix=chat:&limit=7", 200)
	if want := fmt.Sprint("demo", channel.Position{}, "chat:", 7); asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	first := got["channels"].([]any)[0].(map[string]any)
	counts := first["occupancy"].(map[string]any)
	if first["app"] != "demo" || first["channel"] != "chat:b" || counts["connections"] != 3.0 || counts["subscribers"] != 2.0 || len(counts) != channel.NumCategories {
		t.Errorf("channel = %v", first)
	}
	got = ask(t, c, "GET", "/channels?cursor="+got["next"].(string), 200)
	if want := fmt.Sprint("", next, "", 100); asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
	if _, more := got["next"]; more || len(got["channels"].([]any)) != 0 {
		t.Errorf("last page = %v", got)
	}
}

func TestChannelsErrors(t *testing.T) {
	c := Config{List: func(context.Context, string, channel.Position, string, int) ([]channel.Listed, *channel.Position, error) {
		return nil, nil, errors.New("partition 7 is moving")
	}}
	for target, want := range map[string]string{
		"/channels?limit=1001": `parameter limit is "1001"; it must be a whole number from 1 to 1000`,
		"/channels?limit=x":    `parameter limit is "x"`,
		"/channels?cursor=x":   `parameter cursor is "x"`,
	} {
		if got := message(t, ask(t, c, "GET", target, 400)); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	if got := message(t, ask(t, c, "GET", "/channels", 503)); !strings.Contains(got, "partition 7 is moving") {
		t.Errorf("message %q", got)
	}
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := channel.Position{
			Hash: rapid.Uint64().Draw(t, "hash"), App: rapid.String().Draw(t, "app"), Name: rapid.String().Draw(t, "name"),
		}
		if got, err := parseCursor(cursorText(p)); err != nil || got != p {
			t.Fatalf("got %+v, %v; want %+v", got, err, p)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(cursorText(channel.Position{Hash: 7, App: "demo", Name: "chat:a"}))
	f.Add("AQAAAAAAAAAA__8")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parseCursor(text); err == nil && cursorText(p) != text {
			t.Errorf("%q reads as %+v, which writes %q", text, p, cursorText(p))
		}
	})
}

// filled gives every field of a struct a value of its own, so that a metric that shows the wrong field is seen.
func filled[T any](strings ...string) (v T) {
	s := reflect.ValueOf(&v).Elem()
	for i := range s.NumField() {
		switch f := s.Field(i); f.Interface().(type) {
		case int:
			f.SetInt(int64(100 + i))
		case int64:
			f.SetInt(int64(500 + i))
		case uint64:
			f.SetUint(uint64(200 + i))
		case bool:
			f.SetBool(true)
		case time.Duration:
			f.SetInt(int64(time.Duration(i) * time.Second))
		case string:
			f.SetString(strings[0])
			strings = strings[1:]
		case map[string]uint64:
			f.Set(reflect.ValueOf(map[string]uint64{"connect": uint64(300 + i), "timeout": uint64(400 + i)}))
		default:
			panic(fmt.Sprintf("field %s has a type that is not filled", s.Type().Field(i).Name))
		}
	}
	return v
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(Sources{
		Node:  func() NodeStats { return filled[NodeStats]() },
		Log:   func() LogStats { return filled[LogStats]() },
		Rules: func() []RuleStats { return []RuleStats{filled[RuleStats]("demo", "a"), filled[RuleStats]("demo", "b")} },
		Links: func() []LinkStats { return []LinkStats{filled[LinkStats]("n2")} },
		Limits: func() []LimitStats {
			return []LimitStats{filled[LimitStats]("app", "demo", "channels"), {Scope: "account", ID: "acme", Limit: "messageSize", Hard: 2048}}
		},
		Traffic: func() TrafficStats { return filled[TrafficStats]() },
	}))
	w := httptest.NewRecorder()
	New(Config{Gatherer: registry}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if *update {
		if err := os.WriteFile("testdata/metrics.txt", w.Body.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); got != string(want) {
		t.Errorf("metrics differ from testdata/metrics.txt:\n%s", got)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestMetricsWithoutSources(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(Sources{}))
	if got, err := registry.Gather(); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}
