package cluster

import (
	"slices"
	"strings"
)

// findings are what a leader holds to be true besides the view: all that a plan is made from.
type findings struct {
	dead   map[Peer]bool     // live boots in the view that are surely gone
	joined map[string]Member // by node: boots to be made members, in place of any other boot of the node
	moved  map[string]Member // by node: members whose addresses changed
	leaves map[Peer]bool     // live boots that want to hand over what they own
	cold   *coldWatch
}

// plan gives the change that brings the view to what the findings ask for: members, and as much of the placement over
// those that are then alive as cannot wait (see moves for the rest). It is empty when there is nothing to do. TimeMs is
// left to the caller.
func plan(view *View, f findings) MembershipChange {
	change := MembershipChange{IfVersion: view.Version}
	next := map[string]Member{}
	for _, m := range view.Members {
		next[m.Node] = m
	}
	bounced := map[string]bool{}
	for _, m := range view.Members {
		if m.State != Dead && f.dead[m.Peer()] {
			m.State = Dead
		} else if now, ok := f.moved[m.Node]; ok && m.State != Dead && now.Boot == m.Boot {
			now.State = m.State
			m = now
		}
		if m.State == Alive && f.leaves[m.Peer()] {
			m.State = Leaving
		}
		if j, ok := f.joined[m.Node]; ok && j.Boot != m.Boot {
			// A boot that is gone already has lost its partitions; one that is replaced while it counts as live hands them down.
			bounced[m.Node] = next[m.Node].State != Dead
			m = j
			m.State = Alive
		}
		if m != next[m.Node] {
			change.Members = append(change.Members, m)
			next[m.Node] = m
		}
	}
	for node, j := range f.joined {
		if _, known := next[node]; !known {
			j.State = Alive
			change.Members = append(change.Members, j)
			next[node] = j
		}
	}
	slices.SortFunc(change.Members, func(a, b Member) int { return strings.Compare(a.Node, b.Node) })

	var members []Member
	live := map[string]bool{}
	for _, m := range next {
		members = append(members, m)
		live[m.Node] = m.State != Dead
	}
	change.Slots = stage(view.Table, eligible(members), live, bounced)
	change.Cold = len(change.Members) > 0 && f.cold != nil && f.cold.completes(members)
	return change
}

// votersMax is how many servers have a vote at most.
const votersMax = 5

// nextVoter names the server that should get a vote now: voters grow two by two, to an odd number, up to votersMax, and
// only from servers that fit holds to be alive. Nobody ever loses a vote here: who is silent today may be cut off only.
func nextVoter(servers []Server, fit func(id string) bool) (Server, bool) {
	voters := 0
	var waiting []Server
	for _, s := range servers {
		switch {
		case s.Voter:
			voters++
		case fit(s.ID):
			waiting = append(waiting, s)
		}
	}
	slices.SortFunc(waiting, func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	odd := voters%2 == 1
	if voters >= votersMax || len(waiting) == 0 || odd && len(waiting) < 2 {
		return Server{}, false
	}
	return waiting[0], true
}

// founders are the servers that a cluster of the given nodes begins with: the lowest ids, an odd number, votersMax at most.
func founders(nodes []Server) []Server {
	sorted := slices.SortedFunc(slices.Values(nodes), func(a, b Server) int { return strings.Compare(a.ID, b.ID) })
	n := min(len(sorted), votersMax)
	if n%2 == 0 {
		n--
	}
	sorted = sorted[:max(n, 0)]
	for i := range sorted {
		sorted[i].Voter = true
	}
	return sorted
}
