package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Whoever withdraws hands its partitions over while it serves, epoch by epoch, and can then be missed at once.
func TestWithdraw(t *testing.T) {
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
				before := w.raft.committed().Table
				var told []int
				began := time.Now()
				if err := v.Withdraw(t.Context(), func(n int) { told = append(told, n) }); err != nil {
					t.Fatal(err)
				}
				t.Logf("withdrawn after %v: %v", time.Since(began), told)
				if told[0] != 4 || told[len(told)-1] != 0 || !slices.IsSortedFunc(told, func(a, b int) int { return b - a }) {
					t.Errorf("told %v", told)
				}
				after := w.raft.committed().Table
				for p, s := range after.Slots {
					was := before.Slots[p]
					if was.Owner != victim && s.Owner != was.Owner || was.Owner == victim && s.Epoch != was.Epoch+1 || s.Owner == victim || s.Follower == victim {
						t.Errorf("partition %d: %+v → %+v", p, was, s)
					}
				}
				if _, state := w.memberBoot(victim); state != Leaving || !v.LeaseHeld() {
					t.Errorf("it is %v, lease %v", state, v.LeaseHeld())
				}
				time.Sleep(20 * time.Second)
				if _, state := w.memberBoot(victim); state != Leaving || !v.LeaseHeld() || len(v.rec.owns()) != 0 {
					t.Errorf("some time later it is %v, lease %v, owns %v", state, v.LeaseHeld(), v.rec.owns())
				}
				v.leave()
				if _, state := w.memberBoot(victim); state != Dead {
					t.Errorf("it left as %v", state)
				}
				w.await(time.Second, "the others serve all", func() bool { return w.serving(rest...) })
				w.start(victim, 3)
				w.await(5*time.Second, "all serve again", func() bool { return w.serving("n1", "n2", "n3") })
			})
		})
	}
}

// The leader changes while a member withdraws: the next one goes on.
func TestWithdrawalOutlivesTheLeader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(4)
		leader := w.raft.leaderID()
		victim := w.others(leader)[0]
		done := make(chan error, 1)
		moved := make(chan struct{}, 1)
		w.nodes[victim].rec.slow(func() bool { // the first batch is never prepared
			select {
			case moved <- struct{}{}:
			default:
			}
			return w.raft.leaderID() != leader
		})
		go func() { done <- w.nodes[victim].Withdraw(t.Context(), func(int) {}) }()
		<-moved
		w.nodes[leader].kill()
		delete(w.nodes, leader)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("it still withdraws\n%s", w.dump())
		}
	})
}

func TestNobodyToWithdrawTo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(1)
		if err := w.nodes["n1"].Withdraw(t.Context(), func(int) { t.Error("progress") }); !errors.Is(err, ErrNobodyElse) {
			t.Errorf("got %v", err)
		}
		if !w.serving("n1") {
			t.Errorf("it serves no more\n%s", w.dump())
		}
	})
}

// A move waits for its copy, but not for ever.
func TestMoveGoesOnWithoutACopy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		v := w.nodes["n3"]
		v.rec.slow(func() bool { return false })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := v.Withdraw(ctx, func(int) {}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < prepareFor || took > prepareFor+time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestQuestionsComeBack(t *testing.T) {
	for _, q := range []question{{}, {version: 7, opened: true, parts: []asked{{part: 3, epoch: 9}, {part: 127, epoch: 1 << 40, to: "n2"}}}} {
		b := appendQuestion(nil, q)
		got, err := decodeQuestion(b)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(q) {
			t.Errorf("%+v came back as %+v, %v", q, got, err)
		}
		for i := range b {
			if _, err := decodeQuestion(b[:i]); err == nil {
				t.Errorf("%d bytes of %x are taken", i, b)
			}
		}
		if _, err := decodeQuestion(append(b, 0)); err == nil {
			t.Error("a byte too many is taken")
		}
	}
}

// The ring is cut into fewer partitions while a member withdraws from many.
func TestWithdrawalOutlivesALayout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		leader := w.raft.leaderID()
		if err := w.nodes[leader].Repartition(t.Context(), 64); err != nil {
			t.Fatal(err)
		}
		w.await(5*time.Second, "all serve 64", func() bool { return w.serving("n1", "n2", "n3") })
		victim := w.others(leader)[0]
		done := make(chan error, 1)
		moved := make(chan struct{}, 1)
		w.nodes[victim].rec.slow(func() bool { // the first batch waits for the other layout
			select {
			case moved <- struct{}{}:
			default:
			}
			return len(w.raft.committed().Table.Slots) == 8
		})
		go func() { done <- w.nodes[victim].Withdraw(t.Context(), func(int) {}) }()
		<-moved
		if err := w.nodes[leader].Repartition(t.Context(), 8); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("it still withdraws\n%s", w.dump())
		}
		if owns := w.nodes[victim].rec.owns(); len(owns) != 0 {
			t.Errorf("it still owns %v", owns)
		}
	})
}
