package channel

import (
	"fmt"
	"testing"
	"time"
)

func newGatedStand(t *testing.T) *stand {
	st := newStand(t, standSettings)
	st.now.Gated = true
	return st
}

func leave(why Refusal) Input { return Input{Kind: InLeave, Refusal: why} }

func TestOpensWithLeave(t *testing.T) {
	st := newGatedStand(t).
		step(reg(gwA, 1, 1, 1, "c"), "ask").
		step(reg(gwB, 1, 1, 1, "c")). // asks once
		step(ask(gwC), "state C open=false 2/2").
		step(leave(Accepted), "occupy").
		step(committed, "confirm B v1 2/2", "confirm A v1 2/2")
	if !st.s.Open() {
		t.Error("not open")
	}
	st.step(reg(gwC, 1, 1, 1, "c"), "confirm C v1 3/3") // open already
}

func TestTurnedAway(t *testing.T) {
	st := newGatedStand(t).
		step(reg(gwA, 1, 1, 1, "cw"), "ask").
		step(reg(gwB, 4, 1, 1, "c")).
		step(pub(gwC)).
		step(leave(TooManyChannels), fmt.Sprintf("refused C %d", TooManyChannels),
			fmt.Sprintf("turned away B v4 %d", TooManyChannels), fmt.Sprintf("turned away A v1 %d", TooManyChannels))
	if !st.s.Done() {
		t.Fatal("something is left of a channel that never opened")
	}
	st.step(reg(gwA, 2, 1, 1, "c"), "ask") // raised, perhaps
	st.step(leave(Accepted), "occupy").step(committed, "confirm A v2 1/1")
}

func TestPublishWaitsForLeave(t *testing.T) {
	st := newGatedStand(t).
		step(pub(gwA), "ask").
		step(pub(gwB)).
		step(leave(Accepted), "published A", "published B")
	if !st.s.Open() {
		t.Fatal("not open")
	}
	st.after(time.Minute).tick()
	if st.s.Open() {
		t.Fatal("still open after a minute")
	}
	st.step(pub(gwA), "ask")
}

func TestLeaveThatNobodyNeedsAnyMore(t *testing.T) {
	st := newGatedStand(t).
		step(reg(gwA, 1, 1, 1, "c"), "ask").
		step(reg(gwA, 2, 0, 0, "")).
		step(leave(Accepted), "confirm A v2 0/0")
	if st.s.Open() || !st.s.Done() {
		t.Errorf("open %v, done %v", st.s.Open(), st.s.Done())
	}
}

// What was there before a new owner, or before a session broke, was let in once.
func TestWhoWasThereStays(t *testing.T) {
	st := newGatedStand(t)
	st.s.Restore(st.now, false, 0)
	st.step(reg(gwA, 3, 1, 1, "f")).step(opened, "occupy")
	if !st.s.Open() {
		t.Error("an attachment that was there asks for leave again")
	}
	st = newGatedStand(t).step(reg(gwA, 3, 1, 1, "f"), "occupy")
	if !st.s.Open() {
		t.Error("an attachment of a new session asks for leave again")
	}
}

func TestLimitGoesWhileSomebodyWaits(t *testing.T) {
	st := newGatedStand(t).step(reg(gwA, 1, 1, 1, "c"), "ask")
	st.now.Gated = false
	st.step(reg(gwA, 2, 2, 2, "c"), "occupy").step(committed, "confirm A v2 2/2").step(leave(TooManyChannels))
	if !st.s.Open() {
		t.Error("the limit is gone, and the channel is not open")
	}
}

func TestWithoutLeaseNobodyIsAsked(t *testing.T) {
	st := newGatedStand(t)
	st.now.Leased = false
	st.step(reg(gwA, 1, 1, 1, "c")).wakes(leaseRetry).step(pub(gwA)).wakes(leaseRetry)
	st.now.Leased = true
	st.after(leaseRetry).tick("ask").step(leave(Accepted), "deliver A", "published A", "occupy")
}

func TestMetachannelsNeedNoLeave(t *testing.T) {
	settings := standSettings
	settings.Meta = true
	st := newStand(t, settings)
	st.now.Gated = true
	st.step(reg(gwA, 1, 1, 1, "c"), "confirm A v1 1/1")
}

func TestPublishesOfAChannelAreLimited(t *testing.T) {
	settings := standSettings
	settings.MessageRate = 3
	many := func(n int) Input {
		in := pub(gwA)
		in.Publish.Messages = make([]Message, n)
		return in
	}
	tooFast := fmt.Sprintf("refused A %d", TooFast)
	st := newStand(t, settings).
		step(many(2), "published A").step(many(1), "published A").step(many(1), tooFast).
		after(400*time.Millisecond).step(many(1), "published A").step(many(1), tooFast).
		after(time.Minute).step(many(10), "published A"). // more than a second's worth, slowly
		after(time.Second).step(many(1), tooFast)
	settings.MessageRate = 0
	st.step(Input{Kind: InSettings, Profile: &Profile{Settings: settings, Series: "x"}}).step(many(100), "published A").step(many(1), "published A")
}
