package cluster

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"innkeeper/cluster/ring"
)

const ms = time.Millisecond

func member(node, boot string, s MemberState) Member {
	return Member{Node: node, Boot: boot, State: s, Cluster: node + ":7901"}
}

func viewOf(parts int, members ...Member) *View {
	v := &View{ClusterID: "c", Version: 7, Members: members, Table: ring.Table{Slots: make([]ring.Slot, parts)}}
	var alive []string
	for _, m := range members {
		if m.State == Alive {
			alive = append(alive, m.Node)
		}
	}
	v.Table = v.Table.Apply(ring.Place(v.Table, alive, nil))
	return v
}

func TestLease(t *testing.T) {
	var l lease
	if l.heldAt(0) {
		t.Error("held before anybody granted it")
	}
	first := l.ask(1000 * ms)
	second := l.ask(2000 * ms)
	if !l.grant(second, 4000*ms) || l.left(2500*ms) != 3500*ms {
		t.Errorf("left %v, want it to count from before the ask", l.left(2500*ms))
	}
	l.grant(first, 4000*ms) // arrives late: it takes nothing away
	if !l.heldAt(5999*ms) || l.heldAt(6000*ms) {
		t.Error("it must end 4 s after the ask, to the instant")
	}
	third := l.ask(3000 * ms)
	l.giveBack()
	if l.heldAt(3001*ms) || l.grant(third, 4000*ms) || l.heldAt(3001*ms) {
		t.Error("an ask from before it was given back still counts")
	}
	if !l.grant(l.ask(3500*ms), 4000*ms) || !l.heldAt(3501*ms) {
		t.Error("it can be had again")
	}
	l.end()
	if l.heldAt(3501*ms) || l.grant(l.ask(3600*ms), 4000*ms) {
		t.Error("the end is for good")
	}
}

func TestHealth(t *testing.T) {
	refused := &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}
	type step func(h *health)
	linked := func(h *health) { h.linked("b1") }
	broke := func(h *health) { h.broke() }
	dialed := func(at time.Duration, err error) step { return func(h *health) { h.dialed(err, at) } }
	for _, tc := range []struct {
		name  string
		steps []step
		gone  bool
	}{
		{"never linked", []step{dialed(0, refused), dialed(900*ms, refused)}, false},
		{"refused for long", []step{linked, broke, dialed(0, refused), dialed(300*ms, refused)}, true},
		{"not long enough", []step{linked, broke, dialed(0, refused), dialed(299*ms, refused)}, false},
		{"once only", []step{linked, broke, dialed(0, refused)}, false},
		{"a timeout between", []step{linked, broke, dialed(0, refused), dialed(100*ms, os.ErrDeadlineExceeded), dialed(200*ms, refused), dialed(400*ms, refused)}, false},
		{"somebody answers", []step{linked, broke, dialed(0, refused), dialed(200*ms, io.EOF), dialed(400*ms, io.EOF)}, false},
		{"back again", []step{linked, broke, dialed(0, refused), dialed(300*ms, refused), linked}, false},
		{"back and gone again", []step{linked, broke, dialed(0, refused), dialed(300*ms, refused), linked, broke, dialed(500*ms, refused)}, false},
		{"only timeouts", []step{linked, broke, dialed(0, os.ErrDeadlineExceeded), dialed(900*ms, os.ErrDeadlineExceeded)}, false},
	} {
		var h health
		for _, s := range tc.steps {
			s(&h)
		}
		if got := h.gone(300 * ms); got != tc.gone {
			t.Errorf("%s: gone %v", tc.name, got)
		}
	}
}

func TestRefusedNeedsTheLeaderAndAMajority(t *testing.T) {
	suspect := Peer{"n3", "b3"}
	says := func(boot string, at time.Duration, gone ...Peer) report {
		return report{boot: boot, gone: gone, at: at}
	}
	three := []Member{member("n1", "b1", Alive), member("n2", "b2", Alive), member("n3", "b3", Alive)}
	five := append(slices.Clone(three), member("n4", "b4", Alive), member("n5", "b5", Alive))
	now := 10 * time.Second
	for _, tc := range []struct {
		name    string
		members []Member
		reports map[string]report
		want    bool
	}{
		{"nobody", three, nil, false},
		{"the leader alone of two", three, map[string]report{"n1": says("b1", now, suspect)}, false},
		{"the leader and the other", three, map[string]report{"n1": says("b1", now, suspect), "n2": says("b2", now, suspect)}, true},
		{"all but the leader", three, map[string]report{"n2": says("b2", now, suspect)}, false},
		{"the leader where there is no other", three[1:], map[string]report{"n2": says("b2", now, suspect)}, true},
		{"two of four", five, map[string]report{"n1": says("b1", now, suspect), "n2": says("b2", now, suspect)}, false},
		{"three of four", five, map[string]report{"n1": says("b1", now, suspect), "n2": says("b2", now, suspect), "n5": says("b5", now, suspect)}, true},
		{"a stale report", three, map[string]report{"n1": says("b1", now, suspect), "n2": says("b2", now-reportFresh-1, suspect)}, false},
		{"of an earlier boot", three, map[string]report{"n1": says("b1", now, suspect), "n2": says("b0", now, suspect)}, false},
		{"about an earlier boot", three, map[string]report{"n1": says("b1", now, suspect), "n2": says("b2", now, Peer{"n3", "b0"})}, false},
		{"the suspect about itself", three, map[string]report{"n1": says("b1", now, suspect), "n3": says("b3", now, suspect)}, false},
		{"of a dead member", []Member{three[0], member("n2", "b2", Dead), three[2], five[3]}, map[string]report{"n1": says("b1", now, suspect), "n2": says("b2", now, suspect)}, false},
	} {
		leader := "n1"
		if len(tc.members) == 2 {
			leader = "n2"
		}
		var r rosters
		r.look(viewOf(1, alive(tc.members)...), now)
		if got := refused(refusers(viewOf(1, tc.members...), tc.reports, suspect, now), leader, suspect, r.known(suspect, report{}, now, time.Second)); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func alive(list []Member) []Member {
	return slices.DeleteFunc(slices.Clone(list), func(m Member) bool { return m.State == Dead })
}

// Whenever the leader may take a node for dead on refused connections, that node has reason to give its lease back, however
// old the members are that it knows of.
func TestOutcastCoversWhatTheLeaderAsks(t *testing.T) {
	const lease = 5 * time.Second
	suspect := Peer{"a", "a1"}
	died := 0
	rapid.Check(t, func(t *rapid.T) {
		now := time.Hour
		var desk rosters
		var views []*View
		for version := range uint64(rapid.IntRange(1, 4).Draw(t, "views")) {
			v := viewOf(1, member("a", "a1", Alive))
			v.Version = version + 1
			for _, node := range []string{"b", "c", "d", "e"} {
				if state := rapid.SampledFrom([]MemberState{Alive, Alive, Leaving, Dead}).Draw(t, node); rapid.Bool().Draw(t, "is there") {
					v.Members = append(v.Members, member(node, node+"1", state))
				}
			}
			now += rapid.SampledFrom([]time.Duration{0, time.Second, lease}).Draw(t, "later")
			desk.look(v, now)
			views = append(views, v)
		}
		// What the suspect knows, and what it said last: nothing that this leader heard, then it knows all that is a lease old.
		first := 0
		for i := range views[1:] {
			if at := slices.IndexFunc(desk, func(r roster) bool { return r.version == views[i+1].Version }); at >= 0 && now-desk[at].since >= lease {
				first = i + 1
			}
		}
		var said report
		spoke := false
		if rapid.Bool().Draw(t, "spoke") {
			first = rapid.IntRange(0, len(views)-1).Draw(t, "said")
			spoke, said = true, report{boot: "a1", version: views[first].Version}
		}
		knows := views[rapid.IntRange(first, len(views)-1).Draw(t, "knows")]

		today := views[len(views)-1]
		reports := map[string]report{}
		for _, p := range today.live() {
			if p != suspect && rapid.Bool().Draw(t, p.Node+" refuses") {
				reports[p.Node] = report{boot: p.Boot, gone: []Peer{suspect}, at: now}
			}
		}
		for leader := range reports {
			if !refused(refusers(today, reports, suspect, now), leader, suspect, desk.known(suspect, said, now, lease)) {
				continue
			}
			died++
			refusing, gone := 0, false
			for _, p := range knows.live() {
				if _, ok := reports[p.Node]; ok {
					refusing++
				}
				gone = gone || !today.holds(p)
			}
			if !spoke && !gone {
				continue // others only came; see rosters.known
			}
			if !outcast(refusing, len(knows.live())) {
				t.Fatalf("it knows %v, and %d of them refuse it: it keeps its lease and is taken for dead", knows.live(), refusing)
			}
		}
	})
	if died == 0 {
		t.Error("nobody was ever taken for dead")
	}
}

// Three members, of which one leaves while the other two cannot reach each other: it was one of two that would have had to
// refuse the third, and that one has not heard of it yet.
func TestWhoLeavesIsStillToRefuse(t *testing.T) {
	now, suspect := time.Hour, Peer{"n3", "b3"}
	n1, n2, n3 := member("n1", "b1", Alive), member("n2", "b2", Leaving), member("n3", "b3", Alive)
	before, after := viewOf(1, n1, n2, n3), viewOf(1, n1, n3)
	after.Version++
	reports := map[string]report{"n1": {boot: "b1", gone: []Peer{suspect}, at: now}}
	for _, tc := range []struct {
		name string
		said report
		late time.Duration
		want bool
	}{
		{"it has not spoken since", report{boot: "b3", version: before.Version}, 0, false},
		{"it knows", report{boot: "b3", version: after.Version}, 0, true},
		{"another leader's member", report{}, 0, false},
		{"another leader's member, whose lease is over", report{}, 5 * time.Second, true},
		{"it renews and does not hear", report{boot: "b3", version: before.Version}, 5 * time.Second, false},
	} {
		var r rosters
		r.look(before, now-time.Second)
		r.look(after, now-tc.late)
		if got := refused(refusers(after, reports, suspect, now), "n1", suspect, r.known(suspect, tc.said, now, 5*time.Second)); got != tc.want {
			t.Errorf("%s: taken for dead: %v", tc.name, got)
		}
	}
	var booted rosters
	n2.State = Dead
	booted.look(viewOf(1, n1, n2, n3), now)
	if refused(refusers(after, reports, suspect, now), "n1", suspect, booted.known(suspect, report{}, now, 5*time.Second)) {
		t.Error("a leader that has just started does not know since when a member is dead")
	}
}

func TestPlan(t *testing.T) {
	a, b, c := member("a", "a1", Alive), member("b", "b1", Alive), member("c", "c1", Alive)
	three := viewOf(9, a, b, c)
	dead := func(m Member) Member { m.State = Dead; return m }
	owners := func(v *View, ch MembershipChange) map[string]int {
		n := map[string]int{}
		for _, s := range settled(applied(v, ch)).Table.Slots {
			n[s.Owner]++
		}
		return n
	}
	leaving := func(m Member) Member { m.State = Leaving; return m }
	for _, tc := range []struct {
		name    string
		view    *View
		f       findings
		members []Member
		owners  map[string]int
		slots   int // changed
		bumps   int
	}{
		{"nothing to do", three, findings{}, nil, map[string]int{"a": 3, "b": 3, "c": 3}, 0, 0},
		{"a death", three, findings{dead: map[Peer]bool{b.Peer(): true}}, []Member{dead(b)}, map[string]int{"a": 5, "c": 4}, -1, 0},
		{"the death of another boot", three, findings{dead: map[Peer]bool{{"b", "b0"}: true}}, nil, map[string]int{"a": 3, "b": 3, "c": 3}, 0, 0},
		{"a new boot", three, findings{joined: map[string]Member{"b": member("b", "b2", Alive)}},
			[]Member{member("b", "b2", Alive)}, map[string]int{"a": 3, "b": 3, "c": 3}, 3, 3},
		{"a new boot of a boot just found dead", three, findings{dead: map[Peer]bool{b.Peer(): true}, joined: map[string]Member{"b": member("b", "b2", Alive)}},
			[]Member{member("b", "b2", Alive)}, map[string]int{"a": 3, "b": 3, "c": 3}, 3, 3},
		{"a new boot of a dead member", viewOf(9, a, dead(b), c), findings{joined: map[string]Member{"b": member("b", "b2", Alive)}},
			[]Member{member("b", "b2", Alive)}, map[string]int{"a": 3, "b": 3, "c": 3}, -1, 0},
		{"the same boot joins again", three, findings{joined: map[string]Member{"b": b}}, nil, map[string]int{"a": 3, "b": 3, "c": 3}, 0, 0},
		{"a new node", viewOf(9, a, b), findings{joined: map[string]Member{"c": c}}, []Member{c}, map[string]int{"a": 3, "b": 3, "c": 3}, -1, 0},
		{"the first nodes", viewOf(9), findings{joined: map[string]Member{"b": b, "a": a}}, []Member{a, b}, map[string]int{"a": 5, "b": 4}, 9, 0},
		{"a new address", three, findings{moved: map[string]Member{"b": {Node: "b", Boot: "b1", State: Alive, Cluster: "elsewhere"}}},
			[]Member{{Node: "b", Boot: "b1", State: Alive, Cluster: "elsewhere"}}, map[string]int{"a": 3, "b": 3, "c": 3}, 0, 0},
		{"one who leaves keeps its state when it moves", viewOf(9, a, member("b", "b1", Leaving)), findings{moved: map[string]Member{"b": {Node: "b", Boot: "b1", State: Alive, Cluster: "elsewhere"}}},
			[]Member{{Node: "b", Boot: "b1", State: Leaving, Cluster: "elsewhere"}}, map[string]int{"a": 9}, 0, 0},
		{"one who wants to leave", three, findings{leaves: map[Peer]bool{c.Peer(): true}}, []Member{leaving(c)}, map[string]int{"a": 5, "b": 4}, -1, 0},
		{"all want to leave", viewOf(9, a, b), findings{leaves: map[Peer]bool{a.Peer(): true, b.Peer(): true}}, []Member{leaving(a), leaving(b)}, map[string]int{"a": 5, "b": 4}, 0, 0},
		{"one who left comes back", viewOf(9, a, leaving(b)), findings{joined: map[string]Member{"b": member("b", "b2", Alive)}},
			[]Member{member("b", "b2", Alive)}, map[string]int{"a": 5, "b": 4}, -1, 0},
		{"the last one dies", viewOf(2, a), findings{dead: map[Peer]bool{a.Peer(): true}}, []Member{dead(a)}, map[string]int{"": 2}, 2, 0},
	} {
		ch := plan(tc.view, tc.f)
		if !reflect.DeepEqual(ch.Members, tc.members) {
			t.Errorf("%s: members %+v, want %+v", tc.name, ch.Members, tc.members)
		}
		got := owners(tc.view, ch)
		if tc.name == "a death" && got["a"] == 4 {
			got["a"], got["c"] = got["c"], got["a"]
		}
		if tc.name == "the first nodes" && got["a"] == 4 {
			got["a"], got["b"] = got["b"], got["a"]
		}
		if !reflect.DeepEqual(got, tc.owners) {
			t.Errorf("%s: owners %v, want %v", tc.name, got, tc.owners)
		}
		bumps := 0
		for _, s := range ch.Slots {
			if s.Bump {
				bumps++
			}
		}
		if tc.slots >= 0 && len(ch.Slots) != tc.slots || bumps != tc.bumps {
			t.Errorf("%s: %d slots changed, %d bumps: %+v", tc.name, len(ch.Slots), bumps, ch.Slots)
		}
		if ch.IfVersion != tc.view.Version || ch.Cold {
			t.Errorf("%s: version %d, cold %v", tc.name, ch.IfVersion, ch.Cold)
		}
		if ch.empty() != (len(tc.members) == 0 && tc.slots == 0) {
			t.Errorf("%s: empty %v", tc.name, ch.empty())
		}
	}
}

// Whatever happened: once a plan is applied, there is nothing left to plan, nobody dead owns anything, and epochs never go back.
func TestPlanSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := viewOf(rapid.IntRange(1, 40).Draw(t, "partitions"))
		boots := 0
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			f := findings{dead: map[Peer]bool{}, joined: map[string]Member{}, leaves: map[Peer]bool{}}
			for _, m := range v.Members {
				if rapid.IntRange(0, 3).Draw(t, "dies") == 0 {
					f.dead[m.Peer()] = true
				}
			}
			for range rapid.IntRange(0, 3).Draw(t, "joiners") {
				node := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "node")
				boots++
				f.joined[node] = member(node, fmt.Sprint("boot", boots), Alive)
			}
			for _, m := range v.Members {
				if m.State == Alive && rapid.IntRange(0, 4).Draw(t, "leaves") == 0 {
					f.leaves[m.Peer()] = true
				}
			}
			ch := plan(v, f)
			next := applied(v, ch)
			for p, s := range next.Table.Slots {
				was := v.Table.Slots[p]
				oldBoot, _ := v.Member(was.Owner)
				newBoot, _ := next.Member(s.Owner)
				if s.Owner != "" && newBoot.State != Alive && newBoot.State != Leaving {
					t.Fatalf("partition %d belongs to %+v", p, newBoot)
				}
				changed := was.Owner != s.Owner || s.Owner != "" && oldBoot.Boot != newBoot.Boot
				if changed != (s.Epoch > was.Epoch) || s.Epoch > was.Epoch+1 {
					t.Fatalf("partition %d: %+v (%+v) → %+v (%+v)", p, was, oldBoot, s, newBoot)
				}
				if still, _ := next.Member(was.Owner); changed && was.Owner != "" && still.State != Dead && still.Boot == oldBoot.Boot {
					t.Fatalf("partition %d was moved at once from %+v, who lives", p, still)
				}
			}
			if again := plan(next, findings{}); !again.empty() {
				t.Fatalf("not settled: %+v", again)
			}
			v = next
			if rapid.Bool().Draw(t, "moves") {
				v = settled(v)
				checkPlaced(t, v)
			}
		}
	})
}

// checkPlaced fails unless all partitions are with those that stay, in equal shares.
func checkPlaced(t *rapid.T, v *View) {
	owns, nodes := map[string]int{}, eligible(v.Members)
	for _, s := range v.Table.Slots {
		owns[s.Owner]++
	}
	if len(nodes) == 0 {
		return
	}
	each := len(v.Table.Slots) / len(nodes)
	for _, node := range nodes {
		if n := owns[node]; n < each || n > each+1 {
			t.Fatalf("%s owns %d of %d partitions: %v", node, n, len(v.Table.Slots), owns)
		}
		delete(owns, node)
	}
	if len(owns) > 0 {
		t.Fatalf("owned by others: %v", owns)
	}
}

// applied is the view that a change makes.
func applied(v *View, ch MembershipChange) *View {
	next := &View{ClusterID: v.ClusterID, Version: v.Version + 1, Table: v.Table.Apply(ch.Slots)}
	all := map[string]Member{}
	for _, m := range append(slices.Clone(v.Members), ch.Members...) {
		all[m.Node] = m
	}
	for _, node := range slices.Sorted(maps.Keys(all)) {
		next.Members = append(next.Members, all[node])
	}
	return next
}

// settled makes all planned moves, batch by batch.
func settled(v *View) *View {
	for b := nextBatch(v); b != nil; b = nextBatch(v) {
		v = applied(v, MembershipChange{Slots: b.changes})
	}
	return v
}

func TestNextVoter(t *testing.T) {
	for _, tc := range []struct {
		servers string // V: voter, n: nonvoter, d: nonvoter that is not fit
		want    int    // index, -1 for none
	}{
		{"V", -1}, {"Vn", -1}, {"Vnn", 1}, {"VVn", 2}, {"Vnd", -1}, {"VVd", -1}, {"VVdn", 3},
		{"VVV", -1}, {"VVVn", -1}, {"VVVnn", 3}, {"VVVVn", 4}, {"VVVVVnn", -1}, {"VVVVVVn", -1}, {"nn", 0},
	} {
		var servers []Server
		unfit := map[string]bool{}
		for i, r := range tc.servers {
			id := fmt.Sprint("s", i)
			servers = append(servers, Server{ID: id, Voter: r == 'V'})
			unfit[id] = r == 'd'
		}
		s, ok := nextVoter(servers, func(id string) bool { return !unfit[id] })
		if ok != (tc.want >= 0) || ok && s.ID != servers[tc.want].ID {
			t.Errorf("%s: %v %v, want %d", tc.servers, s, ok, tc.want)
		}
	}
}

func TestFounders(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5, 7: 5} {
		var nodes []Server
		for i := n; i > 0; i-- {
			nodes = append(nodes, Server{ID: fmt.Sprint("s", i)})
		}
		got := founders(nodes)
		if len(got) != want || got[0].ID != "s1" || !got[0].Voter {
			t.Errorf("of %d: %+v", n, got)
		}
	}
}

func TestColdWatch(t *testing.T) {
	a1, b1, c1 := member("a", "a1", Alive), member("b", "b1", Alive), member("c", "c1", Alive)
	a2, b2, c2 := member("a", "a2", Alive), member("b", "b2", Alive), member("c", "c2", Alive)
	before := viewOf(3, a1, b1, c1)
	dead := func(m Member) Member { m.State = Dead; return m }

	w := newColdWatch(viewOf(3), a1.Peer(), false)
	if w.completes([]Member{a1, b1, c1}) {
		t.Error("the first start of all")
	}
	w = newColdWatch(before, a1.Peer(), false)
	if w.completes([]Member{a1, dead(b1), dead(c1)}) {
		t.Error("the leader lived through it")
	}
	w = newColdWatch(before, a2.Peer(), false)
	if w.completes([]Member{a2, b1, c1}) || w.completes([]Member{a2, b2, c1}) {
		t.Error("somebody from before is left")
	}
	if !w.completes([]Member{a2, b2, c2}) || !w.completes([]Member{a2, b2, dead(c1)}) {
		t.Error("nobody from before is left")
	}
	w.done()
	if w.completes([]Member{a2, b2, c2}) {
		t.Error("it completes once")
	}
	w = newColdWatch(before, a2.Peer(), false)
	w.renewed(b1.Peer(), false)
	if w.completes([]Member{a2, dead(b1), dead(c1)}) {
		t.Error("b lived through it")
	}
	w = newColdWatch(before, a2.Peer(), false)
	w.renewed(Peer{"b", "b2"}, false)
	if !w.completes([]Member{a2, b2, c2}) {
		t.Error("new boots prove nothing")
	}

	// The first leader of the recovery is gone in the middle of it.
	half := viewOf(3, a2, b1, c1)
	w = newColdWatch(half, b2.Peer(), false)
	w.renewed(a2.Peer(), true)
	if !w.completes([]Member{a2, b2, c2}) {
		t.Error("a takes part in the recovery; it did not live through the stop")
	}
	w = newColdWatch(viewOf(3, a2, b2, c1), b2.Peer(), true)
	if w.completes([]Member{dead(a2), b2, c1}) || !w.completes([]Member{dead(a2), b2, c2}) {
		t.Error("b was committed by the first leader of the recovery and goes on with it")
	}
	if w = newColdWatch(viewOf(3, dead(a1)), a2.Peer(), false); !w.completes([]Member{a2}) {
		t.Error("all are dead already")
	}
}

func TestProposed(t *testing.T) {
	node := func(id string, expect int, state bool) gossipNode {
		return gossipNode{Peer: Peer{id, "b"}, meta: meta{expect: expect, hasState: state, addr: id + ":1"}}
	}
	me := Server{ID: "b", Addr: "b:1"}
	ids := func(p proposal) (s string) {
		for _, n := range p.nodes {
			s += n.ID
		}
		return s
	}
	for _, tc := range []struct {
		name   string
		expect int
		others []gossipNode
		want   string
	}{
		{"alone", 1, nil, "b"},
		{"only joining", 0, []gossipNode{node("a", 0, false)}, ""},
		{"too few", 3, []gossipNode{node("a", 3, false)}, ""},
		{"enough", 3, []gossipNode{node("c", 3, false), node("a", 3, false)}, "abc"},
		{"more than enough", 3, []gossipNode{node("c", 3, false), node("a", 3, false), node("d", 3, false)}, "abc"},
		{"of another mind", 3, []gossipNode{node("c", 3, false), node("a", 5, false)}, ""},
		{"two boots of one", 3, []gossipNode{node("a", 3, false), node("a", 3, false)}, ""},
		{"a cluster exists", 3, []gossipNode{node("c", 3, false), node("a", 3, false), node("d", 3, true)}, ""},
	} {
		p, ok := proposed(me, tc.expect, tc.others)
		if ids(p) != tc.want || ok != (tc.want != "") {
			t.Errorf("%s: %q %v, want %q", tc.name, ids(p), ok, tc.want)
		}
	}
}

func TestPromise(t *testing.T) {
	ab := proposal{[]Server{{ID: "a"}, {ID: "b"}}}
	bc := proposal{[]Server{{ID: "b"}, {ID: "c"}}}
	var p promise
	if !p.give(Peer{"a", "1"}, ab, 0) || !p.give(Peer{"a", "1"}, ab, time.Second) {
		t.Error("the same again is fine")
	}
	if p.give(Peer{"b", "1"}, bc, 2*time.Second) || p.give(Peer{"a", "1"}, bc, 2*time.Second) || p.give(Peer{"a", "2"}, ab, 2*time.Second) {
		t.Error("promised twice")
	}
	p.release(Peer{"b", "1"})
	if p.give(Peer{"b", "1"}, bc, 2*time.Second) {
		t.Error("released by somebody else")
	}
	if !p.give(Peer{"b", "1"}, bc, time.Second+promiseFor) {
		t.Error("a promise must end")
	}
}

// The observer hears of things in an order it can act on.
func TestObserverOrder(t *testing.T) {
	me := Peer{"a", "a1"}
	v := viewOf(2, member("a", "a1", Alive), member("b", "b1", Alive))
	v.Table.Slots = []ring.Slot{{Owner: "a", Epoch: 1}, {Owner: "b", Epoch: 1}}
	rec := newRecorder()
	told := told{observer: rec, me: me}
	step := func(view *View, up map[string]standing, held, dead bool) []string {
		rec.trace = nil
		told.bring(view, up, held, dead)
		return rec.trace
	}
	expect := func(name string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, want)
		}
	}
	self := standing{"a1", 1}
	expect("nothing yet", step(&View{}, map[string]standing{"a": self}, false, false))
	expect("a cluster", step(v, map[string]standing{"a": self}, true, false),
		"members [{a a1} {b b1}]", "layout 2@0", "acquire 0@1", "routed 0 {a 1 1}", "lease true")
	expect("again", step(v, map[string]standing{"a": self}, true, false))
	expect("a link to b", step(v, map[string]standing{"a": self, "b": {"b1", 2}}, true, false), "routed 1 {b 1 2}")
	expect("a new session", step(v, map[string]standing{"a": self, "b": {"b1", 3}}, true, false), "routed 1 {b 1 3}")
	expect("b under another boot, not committed", step(v, map[string]standing{"a": self, "b": {"b2", 4}}, true, false), "unrouted 1")

	moved := viewOf(2, member("a", "a1", Alive), member("b", "b2", Alive))
	moved.Table.Slots = []ring.Slot{{Owner: "b", Epoch: 2}, {Owner: "a", Epoch: 2}}
	expect("committed, and a swap", step(moved, map[string]standing{"a": self, "b": {"b2", 4}}, true, false),
		"members [{a a1} {b b2}]", "release 0@2", "acquire 1@2", "routed 0 {b 2 4}", "routed 1 {a 2 1}")
	back := *moved
	back.Table.Slots = []ring.Slot{{Owner: "b", Epoch: 2}, {Owner: "a", Epoch: 4}}
	expect("there and back", step(&back, map[string]standing{"a": self, "b": {"b2", 4}}, true, false),
		"release 1@3", "acquire 1@4", "routed 1 {a 4 1}")
	expect("no lease", step(&back, map[string]standing{"a": self, "b": {"b2", 4}}, false, false), "lease false")
	expect("no links", step(&back, map[string]standing{"a": self}, false, false), "unrouted 0")

	dead := viewOf(2, member("a", "a1", Dead), member("b", "b2", Alive))
	dead.Table.Slots = []ring.Slot{{Owner: "b", Epoch: 2}, {Owner: "b", Epoch: 5}}
	expect("dead", step(dead, map[string]standing{"a": self, "b": {"b2", 4}}, false, true),
		"members [{b b2}]", "release 1@5", "routed 0 {b 2 4}", "routed 1 {b 5 4}", "dead")
	expect("dead once", step(dead, map[string]standing{"a": self, "b": {"b2", 4}}, false, true))
	if len(rec.faults) > 0 {
		t.Error(rec.faults)
	}
}

func TestConfigIsChecked(t *testing.T) {
	host := newTestNet().host("10.0.0.1")
	good := func() Config {
		ln, _ := host.Listen("10.0.0.1:1")
		defer ln.Close()
		return Config{NodeID: "n", BootID: "b", ClusterListener: ln, GossipListener: ln, GossipPacket: &testPackets{host: host}, Net: host, Log: &fakeLog{}, Observer: newRecorder()}
	}
	c := good()
	if err := c.fill(); err != nil || c.ClusterAdvertise != "10.0.0.1:1" || c.LeaseTTL != 4*time.Second || c.LinkQueueBytes != 64<<20 {
		t.Errorf("%+v, %v", c, err)
	}
	for name, spoil := range map[string]func(*Config){
		"no listener":                    func(c *Config) { c.ClusterListener = nil },
		"no log":                         func(c *Config) { c.Log = nil },
		"no node id":                     func(c *Config) { c.NodeID = "" },
		"a node id with a slash":         func(c *Config) { c.NodeID = "a/b" },
		"a boot id of many bytes":        func(c *Config) { c.BootID = string(make([]byte, 200)) },
		"an address nobody reaches":      func(c *Config) { c.ClusterAdvertise = "0.0.0.0:1" },
		"an address without a port":      func(c *Config) { c.GossipAdvertise = "10.0.0.1" },
		"a lease that cannot be renewed": func(c *Config) { c.LeaseTTL = time.Second },
		"too many nodes":                 func(c *Config) { c.BootstrapExpect = 1000 },
	} {
		c := good()
		spoil(&c)
		if err := c.fill(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestGossipNames(t *testing.T) {
	for _, p := range []Peer{{"n1", "b1"}, {"cq2v", "d0p8.x"}} {
		if got, err := parseGossipName(gossipName(p)); err != nil || got != p {
			t.Errorf("%v → %v, %v", p, got, err)
		}
	}
	for _, name := range []string{"", "n1", "/b", "n/", "a/b/c", "n 1/b"} {
		if got, err := parseGossipName(name); !errors.Is(err, errWire) {
			t.Errorf("%q → %v, %v", name, got, err)
		}
	}
}
