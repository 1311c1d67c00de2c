package sim

import (
	"sync"
	"time"
)

// Play does to the cluster what a schedule says, and returns when all of it is undone again.
func (s *Sim) Play(schedule Schedule) {
	began := time.Now()
	var wg sync.WaitGroup
	for _, f := range schedule {
		time.Sleep(time.Until(began.Add(f.At)))
		wg.Go(func() { s.hurt(f) })
	}
	wg.Wait()
}

// hurt applies one fault, waits and undoes it.
func (s *Sim) hurt(f Fault) {
	nodes := s.Nodes()
	switch f.Kind {
	case KillNode:
		s.down(nodes[f.Node], f)
	case KillLeader:
		if n := s.Leader(); n != nil {
			s.down(n, f)
		}
	case KillAll:
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(func() { s.down(n, f) })
		}
		wg.Wait()
	case StopNode:
		s.note("node %d stops gracefully", f.Node)
		nodes[f.Node].Stop()
		time.Sleep(f.For)
		s.up(nodes[f.Node])
	case CutPair:
		s.note("nodes %d and %d are cut, one way: %v", f.Node, f.Peer, f.OneWay)
		s.cut(nodes[f.Node], nodes[f.Peer], f.OneWay)
		time.Sleep(f.For)
		s.heal(nodes[f.Node], nodes[f.Peer], f.OneWay)
		s.note("nodes %d and %d are healed", f.Node, f.Peer)
	case CutNode:
		s.cutOff(nodes[f.Node], f.For)
	case Isolate:
		s.hush(nodes[f.Node], f, s.Net.Isolate, s.Net.Rejoin)
	case Pause:
		s.hush(nodes[f.Node], f, s.Net.Pause, s.Net.Resume)
	case CutClient:
		s.cutClient(s.Clients()[f.Client], f.For)
	case HookDown:
		s.note("webhooks: %v", f.Mode)
		s.Hooks.SetMode(f.Mode)
		time.Sleep(f.For)
		s.Hooks.SetMode(HookOK)
		s.note("webhooks: ok")
	case SlowDisk:
		s.slowDisk(nodes[f.Node], f)
	case BadDisk, FullDisk:
		s.breakDisk(nodes[f.Node], f)
	case SlowWire:
		s.slowWire(nodes[f.Node], nodes[f.Peer], f)
	case RejectPair:
		s.note("nodes %d and %d reject each other", f.Node, f.Peer)
		s.reject(nodes[f.Node], nodes[f.Peer], 1)
		time.Sleep(f.For)
		s.reject(nodes[f.Node], nodes[f.Peer], -1)
		s.note("nodes %d and %d accept each other again", f.Node, f.Peer)
	case Transfer:
		s.transfer()
	case Repartition:
		s.divide(f.Number)
	case Replace:
		s.replace(nodes[f.Node])
	case Join:
		s.note("node %d joins", len(nodes))
		s.Join()
	case Jump:
		s.note("the clock of node %d jumps by %v", f.Node, f.For)
		nodes[f.Node].skew.Add(int64(f.For))
	}
}

func (s *Sim) down(n *Node, f Fault) {
	s.note("node %d is killed (in order: %v)", n.Index, f.Orderly)
	n.Kill(!f.Orderly)
	time.Sleep(f.For)
	s.up(n)
}

func (s *Sim) up(n *Node) {
	if !n.Up() && !n.away.Load() {
		s.note("node %d starts", n.Index)
		n.Start()
	}
}

// hush silences a node for a while, for everybody.
func (s *Sim) hush(n *Node, f Fault, begin, over func(ip string)) {
	s.note("node %d: %v", n.Index, f.Kind)
	n.begin(Silent)
	begin(n.IP)
	time.Sleep(f.For)
	over(n.IP)
	n.over(Silent)
	s.note("node %d: %v is over", n.Index, f.Kind)
}

// cutOff cuts a node from all other nodes for a while.
func (s *Sim) cutOff(n *Node, d time.Duration) {
	others := s.Nodes()
	s.note("node %d is cut off from the others", n.Index)
	n.begin(CutOff)
	for _, o := range others {
		if o != n {
			s.cut(n, o, false)
		}
	}
	time.Sleep(d)
	n.over(CutOff)
	for _, o := range others {
		if o != n {
			s.heal(n, o, false)
		}
	}
	s.note("node %d hears the others again", n.Index)
}

// cutClient cuts a client from everybody for a while.
func (s *Sim) cutClient(c *Client, d time.Duration) {
	s.note("client %d is cut", c.ID)
	var index int
	s.rec.record(func(h *History) {
		index = len(h.Outages)
		h.Outages = append(h.Outages, Outage{Node: -1, Client: c.ID, Kind: Silent, From: time.Now()})
	})
	s.Net.Isolate(c.ip)
	time.Sleep(d)
	s.Net.Rejoin(c.ip)
	s.rec.record(func(h *History) { h.Outages[index].To = time.Now() })
	s.note("client %d is healed", c.ID)
}
