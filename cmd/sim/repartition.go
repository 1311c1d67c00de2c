package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"innkeeper/transport/admin"
)

// openedWait is how long all partitions may need to be open again after their number was changed, deaths included.
const openedWait = 40 * time.Second

// Strike is what happens while the number of partitions changes.
type Strike uint8

// The strikes.
const (
	Nothing   Strike = iota
	TheLeader        // is killed
	AnOwner          // another node than the leader is
)

func (k Strike) String() string { return [...]string{"nothing", "the leader", "an owner"}[k] }

// Recut changes the number of partitions again and again while clients come and go and publish, and strikes in the middle
// of each change. What is struck is up again 2 s later.
func (s *Sim) Recut(numbers []int, strikes ...Strike) (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	s.Follow()
	time.Sleep(copyTime) // what is published before there are followers, nobody vouches for
	churn, stop := context.WithCancel(s.ctx)
	defer stop()
	var wg sync.WaitGroup
	for _, c := range s.Clients() {
		rng := s.random(uint64(c.ID) + 5000)
		wg.Go(func() { s.script(churn, c, rng) })
	}
	time.Sleep(10 * time.Second)
	rng := s.random(77)
	for i, n := range numbers {
		s.repartition(n)
		strike := strikes[i%len(strikes)]
		time.Sleep(between(rng, 0, 150*time.Millisecond)) // it takes the nodes some of that to hear of it
		s.strike(&wg, strike)
		s.opened(n)
		time.Sleep(copyTime)
	}
	stop()
	wg.Wait()
	if len(strikes) > 1 || strikes[0] != Nothing {
		time.Sleep(healWait)
	}
	return s.Finish()
}

// divide asks for another number of partitions. That it cannot be is no failure: not all may be open.
func (s *Sim) divide(n int) {
	if err := s.post(fmt.Sprintf("/cluster/repartition?partitions=%d", n)); err != nil {
		s.note("the number of partitions is not changed to %d: %v", n, err)
		return
	}
	s.note("there are %d partitions", n)
}

// repartition has the number of partitions changed. A leader that is about to go may not say whether it did.
func (s *Sim) repartition(n int) {
	var err error
	if !await(readyWait, 500*time.Millisecond, func() bool {
		if err = s.post(fmt.Sprintf("/cluster/repartition?partitions=%d", n)); err == nil {
			return true
		}
		st, bad := s.Status()
		return bad == nil && len(st.Table) == n
	}) {
		s.fail("the number of partitions is not changed to %d: %v", n, err)
		return
	}
	s.note("there are %d partitions", n)
}

// strike kills a node.
func (s *Sim) strike(wg *sync.WaitGroup, what Strike) {
	leader := s.Leader()
	if what == Nothing || leader == nil {
		return
	}
	victim := leader
	if what == AnOwner {
		victim = s.Nodes()[(leader.Index+1)%s.Options.Nodes]
	}
	s.note("%v is struck", what)
	wg.Go(func() { s.down(victim, Fault{For: 2 * time.Second, Orderly: victim.Index%2 == 0}) })
}

// opened waits until every partition is open, by the word of every node.
func (s *Sim) opened(n int) {
	if !await(openedWait, 200*time.Millisecond, func() bool {
		for _, node := range s.Nodes() {
			if p, err := s.partitioning(node); err != nil || p.Partitions != n || p.Open != n {
				return false
			}
		}
		return true
	}) {
		s.fail("not all of %d partitions are open %v after their number was changed", n, openedWait)
	}
	s.note("all %d partitions are open", n)
}

func (s *Sim) partitioning(n *Node) (p admin.Partitioning, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, operateWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s:%d/cluster/repartition", n.IP, adminPort), nil)
	if err != nil {
		return p, err
	}
	res, err := s.Reader.web.Do(req)
	if err != nil {
		return p, err
	}
	defer res.Body.Close()
	return p, json.NewDecoder(res.Body).Decode(&p)
}
