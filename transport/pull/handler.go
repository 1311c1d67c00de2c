package pull

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

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
	Logger    *slog.Logger // nil discards
}

// Handler serves GET /events and GET /occupied. It holds no state; its methods are http.HandlerFuncs.
type Handler struct {
	source    Source
	authorize func(*http.Request) (string, error)
	logger    *slog.Logger
}

// New returns a handler.
func New(c Config) *Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{source: c.Source, authorize: c.Authorize, logger: c.Logger}
}

// Events serves GET /events?after=SEQ&limit=N&wait=20s.
func (h *Handler) Events(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.events) }

// Occupied serves GET /occupied?limit=N&cursor=CURSOR&prefix=PREFIX.
func (h *Handler) Occupied(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.occupied) }

// serve checks who asks, answers, and turns an error into one that clients know.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, answer func(r *http.Request, app string) (any, error)) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, protocol.Errorf(protocol.CodeMethodNotAllowed, "method %s is not allowed here; use GET", r.Method))
		return
	}
	app, err := h.authorize(r)
	var v any
	if err == nil {
		v, err = answer(r, app)
	}
	if err == nil {
		respond(w, http.StatusOK, v)
		return
	}
	if r.Context().Err() != nil {
		return // nobody is there to hear it
	}
	e := protocol.AsError(err)
	if e.StatusCode >= 500 {
		h.logger.Warn("cannot answer", "path", r.URL.Path, "app", app, "err", err)
	}
	refuse(w, e)
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
