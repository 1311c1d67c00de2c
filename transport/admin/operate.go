package admin

import (
	"context"
	"io"
	"net/http"
)

// Operations are what an operator may have the cluster do. All may be called from many goroutines at once; an *Elsewhere
// sends the client to the leader, a *Refusal has its own status.
type Operations struct {
	// Transfer hands leadership to another node and returns its id.
	Transfer func(ctx context.Context) (leader string, err error)
	// Remove forgets a dead node. With force also one that seems to run.
	Remove func(ctx context.Context, node string, force bool) error
	// Drain has a node, "" for the one that is asked, hand over what it has and stop. It returns the node's id when that has
	// begun.
	Drain func(ctx context.Context, node string) (id string, err error)
	// Repartition cuts the ring into so many partitions, and returns when that is committed.
	Repartition func(ctx context.Context, partitions int) error
	// Partitioning says how far they are open.
	Partitioning func() Partitioning
	// Backup gets ready to write all that the cluster has agreed on: as of now by the leader's word, or as this node has it
	// when stale. write is called once, when it is sure to begin.
	Backup func(ctx context.Context, stale bool) (write func(io.Writer) error, err error)
}

// transfer answers POST /cluster/leader/transfer.
func (h *handler) transfer(w http.ResponseWriter, r *http.Request) {
	leader, err := h.Transfer(r.Context())
	if err != nil {
		h.refuseChange(w, r, err)
		return
	}
	h.Logger.Info("leadership was handed over, as this node was told to", "leader", leader)
	respond(w, http.StatusOK, map[string]any{"leader": leader})
}

// remove answers POST /cluster/members/{node}/remove?force=true.
func (h *handler) remove(w http.ResponseWriter, r *http.Request) {
	node, force := r.PathValue("node"), r.URL.Query().Get("force")
	if force != "" && force != "true" && force != "false" {
		refuse(w, http.StatusBadRequest, "parameter force is %.100q; it must be true or false", force)
		return
	}
	if err := h.Remove(r.Context(), node, force == "true"); err != nil {
		h.refuseChange(w, r, err)
		return
	}
	h.Logger.Warn("a node was removed, as this node was told to", "removed", node, "force", force == "true")
	respond(w, http.StatusOK, map[string]any{"removed": node})
}

// drain answers POST /cluster/drain and POST /cluster/members/{node}/drain.
func (h *handler) drain(w http.ResponseWriter, r *http.Request) {
	node, err := h.Drain(r.Context(), r.PathValue("node"))
	if err != nil {
		h.refuseChange(w, r, err)
		return
	}
	h.Logger.Info("a node is being drained, as this node was told to", "drained", node)
	respond(w, http.StatusOK, map[string]any{"draining": node})
}

// StaleHeader says, with a backup, why it may lack what was agreed on.
const StaleHeader = "Innkeeper-Stale"

// backup answers GET /backup?consistency=leader. What breaks off in the middle ends the connection: the client must not
// take it for whole.
func (h *handler) backup(w http.ResponseWriter, r *http.Request) {
	consistency := r.URL.Query().Get("consistency")
	if consistency != "" && consistency != "leader" && consistency != "stale" {
		refuse(w, http.StatusBadRequest, "parameter consistency is %.100q; it must be leader or stale", consistency)
		return
	}
	write, err := h.Backup(r.Context(), consistency == "stale")
	if err != nil {
		h.refuseChange(w, r, err)
		return
	}
	if h.Stale != nil && consistency == "stale" {
		if why := h.Stale(); why != "" {
			w.Header().Set(StaleHeader, why)
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	if err := write(w); err != nil {
		h.Logger.Warn("a backup broke off", "err", err)
		panic(http.ErrAbortHandler)
	}
}
