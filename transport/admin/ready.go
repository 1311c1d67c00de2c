package admin

import (
	"fmt"
	"net/http"
	"strings"
)

// Readiness is what decides whether a node may serve clients.
type Readiness struct {
	LeaseHeld  bool   // whether the node may act for the cluster now
	Leader     string // id of the Raft leader; "" when unknown
	Partitions int    // that the node owns
	Open       int    // those of them that have finished their rebuild
	Stopping   bool   // the node is on its way out
	// Unanswered are addresses at which other nodes should be and nobody answers; only where no other node is reached.
	Unanswered []string
}

// Reasons says what is missing; empty when the node is ready.
func (r Readiness) Reasons() []string {
	reasons := []string{}
	if r.Stopping {
		reasons = append(reasons, "the node is stopping")
	}
	if !r.LeaseHeld {
		reasons = append(reasons, "the node holds no lease: it is not in touch with a majority of the cluster")
	}
	if !r.LeaseHeld && len(r.Unanswered) > 0 {
		reasons = append(reasons, "no other node answers, neither those of node.join nor members: "+strings.Join(r.Unanswered, ", "))
	}
	if r.Leader == "" {
		reasons = append(reasons, "no leader is known")
	}
	if r.Open < r.Partitions {
		reasons = append(reasons, fmt.Sprintf("%d of the node's %d partitions are still being rebuilt",
			r.Partitions-r.Open, r.Partitions))
	}
	return reasons
}

// Ready says whether nothing is missing.
func (r Readiness) Ready() bool { return len(r.Reasons()) == 0 }

func (h *handler) readyz(w http.ResponseWriter, _ *http.Request) {
	reasons := h.Ready().Reasons()
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	respond(w, status, map[string]any{"ready": len(reasons) == 0, "reasons": reasons})
}
