package sim

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"innkeeper/raftstore"
)

const (
	// operateWait bounds one request to the admin API.
	operateWait = 12 * time.Second
	// replaceWait is how long a node that left may take to be removed.
	replaceWait = 30 * time.Second
)

// post asks the leader's admin API to do something.
func (s *Sim) post(path string) error {
	leader := s.Leader()
	if leader == nil {
		return fmt.Errorf("nobody leads")
	}
	ctx, cancel := context.WithTimeout(s.ctx, operateWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", fmt.Sprintf("http://%s:%d%s", leader.IP, adminPort, path), nil)
	if err != nil {
		return err
	}
	res, err := s.Reader.web.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("node %d answers POST %s by %s: %.200s", leader.Index, path, res.Status, body)
	}
	return nil
}

// transfer asks the leader to let another lead. That it cannot is no failure: it may have nobody to hand over to.
func (s *Sim) transfer() {
	if err := s.post("/cluster/leader/transfer"); err != nil {
		s.note("the lead is not transferred: %v", err)
		return
	}
	s.note("the lead is transferred")
}

// replace lets a node leave for good and starts one with an empty disk at its address. A node that cannot be removed in
// time comes back as it was.
func (s *Sim) replace(n *Node) {
	id := n.ID()
	s.note("node %d leaves for good", n.Index)
	n.away.Store(true)
	defer n.away.Store(false)
	n.Stop()
	var err error
	if !await(replaceWait, 2*time.Second, func() bool {
		err = s.post("/cluster/members/" + id + "/remove")
		return err == nil
	}) {
		s.note("node %d comes back, since it could not be removed: %v", n.Index, err)
		n.Start()
		return
	}
	n.renew()
	s.note("a new node starts in place of node %d", n.Index)
	n.Start()
}

// renew gives a node that is down an empty disk, and with it a new id.
func (n *Node) renew() {
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	if !n.Up() {
		n.disk.Store(raftstore.NewMemDisk())
	}
}
