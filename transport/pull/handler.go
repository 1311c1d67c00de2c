package pull

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"innkeeper/transport/dispatch"
	"innkeeper/transport/protocol"
)

// How much one answer may hold and how long a request may wait.
const (
	limitMost    = 10_000
	limitDefault = 1_000
	waitMost     = time.Minute
	catchUpMost  = 5 * time.Second // for this node to see what another has shown
)

// Config is what a Handler needs.
type Config struct {
	Source Source
	// Authorize says which app's view the request may read. Its errors go out as protocol.AsError makes them.
	Authorize func(*http.Request) (app string, err error)
	// Rule returns what a rule of an app wants, for readers that ask for the events of a rule; ok is false if there is no
	// such rule. Nil: there are none.
	Rule   func(app, id string) (want func(*dispatch.Event) bool, ok bool)
	Logger *slog.Logger // nil discards
}

// Handler serves GET /events and GET /occupied. It holds no state; its methods are http.HandlerFuncs.
type Handler struct {
	source    Source
	authorize func(*http.Request) (string, error)
	rule      func(app, id string) (func(*dispatch.Event) bool, bool)
	logger    *slog.Logger
}

// New returns a handler.
func New(c Config) *Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Rule == nil {
		c.Rule = func(string, string) (func(*dispatch.Event) bool, bool) { return nil, false }
	}
	return &Handler{source: c.Source, authorize: c.Authorize, rule: c.Rule, logger: c.Logger}
}

// Events serves GET /events?after=SEQ&limit=N&wait=20s&rule=ID&consistency=leader, and the same as a stream without limit
// to readers that accept text/event-stream.
func (h *Handler) Events(w http.ResponseWriter, r *http.Request) {
	if wantsStream(r) && readOnly(r) {
		h.serveStream(w, r)
		return
	}
	h.serve(w, r, h.events)
}

// Occupied serves GET /occupied?limit=N&cursor=CURSOR&prefix=PREFIX&consistency=leader.
func (h *Handler) Occupied(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.occupied) }

func readOnly(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// serve checks who asks, answers, and turns an error into one that clients know.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, answer func(r *http.Request, app string) (any, error)) {
	if !readOnly(r) {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, protocol.Errorf(protocol.CodeMethodNotAllowed, "method %s is not allowed here; use GET", r.Method))
		return
	}
	app, err := h.authorize(r)
	var v any
	if err == nil {
		v, err = answer(r, app)
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	respond(w, http.StatusOK, v)
}

// refuse tells a reader that is still there what was wrong.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	e := protocol.AsError(err)
	if e.StatusCode >= 500 {
		h.logger.Warn("cannot answer", "path", r.URL.Path, "err", err)
	}
	refuse(w, e)
}

// wanted is which events the reader gets: those of its app, or of one rule of it.
func (h *Handler) wanted(q url.Values, app string) (func(*dispatch.Event) bool, error) {
	id := q.Get("rule")
	if id == "" {
		types, err := typesOf(q)
		if err != nil {
			return nil, err
		}
		return func(e *dispatch.Event) bool { return e.App == app && types&(1<<e.Kind) != 0 }, nil
	}
	want, ok := h.rule(app, id)
	if !ok {
		return nil, protocol.Errorf(protocol.CodeBadParamValue, "parameter rule is %.100q; app %q has no rule of that id", id, app)
	}
	return func(e *dispatch.Event) bool { return e.App == app && want(e) }, nil
}

// typesOf is which kinds of events a reader wants, one bit each. Who says nothing gets occupied and vacated alone: what
// reads these was written before there were others.
func typesOf(q url.Values) (types uint, err error) {
	if !q.Has("types") {
		return 1<<dispatch.Occupied | 1<<dispatch.Vacated, nil
	}
	known := []dispatch.Kind{dispatch.Occupied, dispatch.Vacated, dispatch.Opened, dispatch.Closed, dispatch.LimitNear, dispatch.LimitOver}
	for _, name := range strings.Split(q.Get("types"), ",") {
		i := slices.IndexFunc(known, func(k dispatch.Kind) bool { return k.String() == name })
		if i < 0 {
			return 0, protocol.Errorf(protocol.CodeBadParamValue, "parameter types has %.100q; it must list some of occupied, vacated, opened, closed", name)
		}
		types |= 1 << known[i]
	}
	return types, nil
}

// The levels of consistency that a reader may ask for.
const (
	levelStale  = "stale"
	levelLeader = "leader"
)

// fresh returns when this node has what the reader wants: for levelLeader all that the cluster had committed when the
// request came; for levelStale whatever it has, if that was true at any time since it started. A reader that says nothing
// gets the level otherwise; "" is what a node has that is in touch with its cluster.
func (h *Handler) fresh(ctx context.Context, q url.Values, otherwise string) error {
	level := q.Get("consistency")
	if level == "" {
		if err := h.source.Standing().Current(); err != nil {
			return err
		}
		level = otherwise
	}
	switch level {
	case "":
		return nil
	case levelStale:
		if err := h.source.Standing().Known(); err != nil {
			return err
		}
		return nil
	case levelLeader:
		limited, cancel := context.WithTimeout(ctx, catchUpMost)
		defer cancel()
		err := h.source.ReadIndex(limited)
		if err != nil && ctx.Err() == nil {
			h.logger.Warn("cannot read what the leader has", "err", err)
			return protocol.Errorf(protocol.CodeTimeout,
				"this node could not learn from the leader what is newest; ask again, or another node").
				WithStatus(http.StatusServiceUnavailable)
		}
		return err
	default:
		return protocol.Errorf(protocol.CodeBadParamValue, "parameter consistency is %.100q; it must be %s or %s", level, levelStale, levelLeader)
	}
}

// catchUp waits until this node has seen the event seq, for a little while.
func (h *Handler) catchUp(ctx context.Context, seq uint64) error {
	limited, cancel := context.WithTimeout(ctx, catchUpMost)
	defer cancel()
	err := h.source.WaitApplied(limited, seq)
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		return protocol.Errorf(protocol.CodeTimeout,
			"this node has not seen the event with seq %d yet; ask again, or another node", seq).
			WithStatus(http.StatusServiceUnavailable)
	}
	return err
}
