package channel

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// stand holds one state that only the test moves.
type stand struct {
	t   *testing.T
	s   State
	now Moment
}

const (
	gwA Gateway = iota + 1
	gwB
	gwC
)

var standSettings = Settings{VacateDelay: 5 * time.Second, IdleClose: 60 * time.Second, OccupancyInterval: 2 * time.Second}

func newStand(t *testing.T, settings Settings) *stand {
	return &stand{
		t:   t,
		s:   NewState("app", "room", &Profile{Settings: settings, Series: "x"}, Stamp{}),
		now: Moment{Since: time.Second, UnixMs: 1_700_000_000_000, Leased: true},
	}
}

// after moves the time.
func (st *stand) after(d time.Duration) *stand {
	st.now.Since += d
	st.now.UnixMs += d.Milliseconds()
	return st
}

// step applies an input and expects the effects in short form (see brief).
func (st *stand) step(in Input, want ...string) *stand {
	st.t.Helper()
	effects := st.s.Step(st.now, in, nil)
	got := make([]string, len(effects))
	for i, e := range effects {
		got[i] = brief(e)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		st.t.Fatalf("at %v, input %+v\n got: %s\nwant: %s", st.now.Since, in, strings.Join(got, ", "), strings.Join(want, ", "))
	}
	return st
}

func (st *stand) tick(want ...string) *stand {
	st.t.Helper()
	return st.step(Input{Kind: InTick}, want...)
}

func (st *stand) wakes(in time.Duration) *stand {
	st.t.Helper()
	want := time.Duration(0)
	if in > 0 {
		want = st.now.Since + in
	}
	if got := st.s.Wake(); got != want {
		st.t.Fatalf("wakes at %v, want %v", got, want)
	}
	return st
}

// brief writes an effect in short: "occupy", "confirm A v1 2/1" (connections/subscribers), "deliver A", "tell A 2/1",
// "published A", "refused A 1", "state A open 2/1".
func brief(e Effect) string {
	gw := string(rune('A' + e.To - 1))
	pair := func(c Counts) string { return fmt.Sprintf("%d/%d", c[Connections], c[Subscribers]) }
	switch m := e.Message.(type) {
	case nil:
		if e.Ask {
			return "ask"
		}
		return map[Kind]string{Occupy: "occupy", Vacate: "vacate", Open: "open", Close: "close"}[e.Propose]
	case *Registered:
		return fmt.Sprintf("confirm %s v%d %s", gw, m.Version, pair(m.Counts))
	case *Refused:
		return fmt.Sprintf("turned away %s v%d %d", gw, m.Version, m.Why)
	case *Delivery:
		return "deliver " + gw
	case *Occupancy:
		return fmt.Sprintf("tell %s %s", gw, pair(m.Counts))
	case *Published:
		if m.Refusal != Accepted {
			return fmt.Sprintf("refused %s %d", gw, m.Refusal)
		}
		return "published " + gw
	case *QueryResult:
		if m.Refusal != Accepted {
			return fmt.Sprintf("refused %s %d", gw, m.Refusal)
		}
		return fmt.Sprintf("state %s open=%v %s", gw, m.Active, pair(m.Counts))
	}
	panic("unknown effect")
}

// reg is a register with connections and subscribers; flags: c confirm, w one watcher.
func reg(g Gateway, version uint64, connections, subscribers int32, flags string) Input {
	r := &Register{App: "app", Name: "room", Version: version, Confirm: strings.Contains(flags, "c")}
	r.Counts[Connections], r.Counts[Subscribers] = connections, subscribers
	if strings.Contains(flags, "w") {
		r.Watchers = 1
	}
	return Input{Kind: InRegister, From: g, Register: r, Fresh: strings.Contains(flags, "f")}
}

var (
	committed = Input{Kind: InCommitted}
	opened    = Input{Kind: InOpened}
)

func drop(g Gateway) Input { return Input{Kind: InDrop, From: g} }
func pub(g Gateway) Input {
	return Input{Kind: InPublish, From: g, Publish: &Publish{App: "app", Name: "room", Req: 7}}
}
func ask(g Gateway) Input {
	return Input{Kind: InQuery, From: g, Query: &Query{App: "app", Name: "room", Req: 8}}
}

func TestAttachIsConfirmedAfterTheCommit(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, "c"), "occupy").
		step(reg(gwB, 1, 1, 1, "c")). // no second proposal, no confirmation yet
		step(reg(gwA, 2, 2, 2, "c")).
		step(committed, "confirm B v1 3/3", "confirm A v2 3/3").
		step(reg(gwA, 3, 3, 3, "c"), "confirm A v3 4/4").
		wakes(0)
}

func TestPublishersAloneDoNotOccupy(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 0, "c"), "confirm A v1 1/0").
		step(ask(gwB), "state B open=true 1/0").
		step(reg(gwA, 2, 0, 0, "")).
		wakes(60*time.Second).after(60*time.Second).
		tick().
		step(ask(gwB), "state B open=false 0/0")
}

func TestConnectionsOccupyWhenSetSo(t *testing.T) {
	settings := standSettings
	settings.OccupiedByConnections = true
	newStand(t, settings).
		step(reg(gwA, 1, 1, 0, "c"), "occupy").
		step(committed, "confirm A v1 1/0").
		step(reg(gwA, 2, 0, 0, "")).
		after(5 * time.Second).tick("vacate")
}

func TestReturnWithinTheDelayLeavesNoTrace(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, ""), "occupy").
		step(committed).
		step(reg(gwA, 2, 0, 0, "")).wakes(5*time.Second).
		after(4999*time.Millisecond).tick().
		step(reg(gwB, 1, 1, 1, "c"), "confirm B v1 1/1").wakes(0).
		after(time.Hour).tick().
		step(reg(gwB, 2, 0, 0, "")).wakes(5 * time.Second).
		after(5 * time.Second).tick("vacate").
		step(committed)
}

func TestVacatedIsStampedWhenItIsDecided(t *testing.T) {
	st := newStand(t, standSettings)
	st.step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed).step(reg(gwA, 2, 0, 0, "")).after(7 * time.Second)
	effects := st.s.Step(st.now, Input{Kind: InTick}, nil)
	if len(effects) != 1 || effects[0].TimeMs != st.now.UnixMs {
		t.Fatalf("effects %+v, want one stamped %d", effects, st.now.UnixMs)
	}
}

func TestAttachThatMeetsVacatingWaitsForBothCommits(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed).
		step(reg(gwA, 2, 0, 0, "")).after(5*time.Second).tick("vacate").
		step(reg(gwB, 1, 1, 1, "c")). // nothing before vacated is committed
		step(committed, "occupy").
		step(committed, "confirm B v1 1/1")
}

func TestLeavingWhileOccupyingIsVacatedAfterTheDelay(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, "c"), "occupy").
		step(reg(gwA, 2, 0, 0, ""), "confirm A v2 0/0"). // holds nothing: nothing left to wait for
		after(3 * time.Second).step(committed).wakes(2 * time.Second).
		after(2 * time.Second).tick("vacate").
		step(committed).
		after(55 * time.Second).tick()
}

func TestCameAndWentWhileVacating(t *testing.T) {
	st := newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed).
		step(reg(gwA, 2, 0, 0, "")).after(5 * time.Second).tick("vacate").
		step(reg(gwB, 1, 1, 1, "")).
		step(reg(gwB, 2, 0, 0, "")).
		step(committed). // vacated stands; nobody is there
		after(time.Minute).tick()
	if !st.s.Done() {
		t.Fatal("not done")
	}
}

func TestNoDelay(t *testing.T) {
	settings := standSettings
	settings.VacateDelay = 0
	newStand(t, settings).
		step(reg(gwA, 1, 1, 1, ""), "occupy").
		step(reg(gwA, 2, 0, 0, "")).
		step(committed, "vacate").
		step(reg(gwA, 3, 1, 1, "")).
		step(committed, "occupy")
}

func TestAFailedProposalLeavesEverything(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, "c"), "occupy").
		step(Input{Kind: InFailed}).
		step(reg(gwB, 1, 1, 1, "c")).
		after(time.Hour).tick()
}

func TestDeathDropsAVectorAtOnce(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 2, 2, ""), "occupy").step(committed).
		step(reg(gwB, 1, 1, 1, "")).
		step(drop(gwA)).step(ask(gwB), "state B open=true 1/1").
		step(drop(gwA)). // once more changes nothing
		step(drop(gwB)).
		after(5 * time.Second).tick("vacate")
}

func TestLateRegisterIsNotTaken(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 5, 2, 2, ""), "occupy").
		step(reg(gwA, 4, 9, 9, "")).
		step(ask(gwB), "state B open=true 2/2").
		step(reg(gwA, 3, 1, 1, "f")). // but a new session begins where it likes
		step(ask(gwB), "state B open=true 1/1")
}

func TestNegativeCountsAndMembersAreNotTaken(t *testing.T) {
	st := newStand(t, standSettings)
	in := reg(gwA, 1, -3, 1, "")
	in.Register.Counts[PresenceMembers] = 4
	st.step(in, "occupy")
	if want := (Counts{Subscribers: 1}); st.s.Counts() != want {
		t.Fatalf("counts %v, want %v", st.s.Counts(), want)
	}
}

func TestRestoredChannelIsSilentUntilEverybodyWasHeard(t *testing.T) {
	st := newStand(t, standSettings)
	st.s.Restore(st.now, true, 0)
	st.step(reg(gwA, 1, 1, 1, "fcw")).
		step(reg(gwB, 1, 1, 1, "fw")).
		step(opened, "confirm A v1 2/2", "tell A 2/2", "tell B 2/2").
		after(time.Hour).tick()
}

func TestRestoredChannelThatNobodyHolds(t *testing.T) {
	for _, c := range []struct{ grace, wait time.Duration }{{0, 5 * time.Second}, {30 * time.Second, 30 * time.Second}} {
		st := newStand(t, standSettings)
		st.s.Restore(st.now, true, c.grace)
		st.wakes(0).step(opened).wakes(c.wait).
			after(c.wait - 1).tick().
			after(1).tick("vacate").
			step(committed)
	}
}

func TestRestoredChannelThatIsNotInTheLog(t *testing.T) {
	st := newStand(t, standSettings)
	st.s.Restore(st.now, false, time.Minute)
	st.step(reg(gwA, 1, 1, 1, "fc")).
		step(opened, "occupy").
		step(committed, "confirm A v1 1/1")
}

// What is sent behind a publish that came without a lease must not come before it: publishes wait for the lease.
func TestPublishesWaitForALease(t *testing.T) {
	st := newStand(t, standSettings)
	numbered := func(req uint64) Input {
		in := pub(gwA)
		in.Publish.Req = req
		return in
	}
	order := func(in Input) (reqs []uint64) {
		for _, e := range st.s.Step(st.now, in, nil) {
			if p, ok := e.Message.(*Published); ok && p.Refusal == Accepted {
				reqs = append(reqs, p.Req)
			}
		}
		return reqs
	}
	st.now.Leased = false
	for req := range uint64(2) {
		st.step(numbered(req)).wakes(leaseRetry)
	}
	if st.s.Done() {
		t.Error("what waits would be forgotten")
	}
	st.now.Leased = true
	if got := order(numbered(2)); !slices.Equal(got, []uint64{0, 1, 2}) {
		t.Errorf("done in the order %v", got)
	}
	st.now.Leased = false
	for range heldMax {
		st.step(pub(gwA))
	}
	st.step(pub(gwA), fmt.Sprintf("refused A %d", Busy))
}

func TestWithoutALeaseNothingIsSaid(t *testing.T) {
	st := newStand(t, standSettings)
	st.now.Leased = false
	st.step(reg(gwA, 1, 1, 1, "c")).
		step(ask(gwA), "refused A 1").
		wakes(leaseRetry).
		after(leaseRetry).tick()
	st.now.Leased = true
	st.tick("occupy")
	st.now.Leased = false
	st.step(committed)
	st.now.Leased = true
	st.tick("confirm A v1 1/1").step(reg(gwA, 2, 0, 0, ""))
	st.now.Leased = false
	st.after(5 * time.Second).tick()
	st.now.Leased = true
	st.tick("vacate")
}

func TestPublishGoesToEveryGatewayWithSubscribers(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed).
		step(reg(gwB, 1, 1, 0, "")).
		step(reg(gwC, 1, 2, 2, "")).
		step(pub(gwA), "deliver A", "deliver C", "published A").
		step(pub(gwB), "deliver A", "deliver C", "published B")
}

func TestPublishOpensAndIdlenessCloses(t *testing.T) {
	st := newStand(t, standSettings)
	if st.s.Open() || !st.s.Done() {
		t.Fatal("a new channel is open")
	}
	st.step(pub(gwA), "published A").wakes(60*time.Second).
		after(40*time.Second).step(pub(gwA), "published A").wakes(60*time.Second).
		after(59*time.Second).step(ask(gwB), "state B open=true 0/0").wakes(time.Second).
		after(time.Second).tick()
	if st.s.Open() || !st.s.Done() {
		t.Fatal("still open after a minute of idleness; asking must not keep it open")
	}
}

func TestAskingOpensNothing(t *testing.T) {
	st := newStand(t, standSettings).step(ask(gwA), "state A open=false 0/0").wakes(0)
	if !st.s.Done() {
		t.Fatal("not done")
	}
}

func TestDetachKeepsTheChannelOpenForAWhile(t *testing.T) {
	settings := standSettings
	settings.VacateDelay = 0
	st := newStand(t, settings).
		step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed).
		after(time.Hour).step(reg(gwA, 2, 0, 0, ""), "vacate").step(committed).wakes(60*time.Second).
		after(59*time.Second).tick().step(ask(gwA), "state A open=true 0/0").
		after(time.Second).tick().step(ask(gwA), "state A open=false 0/0")
	if !st.s.Done() {
		t.Fatal("not done")
	}
}

func TestSerialsGrowWhateverTheClockDoes(t *testing.T) {
	st := newStand(t, standSettings)
	last := ""
	next := func() {
		t.Helper()
		effects := st.s.Step(st.now, pub(gwA), nil)
		serial := effects[len(effects)-1].Message.(*Published).Serial
		if serial <= last {
			t.Fatalf("%s after %s", serial, last)
		}
		last = serial
	}
	for range 2500 { // more than fit into one millisecond
		next()
	}
	st.now.UnixMs -= 3_600_000
	next()
	in := reg(gwB, 1, 1, 0, "")
	in.Register.Serial = "01700000060000-999@other"
	st.step(in)
	next()
	if want := "01700000060001-000@x"; last != want {
		t.Fatalf("above another owner's serial: %s, want %s", last, want)
	}
	in = reg(gwB, 2, 1, 0, "")
	for _, impossible := range []string{"99999999999999-000@broken", "98000000000000-000@broken", "01700000200000-000@broken"} {
		in = reg(gwB, 2, 1, 0, "")
		in.Register.Serial = impossible
		st.step(in)
	}
	next()
	if want := "01700000060001-001@x"; last != want {
		t.Fatalf("an impossible serial was believed: %s", last)
	}
}

func TestAttachPointIsBelowWhatFollows(t *testing.T) {
	st := newStand(t, standSettings)
	effects := st.s.Step(st.now, reg(gwA, 1, 1, 0, "c"), nil)
	point := effects[0].Message.(*Registered).Serial
	effects = st.s.Step(st.now, pub(gwA), nil)
	if serial := effects[0].Message.(*Published).Serial; serial <= point || len(point) != len(serial) {
		t.Fatalf("publish %s after attach point %s", serial, point)
	}
}

func TestWatchersAreToldZeroCrossingsAtOnceAndTheRestRolledUp(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, "cw"), "occupy").
		step(committed, "confirm A v1 1/1"). // the seed
		step(reg(gwB, 1, 1, 1, "")).wakes(2*time.Second).
		after(time.Second).step(reg(gwB, 2, 2, 2, "")).wakes(time.Second).
		after(time.Second).tick("tell A 3/3").wakes(0).
		step(reg(gwB, 3, 2, 1, "")).
		step(reg(gwB, 4, 2, 2, "")).
		after(2*time.Second).tick(). // back to what it knows: nothing to tell
		wakes(0).
		step(func() Input { in := reg(gwC, 1, 1, 0, ""); in.Register.Counts[Publishers] = 1; return in }(), "tell A 4/3").
		step(drop(gwC), "tell A 3/3")
}

func TestASecondWatchersSeedDoesNotHideTheChangeFromTheFirst(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, "cw"), "occupy").
		step(committed, "confirm A v1 1/1").
		step(reg(gwA, 2, 2, 2, "cw"), "confirm A v2 2/2").
		after(2 * time.Second).tick("tell A 2/2")
}

func TestASecondWatcherIsToldThatItsSeedIsNotTrueAnyMore(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwB, 1, 1, 1, ""), "occupy").step(committed).
		step(reg(gwA, 1, 1, 1, "cw"), "confirm A v1 2/2").
		step(reg(gwA, 2, 2, 2, "cw"), "confirm A v2 3/3").
		step(reg(gwB, 2, 0, 0, "")). // what the first one knows, and the second does not
		after(2 * time.Second).tick("tell A 2/2").
		after(time.Minute).tick()
}

func TestWatcherThatWaitsForItsSeedIsToldNothingBefore(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, "cw"), "occupy").
		step(reg(gwB, 1, 1, 1, "")).
		after(time.Minute).tick().
		step(committed, "confirm A v1 2/2")
}

func TestWatcherOfANewSessionIsToldAtOnce(t *testing.T) {
	newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, "cw"), "occupy").
		step(committed, "confirm A v1 1/1").
		step(reg(gwA, 1, 1, 1, "wf"), "tell A 1/1").
		step(reg(gwA, 2, 1, 1, "")). // nobody watches any more
		step(reg(gwB, 1, 5, 5, "")).
		after(time.Minute).tick()
}

func TestVectorsKeepTheirGateways(t *testing.T) {
	st := newStand(t, standSettings).
		step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed).
		step(reg(gwB, 1, 2, 2, "")).step(reg(gwC, 1, 4, 4, "")).
		step(drop(gwA)).step(ask(gwA), "state A open=true 6/6").
		step(reg(gwC, 2, 1, 1, "")).step(ask(gwA), "state A open=true 3/3").
		step(drop(gwC)).step(drop(gwB)).step(ask(gwA), "state A open=true 0/0")
	if n := st.s.held.len(); n != 0 || st.s.held.first.gateway != 0 {
		t.Fatalf("%d vectors left", n)
	}
}
