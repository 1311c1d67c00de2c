package admin

import (
	"net/http"
	"strconv"
)

// Partitioning is how the ring is cut and how far its partitions are open, as one node has heard from their owners.
type Partitioning struct {
	Partitions int    `json:"partitions"`
	Open       int    `json:"open"`   // served by their owner
	Before     int    `json:"before"` // partitions before the last change; 0: it never changed
	Since      uint64 `json:"epoch"`  // that the last change gave to all partitions
}

// repartition answers POST /cluster/repartition?partitions=N with what is to become of it; GET says how far it is.
func (h *handler) repartition(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		respond(w, http.StatusOK, h.Partitioning())
		return
	}
	text := r.URL.Query().Get("partitions")
	n, err := strconv.Atoi(text)
	if err != nil {
		refuse(w, http.StatusBadRequest, "parameter partitions is %.100q; it must be a whole number", text)
		return
	}
	before := h.Partitioning().Partitions
	if err := h.Repartition(r.Context(), n); err != nil {
		h.refuseChange(w, r, err)
		return
	}
	h.Logger.Warn("the number of partitions is changed, as this node was told to", "from", before, "to", n)
	respond(w, http.StatusOK, h.Partitioning())
}
