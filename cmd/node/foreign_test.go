package node

import (
	"fmt"
	"strings"
	"testing"

	"innkeeper/cmd/node/config"
)

// TestForeignersDoNotMix lets two clusters name each other in their join lists, and starts their nodes in all orders.
// Each keeps its members and its log, and says whom it met.
func TestForeignersDoNotMix(t *testing.T) {
	names := []string{"chat:a", "chat:b"}
	type known struct {
		config.Config
		events        []event
		node, cluster string
	}
	cfgs := make([]known, 2)
	for i := range cfgs {
		c := settings(t.TempDir())
		c.Node.GossipListen, c.Node.ClusterListen = freeAddr(t), freeAddr(t)
		n := run(t, c).ready()
		n.occupy(names[i])
		cfgs[i] = known{c, n.events(), n.ID(), n.boot.Load().store.View().ClusterID}
		n.Kill()
	}
	for i := range cfgs {
		cfgs[i].Node.Join = []string{cfgs[0].Node.GossipListen, cfgs[1].Node.GossipListen}
		cfgs[i].Node.BootstrapExpect = 0
	}
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		nodes := make([]*running, 2)
		for _, i := range order {
			nodes[i] = run(t, cfgs[i].Config)
		}
		for i, n := range nodes {
			other := cfgs[1-i]
			n.ready()
			n.until("word of the other cluster", func() bool {
				return strings.Contains(n.log.String(), other.node) && strings.Contains(n.log.String(), other.cluster)
			})
		}
		for range 2 { // each comes back while the other is there
			for i, n := range nodes {
				n.Kill()
				nodes[i] = run(t, cfgs[i].Config)
				nodes[i].ready()
			}
		}
		for i, n := range nodes {
			mine := cfgs[i]
			if v := n.boot.Load().store.View(); len(v.Members) != 1 || v.Members[0].Node != mine.node || v.ClusterID != mine.cluster {
				t.Errorf("cluster %s has members %+v", v.ClusterID, v.Members)
			}
			if got := n.events(); fmt.Sprint(got) != fmt.Sprint(mine.events) {
				t.Errorf("events of node %d were %+v and are %+v", i, mine.events, got)
			}
			if list := n.occupied(); len(list) != 1 || list[0].Channel != names[i] {
				t.Errorf("occupied in cluster %d: %+v", i, list)
			}
			n.Kill()
		}
	}
}
