package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

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
	Stale   func() string    // why what the node has of the log may be old; "" while it is not; nil: it never is
	// List returns up to limit open channels behind after, in order, of one app or (app "") of all, and where to go on
	// (nil: that was all). It fails rather than leave out a partition.
	List func(ctx context.Context, app string, after channel.Position, prefix string, limit int) ([]channel.Listed, *channel.Position, error)
	// Replay has a rule send again all events from seq from on. An *Elsewhere sends the client to the leader.
	Replay func(ctx context.Context, app, rule string, from uint64) error
	Operations
	Beside   []Endpoint          // what else the listener serves, for GET /
	Gatherer prometheus.Gatherer // for /metrics
	Logger   *slog.Logger        // nil discards
}

// Endpoint is a line of the answer to GET /.
type Endpoint struct {
	Path   string `json:"path"`
	Is     string `json:"is"`
	Method string `json:"method,omitempty"` // "" is GET
}

// endpoints is what this handler serves.
var endpoints = []Endpoint{
	{Path: "/healthz", Is: "200 while the process answers"},
	{Path: "/readyz", Is: "200 while this node may serve clients, else 503 with the reasons"},
	{Path: "/metrics", Is: "metrics for Prometheus"},
	{Path: "/cluster", Is: "members, partitions, leader and epochs as this node knows them"},
	{Path: "/channels", Is: "open channels of the cluster; parameters app, prefix, limit, cursor"},
	{Path: "/rules", Is: "how the event rules fare"},
	{Path: "/backup", Is: "all that the cluster has agreed on, as one file; parameter consistency: leader (default) or stale"},
	{Path: "/cluster/repartition", Is: "how many partitions there are and how many are open"},
	{Path: "/cluster/repartition", Is: "change the number of partitions; parameter partitions", Method: "POST"},
	{Path: "/cluster/leader/transfer", Is: "hand leadership to another node", Method: "POST"},
	{Path: "/cluster/drain", Is: "have this node hand over what it has and stop", Method: "POST"},
	{Path: "/cluster/members/{node}/drain", Is: "have a node hand over what it has and stop", Method: "POST"},
	{Path: "/cluster/members/{node}/remove", Is: "forget a dead node; parameter force: true for one that seems to run", Method: "POST"},
	{Path: "/rules/{app}/{rule}/replay", Is: "send events again; parameter from: the seq of the first", Method: "POST"},
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
		"/backup":   h.backup,
		"/metrics":  promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{}).ServeHTTP,
	} {
		mux.HandleFunc(path, only(get, http.MethodGet, http.MethodHead))
	}
	mux.HandleFunc("/rules/{app}/{rule}/replay", only(h.replay, http.MethodPost))
	mux.HandleFunc("/cluster/repartition", only(h.repartition, http.MethodGet, http.MethodHead, http.MethodPost))
	mux.HandleFunc("/cluster/leader/transfer", only(h.transfer, http.MethodPost))
	mux.HandleFunc("/cluster/drain", only(h.drain, http.MethodPost))
	mux.HandleFunc("/cluster/members/{node}/drain", only(h.drain, http.MethodPost))
	mux.HandleFunc("/cluster/members/{node}/remove", only(h.remove, http.MethodPost))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "there is no %s here; GET / lists what there is", r.URL.Path)
	})
	// Credentials may not be asked for: a page in the browser of somebody who can reach this must not be able to change things.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusForbidden, "requests that change something are not taken from web pages of other origins")
	}))
	return guard.Handler(mux)
}

// only refuses other methods.
func only(next http.HandlerFunc, methods ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			refuse(w, http.StatusMethodNotAllowed, "method %s is not allowed on %s; use %s", r.Method, r.URL.Path, methods[0])
			return
		}
		next(w, r)
	}
}

func (h *handler) index(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, map[string]any{"innkeeper": h.Version, "endpoints": append(slices.Clip(endpoints), h.Beside...)})
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
