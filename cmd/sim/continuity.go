package sim

import (
	"context"
	"fmt"
	"sync"
	"time"

	"innkeeper/cluster/ring"
)

// Continuity lets clients talk, drop their connections and resume, while the owner of one channel after another is killed
// with time enough in between for copies to be whole again. Nobody may be told of a gap. Options.Clients must be negative,
// and Options.Channels is how many channels there are.
func (s *Sim) Continuity(kills int) (*History, []Violation) {
	s.rec.record(func(h *History) { h.Gentle = true })
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	const each = 3 // channels of a client
	var channels []string
	for i := range s.Options.Channels {
		channels = append(channels, fmt.Sprintf("room:talk-%d", i))
	}
	var clients []*Client
	for i := range 2 * s.Options.Channels {
		c := s.AddClient()
		c.Connect(i % s.Options.Nodes)
		for k := range each {
			c.Attach(channels[(i+k)%len(channels)], 0)
		}
		clients = append(clients, c)
	}
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("clients cannot attach before anything happens")
	}
	s.Follow()
	talking, stop := context.WithCancel(s.ctx)
	defer stop()
	var wg sync.WaitGroup
	for i, c := range clients {
		rng := s.random(uint64(c.ID) + 5000)
		wg.Go(func() {
			for n := 0; talking.Err() == nil; n++ {
				time.Sleep(between(rng, 50*time.Millisecond, time.Second))
				c.Publish(channels[(i+rng.IntN(each))%len(channels)])
				if rng.IntN(12) == 0 {
					c.Renew()
				}
			}
		})
	}
	for k := range kills {
		time.Sleep(copyTime)
		victim := s.ownerOf(channels[k%len(channels)])
		if victim == nil {
			break
		}
		// Some are away when it happens: what was published meanwhile they hear of the next owner.
		for i, c := range clients {
			if i%3 == k%3 {
				c.Drop(false)
			}
		}
		time.Sleep(time.Second)
		s.wg.Go(func() { s.down(victim, Fault{For: 3 * time.Second, Orderly: k%2 == 0}) })
		time.Sleep(2 * time.Second)
		for i, c := range clients {
			if i%3 == k%3 {
				c.Connect((victim.Index + 1) % s.Options.Nodes)
			}
		}
	}
	time.Sleep(copyTime)
	stop()
	wg.Wait()
	h, found := s.Finish()
	return h, append(found, CheckNoGap(h)...)
}

// copyTime is surely enough for a node to join and for followers to have everything.
const copyTime = 15 * time.Second

// OutOfTurn has a client publish while the answer to what it said first does not come, so that it is told of nothing behind
// that, then kills the owner of its channels together with whoever has their copies, lets it publish more, and takes it to
// another node, where it says everything again. Nothing may be put behind what it published later. It needs five nodes, and
// partitions enough that any node owns and follows one.
func (s *Sim) OutOfTurn() (*History, []Violation) {
	st, err := s.sharedOut()
	if err != nil {
		s.fail("%v", err)
		return s.rec.History(), s.Failures()
	}
	leader := s.byID(st.Leader)
	other := func(k int) *Node { return s.Nodes()[(leader.Index+k)%s.Options.Nodes] }
	gateway, silent, owner, follower := other(1), other(2), other(3), other(4)
	channelsOf := func(n int, owner, follower *Node) (names []string) {
		for i := 0; len(names) < n; i++ {
			name := fmt.Sprintf("room:turn-%d", i)
			slot := st.Table[ring.Partition(ring.Hash(App, name), s.Options.Partitions)]
			if slot.Owner == owner.ID() && (follower == nil || slot.Follower == follower.ID()) {
				names = append(names, name)
			}
		}
		return names
	}
	first, channels := channelsOf(1, silent, nil)[0], channelsOf(s.Options.Channels, owner, follower)
	talker, listener := s.AddClient(), s.AddClient()
	talker.Connect(gateway.Index)
	talker.Attach(first, Publish)
	listener.Connect(leader.Index)
	for _, name := range channels {
		listener.Attach(name, 0)
	}
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("clients cannot attach before anything happens")
	}
	s.Follow()
	time.Sleep(copyTime)
	s.note("nodes %d and %d are cut", gateway.Index, silent.Index)
	s.cut(gateway, silent, false)
	talker.Publish(first)
	for _, name := range channels {
		talker.Publish(name)
	}
	time.Sleep(500 * time.Millisecond)
	for _, n := range []*Node{owner, follower} {
		s.wg.Go(func() { s.down(n, Fault{For: 10 * time.Second}) })
	}
	time.Sleep(100 * time.Millisecond)
	for _, name := range channels {
		talker.Publish(name)
	}
	time.Sleep(6 * time.Second)
	talker.Drop(false)
	s.heal(gateway, silent, false)
	talker.Connect(leader.Index)
	time.Sleep(healWait)
	return s.Finish()
}

// Calm lets channels come and go while nothing is hurt. Each event must be sent once, and not again.
func (s *Sim) Calm(span time.Duration) (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	s.churn(span)
	h, found := s.Finish()
	return h, append(found, CheckOnce(h)...)
}

// churn lets all clients do what they do for a while.
func (s *Sim) churn(span time.Duration) {
	ctx, stop := context.WithTimeout(s.ctx, span)
	defer stop()
	var wg sync.WaitGroup
	for _, c := range s.Clients() {
		rng := s.random(uint64(c.ID) + 5000)
		wg.Go(func() { s.script(ctx, c, rng) })
	}
	wg.Wait()
}

// Forgetting lets more happen than is kept while the receiver is down, and restarts everything in between, from snapshots
// of the log. The receiver must be told of the gap. Options.EventsMax must be set.
func (s *Sim) Forgetting() (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	s.Follow()
	s.churn(10 * time.Second)
	s.Hooks.SetMode(HookError)
	s.note("webhooks: %v", HookError)
	s.churn(40 * time.Second)
	s.hurt(Fault{Kind: KillAll, For: 2 * time.Second})
	if !await(readyWait, 100*time.Millisecond, s.Ready) {
		s.fail("the cluster does not get ready again")
	}
	s.churn(20 * time.Second)
	s.Hooks.SetMode(HookOK)
	s.note("webhooks: %v", HookOK)
	time.Sleep(healWait)
	return s.Finish()
}

// MoveWhileVacating moves partitions, again and again, while the leader's disk is slow, so that what owners propose is
// often still under way when they no longer are, and while channels empty and fill again all the time.
func (s *Sim) MoveWhileVacating(rounds int) (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	var clients []*Client
	for i := range 2 * s.Options.Nodes {
		c := s.AddClient()
		c.Connect(i % s.Options.Nodes)
		clients = append(clients, c)
	}
	s.Follow()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, c := range clients {
		for k := range s.Options.Channels {
			rng := s.random(uint64(i*s.Options.Channels+k) + 5000)
			wg.Go(func() {
				name := fmt.Sprintf("fast:move-%d-%d", i, k)
				for {
					c.Attach(name, 0)
					if pause(stop, between(rng, 0, 300*time.Millisecond)) {
						return
					}
					c.Detach(name)
					// About when the vacate delay is over.
					if pause(stop, 900*time.Millisecond+between(rng, 0, 400*time.Millisecond)) {
						return
					}
				}
			})
		}
	}
	for r := range rounds {
		time.Sleep(5 * time.Second)
		if leader := s.Leader(); leader != nil {
			wg.Go(func() { s.slowDisk(leader, Fault{For: 8 * time.Second, Delay: 300 * time.Millisecond}) })
			s.hurt(Fault{Kind: StopNode, Node: (leader.Index + 1 + r%(s.Options.Nodes-1)) % s.Options.Nodes, For: 2 * time.Second})
		}
		time.Sleep(5 * time.Second)
	}
	close(stop)
	wg.Wait()
	time.Sleep(healWait)
	return s.Finish()
}

// pause waits and says whether it was stopped.
func pause(stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-stop:
		return true
	case <-t.C:
		return false
	}
}
