package admin

import (
	"errors"
	"net/http"
	"strconv"
)

// Elsewhere is the error of what another node must do.
type Elsewhere struct {
	Leader string // node id, "" when unknown
	Admin  string // where its admin API listens, "" when unknown
}

func (e *Elsewhere) Error() string {
	if e.Leader == "" {
		return "only the leader can do this, and no leader is known; try again"
	}
	return "only the leader can do this, which is " + e.Leader
}

// Refusal is an error that has a status.
type Refusal struct {
	Status int
	Err    error
}

func (e *Refusal) Error() string { return e.Err.Error() }
func (e *Refusal) Unwrap() error { return e.Err }

// replay answers POST /rules/{app}/{rule}/replay?from=SEQ.
func (h *handler) replay(w http.ResponseWriter, r *http.Request) {
	text := r.URL.Query().Get("from")
	from, err := strconv.ParseUint(text, 10, 64)
	if err != nil || from == 0 {
		refuse(w, http.StatusBadRequest, "parameter from is %.100q; it must be the seq of the first event to send again", text)
		return
	}
	app, rule := r.PathValue("app"), r.PathValue("rule")
	if err := h.Replay(r.Context(), app, rule, from); err != nil {
		h.refuseChange(w, r, err)
		return
	}
	h.Logger.Info("a rule sends events again, as it was told to", "app", app, "rule", rule, "from", from)
	respond(w, http.StatusOK, map[string]any{"app": app, "rule": rule, "from": from})
}

// refuseChange says why a change was not made, or where it can be: a client that follows redirects is none the wiser.
func (h *handler) refuseChange(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*Elsewhere](err); ok && e.Admin != "" {
		w.Header().Set("Location", "http://"+e.Admin+r.URL.RequestURI())
		refuse(w, http.StatusTemporaryRedirect, "%v, at http://%s", e, e.Admin)
		return
	}
	status := http.StatusServiceUnavailable
	if e, ok := errors.AsType[*Refusal](err); ok {
		status = e.Status
	}
	refuse(w, status, "%v", err)
}
