package sim

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"innkeeper/cmd/mutant"
)

// bug is a node with a planted bug: a place of the source reads otherwise.
type bug struct {
	name     string
	file     string // from the module's root
	old, new string // old must stand there exactly once
	also     []edit // other places that would hide the bug
	run      string // the tests that must fail
	want     string // a promise that must be among the violations, as a regular expression
}

type edit = mutant.Edit

var mutants = []bug{
	{
		name: "a new owner waits for nobody",
		file: "channel/barrier.go",
		old:  `return len(b.live) > 0 && len(b.Missing()) == 0`,
		new:  `return len(b.live) > 0`,
		// The search for copies of messages asks the same members, and so waits for them as well.
		also: []edit{{File: "channel/handoff.go", Old: `if h.cfg.Hosts == nil || t.heritage != nil {`, New: `if true {`}},
		run:  "TestMoveBehindCut", want: "G3",
	},
	{
		name: "an attach is confirmed before the commit",
		file: "channel/state.go",
		old:  `if s.owed == 0 || s.isHeld() && s.phase != occupied {`,
		new:  `if s.owed == 0 {`,
		run:  "TestAttachBehindCut", want: "G2",
	},
	{
		name: "the duty to vacate lives in a timer alone",
		file: "channel/partition.go",
		old:  `p.host.cfg.Log.Occupied(p.id, gather(&o.occupied))`,
		new:  `_ = o.occupied`,
		run:  "TestKilledWithItsClients/owner|TestAllKilled", want: "G2",
	},
	{
		name: "what a receiver refused is passed over",
		file: "transport/dispatch/pump.go",
		old:  `l.busy, l.tried = 0, l.busy`,
		new:  `p.sent(now, lane)`,
		run:  "TestAllKilled", want: "G4",
	},
	{
		name: "a node without a lease keeps its clients",
		file: "cmd/node/boot.go",
		old:  `o.gateway.Fence(held)`,
		new:  `o.gateway.Fence(true)`,
		run:  "TestAttachBehindCut", want: "G9",
	},
	{
		name: "what a dead node held stays counted",
		file: "channel/partition.go",
		old:  `p.dropHolder(g, p.marks+1, false)`,
		new:  `_ = g`,
		run:  "TestKilledWithItsClients", want: "G2",
	},
	{
		name: "what is occupied is not grouped anew with the ring",
		file: "raftstore/repartition.go",
		old:  `s.parts = regroup(s.parts, n)`,
		new:  `s.parts, s.occupied = make([]partition, n), 0`,
		run:  "TestRepartition", want: "G",
	},
	{
		name: "what was published under the layout before is forgotten",
		file: "channel/layout.go",
		old:  `next.former.Store(was)`,
		new:  `_ = was`,
		run:  "TestRepartition", want: "G7",
	},
	{
		name: "silence is death at once",
		file: "cluster/decide.go",
		old:  `case now >= max(d.heard[p], d.since)+cfg.LeaseTTL+cfg.LeaseMargin:`,
		new:  `case now >= max(d.heard[p], d.since)+cfg.LeaseTTL/2:`,
		run:  "TestSeeds", want: "G",
	},
	{
		name: "what gossip does not see is dead",
		file: "cluster/decide.go",
		old:  `case now >= max(d.heard[p], d.since)+cfg.LeaseTTL+cfg.LeaseMargin:`,
		new:  `case !slices.ContainsFunc(d.c.gossip.nodes(), func(n gossipNode) bool { return n.Peer == p }):`,
		run:  "TestDeafGossip", want: "G3|G9",
	},
	{
		name: "an owner's change leaves the epoch as it is",
		file: "raftstore/members.go",
		old:  `slot.Epoch++`,
		new:  `slot.Epoch += 0`,
		run:  "TestKilledWithItsClients", want: "owner",
	},
	{
		name: "what an owner says counts when it is none any more",
		file: "raftstore/state.go",
		old:  `if int(r.part) >= len(s.slots) || r.epoch != s.slots[r.part].Epoch {`,
		new:  `if int(r.part) >= len(s.slots) {`,
		run:  "TestLateWord", want: "G2|G3",
	},
	{
		name: "who led once goes on sending",
		file: "cmd/node/boot.go",
		old:  `b.dispatcher.Lead(b.store.IsLeader() && b.held.Load())`,
		new:  `if b.store.IsLeader() { b.dispatcher.Lead(true) }`,
		run:  "TestHandedOver", want: "G4",
	},
	{
		name: "a vacated names the one before",
		file: "raftstore/state.go",
		old:  `s.events.append(t, seq, sinceMs)`,
		new:  `s.events.append(t, max(seq, 2)-1, sinceMs)`,
		run:  "TestCalm", want: "G1",
	},
	{
		name: "a snapshot of the log has no cursors",
		file: "raftstore/snapshot.go",
		old:  `s.cursors[sink] = d.uvarint()`,
		new:  `_, _ = sink, d.uvarint()`,
		run:  "TestForgetting", want: "G4",
	},
	{
		name: "counts are added to what they were",
		file: "channel/register.go",
		old:  `s.sum[c] += n - v.counts[c]`,
		new:  `s.sum[c] += n`,
		run:  "TestCalm", want: "G6",
	},
	{
		name: "a page shows the set as it is now",
		file: "raftstore/read.go",
		old:  `	p.undo(events, asOf)`,
		new:  `	p.changed, _ = map[string]struct{}{}, events`,
		run:  "TestMoveWhileVacating", want: "G5",
	},
	{
		name: "followers get no copies",
		file: "channel/keepers.go",
		old:  `k.growing = k.wanted`,
		new:  `k.growing = none`,
		run:  "TestContinuity", want: "G7",
	},
	{
		name: "a publish that is said again is another one",
		file: "channel/history.go",
		old: `	if id == "" {
		return nil, 0
	}
	if h.index`,
		new: `	if true {
		return nil, 0
	}
	if h.index`,
		run: "TestContinuity", want: "G7",
	},
	{
		name: "a connection takes no turns with an owner that knows nothing",
		file: "channel/turns.go",
		old:  `return last != nil && p.MsgSerial < *last`,
		new:  `return last == nil && p == nil`,
		run:  "TestOutOfTurn", want: "G7",
	},
	{
		name: "a new owner is not told of members",
		file: "transport/partition.go",
		old:  `r.Holds = ch.tellHolds(true)`,
		new:  `_ = ch`,
		run:  "TestPresence", want: "presence",
	},
	{
		name: "a write that failed is taken for done",
		file: "raftstore/guard.go",
		old: `		g.stop(&FatalError{FatalDisk, fmt.Errorf("%s: %w", op, err)})
	}
	return err`,
		new: `	}
	return nil`,
		run: "TestBadDisks", want: "run|panic", // raft may miss entries at once
	},
}

func (b bug) edits() []edit { return append([]edit{{File: b.file, Old: b.old, New: b.new}}, b.also...) }

// TestBugsCanBePlanted fails soon after the source has changed where a bug is planted.
func TestBugsCanBePlanted(t *testing.T) {
	for _, m := range mutants {
		for _, e := range m.edits() {
			if _, err := e.Apply("../.."); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
}

// TestPlantedBugs builds nodes with a bug each and shows that the checkers find it. Where the source has changed so that
// a bug can no longer be planted, the place must be found anew.
func TestPlantedBugs(t *testing.T) {
	if brief() {
		t.Skip("builds everything once per bug")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // as many as there are CPUs
			began := time.Now()
			out, passed, err := mutant.Test(t.Context(), root, t.TempDir(), "./cmd/sim", "^("+m.run+")$", m.edits()...)
			if err != nil {
				t.Fatal(err)
			}
			if passed {
				t.Fatalf("%s passes with this bug", m.run)
			}
			found := regexp.MustCompile(`(?m)^ *(` + m.want + `)\d?: .*`).FindString(out)
			if found == "" {
				t.Fatalf("no violation of %s in:\n%s", m.want, out)
			}
			t.Logf("found in %.1f s: %s", time.Since(began).Seconds(), strings.TrimSpace(found))
		})
	}
}
