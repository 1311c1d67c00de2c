package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// minute is one entry of GET /stats.
type minute struct {
	IntervalID string             `json:"intervalId"`
	InProgress string             `json:"inProgress"`
	Entries    map[string]float64 `json:"entries"`
}

// stats reads the figures of a unit, oldest first.
func stats(t *testing.T, s *Sim, node int, unit string) (list []minute) {
	t.Helper()
	if _, err := s.Reader.get(context.Background(), node, "/stats?v=6&direction=forwards&limit=1000&unit="+unit, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// peak is the greatest of a figure.
func peak(list []minute, name string) (n float64) {
	for _, m := range list {
		n = max(n, m.Entries[name])
	}
	return n
}

// total is the sum of a figure.
func total(list []minute, name string) (n float64) {
	for _, m := range list {
		n += m.Entries[name]
	}
	return n
}

// TestPeaksSurvive opens channels up to a peak and kills an owner, the leader and then everybody: the figures say what
// there was, neither doubled nor begun anew.
func TestPeaksSurvive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		hurt func(t *testing.T, s *Sim)
	}{
		{"owner", func(t *testing.T, s *Sim) { restart(t, s, false) }},
		{"leader", func(t *testing.T, s *Sim) { restart(t, s, true) }},
		{"everybody", func(t *testing.T, s *Sim) {
			for _, n := range s.Nodes() {
				n.Kill(true)
			}
			for _, n := range s.Nodes() {
				n.Start()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, err := New(11, Options{Clients: -1, NoHooks: true, Hasty: true})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				awaitEven(t, s)
				const users = 30
				var clients []*Client
				for i := range users {
					cl := s.AddClient()
					clients = append(clients, cl)
					cl.Connect(i % 3)
					cl.Attach(fmt.Sprintf("own:%d", i), Subscribe)
					cl.Attach("shared", Subscribe)
				}
				settled := func() {
					t.Helper()
					if !await(time.Minute, 100*time.Millisecond, func() bool {
						for _, cl := range clients {
							if !cl.Settled() {
								return false
							}
						}
						return true
					}) {
						t.Fatal("clients are not where they want to be")
					}
				}
				settled()
				time.Sleep(2500 * time.Millisecond) // two samples at the peak, and a commit
				c.hurt(t, s)
				awaitEven(t, s)
				settled()
				time.Sleep(3 * time.Minute) // minutes are over, all of which had the peak
				for node := range s.Nodes() {
					for _, unit := range []string{"minute", "hour", "day", "month"} {
						list := stats(t, s, node, unit)
						if got := peak(list, "channels.peak"); got != users+1 {
							t.Errorf("node %d: peak channels of a %s are %v, want %d: %+v", node, unit, got, users+1, list)
						}
						if got := peak(list, "connections.all.peak"); got != users {
							t.Errorf("node %d: peak connections of a %s are %v, want %d", node, unit, got, users)
						}
						opened := 0.0
						for _, m := range list {
							opened += m.Entries["channels.opened"]
						}
						if c.name != "everybody" && opened != users+1 {
							t.Errorf("node %d: by %ss %v channels were opened, want %d", node, unit, opened, users+1)
						}
					}
				}
				before := stats(t, s, 0, "minute")[0]
				if got := before.Entries["channels.peak"]; got != users+1 {
					t.Errorf("the minute of the fault has a peak of %v, want %d: %+v", got, users+1, before)
				}
				for _, cl := range clients {
					cl.Close()
				}
				time.Sleep(3 * time.Minute)
				last := stats(t, s, 0, "hour")
				if got := last[len(last)-1].Entries["channels.peak"]; got != users+1 {
					t.Errorf("the hour's peak is %v after all have gone, want %d", got, users+1)
				}
			})
		})
	}
}

// restart kills a node, the leader or another one, with the connections on it, and starts it again.
func restart(t *testing.T, s *Sim, leader bool) {
	t.Helper()
	l := s.Leader()
	if l == nil {
		t.Fatal("nobody leads")
	}
	victim := l
	if !leader {
		victim = s.Nodes()[(l.Index+1)%3]
	}
	victim.Kill(true)
	time.Sleep(10 * time.Second)
	victim.Start()
}
