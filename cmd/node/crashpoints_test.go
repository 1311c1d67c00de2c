package node

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/transport/dispatch"
)

// The parts a machine can have when its power fails.
type part string

const (
	partOwner  part = "owner"            // of the channel; another leads
	partLeader part = "leader"           // another owns the channel
	partBoth   part = "owner and leader" // and others are there to take over
	partSingle part = "single node"      // there are no others
)

// points are all steps, before and after, on the way to occupied and to vacated.
func points() (all []point) {
	both := []step{countChange, proposing, committing, applying, sending, acknowledged, cursorCommit}
	for _, kind := range []dispatch.Kind{dispatch.Occupied, dispatch.Vacated} {
		steps := both
		if kind == dispatch.Vacated {
			steps = slices.Concat([]step{delayStart, delayExpiry}, both)
		}
		for _, s := range steps {
			all = append(all, point{s, false, kind}, point{s, true, kind})
		}
	}
	return all
}

// TestPowerFailsAtEveryStep ends the owner of a channel, the leader, a node that is both, or a cluster of one, at each
// instant that could matter on the way of an occupied and of a vacated from the client to the receiver and the cursor. The
// machine comes back later. However it falls, in the end the log, the state of every node and the receiver's table must
// say what the clients did: no less, and nothing else.
func TestPowerFailsAtEveryStep(t *testing.T) {
	for _, victim := range []part{partOwner, partLeader, partBoth, partSingle} {
		for _, p := range points() {
			t.Run(fmt.Sprintf("%s/%s", victim, p), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { powerFails(t, victim, p) })
			})
		}
	}
}

func powerFails(t *testing.T, as part, p point) {
	machines := 3
	if as == partSingle {
		machines = 1
	}
	w := newWorld(t, machines)
	defer w.close()
	c := w.casting(as == partBoth || as == partSingle)
	victim := c.owner
	if as == partLeader {
		victim = c.leader
	}
	other, g := w.newGuest("10.1.0.1", c.gateway), w.newGuest("10.1.0.2", c.gateway)
	defer other.close()
	defer g.close()

	other.attach(stays)
	other.attach(early)
	other.holds(stays)
	other.holds(early)
	other.detach(early)
	w.backend.hears("vacated", early)
	was := map[string][]string{stays: {"occupied"}, early: {"occupied", "vacated"}}
	time.Sleep(time.Second) // cursors

	if p.kind == dispatch.Vacated {
		g.attach(w.probe)
		g.holds(w.probe)
		w.backend.hears("occupied", w.probe)
		time.Sleep(time.Second)
	}
	w.arm(p, victim, c.leader)
	if p.kind == dispatch.Occupied {
		g.attach(w.probe)
	} else {
		g.detach(w.probe)
	}
	select {
	case <-w.struck:
	case <-time.After(time.Minute):
		t.Fatalf("%v was not reached", p)
	}
	time.Sleep(3 * time.Second)
	if as != partSingle && p.kind == dispatch.Occupied {
		g.holds(w.probe) // without the victim
	}
	<-victim.done
	w.start(victim)
	w.ready()
	if p.kind == dispatch.Occupied {
		g.holds(w.probe)
		time.Sleep(10 * time.Second)
		was[w.probe] = []string{"occupied"}
		w.oracle(was)
		g.detach(w.probe)
	}
	w.backend.hears("vacated", w.probe)
	time.Sleep(10 * time.Second)
	was[w.probe] = []string{"occupied", "vacated"}
	w.oracle(was)
}
