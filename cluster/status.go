package cluster

import (
	"innkeeper/cluster/ring"
)

// Status is what a node knows about the cluster, for people.
type Status struct {
	Node      string         `json:"node"`
	Boot      string         `json:"boot"`
	ClusterID string         `json:"cluster_id"`
	Leader    string         `json:"leader"`
	Term      uint64         `json:"term"`
	LeaseMs   int64          `json:"lease_ms"` // left of this node's lease; 0: not held
	Version   uint64         `json:"version"`  // of members and table
	ColdMs    int64          `json:"cold_ms"`  // last return from a full stop, Unix milliseconds; 0: never
	Members   []MemberStatus `json:"members"`
	Servers   []ServerStatus `json:"servers"`
	Table     []SlotStatus   `json:"partitions"`
}

// MemberStatus is one node: a member, or one that gossip has heard of.
type MemberStatus struct {
	Node       string `json:"node"`
	Boot       string `json:"boot"`
	State      string `json:"state"` // alive, leaving, dead; joining: not a member yet
	Cluster    string `json:"cluster_addr"`
	Gossip     string `json:"gossip_addr"`
	Client     string `json:"client_addr"`
	Admin      string `json:"admin_addr"`
	Owned      int    `json:"partitions_owned"`
	Link       string `json:"link"`                   // self, up, down, refused
	Session    uint64 `json:"session"`                // of the link; 0: down
	LeaseAgeMs *int64 `json:"lease_age_ms,omitempty"` // since its last ask; on the leader only
	Gossips    bool   `json:"seen_by_gossip"`
}

// ServerStatus is one server of the log.
type ServerStatus struct {
	Node  string `json:"node"`
	Addr  string `json:"addr"`
	Voter bool   `json:"voter"`
}

// SlotStatus is one partition.
type SlotStatus struct {
	Partition int    `json:"partition"`
	Owner     string `json:"owner"`
	Follower  string `json:"follower"`
	Epoch     uint64 `json:"epoch"`
}

// Status gathers what this node knows. Only between Start and Stop.
func (c *Cluster) Status() Status {
	log := c.cfg.Log
	view := log.View()
	s := Status{
		Node: c.me.Node, Boot: c.me.Boot, ClusterID: c.clusterID(), Leader: log.Leader(), Term: log.Term(),
		LeaseMs: c.lease.left(c.cfg.Boottime()).Milliseconds(), Version: view.Version, ColdMs: view.ColdMs,
		Table: slots(view.Table),
	}
	ages := c.desk.ages()
	owned := map[string]int{}
	for _, slot := range view.Table.Slots {
		owned[slot.Owner]++
	}
	gossips := map[Peer]gossipNode{}
	for _, n := range c.gossip.nodes() {
		gossips[n.Peer] = n
	}
	for _, m := range view.Members {
		ms := MemberStatus{
			Node: m.Node, Boot: m.Boot, State: m.State.String(),
			Cluster: m.Cluster, Gossip: m.Gossip, Client: m.Client, Admin: m.Admin, Owned: owned[m.Node],
		}
		ms.Link, ms.Session = c.linkState(m.Node)
		if age, ok := ages[m.Peer()]; ok {
			ms.LeaseAgeMs = new(age.Milliseconds())
		}
		_, ms.Gossips = gossips[m.Peer()]
		ms.Gossips = ms.Gossips || m.Peer() == c.me
		delete(gossips, m.Peer())
		s.Members = append(s.Members, ms)
	}
	for _, n := range c.gossip.nodes() {
		if _, stranger := gossips[n.Peer]; stranger {
			ms := MemberStatus{
				Node: n.Node, Boot: n.Boot, State: "joining", Gossips: true,
				Cluster: n.addr, Gossip: n.gossip.String(), Client: n.client, Admin: n.admin,
			}
			ms.Link, ms.Session = c.linkState(n.Node)
			s.Members = append(s.Members, ms)
		}
	}
	for _, srv := range log.Servers() {
		s.Servers = append(s.Servers, ServerStatus{srv.ID, srv.Addr, srv.Voter})
	}
	return s
}

// Unanswered lists the addresses, of Config.Join and of members, at which no other node answers, while none is known at all.
func (c *Cluster) Unanswered() []string { return c.gossip.unanswered() }

func slots(t ring.Table) []SlotStatus {
	out := make([]SlotStatus, len(t.Slots))
	for i, s := range t.Slots {
		out[i] = SlotStatus{i, s.Owner, s.Follower, s.Epoch}
	}
	return out
}

func (c *Cluster) linkState(node string) (string, uint64) {
	if node == c.me.Node {
		return "self", c.links.sessionOf(node)
	}
	p := c.links.peer(node)
	if p == nil {
		return "down", 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.session != 0:
		return "up", p.session
	case p.health.refused:
		return "refused", 0
	}
	return "down", 0
}
