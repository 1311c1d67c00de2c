package node

import (
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport/admin"
	"innkeeper/transport/auth"
	"innkeeper/transport/control"
	"innkeeper/transport/dashboard"
	"innkeeper/transport/dispatch"
	"innkeeper/transport/protocol"
	"innkeeper/transport/pull"
	"innkeeper/transport/rest"
	"innkeeper/transport/standing"
)

// serve starts the HTTP servers of clients and of the admin API.
func (b *boot) serve(e *ears) {
	b.listen(e.client, b.clientHandler())
	if e.admin != nil {
		b.listen(e.admin, b.adminHandler())
	}
}

// headerBytes is how much the line and the headers of a request may have, to which net/http adds 4 KiB; more is answered
// with 431. The longest that clients need name 100 channels, or have a token.
const headerBytes = 64 << 10

// listen serves until the boot is closed.
func (b *boot) listen(l net.Listener, h http.Handler) {
	s := &http.Server{
		Handler:           timely(h),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    headerBytes,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          log.New(quiet{b.log}, "", 0),
	}
	b.servers = append(b.servers, s)
	b.waiting.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			b.log.Error("HTTP server ended", "listen", l.Addr().String(), "err", err)
		}
	})
}

// quiet takes what net/http complains about: clients' mistakes, mostly.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.log.Debug("http", "msg", string(p))
	return len(p), nil
}

// clientHandler is everything on the client listener: WebSocket on any path that asks for an upgrade, pull, REST.
func (b *boot) clientHandler() http.Handler {
	var fixtures rest.Fixtures
	if b.node.cfg.Auth.AppsAPI {
		fixtures = statsFixtures{b}
	}
	api := rest.New(rest.Config{
		Backend: b.gateway, Keys: b.keys, Authority: b.authority, Apps: b.node.cfg.Auth.AppsAPI, Stats: b.metering.archive,
		Gates: b.limiting.gates, Fixtures: fixtures, Standing: b.standing,
		ServerID: b.node.disk.NodeID(), Logger: b.log, Observe: b.gateway.AnnounceRequest,
	})
	b.metering.requests = api.Requests
	p := pull.New(pull.Config{
		Source:    pullSource{eventLog{b.store}, b.standing},
		Authorize: func(r *http.Request) (string, error) { return mayRead(api, r) },
		Rule:      b.dispatcher.Wants,
		Logger:    b.log,
	})
	// No ServeMux: it would redirect channel names with "//" or ".." in them.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case asksForWebSocket(r.Header):
			b.gateway.ServeWebSocket(w, r)
		case r.URL.Path == "/events":
			p.Events(w, r)
		case r.URL.Path == "/occupied":
			p.Occupied(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// asksForWebSocket says whether a request may go on as a WebSocket. Other offers, such as that of h2c by Java's client and
// by curl --http2, are passed over: the answer in HTTP/1.1 declines them (RFC 9110, 7.8).
func asksForWebSocket(h http.Header) bool {
	for _, line := range h.Values("Upgrade") {
		for offer := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(offer), "websocket") {
				return true
			}
		}
	}
	return false
}

// mayRead authorizes a reader of events: the same right that lists an app's channels.
func mayRead(api *rest.Handler, r *http.Request) (string, error) {
	id, err := api.Authorize(r, func(id auth.Identity) *protocol.ErrorInfo {
		if !id.Capability.AllowsEverywhere(auth.ChannelMetadata) {
			return auth.Denied(auth.ChannelMetadata, "*")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return id.App, nil
}

// pullSource is the log as readers of events see it.
type pullSource struct {
	eventLog
	standing func() standing.Standing
}

// Standing implements pull.Source.
func (s pullSource) Standing() standing.Standing { return s.standing() }

// OccupiedPage implements pull.Source.
func (s pullSource) OccupiedPage(asOf uint64, app, prefix string, after *pull.Position, limit int) ([]pull.Channel, *pull.Position, error) {
	var from raftstore.Position
	if after != nil {
		from = raftstore.Position{Hash: after.Hash, App: app, Name: after.Name}
	}
	items, next, err := s.Store.OccupiedPage(asOf, app, prefix, from, limit)
	if errors.Is(err, raftstore.ErrCompacted) {
		err = pull.ErrCompacted
	}
	if err != nil {
		return nil, nil, err
	}
	channels := make([]pull.Channel, len(items))
	for i, it := range items {
		channels[i] = pull.Channel{Name: it.Name, SinceMs: it.SinceMs, Seq: it.Seq}
	}
	if next == nil {
		return channels, nil, nil
	}
	return channels, &pull.Position{Hash: next.Hash, Name: next.Name}, nil
}

// dashboardAt is where the dashboard is, on the admin listener.
const dashboardAt = "/dashboard/"

// besideAdmin is what adminHandler serves beside package admin.
var besideAdmin = append(slices.Clip(admin.LiveEndpoints),
	admin.Endpoint{Path: dashboardAt, Is: "all of this as a page for browsers"},
	admin.Endpoint{Path: control.Prefix + "/apps", Is: "the control API begins here: apps, keys, namespaces, rules and limits at run time"},
	admin.Endpoint{Path: "/openapi.json", Is: "describes all of the control API"},
	admin.Endpoint{Path: "/debug/pprof/", Is: "profiles of this process"},
)

// adminHandler is everything on the admin listener.
func (b *boot) adminHandler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), admin.NewCollector(b.sources()), b.metering)
	mux := http.NewServeMux()
	live := admin.NewLive(b.liveConfig())
	mux.Handle("/live", live)
	mux.Handle("/channel", live)
	mux.Handle("/meter", live)
	access := &control.Access{Tokens: b.node.cfg.Admin.Tokens, Trusted: b.node.opts.TrustAdmin}
	ops := b.authority.controlOps()
	for id, op := range ops {
		ops[id] = b.whenKnown(op)
	}
	steer, err := control.New(control.Config{Access: access, Ops: ops, Logger: b.log})
	if err != nil {
		panic(err) // the document and the operations are ours
	}
	mux.Handle(control.Prefix+"/", steer)
	mux.Handle("/openapi.json", steer)
	mux.Handle(dashboardAt, dashboard.New(dashboardAt))
	mux.Handle("/", dashboard.Welcome(dashboardAt, admin.New(admin.Config{
		Version: version(), Ready: b.readiness, Stale: b.stale,
		Cluster: func() any {
			return struct {
				cluster.Status
				Stale string `json:"stale,omitempty"`
			}{b.cluster.Status(), b.stale()}
		},
		Rules: func() any {
			return struct {
				dispatch.Status
				Stale string `json:"stale,omitempty"`
			}{b.rules(), b.stale()}
		},
		Replay: b.replay, List: b.gateway.List, Operations: b.operations(), Beside: besideAdmin, Gatherer: reg, Logger: b.log,
	})))
	// The admin listener is for operators only; a profile is how they and we find out where time and memory go.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return access.Guard(mux)
}

// whenKnown has an operation that shows something refused while this node may not know of it yet. Those that change
// something ask the leader anyway.
func (b *boot) whenKnown(op control.Op) control.Op {
	return func(r *control.Request) (any, error) {
		if late := b.standing().Known(); late != nil && r.Method == http.MethodGet {
			return nil, &control.Error{Status: late.StatusCode, Code: late.Code, Message: late.Message}
		}
		return op(r)
	}
}

// version is the module's, as the Go toolchain recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

func (b *boot) rules() dispatch.Status {
	s := b.dispatcher.Status()
	s.Rules = append(s.Rules, b.taps.Status()...)
	return s
}

// standing says how far this boot may speak for the cluster.
func (b *boot) standing() standing.Standing {
	switch {
	case b.held.Load() && b.cluster.LeaseHeld():
		return standing.InTouch
	case b.caughtUp.Load():
		return standing.CutOff
	}
	return standing.Behind
}

// stale says why what this boot has of the log may be old, or not be all there was; "" while it is in touch.
func (b *boot) stale() string {
	if late := b.standing().Current(); late != nil {
		return late.Message
	}
	return ""
}

// readiness is what GET /readyz judges by.
func (b *boot) readiness() admin.Readiness {
	s := b.host.Stats()
	return admin.Readiness{
		LeaseHeld: b.standing() == standing.InTouch, Leader: b.store.Leader(),
		Partitions: s.Rebuilding + s.Serving, Open: s.Serving, Stopping: b.stopping.Load(),
		Unanswered: b.cluster.Unanswered(),
	}
}
