// Package standing says how far a node may speak for its cluster. A node answers much from its own copy of the log; while
// that copy is behind, or stands still, an answer from it can be wrong although nothing has failed.
package standing

import (
	"net/http"

	"innkeeper/transport/protocol"
)

// Standing is how a node stands to its cluster. The zero value is that of a node that has just started.
type Standing uint8

const (
	// Behind is a node that has not read, since it started, all that was agreed on before: it may show nothing yet, or what
	// is long over.
	Behind Standing = iota
	// CutOff is a node that has read that and holds no lease now: what it has may stand still, for however long.
	CutOff
	// InTouch is a node that holds a lease.
	InTouch
)

// Known is nil unless the node is behind: what it answers was true at some time since it started, if not now.
func (s Standing) Known() *protocol.ErrorInfo {
	if s == Behind {
		return refuse("this node has just started and has not read yet what the cluster agreed on; ask again, or another node")
	}
	return nil
}

// Current is nil while the node is in touch with the cluster: what it answers is seconds old at most, and mostly
// milliseconds.
func (s Standing) Current() *protocol.ErrorInfo {
	if s == CutOff {
		return refuse("this node is cut off from the majority of the cluster, so what it has may be old; ask another node")
	}
	return s.Known()
}

// refuse has clients ask again: SDKs go to their next host at this status.
func refuse(text string) *protocol.ErrorInfo {
	return protocol.Errorf(protocol.CodeTimeout, "%s", text).WithStatus(http.StatusServiceUnavailable)
}
