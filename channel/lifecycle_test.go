package channel

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	openCommitted  = Input{Kind: InCommitted, Done: Open}
	closeCommitted = Input{Kind: InCommitted, Done: Close}
)

func newLifecycleStand(t *testing.T) *stand {
	settings := standSettings
	settings.Lifecycle = true
	return newStand(t, settings)
}

func TestLifecycleOfAnAttachment(t *testing.T) {
	newLifecycleStand(t).
		step(reg(gwA, 1, 1, 1, "c"), "open", "occupy").
		step(openCommitted).
		step(committed, "confirm A v1 1/1").
		step(reg(gwA, 2, 0, 0, "")).
		after(5 * time.Second).tick("vacate").step(committed).
		after(54 * time.Second).tick().wakes(time.Second).
		after(time.Second).tick("close").step(closeCommitted)
}

func TestClosedComesBehindVacated(t *testing.T) {
	settings := standSettings
	settings.Lifecycle, settings.VacateDelay = true, 2*time.Minute
	newStand(t, settings).
		step(reg(gwA, 1, 1, 1, ""), "open", "occupy").step(openCommitted).step(committed).
		step(reg(gwA, 2, 0, 0, "")).
		after(time.Minute).tick().
		after(time.Minute).tick("vacate").
		step(committed, "close").step(closeCommitted)
}

func TestPublishOpens(t *testing.T) {
	st := newLifecycleStand(t).
		step(pub(gwA), "published A", "open").
		step(pub(gwA), "published A").
		step(openCommitted).
		after(60*time.Second).tick("close").
		step(pub(gwA), "published A"). // before the commit: what comes is another time of being open
		step(closeCommitted, "open").step(openCommitted).
		step(ask(gwB), "state B open=true 0/0").
		after(60 * time.Second).tick("close").step(closeCommitted)
	if !st.s.Done() {
		t.Error("not done")
	}
}

func TestWithoutLeaseNothingIsAnnounced(t *testing.T) {
	st := newLifecycleStand(t)
	st.now.Leased = false
	st.step(reg(gwA, 1, 1, 0, "")).wakes(leaseRetry)
	st.now.Leased = true
	st.after(leaseRetry).tick("open")
}

// TestRestoredOpenChannelCloses has a new owner that finds the obligation in the log and nobody who holds the channel.
func TestRestoredOpenChannelCloses(t *testing.T) {
	st := newLifecycleStand(t)
	st.s.Restore(st.now, false, 0)
	st.s.RestoreOpen(st.now)
	st.step(opened).wakes(60 * time.Second).
		after(60 * time.Second).tick("close").step(closeCommitted)
	if !st.s.Done() {
		t.Error("not done")
	}
}

// TestSwitchedOffKeepsItsDuty has a channel that was opened in the log and whose settings do not ask for that any more.
func TestSwitchedOffKeepsItsDuty(t *testing.T) {
	st := newStand(t, standSettings)
	st.s.Restore(st.now, false, 0)
	st.s.RestoreOpen(st.now)
	st.step(opened).after(60*time.Second).tick("close").step(closeCommitted).
		step(pub(gwA), "published A")
}

// TestNewOwnerKeepsLifecycle moves a partition with a channel that is held, one that was published to and one that was both
// occupied and left: nothing is announced again, and what is over is.
func TestNewOwnerKeepsLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *HostConfig) {
			c.Settings = func(string, string) Settings {
				s := standSettings
				s.Lifecycle = true
				return s
			}
		}).serve(boot1)
		h.attach(boot1, "held", 1)
		h.publish(boot1, "posted", 1)
		h.attach(boot1, "left", 1)
		time.Sleep(time.Second)
		h.attach(boot1, "left", 0)
		time.Sleep(time.Second)
		before := h.log.said()
		for _, want := range []string{"opened held; ", "occupied held; ", "opened posted; ", "opened left; ", "occupied left; "} {
			if !strings.Contains(before, want) {
				t.Fatalf("in the log: %q, want %q in it", before, want)
			}
		}
		h.acquire() // a new epoch: another owner, as far as the log and the gateways are concerned
		h.snapshot(boot1, h.reg(boot1, "held", 1, false))
		time.Sleep(10 * time.Second)
		h.said(before + "vacated left; ")
		time.Sleep(time.Minute)
		h.attach(boot1, "held", 0)
		time.Sleep(30 * time.Second)
		after := strings.TrimPrefix(h.log.said(), before+"vacated left; ")
		for _, want := range []string{"closed posted; ", "closed left; "} {
			if !strings.Contains(after, want) {
				t.Errorf("in the log afterwards: %q, want %q in it", after, want)
			}
		}
		time.Sleep(time.Minute)
		if !strings.HasSuffix(h.log.said(), "vacated held; closed held; ") || h.activations() != 0 {
			t.Errorf("in the log: %q, %d actors", h.log.said(), h.activations())
		}
	})
}

// What a rule was told last is to be corrected whoever dies: until the counts that the channel has when it closes are accepted, the
// log goes on knowing it, though not for ever.
func TestClosedWaitsForItsCounts(t *testing.T) {
	waits := true
	left := func(counted *Counts) *stand {
		settings := standSettings
		settings.Lifecycle, settings.ClosedWaits = true, waits
		st := newStand(t, settings)
		st.s.toldCounts = counted
		st.step(reg(gwA, 1, 1, 1, "c"), "open", "occupy").step(openCommitted).step(committed, "confirm A v1 1/1")
		*counted = st.s.sum
		return st.step(reg(gwA, 2, 0, 0, "")).
			after(5 * time.Second).tick("vacate").step(committed).
			after(55*time.Second - 1).tick().after(1)
	}
	counted := &Counts{}
	st := left(counted).tick().wakes(countsOwed)
	if st.s.Open() || st.s.Done() {
		t.Error("it is closed, and to be told of")
	}
	*counted = st.s.sum
	st.tick("close").step(closeCommitted)
	if !st.s.Done() {
		t.Error("not done")
	}
	left(&Counts{}).tick().after(countsOwed - 1).tick().after(1).tick("close")
	waits = false // somebody wants to know of closing as well
	left(&Counts{}).tick("close")
}

// TestNextOwnerTellsCounts ends a tenure before anybody has accepted that a channel is empty, and another one after.
func TestNextOwnerTellsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := &fakeTap{}
		h := newHouse(t, func(c *HostConfig) {
			c.Tap = tap
			c.Settings = func(string, string) Settings {
				s := standSettings
				s.Lifecycle, s.ClosedWaits, s.Taps = true, true, TapOccupancy
				return s
			}
		}).serve(boot1)
		expect := func(what string, news int) {
			t.Helper()
			n := tap.take()
			if len(n) != news || news > 0 && (n[0].Name != "room" || n[0].What != TapOccupancy) {
				t.Fatalf("%s: %+v", what, n)
			}
		}
		own := func() {
			h.acquire()
			h.snapshot(boot1)
		}
		h.attach(boot1, "room", 1)
		expect("before the log knows of it", 0)
		time.Sleep(time.Second)
		expect("attached", 1)
		h.Counted(0, h.epoch, "app", "room", Counts{1, 1})
		h.attach(boot1, "room", 0)
		expect("detached", 1)
		time.Sleep(10 * time.Minute)
		if said := h.log.said(); strings.Contains(said, "closed") {
			t.Fatalf("in the log: %s", said)
		}
		own()
		expect("the next owner", 1)
		h.Counted(0, h.epoch-1, "app", "room", Counts{}) // late
		time.Sleep(10 * time.Minute)
		own()
		expect("another one", 1)
		h.Counted(0, h.epoch, "app", "room", Counts{})
		time.Sleep(10 * time.Minute)
		if said := h.log.said(); !strings.Contains(said, "closed room") {
			t.Fatalf("in the log: %s", said)
		}
		own()
		expect("when all have heard", 0)
		if n := h.activations(); n != 0 {
			t.Errorf("%d actors are left", n)
		}
	})
}

// A rule that is taken away is owed nothing: what waited for its target alone is closed.
func TestRuleThatIsGoneHoldsNothingOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wanted := TapOccupancy
		h := newHouse(t, func(c *HostConfig) {
			c.Tap = &fakeTap{}
			c.Settings = func(string, string) Settings {
				s := standSettings
				s.Lifecycle, s.ClosedWaits, s.Taps = wanted != 0, wanted != 0, wanted
				return s
			}
		}).serve(boot1)
		h.attach(boot1, "room", 1)
		time.Sleep(time.Second)
		h.Counted(0, h.epoch, "app", "room", Counts{1, 1})
		h.attach(boot1, "room", 0)
		time.Sleep(10 * time.Minute)
		before := h.log.said()
		synctest.Wait()
		wanted = 0
		h.Reconfigure()
		time.Sleep(time.Second)
		synctest.Wait()
		if after := h.log.said(); strings.Contains(before, "closed room") || !strings.Contains(after, "closed room") || h.activations() != 0 {
			t.Errorf("%q, then %q; %d actors are left", before, after, h.activations())
		}
	})
}
