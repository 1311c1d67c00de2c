package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"innkeeper/channel"
)

// Config is what to show. All functions may be called from many goroutines at once.
type Config struct {
	Version string           // of the program
	Ready   func() Readiness // for /readyz
	Cluster func() any       // for /cluster: members, partitions, leader, epochs; anything that marshals to JSON
	Rules   func() any       // for /rules: the dispatcher's status
	// List returns up to limit open channels behind after, in order, of one app or (app "") of all, and where to go on
	// (nil: that was all). It fails rather than leave out a partition.
	List     func(ctx context.Context, app string, after channel.Position, prefix string, limit int) ([]channel.Listed, *channel.Position, error)
	Gatherer prometheus.Gatherer // for /metrics
	Logger   *slog.Logger        // nil discards
}

// endpoints is what there is, for GET /.
var endpoints = []struct {
	Path string `json:"path"`
	Is   string `json:"is"`
}{
	{"/healthz", "200 while the process answers"},
	{"/readyz", "200 while this node may serve clients, else 503 with the reasons"},
	{"/metrics", "metrics for Prometheus"},
	{"/cluster", "members, partitions, leader and epochs as this node knows them"},
	{"/channels", "open channels of the cluster; parameters app, prefix, limit, cursor"},
	{"/rules", "how the event rules fare"},
}

type handler struct{ Config }

// New returns the admin handler.
func New(c Config) http.Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{c}
	mux := http.NewServeMux()
	for path, get := range map[string]http.HandlerFunc{
		"/{$}":      h.index,
		"/healthz":  h.healthz,
		"/readyz":   h.readyz,
		"/cluster":  func(w http.ResponseWriter, r *http.Request) { respond(w, http.StatusOK, c.Cluster()) },
		"/rules":    func(w http.ResponseWriter, r *http.Request) { respond(w, http.StatusOK, c.Rules()) },
		"/channels": h.channels,
		"/metrics":  promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{}).ServeHTTP,
	} {
		mux.HandleFunc(path, onlyGet(get))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "there is no %s here; GET / lists what there is", r.URL.Path)
	})
	return mux
}

// onlyGet refuses what would change something: nothing here can.
func onlyGet(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, "method %s is not allowed on %s; use GET", r.Method, r.URL.Path)
			return
		}
		next(w, r)
	}
}

func (h *handler) index(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, map[string]any{"innkeeper": h.Version, "endpoints": endpoints})
}

func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, map[string]any{"alive": true})
}

// respond writes v as indented JSON.
func respond(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		enc.Encode(failure(status, fmt.Sprintf("cannot show this: %v", err)))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// refuse writes an error.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	respond(w, status, failure(status, fmt.Sprintf(format, args...)))
}

func failure(status int, message string) any {
	type info struct {
		Message    string `json:"message"`
		StatusCode int    `json:"statusCode"`
	}
	return map[string]info{"error": {message, status}}
}
