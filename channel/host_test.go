package channel

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cluster/ring"
)

func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func TestHostConfirmsAfterTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		h.attach(boot1, "room", 1)
		synctest.Wait()
		h.silent(boot1)
		time.Sleep(h.log.latency)
		synctest.Wait()
		h.said("occupied room; ")
		if m := one[*Registered](h, boot1); m.Version != 1 || m.Counts[Subscribers] != 1 || len(m.Serial) != len("01726585978590-001@s") {
			t.Fatalf("%+v", m)
		}
		h.attach(boot1, "room", 0)
		synctest.Wait()
		one[*Registered](h, boot1)
		time.Sleep(standSettings.VacateDelay + h.log.latency)
		synctest.Wait()
		h.said("occupied room; vacated room; ")
		if s := h.Stats(); s.Open != 1 || s.Occupied != 0 || s.Proposals != 2 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(standSettings.IdleClose)
		synctest.Wait()
		if n, s := h.activations(), h.Stats(); n != 0 || s.Open != 0 {
			t.Fatalf("%d actors left, %+v", n, s)
		}
	})
}

func TestBarrierOfAPartition(t *testing.T) {
	bubble(t, "two gateways", func(t *testing.T) {
		h := newHouse(t, nil)
		h.log.oblige(0, "app", "mine")
		h.log.oblige(0, "app", "orphan")
		h.SetMembers([]GatewayID{boot1, boot2})
		h.acquire()
		h.snapshot(boot1)
		time.Sleep(time.Minute) // however long it takes
		if s := h.Stats(); s.Serving != 0 || s.Rebuilding != 1 {
			t.Fatalf("%+v", s)
		}
		h.publish(boot1, "other", 5)
		synctest.Wait()
		h.silent(boot1, boot2)
		h.snapshot(boot2, h.reg(boot2, "mine", 1, true))
		synctest.Wait()
		if m := one[*Registered](h, boot2); m.Version != 1 {
			t.Fatalf("%+v", m)
		}
		if m := one[*Published](h, boot1); m.Req != 5 || m.Refusal != Accepted {
			t.Fatalf("what waited for the opening: %+v", m)
		}
		time.Sleep(standSettings.VacateDelay - 1)
		h.said("")
		time.Sleep(h.log.latency + 1)
		synctest.Wait()
		h.said("vacated orphan; ")
	})
	bubble(t, "another owner before all were heard", func(t *testing.T) {
		h := newHouse(t, nil)
		h.SetMembers([]GatewayID{boot1, boot2})
		h.acquire()
		h.snapshot(boot1)
		h.publish(boot1, "mine", 5)
		h.FromGateway(boot1, 0, h.epoch, &Query{App: "app", Name: "mine", Req: 6})
		synctest.Wait()
		h.silent(boot1, boot2)
		h.Release(0, h.log.next(0))
		frames := h.in.take(boot1)
		if len(frames) != 2 {
			t.Fatalf("%d answers", len(frames))
		}
		if m := frames[0].(*Published); m.Req != 5 || m.Refusal != NotOwner {
			t.Errorf("%+v", m)
		}
		if m := frames[1].(*QueryResult); m.Req != 6 || m.Refusal != NotOwner {
			t.Errorf("%+v", m)
		}
	})
	bubble(t, "a late member", func(t *testing.T) {
		h := newHouse(t, nil)
		h.log.oblige(0, "app", "theirs")
		h.SetMembers([]GatewayID{boot1, boot2})
		h.acquire()
		h.snapshot(boot1)
		synctest.Wait()
		h.SetMembers([]GatewayID{boot1, boot2, boot3}) // becomes live while the partition waits
		h.snapshot(boot2)
		time.Sleep(time.Minute)
		if h.Stats().Serving != 0 {
			t.Fatal("opened without the late member")
		}
		h.snapshot(boot3, h.reg(boot3, "theirs", 1, false))
		time.Sleep(time.Minute)
		if h.Stats().Serving != 1 {
			t.Fatal("not opened")
		}
		h.said("") // theirs is held
	})
	bubble(t, "a death while waiting", func(t *testing.T) {
		h := newHouse(t, nil)
		h.SetMembers([]GatewayID{boot1, boot2})
		h.acquire()
		h.snapshot(boot1)
		synctest.Wait()
		h.SetMembers([]GatewayID{boot1})
		synctest.Wait()
		if h.Stats().Serving != 1 {
			t.Fatal("still waits for the dead")
		}
	})
	bubble(t, "members unknown", func(t *testing.T) {
		h := newHouse(t, nil)
		h.acquire()
		h.snapshot(boot1)
		synctest.Wait()
		if h.Stats().Serving != 0 {
			t.Fatal("opened without a member set")
		}
		h.SetMembers([]GatewayID{boot1})
		synctest.Wait()
		if h.Stats().Serving != 1 {
			t.Fatal("not opened")
		}
	})
	bubble(t, "snapshots before the table", func(t *testing.T) {
		h := newHouse(t, nil)
		h.SetMembers([]GatewayID{boot1})
		h.epoch = h.log.next(0)
		h.snapshot(boot1, h.reg(boot1, "a", 1, true))
		r := h.reg(boot1, "b", 1, true)
		h.FromGateway(boot1, 0, h.epoch, &r)
		synctest.Wait()
		h.silent(boot1)
		h.Acquire(0, h.epoch)
		time.Sleep(time.Second)
		if frames := h.in.take(boot1); len(frames) != 2 {
			t.Fatalf("%d confirmations, want 2", len(frames))
		}
	})
	bubble(t, "a member that comes while it opens", func(t *testing.T) {
		h := newHouse(t, nil)
		h.SetMembers([]GatewayID{boot1})
		h.log.onRead = func() {
			h.log.onRead = nil
			h.SetMembers([]GatewayID{boot1, boot2})
		}
		h.acquire()
		h.snapshot(boot1)
		synctest.Wait()
		if h.Stats().Serving != 0 {
			t.Fatal("opened with a member set of before")
		}
		h.snapshot(boot2)
		synctest.Wait()
		if h.Stats().Serving != 1 {
			t.Fatal("not opened")
		}
	})
	bubble(t, "no sum over some of the gateways is told", func(t *testing.T) {
		h := newHouse(t, func(c *HostConfig) { c.Workers = 1 })
		h.SetMembers([]GatewayID{boot1, boot2})
		h.acquire()
		for _, id := range []GatewayID{boot1, boot2} {
			r := h.reg(id, "room", 0, true)
			r.Counts[Connections] = 1
			h.snapshot(id, r)
		}
		synctest.Wait()
		for _, id := range []GatewayID{boot1, boot2} {
			if m := one[*Registered](h, id); m.Counts[Connections] != 2 {
				t.Fatalf("%+v", m)
			}
		}
	})
	bubble(t, "an outdated snapshot", func(t *testing.T) {
		h := newHouse(t, nil)
		h.SetMembers([]GatewayID{boot1})
		h.epoch = h.log.next(0)
		h.snapshot(boot1, h.reg(boot1, "a", 1, true))
		h.acquire() // the next epoch
		time.Sleep(time.Second)
		if h.Stats().Serving != 0 {
			t.Fatal("opened with a snapshot of another epoch")
		}
	})
}

func TestRestartGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.graceEnd = time.Now().Add(30 * time.Second)
		h.log.oblige(0, "app", "gone")
		h.log.oblige(0, "app", "back")
		h.serve(boot1)
		time.Sleep(29 * time.Second)
		h.attach(boot1, "back", 1)
		time.Sleep(time.Millisecond)
		h.said("")
		time.Sleep(time.Second + h.log.latency)
		h.said("vacated gone; ")
	})
}

func TestRegisterNeedsASnapshotOfItsEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		if !h.attach(boot2, "room", 1) {
			t.Fatal("a stray register resets the session")
		}
		r := h.reg(boot1, "room", 1, true)
		h.FromGateway(boot1, 0, h.epoch-1, &r)
		time.Sleep(time.Second)
		h.said("")
		h.silent(boot1, boot2)
	})
}

func TestUncommittedBootsAreHeldBackUntilTheyAreMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		h.snapshot(boot2, h.reg(boot2, "a", 1, true))
		h.attach(boot2, "b", 1)
		time.Sleep(time.Second)
		h.said("")
		h.SetMembers([]GatewayID{boot1, boot2})
		time.Sleep(time.Second)
		if n := len(h.in.take(boot2)); n != 2 {
			t.Fatalf("%d confirmations, want 2", n)
		}
		h.SetMembers([]GatewayID{boot1}) // its death
		h.attach(boot2, "a", 5)          // a word of the dead
		h.snapshot(boot2, h.reg(boot2, "a", 5, true))
		synctest.Wait()
		if got := h.query(boot1, "a").Counts; got != (Counts{}) {
			t.Fatalf("the dead hold %v", got)
		}
		time.Sleep(standSettings.VacateDelay + time.Second)
		if h.log.isHeld(0, "a") || h.log.isHeld(0, "b") {
			t.Fatal("not vacated after the death")
		}
	})
}

func TestSnapshotReplacesWhatWasSaidBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1, boot2)
		h.attach(boot1, "stays", 3)
		h.attach(boot1, "goes", 3)
		h.attach(boot2, "goes", 1)
		time.Sleep(time.Second)
		h.in.take(boot1)
		h.in.take(boot2)
		h.snapshot(boot1, h.reg(boot1, "stays", 2, false), h.reg(boot1, "comes", 1, false))
		synctest.Wait()
		for name, want := range map[string]int32{"stays": 2, "goes": 1, "comes": 1} {
			if got := h.query(boot2, name).Counts[Subscribers]; got != want {
				t.Fatalf("%s has %d subscribers, want %d", name, got, want)
			}
		}
	})
}

func TestAskingActivatesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		if m := h.query(boot1, "room"); m.Active || m.Refusal != Accepted {
			t.Fatalf("%+v", m)
		}
		if n := h.activations(); n != 0 {
			t.Fatalf("%d actors", n)
		}
		r := h.reg(boot1, "room", 0, false)
		h.FromGateway(boot1, 0, h.epoch, &r)
		if n := h.activations(); n != 0 {
			t.Fatalf("%d actors after a register of nothing", n)
		}
	})
}

func TestPublishReachesTheGatewaysAndOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1, boot2)
		h.publish(boot1, "room", 1)
		synctest.Wait()
		if m := one[*Published](h, boot1); m.Refusal != Accepted || m.Serial == "" {
			t.Fatalf("%+v", m)
		}
		if m := h.query(boot2, "room"); !m.Active {
			t.Fatal("a publish does not open")
		}
		h.attach(boot1, "room", 1)
		h.attach(boot2, "room", 1)
		time.Sleep(time.Second)
		point := one[*Registered](h, boot2)
		one[*Registered](h, boot1)
		h.publish(boot1, "room", 2)
		synctest.Wait()
		d := one[*Delivery](h, boot2)
		frames := h.in.take(boot1)
		if len(frames) != 2 || frames[0] != ToGateway(d) || frames[1].(*Published).Serial != d.Serial || d.Serial <= point.Serial {
			t.Fatalf("publisher got %+v, the other %+v", frames, d)
		}
	})
}

func TestFullMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *HostConfig) { c.Mailbox, c.Workers = 2, 1 }).serve(boot1)
		h.attach(boot1, "room", 1)
		synctest.Wait()
		release := h.occupyWorkers(1)
		for i := range 3 {
			h.publish(boot1, "room", uint64(i))
		}
		if m := one[*Published](h, boot1); m.Req != 2 || m.Refusal != Busy {
			t.Fatalf("%+v", m)
		}
		kept := 0
		for h.attach(boot1, "room", 1) {
			kept++
		}
		if kept != registerRoom*2-2 {
			t.Fatalf("%d registers were kept", kept)
		}
		time.Sleep(time.Second) // the commit comes in although the mailbox is full
		close(release)
		synctest.Wait()
		h.said("occupied room; ")
		confirmed, published := 0, 0
		for _, f := range h.in.take(boot1) {
			switch m := f.(type) {
			case *Registered:
				confirmed++
			case *Published:
				if m.Refusal == Accepted {
					published++
				}
			}
		}
		if confirmed == 0 || published != 2 {
			t.Fatalf("%d confirmations, %d publishes", confirmed, published)
		}
		if s := h.Stats(); s.MailboxFull != 2 {
			t.Fatalf("%+v", s)
		}
	})
}

// occupyWorkers keeps n workers from doing anything until the returned channel is closed.
func (h *house) occupyWorkers(n int) chan struct{} {
	release := make(chan struct{})
	for range n {
		b := &blocker{release: release}
		b.Init(h.sys, b)
		b.Offer(Input{}, 1)
	}
	synctest.Wait()
	return release
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		h.lease.lost.Store(true)
		h.attach(boot1, "room", 1)
		h.FromGateway(boot1, 0, h.epoch, &List{})
		if m := one[*ListResult](h, boot1); m.Refusal != NotOwner {
			t.Fatalf("%+v", m)
		}
		if m := h.query(boot1, "room"); m.Refusal != NotOwner {
			t.Fatalf("%+v", m)
		}
		time.Sleep(time.Minute)
		h.said("")
		h.silent(boot1)
		h.lease.lost.Store(false)
		time.Sleep(time.Second)
		h.said("occupied room; ")
		one[*Registered](h, boot1)

		h.lease.lost.Store(true)
		h.attach(boot1, "room", 0)
		time.Sleep(time.Minute)
		h.said("occupied room; ") // no timer speaks without a lease
		h.lease.lost.Store(false)
		time.Sleep(time.Second)
		h.said("occupied room; vacated room; ")
	})
}

func TestReleaseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *HostConfig) { c.Workers = 1 }).serve(boot1)
		h.attach(boot1, "room", 1)
		time.Sleep(time.Second)
		one[*Registered](h, boot1)
		release := h.occupyWorkers(1)
		h.publish(boot1, "room", 1)
		h.attach(boot1, "room", 0)
		h.Release(0, h.log.next(0))
		if m := one[*Published](h, boot1); m.Refusal != NotOwner {
			t.Fatalf("a publish that waited: %+v", m)
		}
		close(release)
		h.publish(boot1, "room", 2)
		if m := one[*Published](h, boot1); m.Refusal != NotOwner {
			t.Fatalf("a publish that came later: %+v", m)
		}
		time.Sleep(time.Minute)
		h.said("occupied room; ")
		h.silent(boot1)
		if s := h.Stats(); s.Open != 0 || s.Occupied != 0 || s.Serving != 0 {
			t.Fatalf("%+v", s)
		}
		h.acquire() // comes back
		h.snapshot(boot1)
		time.Sleep(time.Minute)
		h.said("occupied room; vacated room; ")
	})
}

func TestABatchUnderWayIsRefusedAfterRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		release := func() { h.Release(0, h.log.next(0)) }
		h.lease.onHeld.Store(&release) // the channel asks for the lease when it begins its batch
		h.publish(boot1, "room", 1)
		time.Sleep(time.Minute)
		if m := one[*Published](h, boot1); m.Refusal != NotOwner {
			t.Fatalf("%+v", m)
		}
		if s := h.Stats(); s.Open != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestOldAcquireAndReleaseAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.log.next(0)
		h.serve(boot1) // epoch 2
		h.Release(0, 1)
		h.Acquire(0, 1)
		h.Acquire(0, 2)
		if h.Stats().Serving != 1 {
			t.Fatal("an old word ended the tenure")
		}
	})
}

func TestListPagesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 4
		h := newHouse(t, func(c *HostConfig) { c.Partitions = partitions })
		h.SetMembers([]GatewayID{boot1})
		want := 0
		for part := range uint32(partitions) {
			h.Acquire(part, 1)
			h.FromGateway(boot1, part, 1, &Snapshot{})
		}
		synctest.Wait()
		for i := range 500 {
			app, name := fmt.Sprintf("app%d", i%2), fmt.Sprintf("%c-room-%d", 'a'+i%3, i)
			part := ring.Partition(ring.Hash(app, name), partitions)
			h.FromGateway(boot1, part, 1, &Publish{App: app, Name: name})
			if app == "app0" && name[0] == 'b' {
				want++
			}
		}
		synctest.Wait()
		h.in.take(boot1)
		// Walk all partitions with one cursor, as an enumeration does.
		seen := map[string]bool{}
		var after Position
		for part := range uint32(partitions) {
			for {
				h.FromGateway(boot1, part, 1, &List{App: "app0", Prefix: "b-", After: after, Limit: 7})
				page := one[*ListResult](h, boot1)
				if page.Refusal != Accepted || len(page.Channels) > 7 {
					t.Fatalf("%+v", page)
				}
				for _, c := range page.Channels {
					pos := Position{ring.Hash(c.App, c.Name), c.App, c.Name}
					if comparePositions(after, pos) >= 0 || seen[c.Name] {
						t.Fatalf("%v after %v", pos, after)
					}
					seen[c.Name], after = true, pos
				}
				if !page.More {
					break
				}
			}
		}
		if len(seen) != want {
			t.Fatalf("listed %d, want %d", len(seen), want)
		}
		h.FromGateway(boot1, 0, 1, &List{After: after})
		if page := one[*ListResult](h, boot1); len(page.Channels) > 0 || page.More {
			t.Fatalf("a partition behind the cursor listed %+v", page)
		}
	})
}

func TestMisplacedFramesDoNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(c *HostConfig) { c.Partitions = 2 })
		h.SetMembers([]GatewayID{boot1})
		for part := range uint32(2) {
			h.Acquire(part, 1)
			h.FromGateway(boot1, part, 1, &Snapshot{})
		}
		synctest.Wait()
		wrong := 1 - ring.Partition(ring.Hash("app", "room"), 2)
		r := h.reg(boot1, "room", 1, true)
		h.FromGateway(boot1, wrong, 1, &r)
		time.Sleep(time.Second)
		h.silent(boot1)
		for _, part := range []uint32{wrong, 99} {
			h.FromGateway(boot1, part, 1, &Publish{App: "app", Name: "room", Req: 3})
			if m := one[*Published](h, boot1); m.Refusal != NotOwner {
				t.Fatalf("%+v", m)
			}
			h.FromGateway(boot1, part, 1, &Query{App: "app", Name: "room", Req: 3})
			if m := one[*QueryResult](h, boot1); m.Refusal != NotOwner {
				t.Fatalf("%+v", m)
			}
		}
		if s := h.Stats(); s.Strays != 1 || s.Refused != 4 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestTooManyBufferedRegistersResetTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.SetMembers([]GatewayID{boot1, boot2})
		h.acquire()
		h.snapshot(boot1)
		for i := range bufferedMax {
			if !h.attach(boot1, "room", 1) {
				t.Fatalf("register %d was not kept", i)
			}
		}
		if h.attach(boot1, "room", 1) {
			t.Fatal("more were kept than the bound")
		}
		h.snapshot(boot2)
		synctest.Wait()
		if h.Stats().Serving != 0 {
			t.Fatal("opened without what was thrown away")
		}
		h.snapshot(boot1, h.reg(boot1, "room", 1, true))
		time.Sleep(time.Second)
		one[*Registered](h, boot1)
	})
}

func TestSerialsGoOnAboveAChannelsFormerLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		r := h.reg(boot1, "room", 0, true)
		ahead := Stamp{ms: time.Now().UnixMilli(), n: 7}
		for range 4 { // of owners whose clocks were, each a little more
			ahead.ms += 50_000
			r := r
			r.Serial = ahead.serial("elsewhere")
			h.FromGateway(boot1, 0, h.epoch, &r)
			synctest.Wait()
			one[*Registered](h, boot1)
		}
		time.Sleep(2 * standSettings.IdleClose)
		if h.activations() != 0 {
			t.Fatal("still active")
		}
		h.publish(boot1, "room", 1)
		synctest.Wait()
		if m := one[*Published](h, boot1); !ahead.less(parseSerial(m.Serial)) {
			t.Fatalf("%+v", m)
		}
	})
}

func TestCloseWithWorkUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil).serve(boot1)
		for i := range 100 {
			h.attach(boot1, fmt.Sprint("room", i), 1)
		}
		h.Close()
		h.publish(boot1, "room", 1)
		frames := h.in.take(boot1)
		if m, ok := frames[len(frames)-1].(*Published); !ok || m.Refusal != NotOwner {
			t.Fatalf("%+v", frames)
		}
		h.Acquire(0, 99)
		h.SetMembers(nil)
		time.Sleep(time.Minute)
	})
}

// Publishes meet channels that close as fast as they can: each is answered once, in order, and none is lost.
func TestPassivationLosesNoPublish(t *testing.T) {
	h := newHouse(t, func(c *HostConfig) {
		c.Workers = 4
		c.Mailbox = 1 << 20
		c.Settings = func(string, string) Settings { return Settings{} } // close at once
	})
	h.log.latency = 0
	h.SetMembers([]GatewayID{boot1, boot2})
	h.acquire()
	h.snapshot(boot1)
	h.snapshot(boot2)
	for h.Stats().Serving == 0 {
		time.Sleep(time.Millisecond)
	}
	const each = 20000
	var wg sync.WaitGroup
	for _, id := range []GatewayID{boot1, boot2} {
		wg.Go(func() {
			for i := range uint64(each) {
				h.publish(id, fmt.Sprint("room", i%3), i)
			}
		})
	}
	wg.Wait()
	got := map[GatewayID][]ToGateway{}
	for len(got[boot1])+len(got[boot2]) < 2*each {
		for _, id := range []GatewayID{boot1, boot2} {
			got[id] = append(got[id], h.in.take(id)...)
		}
		time.Sleep(time.Millisecond)
	}
	for id, frames := range got {
		answered := map[uint64]bool{}
		var last [3]uint64
		for _, f := range frames {
			m := f.(*Published)
			if m.Refusal != Accepted || answered[m.Req] {
				t.Fatalf("%v: %+v", id, m)
			}
			if m.Req < last[m.Req%3] {
				t.Fatalf("%v: %d answered after %d", id, m.Req, last[m.Req%3])
			}
			answered[m.Req], last[m.Req%3] = true, m.Req
		}
	}
	for h.activations() > 0 {
		time.Sleep(time.Millisecond)
	}
	if s := h.Stats(); s.Open != 0 {
		t.Fatalf("%+v", s)
	}
}
