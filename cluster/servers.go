package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// serverChange brings the servers of the log closer to what they should be, by one step at a time. Where a step fails the
// next one has its turn: what is in the way of one node is no reason for others to wait.
func (d *desk) serverChange() {
	if !d.tend || d.busy.server || time.Now().Before(d.retry) {
		return
	}
	d.tend = false
	steps, stuck := d.serverSteps()
	if len(steps) == 0 {
		d.tellStuck(stuck)
		return
	}
	d.busy.server = true
	d.background(serverFor, func(ctx context.Context) func() {
		var done string
		for _, step := range steps {
			err := step.do(ctx, d.c.cfg.Log)
			if err == nil {
				done = step.String()
				break
			}
			stuck = append(stuck, fmt.Sprintf("%v: %v", step, err))
			if ctx.Err() != nil {
				break
			}
		}
		return func() {
			d.busy.server = false
			if done == "" {
				d.tellStuck(stuck)
				d.retry = time.Now().Add(retryAfter)
				return
			}
			d.c.log.Info("servers changed", "change", done)
			d.tend = true
		}
	})
}

// tellStuck logs what cannot be done when nothing else can either, once while it stays the same.
func (d *desk) tellStuck(stuck []string) {
	reasons := strings.Join(stuck, "; ")
	if reasons != d.stuck && reasons != "" {
		d.c.log.Info("server changes failed or wait", "reason", reasons)
	}
	d.stuck = reasons
}

// serverSteps are the steps that can be made now, best first, and what is in the way of others.
func (d *desk) serverSteps() (steps []serverStep, stuck []string) {
	view, now := d.c.cfg.Log.View(), d.c.cfg.Boottime()
	want := map[string]string{}
	for _, m := range view.Members {
		if m.State == Alive {
			want[m.Node] = m.Cluster
		}
	}
	for node, j := range d.joiners {
		want[node] = j.member.Cluster
	}
	servers := d.c.cfg.Log.Servers()
	steps, stuck = addressSteps(servers, want, func(s Server) bool {
		_, known := view.Member(s.ID)
		return !known && d.joiners[s.ID] == nil && !s.Voter
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := nextVoter(servers, func(id string) bool {
		m, ok := view.Member(id)
		at, heard := d.heard[m.Peer()]
		return ok && m.State == Alive && heard && now-at < joinFresh
	})
	if ok {
		steps = append(steps, serverStep{actPromote, s.ID, s.Addr})
	}
	return steps, stuck
}

// serverStep is one change of the servers of the log.
type serverStep struct {
	act  serverAct
	node string
	addr string // of actPlace and actPromote
}

type serverAct string

const (
	actPlace   serverAct = "place" // at an address; who is no server yet becomes one, without a vote
	actRemove  serverAct = "remove"
	actPromote serverAct = "promote"
)

func (s serverStep) do(ctx context.Context, log Log) error {
	switch s.act {
	case actRemove:
		return log.Remove(ctx, s.node)
	case actPromote:
		return log.Promote(ctx, s.node, s.addr)
	}
	return log.AddNonvoter(ctx, s.node, s.addr)
}

func (s serverStep) String() string {
	if s.act == actPlace {
		return "place " + s.node + " at " + s.addr
	}
	return string(s.act) + " " + s.node
}

// addressSteps brings every node in want to its address: first those that moved, since others may want the address that
// they leave, then those that are no servers yet. Two servers cannot be at one address. A server in the way of another goes
// if it is nobody any more; those that changed places among themselves are freed by one that is put nowhere for the moment.
// Anybody else in the way stays, and who wants the address waits (stuck says so).
func addressSteps(servers []Server, want map[string]string, nobody func(Server) bool) (steps []serverStep, stuck []string) {
	addrs, holders := map[string]string{}, map[string]Server{}
	for _, s := range servers {
		addrs[s.ID], holders[s.Addr] = s.Addr, s
	}
	var moved, missing []string
	for _, node := range slices.Sorted(maps.Keys(want)) {
		if addr, ok := addrs[node]; !ok {
			missing = append(missing, node)
		} else if addr != want[node] {
			moved = append(moved, node)
		}
	}
	// circular says whether node, all in whose way and those in theirs want each other's addresses. Each has one in its way
	// at most, so the walk is a line: it ends, or comes back.
	circular := func(node string) bool {
		at := node
		for range servers {
			holder, held := holders[want[at]]
			if at = holder.ID; !held || want[at] == "" {
				return false
			}
			if at == node {
				return true
			}
		}
		return false
	}
	for _, node := range append(moved, missing...) {
		addr := want[node]
		holder, held := holders[addr]
		switch {
		case !held:
			steps = append(steps, serverStep{actPlace, node, addr})
		case nobody(holder):
			steps = append(steps, serverStep{actRemove, holder.ID, ""})
		case circular(node):
			steps = append(steps, serverStep{actPlace, holder.ID, nowhere(holder.ID)})
		default:
			stuck = append(stuck, fmt.Sprintf("place %s at %s: the address of %s; if that node is gone for good, remove it", node, addr, holder.ID))
		}
	}
	return steps, stuck
}

// nowhere is an address of a server's own that nobody can dial: it has no port.
func nowhere(node string) string { return "moving/" + node }
