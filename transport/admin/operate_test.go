package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestOperations(t *testing.T) {
	var asked []string
	c := Config{Gatherer: prometheus.NewRegistry(), Operations: Operations{
		Transfer: func(context.Context) (string, error) { asked = append(asked, "transfer"); return "n2", nil },
		Remove: func(_ context.Context, node string, force bool) error {
			asked = append(asked, fmt.Sprint("remove ", node, " ", force))
			if node == "alive" {
				return &Refusal{http.StatusConflict, errors.New("node alive is alive")}
			}
			return nil
		},
		Drain: func(_ context.Context, node string) (string, error) {
			asked = append(asked, fmt.Sprintf("drain %q", node))
			if node == "last" {
				return "", &Refusal{http.StatusConflict, errors.New("nobody could take over")}
			}
			return "n1", nil
		},
		Repartition: func(_ context.Context, n int) error {
			asked = append(asked, fmt.Sprint("repartition ", n))
			if n == 24 {
				return &Refusal{http.StatusConflict, errors.New("only 7 of 8 partitions are open")}
			}
			return nil
		},
		Partitioning: func() Partitioning { return Partitioning{Partitions: 16, Open: 3, Before: 8, Since: 9} },
		Backup: func(_ context.Context, stale bool) (func(io.Writer) error, error) {
			asked = append(asked, fmt.Sprint("backup ", stale))
			return func(w io.Writer) error { _, err := io.WriteString(w, "all"); return err }, nil
		},
	}}
	h := New(c)
	for _, test := range []struct {
		method, path string
		origin       string
		code         int
		says         string
	}{
		{"POST", "/cluster/leader/transfer", "", 200, `"leader": "n2"`},
		{"POST", "/cluster/leader/transfer", "https://evil.example", 403, "web pages"},
		{"GET", "/cluster/leader/transfer", "", 405, "POST"},
		{"POST", "/cluster/members/n3/remove", "", 200, `"removed": "n3"`},
		{"POST", "/cluster/members/n3/remove?force=true", "", 200, `"removed": "n3"`},
		{"POST", "/cluster/members/n3/remove?force=1", "", 400, "force"},
		{"POST", "/cluster/members/n3/remove", "https://evil.example", 403, "web pages"},
		{"POST", "/cluster/members/alive/remove", "", 409, "node alive is alive"},
		{"POST", "/cluster/drain", "", 200, `"draining": "n1"`},
		{"GET", "/cluster/drain", "", 405, "POST"},
		{"POST", "/cluster/drain", "https://evil.example", 403, "web pages"},
		{"POST", "/cluster/members/n1/drain", "", 200, `"draining": "n1"`},
		{"POST", "/cluster/members/last/drain", "", 409, "nobody could take over"},
		{"POST", "/cluster/repartition?partitions=16", "", 200, `"open": 3`},
		{"GET", "/cluster/repartition", "", 200, `"before": 8`},
		{"POST", "/cluster/repartition?partitions=24", "", 409, "only 7 of 8"},
		{"POST", "/cluster/repartition?partitions=many", "", 400, "many"},
		{"POST", "/cluster/repartition", "", 400, "whole number"},
		{"POST", "/cluster/repartition?partitions=16", "https://evil.example", 403, "web pages"},
		{"DELETE", "/cluster/repartition", "", 405, "GET"},
		{"GET", "/backup", "", 200, "all"},
		{"GET", "/backup?consistency=stale", "", 200, "all"},
		{"GET", "/backup?consistency=maybe", "", 400, "consistency"},
		{"POST", "/backup", "", 405, "GET"},
	} {
		r, w := httptest.NewRequest(test.method, "http://127.0.0.1:8180"+test.path, nil), httptest.NewRecorder()
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		h.ServeHTTP(w, r)
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s %s: %d %s", test.method, test.path, w.Code, w.Body)
		}
	}
	want := "[transfer remove n3 false remove n3 true remove alive false drain \"\" drain \"n1\" drain \"last\" " +
		"repartition 16 repartition 24 backup false backup true]"
	if fmt.Sprint(asked) != want {
		t.Errorf("asked %v, want %s", asked, want)
	}
}

// TestBackupThatMayLackTheNewest says so, to who asked for no more than that.
func TestBackupThatMayLackTheNewest(t *testing.T) {
	h := New(Config{Stale: func() string { return "cut off" }, Operations: Operations{
		Backup: func(context.Context, bool) (func(io.Writer) error, error) {
			return func(io.Writer) error { return nil }, nil
		},
	}, Gatherer: prometheus.NewRegistry()})
	for query, want := range map[string]string{"": "", "?consistency=leader": "", "?consistency=stale": "cut off"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/backup"+query, nil))
		if got := w.Header().Get(StaleHeader); w.Code != 200 || got != want {
			t.Errorf("%q: %d, %q, want %q", query, w.Code, got, want)
		}
	}
}

// TestBackupThatBreaksOff: the client sees that it is not whole.
func TestBackupThatBreaksOff(t *testing.T) {
	server := httptest.NewServer(New(Config{Gatherer: prometheus.NewRegistry(), Operations: Operations{
		Backup: func(context.Context, bool) (func(io.Writer) error, error) {
			return func(w io.Writer) error { io.WriteString(w, "half"); return errors.New("no more") }, nil
		},
	}}))
	defer server.Close()
	resp, err := http.Get(server.URL + "/backup")
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q was taken for whole", b)
	}
}
