package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// inWorld runs a story in a bubble, and checks the observers at its end.
func inWorld(t *testing.T, story func(*testing.T, *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		story(t, w)
		w.check()
	})
}

func (w *world) memberBoot(id string) (string, MemberState) {
	m, _ := w.raft.committed().Member(id)
	return m.Boot, m.State
}

func TestOneNodeFoundsAClusterAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start("n1", 1)
		took := w.await(5*time.Second, "n1 serves alone", func() bool { return w.serving("n1") })
		t.Logf("serves after %v", took)
		v := w.raft.committed()
		if v.ColdMs != 0 {
			t.Error("the first start of all counts as a return from a full stop")
		}
		if len(v.ClusterID) != 32 || w.nodes["n1"].clusterID() != v.ClusterID {
			t.Errorf("cluster id %q, node says %q", v.ClusterID, w.nodes["n1"].clusterID())
		}
		s := w.nodes["n1"].Status()
		if len(s.Members) != 1 || s.Members[0].Owned != 12 || s.Members[0].Link != "self" || s.Leader != "n1" || s.LeaseMs == 0 || s.Members[0].LeaseAgeMs == nil {
			t.Errorf("status: %+v", s)
		}
	})
}

func TestThreeNodesFoundOneCluster(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		t.Logf("serve after %v", time.Since(w.began))
		if w.raft.founded != 1 || len(w.raft.servers) != 3 || w.raft.voters() != 3 {
			t.Errorf("founded %d times with %+v", w.raft.founded, w.raft.servers)
		}
		if v := w.raft.committed(); v.ColdMs != 0 {
			t.Error("the first start of all counts as a return from a full stop")
		}
		// Everybody reaches everybody.
		for _, a := range []string{"n1", "n2", "n3"} {
			for _, b := range []string{"n1", "n2", "n3"} {
				got, err := w.nodes[a].Request(t.Context(), b, 2, []byte("hello"))
				if err != nil || string(got) != a+" says hello" {
					t.Errorf("%s asks %s: %q, %v", a, b, got, err)
				}
			}
		}
	})
}

func TestNobodyFoundsTooSmallACluster(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start("n1", 3)
		w.start("n2", 3)
		w.start("n4", 0) // only ever joins
		time.Sleep(time.Minute)
		if w.raft.founded != 0 {
			t.Fatal("two nodes founded a cluster of three")
		}
		w.start("n3", 3)
		w.await(20*time.Second, "all serve", func() bool { return w.serving("n1", "n2", "n3", "n4") })
		if w.raft.founded != 1 || w.raft.voters() != 3 {
			t.Errorf("founded %d times, %d voters", w.raft.founded, w.raft.voters())
		}
	})
}

func TestLateNodesJoinAndGetVotesInPairs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start("n1", 1)
		w.await(5*time.Second, "n1 serves", func() bool { return w.serving("n1") })
		ids := []string{"n1"}
		for i, voters := range []int{1, 3, 3, 5, 5} {
			id := fmt.Sprintf("n%d", i+2)
			ids = append(ids, id)
			w.start(id, 0)
			took := w.await(10*time.Second, id+" serves", func() bool { return w.serving(ids...) })
			time.Sleep(2 * time.Second)
			w.raft.mu.Lock()
			if got := w.raft.voters(); got != voters || len(w.raft.servers) != len(ids) {
				t.Errorf("%d nodes: %d voters of %d servers, want %d", len(ids), got, len(w.raft.servers), voters)
			}
			w.raft.mu.Unlock()
			t.Logf("%s serves after %v", id, took)
		}
	})
}

// A killed process is found out by its refused connections, long before its lease runs out.
func TestDeathByRefusal(t *testing.T) {
	for _, whom := range []string{"leader", "follower"} {
		t.Run(whom, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.cluster(3)
				victim := w.raft.leaderID()
				limit := 2500 * time.Millisecond
				if whom == "follower" {
					victim, limit = w.others(victim)[0], time.Second
				}
				rest := w.others(victim)
				before := w.raft.committed().Table
				w.nodes[victim].kill()
				took := w.await(limit, "the others serve all", func() bool { return w.serving(rest...) })
				t.Logf("took over after %v", took)
				for p, s := range w.raft.committed().Table.Slots {
					if was := before.Slots[p]; was.Owner != victim && s.Owner != was.Owner {
						t.Errorf("partition %d moved from %s to %s, who both live", p, was.Owner, s.Owner)
					}
				}
				if w.raft.committed().ColdMs != 0 {
					t.Error("one death counts as a full stop")
				}
			})
		})
	}
}

func TestDeathByRefusalCanBeTurnedOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.tweak = func(c *Config) { c.TrustRefused = false }
		w.cluster(3)
		victim := w.others(w.raft.leaderID())[0]
		rest := w.others(victim)
		w.nodes[victim].kill()
		took := w.await(6*time.Second, "the others serve all", func() bool { return w.serving(rest...) })
		if took < 3*time.Second {
			t.Errorf("declared dead after %v although its lease lasts longer", took)
		}
	})
}

// A node that is cut off loses its lease before anybody takes over, and comes back under a new boot.
func TestCutNodeIsFencedBeforeOthersTakeOver(t *testing.T) {
	for _, whom := range []string{"leader", "follower"} {
		t.Run(whom, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.cluster(3)
				victim := w.raft.leaderID()
				limit := 8 * time.Second // an election, then one lease with its margin
				if whom == "follower" {
					victim, limit = w.others(victim)[0], 6*time.Second
				}
				rest := w.others(victim)
				v := w.nodes[victim]
				lost := map[uint32]bool{}
				for _, p := range v.rec.owns() {
					lost[p] = true
				}
				for _, id := range rest {
					r := w.nodes[id].rec
					r.mu.Lock()
					r.acquire = func(part uint32, epoch uint64) {
						if lost[part] && v.LeaseHeld() {
							r.fault("took over %d from %s, which still holds its lease", part, victim)
						}
					}
					r.mu.Unlock()
				}
				w.net.isolate(v.host.ip, true)
				took := w.await(limit, "the others serve all", func() bool { return w.serving(rest...) })
				t.Logf("took over after %v", took)
				if v.rec.lease() || v.LeaseHeld() {
					t.Error("the cut node still thinks that it holds its lease")
				}
				if v.rec.declaredDead() {
					t.Error("the cut node cannot know yet that it is dead")
				}

				w.net.isolate(v.host.ip, false)
				took = w.await(15*time.Second, "the returned node finds itself dead", v.rec.declaredDead)
				t.Logf("found itself dead after %v", took)
				v.Stop(false)
				v.logs.close()
				w.check()
				w.start(victim, 3)
				w.await(5*time.Second, "all serve again", func() bool { return w.serving("n1", "n2", "n3") })
				if w.raft.committed().ColdMs != 0 {
					t.Error("a cut counts as a full stop")
				}
			})
		})
	}
}

// A cut that heals in time costs nothing: no death, no lost lease, no moved partition.
func TestShortCutCostsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		before := w.raft.committed()
		victim := w.nodes[w.others(w.raft.leaderID())[0]]
		w.net.isolate(victim.host.ip, true)
		time.Sleep(2500 * time.Millisecond)
		w.net.isolate(victim.host.ip, false)
		time.Sleep(20 * time.Second)
		if !w.serving("n1", "n2", "n3") {
			t.Fatal("not all serve\n" + w.dump())
		}
		after := w.raft.committed()
		if !slices.Equal(after.Members, before.Members) || !slices.Equal(after.Table.Slots, before.Table.Slots) {
			t.Errorf("something changed: %+v → %+v", before, after)
		}
		if victim.Stats().LeasesLost != 0 {
			t.Error("the lease was lost")
		}
	})
}

// A leader that is silent is asked in vain until another one leads. That one is asked at once, however often the first was.
func TestSilentLeaderCostsNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		victim := w.raft.leaderID()
		rest := w.others(victim)
		w.net.isolate(w.nodes[victim].host.ip, true)
		for range 2 * asksMax {
			for _, id := range rest {
				w.nodes[id].renew.leader.poke() // each time that raft changes its mind
			}
			time.Sleep(retryEvery)
		}
		w.await(8*time.Second, "the others serve all", func() bool { return w.serving(rest...) })
		for _, id := range rest {
			if n := w.nodes[id].Stats().LeasesLost; n != 0 {
				t.Errorf("%s lost its lease", id)
			}
		}
	})
}

// A firewall that rejects looks like death: the rejected node gives its lease back by itself, soon.
func TestRejectedNodeGivesItsLeaseBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.tweak = func(c *Config) { c.PingEvery = 100 * time.Millisecond } // so that both sides notice about at once
		w.cluster(3)
		victim := w.others(w.raft.leaderID())[0]
		v := w.nodes[victim]
		lost := v.rec.owns()
		rest := w.others(victim)
		for _, id := range rest {
			r := w.nodes[id].rec
			r.mu.Lock()
			r.acquire = func(part uint32, epoch uint64) {
				if slices.Contains(lost, part) && v.LeaseHeld() {
					r.fault("took over %d from %s, which still holds its lease", part, victim)
				}
			}
			r.mu.Unlock()
		}
		w.net.reject(v.host.ip)
		took := w.await(time.Second, "the lease is given back", func() bool { return !v.rec.lease() })
		t.Logf("gave its lease back after %v", took)
		took = w.await(time.Second, "the others serve all", func() bool { return w.serving(rest...) })
		t.Logf("took over after %v more", took)
	})
}

func TestQuickRestartKeepsPartitionsUnderNewEpochs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		victim := w.others(w.raft.leaderID())[0]
		before := w.raft.committed().Table.Slots
		w.nodes[victim].kill()
		time.Sleep(100 * time.Millisecond)
		n := w.start(victim, 3)
		took := w.await(2*time.Second, "all serve", func() bool { return w.serving("n1", "n2", "n3") })
		t.Logf("serves again after %v", took)
		boot, state := w.memberBoot(victim)
		if boot != n.me.Boot || state != Alive {
			t.Errorf("member is %s %v, want %s", boot, state, n.me.Boot)
		}
		for p, s := range w.raft.committed().Table.Slots {
			want := before[p]
			if want.Owner == victim {
				want.Epoch++
			}
			if s != want {
				t.Errorf("partition %d: %+v, want %+v", p, s, want)
			}
		}
		if w.raft.committed().ColdMs != 0 {
			t.Error("one restart counts as a full stop")
		}
	})
}

// The flag that makes owners patient is set by a stop of the whole cluster, and by nothing less.
func TestFullStopIsNoticedOnce(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.cluster(n)
				var ids []string
				for id := range w.nodes {
					ids = append(ids, id)
				}
				for _, id := range ids {
					w.nodes[id].kill()
				}
				time.Sleep(3 * time.Second)
				for _, id := range ids {
					w.start(id, n)
				}
				w.await(10*time.Second, "all serve again", func() bool { return w.serving(ids...) })
				cold := w.raft.committed().ColdMs
				if cold == 0 {
					t.Fatal("the full stop went unnoticed")
				}
				if n == 1 {
					return
				}
				// And not again by a single death, of the leader or another.
				victim := w.raft.leaderID()
				rest := w.others(victim)
				w.nodes[victim].kill()
				w.await(5*time.Second, "the others serve", func() bool { return w.serving(rest...) })
				w.start(victim, n)
				w.await(5*time.Second, "all serve again", func() bool { return w.serving(ids...) })
				if again := w.raft.committed().ColdMs; again != cold {
					t.Errorf("cold %d → %d by a single death", cold, again)
				}
			})
		})
	}
}

// Two of three come back after a full stop: the third one's death completes the recovery.
func TestFullStopWithOneThatStaysAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		for _, n := range w.nodes {
			n.kill()
		}
		time.Sleep(3 * time.Second)
		w.start("n2", 3)
		w.start("n3", 3)
		w.await(15*time.Second, "two serve", func() bool { return w.serving("n2", "n3") })
		if w.raft.committed().ColdMs == 0 {
			t.Error("the full stop went unnoticed")
		}
	})
}

// A leader that restarts while the others live on was no full stop, even if it leads again at once.
func TestRestartOfTwoOfThreeIsNoFullStop(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		w.nodes["n1"].kill()
		w.nodes["n2"].kill()
		time.Sleep(500 * time.Millisecond)
		w.start("n1", 3)
		w.start("n2", 3)
		w.await(15*time.Second, "all serve", func() bool { return w.serving("n1", "n2", "n3") })
		if w.raft.leaderID() != "n1" {
			t.Fatalf("%s leads; the story needs n1", w.raft.leaderID())
		}
		if w.raft.committed().ColdMs != 0 {
			t.Error("taken for a full stop")
		}
	})
}

func TestGracefulLeaveMovesPartitionsAtOnce(t *testing.T) {
	for _, whom := range []string{"leader", "follower"} {
		t.Run(whom, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.cluster(3)
				victim := w.raft.leaderID()
				if whom == "follower" {
					victim = w.others(victim)[0]
				}
				rest := w.others(victim)
				v := w.nodes[victim]
				began := time.Now()
				v.leave()
				t.Logf("left after %v", time.Since(began))
				if time.Since(began) > time.Second {
					t.Errorf("leaving took %v", time.Since(began))
				}
				if v.rec.lease() || v.rec.declaredDead() {
					t.Error("the one that leaves keeps its lease, or is told that it died")
				}
				if _, state := w.memberBoot(victim); state != Dead {
					t.Errorf("it left as %v", state)
				}
				took := w.await(time.Second, "the others serve all", func() bool { return w.serving(rest...) })
				t.Logf("taken over after %v more", took)
				if leader := w.raft.leaderID(); leader == victim || leader == "" {
					t.Errorf("%q leads", leader)
				}
				w.start(victim, 3)
				w.await(5*time.Second, "all serve again", func() bool { return w.serving("n1", "n2", "n3") })
				if w.raft.committed().ColdMs != 0 {
					t.Error("a leave counts as a full stop")
				}
			})
		})
	}
}

func TestTheLastOneLeavesWithoutTrace(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(1)
		w.nodes["n1"].leave()
		if _, state := w.memberBoot("n1"); state != Alive {
			t.Errorf("nobody is left to own anything: n1 is %v", state)
		}
		w.start("n1", 1)
		w.await(5*time.Second, "n1 serves again", func() bool { return w.serving("n1") })
		if w.raft.committed().ColdMs == 0 {
			t.Error("the full stop went unnoticed")
		}
	})
}

// A machine that sleeps wakes up without its lease, whatever Go's clock says.
func TestSleepEndsTheLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		n := w.nodes[w.others(w.raft.leaderID())[0]]
		synctest.Wait()
		n.sleepFor(time.Hour)
		if n.LeaseHeld() {
			t.Fatal("it slept for an hour and holds its lease")
		}
		took := w.await(200*time.Millisecond, "the observer hears of it", func() bool { return n.Stats().LeasesLost == 1 })
		t.Logf("told after %v", took)
		w.await(3*time.Second, "it gets a new lease: nobody declared it dead meanwhile", func() bool { return w.serving("n1", "n2", "n3") })
	})
}

// A laptop that sleeps with a whole cluster on it wakes up without leases, but the leader blames nobody for its own sleep.
func TestSleepOfAllKillsNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		before := w.raft.committed().Members
		w.sleepAll(time.Hour)
		for id, n := range w.nodes {
			if n.LeaseHeld() {
				t.Errorf("%s holds its lease after an hour", id)
			}
		}
		time.Sleep(10 * time.Second)
		if !w.serving("n1", "n2", "n3") || !slices.Equal(w.raft.committed().Members, before) {
			t.Errorf("not as before\n%s", w.dump())
		}
	})
}

// What the old leader committed last is in force, even where the new one has not applied it yet.
func TestNewLeaderOnOldViewGrantsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		old := w.raft.leaderID()
		rest := w.others(old)
		next, cut := rest[0], rest[1]
		w.raft.mu.Lock()
		w.raft.nodes[next].lag, w.raft.nodes[cut].lag = true, true
		w.raft.nodes[next].slower = 500 * time.Millisecond // time enough for a grant before the first commit
		w.raft.mu.Unlock()
		// The victim is declared dead; neither it nor the next leader hears of it.
		w.net.isolate(w.nodes[cut].host.ip, true)
		w.await(7*time.Second, "death is committed", func() bool { _, s := w.memberBoot(cut); return s == Dead })
		w.nodes[old].kill()
		w.net.isolate(w.nodes[cut].host.ip, false)
		granted := false
		w.await(10*time.Second, "the dead one is told", func() bool {
			granted = granted || w.nodes[cut].LeaseHeld()
			return w.nodes[cut].rec.declaredDead()
		})
		if granted {
			t.Error("a dead boot got a lease")
		}
		if leader := w.raft.leaderID(); leader != next {
			t.Errorf("%s leads, the story needs %s", leader, next)
		}
	})
}

func TestTwoClustersDoNotMix(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(1)
		// Another cluster, by mistake with n1 among its seeds.
		other := &world{t: t, net: w.net, raft: newFakeRaft(w.net), began: w.began, disks: map[string]*fakeDisk{}, nodes: map[string]*testNode{}, all: map[Peer]*testNode{}, boots: 100}
		defer other.end()
		other.start("n9", 1)
		other.await(5*time.Second, "n9 serves", func() bool { return other.serving("n9") })
		time.Sleep(time.Minute)
		if !w.serving("n1") || !other.serving("n9") {
			t.Fatalf("they disturb each other\n%s\n%s", w.dump(), other.dump())
		}
		for _, n := range []*testNode{w.nodes["n1"], other.nodes["n9"]} {
			if up := n.links.sessions(); len(up) != 1 {
				t.Errorf("%s is linked with a stranger: %+v", n.me.Node, up)
			}
			if len(n.gossip.nodes()) != 0 {
				t.Errorf("%s gossips with a stranger: %+v", n.me.Node, n.gossip.nodes())
			}
		}
		if other.nodes["n9"].Stats().GossipForeign+w.nodes["n1"].Stats().GossipForeign == 0 {
			t.Error("they never met: the test shows nothing")
		}
	})
}

// Two processes with one node id: the second stays outside while the first lives.
func TestCopiedDataDirStaysOutside(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		first := w.nodes["n2"]
		boot, _ := w.memberBoot("n2")
		twin := &world{t: t, net: w.net, raft: newFakeRaft(w.net), began: w.began, disks: map[string]*fakeDisk{}, nodes: map[string]*testNode{}, all: map[Peer]*testNode{}, boots: 100}
		defer twin.end()
		twin.tweak = func(c *Config) { c.NodeID = "n2" }
		twin.start("n7", 0)
		time.Sleep(20 * time.Second)
		if now, _ := w.memberBoot("n2"); now != boot || first.rec.declaredDead() {
			t.Errorf("the twin took the place of the first: boot %s → %s", boot, now)
		}
		if !w.serving("n1", "n2", "n3") {
			t.Error("the twin disturbed the cluster\n" + w.dump())
		}
	})
}

// However long the answer takes, the lease counts from before the ask.
func TestLeaseCountsFromTheAsk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		w.nodes[w.raft.leaderID()].logs.set(func(l *fakeLog) { l.slow = 1500 * time.Millisecond })
		n := w.nodes[w.others(w.raft.leaderID())[0]]
		time.Sleep(4 * time.Second) // what was granted before is over
		for range 500 {
			time.Sleep(10 * time.Millisecond)
			if left := n.lease.left(n.boottime()); left > 2500*time.Millisecond {
				t.Fatalf("%v left, although each answer took 1.5 s of 4", left)
			}
		}
		if !w.serving("n1", "n2", "n3") {
			t.Error("slow answers must be good enough\n" + w.dump())
		}
	})
}

// A deposed leader that does not know it yet cannot keep its side of a cut alive.
func TestDeposedLeaderGrantsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(5)
		old := w.raft.leaderID()
		friend := w.others(old)[0]
		w.nodes[old].logs.set(func(l *fakeLog) { l.stubborn = true })
		w.net.set(func() {
			for _, a := range []string{old, friend} {
				for _, b := range w.others(old)[1:] {
					w.net.cuts[[2]string{ipOf(a), ipOf(b)}], w.net.cuts[[2]string{ipOf(b), ipOf(a)}] = true, true
				}
			}
		})
		w.await(8*time.Second, "the majority serves all", func() bool { return w.serving(w.others(old)[1:]...) })
		if w.nodes[old].LeaseHeld() || w.nodes[friend].LeaseHeld() {
			t.Error("the minority still acts")
		}
	})
}

// What a dead process left in a buffer arrives after its successor was made a member. It changes nothing.
func TestLateMessageOfADeadBootChangesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		leader := w.raft.leaderID()
		victim := w.others(leader)[0]
		old := w.nodes[victim]
		late := appendRenewal(nil, renewal{member: old.member(), version: w.raft.committed().Version})
		old.kill()
		n := w.start(victim, 3)
		w.await(5*time.Second, "all serve", func() bool { return w.serving("n1", "n2", "n3") })
		b, err := w.nodes[leader].desk.serveRenewal(t.Context(), old.me, late)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := decodeAnswer(b); err != nil || a.verdict != verdictChallenge || a.boot != n.me.Boot {
			t.Errorf("answered %+v, %v", a, err)
		}
		time.Sleep(5 * time.Second)
		if boot, _ := w.memberBoot(victim); boot != n.me.Boot || n.rec.declaredDead() {
			t.Errorf("%s is a member, %s was", boot, n.me.Boot)
		}
		if _, err := w.nodes[leader].desk.serveRenewal(t.Context(), w.nodes[leader].me, late); err == nil {
			t.Error("one boot asks for another")
		}
	})
}

// While a death is being committed, the suspect gets no lease any more.
func TestNoLeaseWhileDeathIsUnderWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		leader := w.nodes[w.raft.leaderID()]
		v := w.nodes[w.others(leader.me.Node)[0]]
		w.net.isolate(v.host.ip, true)
		w.await(5*time.Second, "the lease runs out", func() bool { return !v.LeaseHeld() })
		leader.logs.set(func(l *fakeLog) { l.slower = 2 * time.Second })
		time.Sleep(leader.cfg.LeaseMargin + 2*deskTick)
		w.net.isolate(v.host.ip, false)
		w.await(5*time.Second, "it finds itself dead", v.rec.declaredDead) // and see world.judge
	})
}

// A boot whose view lags behind the leader's still sees its predecessor there. That is not its own end.
func TestNewBootWithAnOldViewLivesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		victim := w.others(w.raft.leaderID())[0]
		w.nodes[victim].kill()
		w.lag = true
		n := w.start(victim, 3)
		w.await(3*time.Second, "it gets its lease", n.LeaseHeld)
		time.Sleep(3 * time.Second)
		if n.rec.declaredDead() || !n.LeaseHeld() || len(n.rec.owns()) > 0 {
			t.Errorf("dead %v, lease %v, owns %v", n.rec.declaredDead(), n.LeaseHeld(), n.rec.owns())
		}
		n.logs.set(func(l *fakeLog) { l.lag = false })
		w.await(time.Second, "all serve", func() bool { return w.serving("n1", "n2", "n3") })
	})
}

// A boot becomes a member only when it has the log: others would wait for what it cannot know yet.
func TestMembersHaveTheLog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start("n1", 1)
		w.await(5*time.Second, "n1 serves", func() bool { return w.serving("n1") })
		w.lag = true
		n2 := w.start("n2", 0)
		w.lag = false
		time.Sleep(5 * time.Second)
		if m := w.raft.committed().Members; len(m) != 1 {
			t.Errorf("members: %+v", m)
		}
		n2.logs.set(func(l *fakeLog) { l.lag = false })
		w.await(2*time.Second, "both serve", func() bool { return w.serving("n1", "n2") })

		// A new boot that is slow to catch up does not keep its predecessor's partitions from being served.
		n2.kill()
		w.disks["n2"].applied = 0
		w.lag = true
		n2 = w.start("n2", 0)
		w.lag = false
		w.await(3*time.Second, "n1 serves all", func() bool { return w.serving("n1") })
		n2.logs.set(func(l *fakeLog) { l.lag = false })
		w.await(3*time.Second, "both serve again", func() bool { return w.serving("n1", "n2") })
	})
}

// A node that comes back at another address is found there, by the log as well.
func TestNodeComesBackElsewhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		victim := w.others(w.raft.leaderID())[0]
		w.nodes[victim].kill()
		w.tweak = func(c *Config) { c.NodeID = victim }
		disk := w.disks[victim]
		delete(w.nodes, victim)
		w.disks["n8"] = disk
		n := w.startAs(victim, "n8", 3)
		w.await(10*time.Second, "all serve", func() bool { return w.serving("n1", "n2", "n3") })
		w.await(5*time.Second, "the log knows the address", func() bool {
			w.raft.mu.Lock()
			defer w.raft.mu.Unlock()
			return slices.ContainsFunc(w.raft.servers, func(s Server) bool { return s.ID == victim && s.Addr == n.cfg.ClusterAdvertise && s.Voter })
		})
		if m, _ := w.raft.committed().Member(victim); m.Cluster != "10.0.0.8:7901" {
			t.Errorf("member at %s", m.Cluster)
		}
	})
}

// A node that never became a member does not keep another one from its address for ever.
func TestNewNodeAtAnAddressThatWasAdded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start("n1", 1)
		w.await(5*time.Second, "n1 serves", func() bool { return w.serving("n1") })
		w.lag = true
		n2 := w.start("n2", 0)
		w.lag = false
		w.await(5*time.Second, "n2 is a server", func() bool {
			w.raft.mu.Lock()
			defer w.raft.mu.Unlock()
			return len(w.raft.servers) == 2
		})
		n2.kill()
		delete(w.nodes, "n2")
		w.startAs("n3", "n2", 0)
		w.await(15*time.Second, "n1 and n3 serve", func() bool { return w.serving("n1", "n3") })
		w.raft.mu.Lock()
		defer w.raft.mu.Unlock()
		if len(w.raft.servers) != 2 || w.raft.servers[1].ID != "n3" {
			t.Errorf("servers are %+v", w.raft.servers)
		}
	})
}
