package channel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cluster/ring"
)

// deafHosts is a host without others.
type deafHosts struct{}

func (deafHosts) ToHost(GatewayID, uint64, uint32, uint64, ToHost) bool { return true }

// cutHouse is a house whose ring is cut anew.
type cutHouse struct {
	*house
	table ring.Table
}

func newCutHouse(t *testing.T, n int) *cutHouse {
	h := &cutHouse{house: newHouse(t, func(c *HostConfig) {
		c.Partitions, c.Hosts, c.Self = n, deafHosts{}, boot1
		c.Settings = func(string, string) Settings {
			s := standSettings
			s.Retention = 2 * time.Minute
			return s
		}
	})}
	h.table = ring.Table{Slots: make([]ring.Slot, n)}
	h.SetMembers([]GatewayID{boot1})
	h.own(1)
	return h
}

// cut gives n partitions an epoch above all before.
func (h *cutHouse) cut(n int) {
	before := h.table
	h.table = ring.Table{Slots: make([]ring.Slot, n), Began: h.epoch + 1}
	for range before.Slots {
		h.table.Before = append(h.table.Before, h.epoch)
	}
	for i := range h.table.Slots {
		h.table.Slots[i].Epoch = h.epoch + 1
	}
	h.log.begin(n, h.epoch+1)
}

// own acquires all partitions.
func (h *cutHouse) own(epoch uint64) {
	h.epoch = epoch
	h.log.begin(len(h.table.Slots), epoch)
	for part := range h.table.Slots {
		h.Acquire(uint32(part), epoch)
	}
}

func (h *cutHouse) part(name string) uint32 {
	return ring.Partition(ring.Hash("app", name), len(h.table.Slots))
}

// registerAll sends a Snapshot per partition, with one subscriber on each channel.
func (h *cutHouse) registerAll(epoch uint64, names ...string) {
	for part := range uint32(len(h.table.Slots)) {
		s := &Snapshot{}
		for _, name := range names {
			if h.part(name) == part {
				s.Registers = append(s.Registers, h.reg(boot1, name, 1, false))
			}
		}
		h.FromGateway(boot1, part, epoch, s)
	}
	synctest.Wait()
}

func (h *cutHouse) say(name, id string) string {
	h.t.Helper()
	h.FromGateway(boot1, h.part(name), h.epoch, &Publish{App: "app", Name: name, Req: 1, ID: id, Messages: []Message{{Name: "m"}}})
	synctest.Wait()
	for _, f := range h.in.take(boot1) {
		if p, ok := f.(*Published); ok && p.Refusal == Accepted {
			return p.Serial
		}
	}
	h.t.Fatalf("the publish %s on %s was not taken", id, name)
	return ""
}

// Channels, their messages and what is known of them go from layout to layout; the log hears of nothing.
func TestLayoutsTakeEverythingAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newCutHouse(t, 8)
		var names []string
		for i := range 40 {
			names = append(names, fmt.Sprint("room-", i))
		}
		h.registerAll(1, names...)
		time.Sleep(time.Second)
		if s := h.Stats(); s.Serving != 8 || s.Occupied != 40 {
			t.Fatalf("%+v", s)
		}
		said := h.log.said()
		serials := map[string]string{}
		for _, name := range names {
			serials[name] = h.say(name, "first on "+name)
		}
		for _, n := range []int{32, 8, 64, 16} {
			// What the log holds is grouped anew as well.
			held := map[uint32]map[key]Held{}
			h.cut(n)
			for _, name := range names {
				if p := h.part(name); held[p] == nil {
					held[p] = map[key]Held{}
				}
				held[h.part(name)][key{"app", name}] = Held{App: "app", Name: name}
			}
			h.log.mu.Lock()
			h.log.held = held
			h.log.mu.Unlock()
			h.Layout(h.table)
			if s := h.Stats(); s.Open != 0 || s.Serving+s.Rebuilding != 0 {
				t.Fatalf("%d partitions: something is left of the layout before: %+v", n, s)
			}
			h.own(h.table.Began)
			h.registerAll(h.epoch, names...)
			if s := h.Stats(); s.Serving != n || s.Occupied != 40 || s.Open != 40 {
				t.Fatalf("%d partitions: %+v", n, s)
			}
			for _, name := range names {
				if again := h.say(name, "first on "+name); again != serials[name] {
					t.Fatalf("%d partitions: a publish that is known got %s, and %s at first", n, again, serials[name])
				}
				if next := h.say(name, fmt.Sprint(n, " on ", name)); next <= serials[name] {
					t.Fatalf("%d partitions: serial %s after %s", n, next, serials[name])
				}
			}
			time.Sleep(5 * time.Second)
			if now := h.log.said(); now != said {
				t.Fatalf("%d partitions: the log heard %q", n, now[len(said):])
			}
		}
	})
}

// What is said for a layout before its table is here waits for it, whether its partition had been there or not; what is
// said for the one before is late.
func TestEarlyAndLateFramesOfALayout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newCutHouse(t, 8)
		h.registerAll(1)
		room, old := "", uint32(0)
		for i := 0; room == "" || h.part(room) == 0; i++ {
			room = fmt.Sprint("room-", i)
		}
		old = h.part(room)
		h.cut(64)
		// All of the new session comes first, its registers in a frame of their own.
		h.registerAll(2)
		r := h.reg(boot1, room, 3, true)
		h.FromGateway(boot1, h.part(room), 2, &r)
		if s := h.Stats(); s.Open != 0 || s.Serving != 8 {
			t.Fatalf("what is early has had an effect: %+v", s)
		}
		h.Layout(h.table)
		h.own(2)
		time.Sleep(time.Second)
		if m := one[*Registered](h.house, boot1); m.Version != r.Version || m.Counts[Subscribers] != 3 {
			t.Fatalf("%+v", m)
		}
		strays := h.Stats().Strays
		late := h.reg(boot1, room, 7, true)
		h.FromGateway(boot1, old, 1, &Snapshot{Registers: []Register{late}})
		h.FromGateway(boot1, old, 1, &late)
		h.FromGateway(boot1, h.part(room), 1, &late)
		h.FromGateway(boot1, 4000, 1, &Snapshot{}) // of no layout there was
		synctest.Wait()
		h.silent(boot1)
		h.FromGateway(boot1, old, 1, &Publish{App: "app", Name: room, Req: 1})
		if m := one[*Published](h.house, boot1); m.Refusal != NotOwner {
			t.Fatalf("%+v", m)
		}
		if s := h.Stats(); s.Strays != strays+4 {
			t.Errorf("%d strays, want %d", s.Strays, strays+4)
		}
		h.Layout(h.table) // said twice changes nothing
		if s := h.Stats(); s.Serving != 64 {
			t.Errorf("%+v", s)
		}
	})
}

// Pages of a copy have every publish of their range once, however small they are.
func TestPagesOfAPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		h := newCutHouse(t, 8)
		h.registerAll(1)
		want := map[string][]string{}
		for i := range 400 {
			name := fmt.Sprint("room-", rnd.IntN(60))
			want[name] = append(want[name], h.say(name, fmt.Sprint(i)))
		}
		h.cut(32)
		h.Layout(h.table)
		l := h.layout.Load()
		got := map[string][]string{}
		for part := range l.parts {
			p := &l.parts[part]
			for _, c := range p.pastCopies() {
				if c.Of != ownersOwn || !c.Complete {
					t.Fatalf("%+v", c)
				}
				for at, more := (PastPlace{}), true; more; {
					page := p.pastPage(c.Part, at, 1+rnd.IntN(2000))
					for _, ch := range page.Channels {
						if h.part(ch.Name) != p.id {
							t.Fatalf("%s is not in partition %d", ch.Name, p.id)
						}
						for _, d := range ch.Deliveries {
							got[ch.Name] = append(got[ch.Name], d.Serial)
						}
					}
					at, more = page.Next, page.More
				}
			}
		}
		for name, serials := range want {
			if !slices.Equal(got[name], serials) {
				t.Errorf("%s: %d publishes came, want %d", name, len(got[name]), len(serials))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d channels came, want %d", len(got), len(want))
		}
		h.Settled(0)
		if l.parts[0].pastCopies() == nil {
			t.Error("another layout's end let the past go")
		}
		h.Settled(l.began)
		if l.parts[0].pastCopies() == nil {
			t.Error("the past is gone before followers can have everything")
		}
		time.Sleep(2*time.Minute + time.Second)
		h.Settled(l.began)
		if l.parts[0].pastCopies() != nil {
			t.Error("the past is kept although nobody needs it")
		}
	})
}
