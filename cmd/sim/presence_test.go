package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var presenceSeeds = flag.Int("presence.seeds", 12, "how many runs TestPresence plays")

// quietWait is how long it may take after the last fault until everybody agrees: members of who is lost stay 15 s.
const quietWait = 45 * time.Second

// TestPresence lets guests come and go on channels while nodes are killed, stopped and cut off and sockets break. A node
// falls only when the one before is back and copies are made: members outlive one death at a time. Nobody whose connection
// lives may be seen leaving, and whenever it is quiet all guests and all nodes agree on who is there.
func TestPresence(t *testing.T) {
	t.Parallel()
	seeds := uint64(*presenceSeeds)
	if brief() {
		seeds = 3
	}
	if *oneSeed >= 0 {
		playPresence(t, uint64(*oneSeed))
		return
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			playPresence(t, seed)
		})
	}
}

func playPresence(t *testing.T, seed uint64) {
	h, found := inBubble(t, seed, Options{Clients: -1, NoHooks: true}, func(s *Sim) (*History, []Violation) {
		if !s.Ready() {
			return s.rec.History(), []Violation{{Promise: "presence", Text: "the cluster is never ready"}}
		}
		p := &party{sim: s}
		for i := range 5 {
			p.names = append(p.names, fmt.Sprint("room:", i))
		}
		p.invite(9)
		rng := s.random(4711)
		for round := range 4 {
			for range 3 {
				p.stir(rng, 6*time.Second)
				p.fault(rng)
			}
			if !await(quietWait, 500*time.Millisecond, func() bool { return p.disagreement() == "" }) {
				p.blame("round %d: %s", round, p.disagreement())
				break
			}
			if round == 2 { // one goes in order, another without a word
				p.guests[0].close(true)
				p.guests[1].close(false)
			}
		}
		var found []Violation
		for _, w := range append(p.wrong, s.failures...) {
			found = append(found, Violation{Promise: "presence", Text: w, At: time.Now()})
		}
		t.Logf("%d leaves that nobody said, continuity lost %d times", p.leaves, p.lost)
		return s.rec.History(), found
	})
	if len(found) > 0 {
		Report(t.Output(), seed, nil, h, found)
		t.Fail()
	}
}

// stir has guests say something now and then.
func (p *party) stir(rng *rand.Rand, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond) {
		g := p.guests[rng.IntN(len(p.guests))]
		g.mu.Lock()
		online := g.online
		g.mu.Unlock()
		if !online {
			continue
		}
		name := p.names[rng.IntN(len(p.names))]
		e := presenceEntry{ClientID: fmt.Sprintf("%s-%d", g.name, rng.IntN(3)), Action: memberEnter + rng.IntN(3)}
		if e.Action != memberLeave {
			e.Data = fmt.Sprint(rng.IntN(1000))
		}
		switch rng.IntN(12) {
		case 0:
			g.drop()
		default:
			g.say(name, e)
		}
	}
}

// fault does something to a node, and waits until copies are made anew.
func (p *party) fault(rng *rand.Rand) {
	s := p.sim
	n := s.Nodes()[rng.IntN(len(s.Nodes()))]
	switch rng.IntN(4) {
	case 0, 1:
		s.note("node %d is killed", n.Index)
		s.Net.Isolate(n.IP) // at one stroke: a process that is killed says nothing while its connections end one by one
		n.Kill(rng.IntN(2) == 0)
		s.Net.Rejoin(n.IP)
		p.stir(rng, 4*time.Second)
		n.Start()
	case 2:
		s.note("node %d is stopped", n.Index)
		n.Stop()
		p.stir(rng, 3*time.Second)
		n.Start()
	case 3:
		s.cutOff(n, 8*time.Second)
	}
	s.Ready()
	p.stir(rng, 6*time.Second)
}
