package cluster

import (
	"errors"
	"syscall"
	"time"
)

// health tells a peer whose process is gone from one that merely cannot be reached. It follows one link: while a
// process lives, something listens at its address; where a link stood and now connections are refused, it does not.
// Any other failure to connect proves nothing.
//
// Times are of the boottime clock. The zero value is a peer that was never linked.
type health struct {
	boot    string // whom the link stood with; "" before the first
	up      bool
	refused bool          // every attempt since the link broke was refused
	since   time.Duration // first of them
	last    time.Duration // latest of them
}

// linked says that the link stands.
func (h *health) linked(boot string) { *h = health{boot: boot, up: true} }

// broke says that the link is gone, for whatever reason.
func (h *health) broke() { h.up, h.refused = false, false }

// dialed says how an attempt to connect at every known address of the peer failed.
func (h *health) dialed(err error, now time.Duration) {
	switch {
	case h.boot == "" || h.up:
	case !errors.Is(err, syscall.ECONNREFUSED):
		h.refused = false
	case !h.refused:
		h.refused, h.since, h.last = true, now, now
	default:
		h.last = now
	}
}

// gone says that the peer has refused for as long as counts as proof.
func (h *health) gone(long time.Duration) bool { return h.refused && h.last-h.since >= long }

// majority is how many make a majority of n.
func majority(n int) int { return n/2 + 1 }

// report is what one member said last about peers that are gone, and when.
type report struct {
	boot string // of the member
	gone []Peer
	at   time.Duration // arrival
}

// reportFresh is how long a report stands. Members repeat theirs with every renewal.
const reportFresh = 2500 * time.Millisecond

// refusedBy counts the committed live members, the suspect left out, whose fresh report names it.
func refusedBy(view *View, reports map[string]report, suspect Peer, now time.Duration) (sayers, of int) {
	for _, m := range view.Members {
		if m.State == Dead || m.Node == suspect.Node {
			continue
		}
		of++
		r, ok := reports[m.Node]
		if !ok || r.boot != m.Boot || now-r.at > reportFresh {
			continue
		}
		for _, p := range r.gone {
			if p == suspect {
				sayers++
				break
			}
		}
	}
	return sayers, of
}

// outcast says whether so many live members refuse this node's links that they may be about to declare it dead. refused
// counts them; live counts the committed live members, this node included. It mirrors what the leader asks for.
func outcast(refused, live int) bool { return refused > 0 && refused >= majority(live-1) }
