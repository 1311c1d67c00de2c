package sim

import (
	"strings"
	"testing"
	"time"
)

// scenario runs f on a cluster without clients.
func scenario(t *testing.T, seed uint64, o Options, f func(s *Sim) (*History, []Violation)) {
	t.Helper()
	o.Clients = -1
	if h, found := inBubble(t, seed, o, f); len(found) > 0 {
		Report(t.Output(), seed, nil, h, found)
		t.Fail()
	}
}

func TestKilledWithItsClients(t *testing.T) {
	t.Parallel()
	channels := 2000
	if brief() {
		channels = 200
	}
	for _, role := range []Role{Leads, Owns, Neither} {
		t.Run(role.String(), func(t *testing.T) {
			began := time.Now()
			scenario(t, 7, Options{Channels: channels, Partitions: 128, VacateDelay: 5 * time.Second, Hasty: true}, func(s *Sim) (*History, []Violation) {
				return s.KilledWithItsClients(role)
			})
			t.Logf("%d channels a side in %.1f s", channels, time.Since(began).Seconds())
		})
	}
}

func TestAllKilled(t *testing.T) {
	t.Parallel()
	scenario(t, 7, Options{Channels: 250, Partitions: 128, VacateDelay: 5 * time.Second, RestartGrace: 30 * time.Second}, (*Sim).AllKilled)
}

func TestTwoFirstAttaches(t *testing.T) {
	t.Parallel()
	times := 1000
	if brief() {
		times = 100
	}
	scenario(t, 7, Options{}, func(s *Sim) (*History, []Violation) { return s.FirstAttaches(times) })
}

func TestListingUnderChurn(t *testing.T) {
	t.Parallel()
	open := 20_000
	if brief() {
		open = 2000
	}
	scenario(t, 7, Options{Partitions: 128, NoHooks: true}, func(s *Sim) (*History, []Violation) {
		found, names := s.Listing(open, 5)
		t.Logf("%d names in 5 listings", names)
		return s.rec.History(), found
	})
}

func TestMoveBehindCut(t *testing.T) {
	t.Parallel()
	scenario(t, 7, Options{Nodes: 5, Channels: 40}, (*Sim).MoveBehindCut)
}

func TestAttachBehindCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		scenario(t, seed, Options{Channels: 40}, (*Sim).AttachBehindCut)
	}
}

func TestContinuity(t *testing.T) {
	t.Parallel()
	kills := 6
	if brief() {
		kills = 2
	}
	scenario(t, 7, Options{Nodes: 5, Channels: 6}, func(s *Sim) (*History, []Violation) { return s.Continuity(kills) })
}

func TestOutOfTurn(t *testing.T) {
	t.Parallel()
	scenario(t, 7, Options{Nodes: 5, Channels: 12, Partitions: 128}, func(s *Sim) (*History, []Violation) {
		h, found := s.OutOfTurn()
		refused := 0
		for _, m := range h.Messages {
			if strings.Contains(m.Refused, "80020") {
				refused++
			}
		}
		if refused == 0 {
			t.Error("nothing was said again that nobody knows")
		}
		t.Logf("%d of %d publishes came again out of their turn", refused, len(h.Messages))
		return h, found
	})
}

func TestCalm(t *testing.T) {
	t.Parallel()
	if h, found := inBubble(t, 7, Options{}, func(s *Sim) (*History, []Violation) { return s.Calm(30 * time.Second) }); len(found) > 0 {
		Report(t.Output(), 7, nil, h, found)
		t.Fail()
	}
}

func TestForgetting(t *testing.T) {
	t.Parallel()
	h, found := inBubble(t, 7, Options{Clients: 40, Channels: 200, EventsMax: 100}, (*Sim).Forgetting)
	if len(found) > 0 {
		Report(t.Output(), 7, nil, h, found)
		t.Fail()
	}
	if n := tallyOf(h, nil).Gaps; n == 0 {
		t.Error("nothing was forgotten")
	}
}

func TestMoveWhileVacating(t *testing.T) {
	t.Parallel()
	rounds := 6
	if brief() {
		rounds = 2
	}
	scenario(t, 7, Options{Nodes: 5, Channels: 10, NoHooks: true}, func(s *Sim) (*History, []Violation) { return s.MoveWhileVacating(rounds) })
}

func TestBadDisks(t *testing.T) {
	t.Parallel()
	var schedule Schedule
	for i, share := range []float64{0, 0.5, 1} {
		schedule = append(schedule, Fault{At: time.Duration(i) * 20 * time.Second, Kind: BadDisk, Node: i, Share: share, For: time.Second})
	}
	schedule = append(schedule, Fault{At: time.Minute, Kind: FullDisk, For: 10 * time.Second})
	if h, found := inBubble(t, 7, Options{}, func(s *Sim) (*History, []Violation) { return s.Run(schedule) }); len(found) > 0 {
		Report(t.Output(), 7, schedule, h, found)
		t.Fail()
	}
}

func TestDeafGossip(t *testing.T) {
	t.Parallel()
	scenario(t, 7, Options{Nodes: 5, Channels: 20}, (*Sim).DeafGossip)
}

func TestLateWord(t *testing.T) {
	t.Parallel()
	scenario(t, 7, Options{Nodes: 5, Hasty: true}, (*Sim).LateWord)
}

func TestHandedOver(t *testing.T) {
	t.Parallel()
	scenario(t, 7, Options{Channels: 12}, func(s *Sim) (*History, []Violation) { return s.HandedOver(3) })
}

// What keeps the copies is asked anew with each member of a new cluster; none of the moves may wait for one in vain.
func TestNewClusterIsSharedOut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		scenario(t, seed, Options{Nodes: 5}, func(s *Sim) (*History, []Violation) {
			if !s.Ready() || !await(3*time.Second, 50*time.Millisecond, s.Even) {
				s.fail("seed %d: the partitions are not shared out soon", seed)
			}
			return s.rec.History(), s.Failures()
		})
	}
}
