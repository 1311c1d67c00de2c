package cluster

import (
	"errors"
	"iter"
	"slices"
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
	boot    string // of the member
	gone    []Peer
	at      time.Duration // arrival
	version uint64        // of the view it had applied
}

// reportFresh is how long a report stands. Members repeat theirs with every renewal.
const reportFresh = 2500 * time.Millisecond

// roster is who the live members are from one version of the view on, until the next roster's.
type roster struct {
	version uint64
	nodes   []string      // sorted
	since   time.Duration // when this node learned of it
}

// rosters are the latest ones, the one of today last. A member that is refused gives its lease back by what it knows of the
// others (see outcast), which may be an older roster than the leader's: the leader must not ask for less than any of those.
type rosters []roster

// rostersFor is how long a roster is remembered that is replaced. No member lags so far behind the log.
const rostersFor = time.Minute

// look takes in a view.
func (r *rosters) look(view *View, now time.Duration) {
	if view.ClusterID == "" {
		return
	}
	var live, all []string
	for _, m := range view.Members {
		if all = append(all, m.Node); m.State != Dead {
			live = append(live, m.Node)
		}
	}
	slices.Sort(live)
	if slices.Sort(all); len(*r) == 0 && len(all) > len(live) {
		*r = append(*r, roster{0, all, now}) // who is dead may have died just now
	}
	if n := len(*r); n > 0 && slices.Equal((*r)[n-1].nodes, live) {
		return
	}
	*r = append(*r, roster{view.Version, live, now})
	for len(*r) > 2 && now-(*r)[1].since > rostersFor {
		*r = (*r)[1:]
	}
}

// known yields the rosters that a peer may go by: today's, and each that was replaced when it had not said yet that it knew.
// Of one that has not spoken to this leader it is those from which somebody went and that are not older than its lease can
// be. Where others only came, it may be wrong in two ways at once: it missed their coming, though it was not cut off then,
// and they refuse it now, as those do not whom it knows. When a cluster is founded and its first leader dies, that would cost
// a lease's time for nothing.
func (r rosters) known(p Peer, last report, now, lease time.Duration) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for i := range r {
			if i+1 < len(r) {
				next, spoke := &r[i+1], last.boot == p.Boot
				if spoke && last.version >= next.version || !spoke && (now-next.since >= lease || r.grown(i)) {
					continue
				}
			}
			if !yield(r[i].nodes) {
				return
			}
		}
	}
}

// grown says whether all of a roster are still there today.
func (r rosters) grown(i int) bool {
	today := r[len(r)-1].nodes
	return !slices.ContainsFunc(r[i].nodes, func(n string) bool { return !slices.Contains(today, n) })
}

// refusers are the members, the suspect left out, whose fresh report names it.
func refusers(view *View, reports map[string]report, suspect Peer, now time.Duration) (nodes []string) {
	for _, m := range view.Members {
		r, ok := reports[m.Node]
		if m.State != Dead && m.Node != suspect.Node && ok && r.boot == m.Boot && now-r.at <= reportFresh && slices.Contains(r.gone, suspect) {
			nodes = append(nodes, m.Node)
		}
	}
	return nodes
}

// outcast says whether so many live members refuse this node's links that they may be about to declare it dead. refused
// counts them; live counts the committed live members that this node knows of, itself included. It mirrors what the leader
// asks for.
func outcast(refused, live int) bool { return refused > 0 && refused >= majority(live-1) }
