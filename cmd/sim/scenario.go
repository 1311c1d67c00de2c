package sim

import (
	"fmt"
	"sync"
	"time"

	"innkeeper/cluster"
)

// Role says what a node is to the cluster when it is killed.
type Role uint8

// The roles.
const (
	Leads   Role = iota // it leads
	Owns                // it owns the partitions of all that its clients hold, and does not lead
	Neither             // it does not lead, and others own what its clients hold
)

func (r Role) String() string { return [...]string{"leader", "owner", "neither"}[r] }

// perClient is how many channels one connection may hold.
const perClient = 200

// KilledWithItsClients kills a node in the instant in which all its clients vanish too. Each channel that only they held
// must get exactly one vacated, decided within the vacate delay and 3 s, and no other channel any. Options.Channels is
// how many channels each of the two sides holds; Options.Clients must be negative, and Options.Hasty true: the 3 s are
// for elections as fast as they are in a real cluster.
func (s *Sim) KilledWithItsClients(role Role) (*History, []Violation) {
	victim, mine, theirs, err := s.sides(role)
	if err != nil {
		s.fail("%v", err)
		return s.rec.History(), s.Failures()
	}
	doomed := s.holders(mine, victim.Index)
	s.holders(theirs, (victim.Index+1)%s.Options.Nodes, (victim.Index+2)%s.Options.Nodes)
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("clients cannot attach before anything happens")
	}
	s.Follow()
	time.Sleep(time.Second)

	for _, c := range doomed {
		c.Vanish()
	}
	s.note("node %d (%v) is killed with its clients", victim.Index, role)
	killed := time.Now()
	victim.Kill(true)
	limit := s.Options.VacateDelay + 3*time.Second
	time.Sleep(limit + time.Second)
	survivor := (victim.Index + 1) % s.Options.Nodes
	found := onlyVacated(s.logOf(survivor), mine, killed, limit)
	victim.Start()
	time.Sleep(healWait)
	h, more := s.Finish()
	return h, append(found, more...)
}

// sides chooses the victim and names the channels of both sides.
func (s *Sim) sides(role Role) (victim *Node, mine, theirs []string, err error) {
	if !s.Ready() {
		return nil, nil, nil, fmt.Errorf("the new cluster does not get ready")
	}
	st, err := s.Status()
	if err != nil {
		return nil, nil, nil, err
	}
	leader := s.byID(st.Leader)
	if leader == nil {
		return nil, nil, nil, fmt.Errorf("nobody leads a ready cluster")
	}
	victim = leader
	if role != Leads {
		victim = s.Nodes()[(leader.Index+1+int(s.Seed%2))%s.Options.Nodes]
	}
	for i := 0; len(mine) < s.Options.Channels && i < 100*s.Options.Channels; i++ {
		name := fmt.Sprintf("room:mine-%d", i)
		if role == Leads || (s.Owner(st, name) == victim) == (role == Owns) {
			mine = append(mine, name)
		}
	}
	for i := range s.Options.Channels {
		theirs = append(theirs, fmt.Sprintf("room:theirs-%d", i))
	}
	return victim, mine, theirs, nil
}

// holders brings up clients that hold channels, spread over nodes.
func (s *Sim) holders(channels []string, nodes ...int) []*Client {
	var out []*Client
	// Several clients even for few channels, so that every node has some.
	each := min(perClient, len(channels)/(2*len(nodes))+1)
	for i, name := range channels {
		if i%each == 0 {
			c := s.AddClient()
			c.Connect(nodes[len(out)%len(nodes)])
			out = append(out, c)
		}
		out[len(out)-1].Attach(name, 0)
	}
	return out
}

// logOf reads a node's log.
func (s *Sim) logOf(node int) []Event {
	log, err := s.Reader.Events(s.ctx, node, 0)
	if err != nil {
		s.fail("node %d does not tell its log: %v", node, err)
	}
	return log
}

// onlyVacated judges that since an instant each of some channels got one vacated, decided within a limit, and nothing
// else happened.
func onlyVacated(log []Event, channels []string, since time.Time, limit time.Duration) []Violation {
	l := list{promise: "G2"}
	owed := make(map[string]int)
	for _, c := range channels {
		owed[c] = 1
	}
	for _, e := range log {
		switch {
		case at(e).Before(since.Truncate(time.Millisecond)):
		case e.Type == Occupied:
			l.add(e.Channel, at(e), "occupied %d at %s, and nobody came", e.Seq, clock(at(e)))
		case owed[e.Channel] == 0:
			l.add(e.Channel, at(e), "vacated %d at %s, and nobody left", e.Seq, clock(at(e)))
		default:
			owed[e.Channel]--
			if d := at(e).Sub(since); d > limit {
				l.add(e.Channel, at(e), "vacated %d was decided %v after the kill, later than %v", e.Seq, d, limit)
			}
		}
	}
	for _, c := range sorted(owed) {
		if owed[c] > 0 {
			l.add(c, since, "not vacated within %v after the kill", limit)
		}
	}
	return l.found
}

// AllKilled kills every node at once while webhooks fail and their events wait. Half of the clients come back within the
// restart grace and must cause no event; what the others held must be vacated once; what waited must arrive under its old
// ids. Options.Channels is how many channels each half holds; Options.Clients must be negative.
func (s *Sim) AllKilled() (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	s.Hooks.SetMode(HookError)
	var stay, leave []string
	for i := range s.Options.Channels {
		stay = append(stay, fmt.Sprintf("room:stay-%d", i))
		leave = append(leave, fmt.Sprintf("room:go-%d", i))
	}
	s.holders(stay, 0, 1, 2)
	leaving := s.holders(leave, 0, 1, 2)
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("clients cannot attach before anything happens")
	}
	s.Follow()
	time.Sleep(2 * followEvery)

	s.note("all nodes are killed")
	killed := time.Now()
	for _, c := range leaving {
		c.Vanish()
	}
	var wg sync.WaitGroup
	for i, n := range s.Nodes() {
		wg.Go(func() {
			n.Kill(i%2 == 0)
			time.Sleep(2*time.Second + time.Duration(i)*300*time.Millisecond)
			n.Start()
		})
	}
	wg.Wait()
	s.note("all nodes are started")
	if !s.Ready() {
		s.fail("the cluster does not get ready again")
	}
	s.Hooks.SetMode(HookOK)
	limit := s.Options.RestartGrace + s.Options.VacateDelay + 10*time.Second
	time.Sleep(limit)
	found := onlyVacated(s.logOf(0), leave, killed, limit)
	h, more := s.Finish()
	return h, append(found, more...)
}

// FirstAttaches lets two clients on two nodes attach to a channel at the same instant, again and again. Each channel must
// get exactly one occupied.
func (s *Sim) FirstAttaches(times int) (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	a, b := s.AddClient(), s.AddClient()
	a.Connect(0)
	b.Connect(1)
	await(settleWait, 10*time.Millisecond, s.settled)
	for i := range times {
		name := fmt.Sprintf("fast:race-%d", i)
		a.Attach(name, 0)
		b.Attach(name, 0)
		if !await(settleWait, 5*time.Millisecond, s.settled) {
			s.fail("%s: clients cannot attach", name)
			break
		}
		a.Detach(name)
		b.Detach(name)
	}
	h, found := s.Finish()
	l := list{promise: "G1"}
	logs := byChannel(h.Log())
	for i := range times {
		name := fmt.Sprintf("fast:race-%d", i)
		if n := len(logs[name]); n != 2 {
			l.add(name, h.End, "%d events instead of one occupied and one vacated", n)
		}
	}
	return h, append(found, l.found...)
}

// Listing enumerates a number of channels that stay open, several times and over all nodes, while others open and close.
// It returns what is wrong and how many names were listed in all.
func (s *Sim) Listing(open, times int) (found []Violation, names int) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	throughout := make(map[string]bool)
	var channels []string
	for i := range open {
		channels = append(channels, fmt.Sprintf("room:open-%d", i))
		throughout[channels[i]] = true
	}
	s.holders(channels, 0, 1, 2)
	if !await(4*settleWait, 200*time.Millisecond, s.settled) {
		s.fail("clients cannot attach")
	}
	flappers := make([]*Client, 6)
	for i := range flappers {
		flappers[i] = s.AddClient()
		flappers[i].Connect(i % s.Options.Nodes)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, c := range flappers {
		wg.Go(func() { flap(c, i, stop) })
	}
	for t := range times {
		got, err := s.Reader.List(s.ctx, 1000, func(page int) int { return (t + page) % s.Options.Nodes })
		if err != nil {
			s.fail("listing %d: %v", t, err)
		}
		found = append(found, CheckListing(got, throughout)...)
		names += len(got)
		time.Sleep(300 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	return append(found, s.Failures()...), names
}

// flap opens and leaves fresh channels until stop.
func flap(c *Client, i int, stop <-chan struct{}) {
	for k := 0; ; k++ {
		select {
		case <-stop:
			return
		case <-time.After(3 * time.Millisecond):
		}
		c.Attach(fmt.Sprintf("fast:flap-%d-%d", i, k), 0)
		if k >= 20 {
			c.Detach(fmt.Sprintf("fast:flap-%d-%d", i, k-20))
		}
	}
}

// MoveBehindCut moves partitions to an owner that cannot hear one of the gateways: the owner must wait for it, for as
// long as it is a live member, and declare nothing vacated that only this gateway holds. It needs five nodes.
func (s *Sim) MoveBehindCut() (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	leader := s.Leader()
	if leader == nil {
		s.fail("nobody leads a ready cluster")
		return s.rec.History(), s.Failures()
	}
	// The leader hears everybody throughout, so that all leases hold.
	other := func(k int) *Node { return s.Nodes()[(leader.Index+k)%s.Options.Nodes] }
	gateway, owner, dying := other(1), other(2), other(3)
	var channels []string
	for i := range s.Options.Channels {
		channels = append(channels, fmt.Sprintf("fast:behind-%d", i))
	}
	s.holders(channels, gateway.Index)
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("clients cannot attach before anything happens")
	}
	s.Follow()
	s.Play(Schedule{
		{Kind: CutPair, Node: gateway.Index, Peer: owner.Index, For: 8 * time.Second},
		{At: time.Second, Kind: KillNode, Node: dying.Index, For: 9 * time.Second},
	})
	time.Sleep(healWait)
	return s.Finish()
}

// AttachBehindCut lets clients attach to fresh channels at a node that was just cut off. Nothing can be committed there,
// so none may be confirmed there, and when the lease has run out the clients must be sent to another node.
func (s *Sim) AttachBehindCut() (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	victim := s.Nodes()[s.Seed%uint64(s.Options.Nodes)]
	var clients []*Client
	for range 4 {
		c := s.AddClient()
		c.Connect(victim.Index)
		c.Attach(fmt.Sprintf("room:old-%d", c.ID), 0)
		clients = append(clients, c)
	}
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("clients cannot attach before anything happens")
	}
	s.Follow()
	s.wg.Go(func() {
		time.Sleep(500 * time.Millisecond)
		for i := range s.Options.Channels {
			clients[i%len(clients)].Attach(fmt.Sprintf("room:new-%d", i), 0)
		}
	})
	s.Play(Schedule{{Kind: CutNode, Node: victim.Index, For: 12 * time.Second}})
	time.Sleep(healWait)
	return s.Finish()
}

// DeafGossip lets gossip lose a node that everybody else hears well: all its packets are lost, and so are the dials that
// gossip tries instead, while the connections that are there go on. Nothing may happen to what its clients hold.
func (s *Sim) DeafGossip() (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	leader := s.Leader()
	if leader == nil {
		s.fail("nobody leads a ready cluster")
		return s.rec.History(), s.Failures()
	}
	victim := s.Nodes()[(leader.Index+1)%s.Options.Nodes]
	var channels []string
	for i := range s.Options.Channels {
		channels = append(channels, fmt.Sprintf("fast:deaf-%d", i))
	}
	s.holders(channels, victim.Index)
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("clients cannot attach before anything happens")
	}
	s.Follow()
	s.wg.Go(func() { s.watch(s.ctx, 50*time.Millisecond) })
	s.note("gossip loses node %d", victim.Index)
	// Whoever takes the node for dead now knows it for a while before the node does.
	s.Net.DelayOneWay(leader.IP, victim.IP, 300*time.Millisecond)
	for _, o := range s.Nodes() {
		if o != victim {
			s.Net.DropPackets(victim.IP, o.IP, 1)
			s.Net.RefusePort(victim.IP, o.IP, gossipPort)
		}
	}
	time.Sleep(40 * time.Second)
	for _, o := range s.Nodes() {
		if o != victim {
			s.Net.DropPackets(victim.IP, o.IP, packetLoss)
			s.Net.RefusePort(victim.IP, o.IP, 0)
		}
	}
	s.Net.Delay(leader.IP, victim.IP, wireDelay, wireJitter)
	time.Sleep(healWait)
	return s.Finish()
}

// sharedOut waits until the cluster is ready and its partitions are shared out, and says who owns what then.
func (s *Sim) sharedOut() (cluster.Status, error) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	if !await(readyWait, 100*time.Millisecond, s.Even) {
		s.fail("the partitions are not shared out")
	}
	return s.Status()
}

// LateWord lets an owner decide that a channel is vacated, and its word reach the leader only when it has been declared
// dead, another one owns the channel and a client has come back to it. The word must count for nothing.
func (s *Sim) LateWord() (*History, []Violation) {
	st, err := s.sharedOut()
	if err != nil {
		s.fail("%v", err)
		return s.rec.History(), s.Failures()
	}
	leader := s.byID(st.Leader)
	owner, gateway := s.Nodes()[(leader.Index+1)%s.Options.Nodes], s.Nodes()[(leader.Index+2)%s.Options.Nodes]
	var channel string
	for i := 0; channel == "" || s.Owner(st, channel) != owner; i++ {
		channel = fmt.Sprintf("fast:late-%d", i)
	}
	c := s.AddClient()
	c.Connect(gateway.Index)
	c.Attach(channel, 0)
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		s.fail("the client cannot attach before anything happens")
	}
	s.Follow()
	// A new boot of the owner, which has not said anything yet about the partition in its epoch.
	owner.Kill(true)
	owner.Start()
	if !await(readyWait, 100*time.Millisecond, s.Ready) {
		s.fail("the cluster does not get ready again")
	}
	time.Sleep(5 * time.Second)
	if st, err = s.Status(); err != nil || s.Owner(st, channel) != owner || s.byID(st.Leader) != leader {
		s.fail("the owner is not what it was (%v)", err)
	}
	// The word is to leave soon after the delay begins, while the owner still knows who leads, and the delay soon after
	// the owner renewed its lease, at a full second. It is as long as the link endures.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1350 * time.Millisecond)))
	c.Detach(channel)
	time.Sleep(700 * time.Millisecond)
	s.note("what node %d says reaches node %d late from now on", owner.Index, leader.Index)
	s.Net.DelayOneWay(owner.IP, leader.IP, 4600*time.Millisecond)
	time.Sleep(3 * time.Second)
	c.Attach(channel, 0)
	time.Sleep(4 * time.Second)
	s.Net.Delay(owner.IP, leader.IP, wireDelay, wireJitter)
	time.Sleep(20 * time.Second)
	return s.Finish()
}

// HandedOver has the lead handed over several times while nothing else happens. Only who leads may send to receivers: what is
// decided afterwards reaches them once.
func (s *Sim) HandedOver(times int) (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	var channels []string
	for i := range s.Options.Channels {
		channels = append(channels, fmt.Sprintf("fast:over-%d", i))
	}
	clients := s.holders(channels, 0, 1, 2)
	s.Follow()
	for range times {
		if !await(settleWait, 100*time.Millisecond, s.settled) {
			s.fail("clients cannot attach")
		}
		s.drain()
		time.Sleep(2 * time.Second) // cursors are committed
		former := s.Leader()
		s.transfer()
		if !await(readyWait, 100*time.Millisecond, func() bool { l := s.Leader(); return l != nil && l != former }) {
			s.fail("nobody takes the lead over")
		}
		time.Sleep(2 * time.Second)
		for _, c := range clients {
			for _, w := range c.Wants() {
				c.Detach(w.Channel)
			}
		}
		time.Sleep(3 * time.Second) // all are vacated
		for i, name := range channels {
			clients[i%len(clients)].Attach(name, 0)
		}
	}
	h, found := s.Finish()
	return h, append(found, CheckOnce(h)...)
}
