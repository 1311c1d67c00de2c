package main

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"innkeeper/cluster/ring"
)

const (
	vacateDelay  = 2 * time.Second
	restartGrace = 8 * time.Second
	// settle is how long the log is watched for events that must not come.
	settle = 3 * time.Second
)

// scenario is one story told to real processes. It returns what it measured, or what went wrong.
type scenario struct {
	name string
	run  func(ctx context.Context, s *stage) (string, error)
}

func scenarios() []scenario {
	return []scenario{
		{"kill the gateway: it is neither leader nor owner", func(ctx context.Context, s *stage) (string, error) { return s.killGateway(ctx, false, false) }},
		{"kill the gateway: it is the owner", func(ctx context.Context, s *stage) (string, error) { return s.killGateway(ctx, false, true) }},
		{"kill the gateway: it is the leader", func(ctx context.Context, s *stage) (string, error) { return s.killGateway(ctx, true, false) }},
		{"kill the gateway: it is the leader and the owner", func(ctx context.Context, s *stage) (string, error) { return s.killGateway(ctx, true, true) }},
		{"kill every node with events undelivered", killAll},
	}
}

// stage is a fresh cluster of three with a receiver.
type stage struct {
	ps       *processes
	recv     *receiver
	channels int // on the killed node, and as many on the others together
	clients  []*client
}

func newStage(ctx context.Context, bin, dir string, channels int, delay time.Duration) (*stage, error) {
	recv, err := newReceiver("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	places, err := loopback(3, func(int) string { return "127.0.0.1" })
	if err != nil {
		return nil, err
	}
	ps, err := newProcesses(bin, dir, places, recv.url, delay, restartGrace)
	if err != nil {
		return nil, err
	}
	s := &stage{ps: ps, recv: recv, channels: channels}
	if err := ps.startAll(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) close() {
	for _, c := range s.clients {
		c.close()
	}
	s.ps.kill9(s.ps.procs...)
	s.recv.close()
}

// hold attaches names on p, at most 150 to a connection.
func (s *stage) hold(ctx context.Context, p *proc, names []string) ([]*client, error) {
	var cs []*client
	for len(names) > 0 {
		n := min(150, len(names))
		c, err := dial(ctx, p.listen, demoKey)
		if err != nil {
			return nil, err
		}
		s.clients = append(s.clients, c)
		cs = append(cs, c)
		if err := c.attach(ctx, names[:n]...); err != nil {
			return nil, err
		}
		names = names[n:]
	}
	return cs, nil
}

// names makes n channel names of which only those pass that the table gives to a node that want accepts.
func names(st status, prefix string, n int, want func(owner string) bool) ([]string, error) {
	if !slices.ContainsFunc(st.Partitions, func(p tableSlot) bool { return want(p.Owner) }) {
		return nil, fmt.Errorf("%s sees no partition with an owner for %q", st.Node, prefix)
	}
	var out []string
	for i := 0; len(out) < n; i++ {
		name := fmt.Sprintf("%s:%d", prefix, i)
		if want(st.Partitions[ring.Partition(ring.Hash("demo", name), len(st.Partitions))].Owner) {
			out = append(out, name)
		}
	}
	return out, nil
}

// killGateway kills the node that holds half of the channels and wants exactly their vacated.
func (s *stage) killGateway(ctx context.Context, isLeader, isOwner bool) (string, error) {
	lead, rest, err := s.ps.leader()
	if err != nil {
		return "", err
	}
	a, others := lead, rest
	if !isLeader {
		a, others = rest[0], []*proc{lead, rest[1]}
	}
	st, err := a.status()
	if err != nil {
		return "", err
	}
	lost, err := names(st, "lost", s.channels, func(owner string) bool { return (owner == a.id) == isOwner })
	if err != nil {
		return "", err
	}
	kept, err := names(st, "kept", s.channels, func(string) bool { return true })
	if err != nil {
		return "", err
	}
	if _, err := s.hold(ctx, a, lost); err != nil {
		return "", err
	}
	half := len(kept) / 2
	if _, err := s.hold(ctx, others[0], kept[:half]); err != nil {
		return "", err
	}
	if _, err := s.hold(ctx, others[1], kept[half:]); err != nil {
		return "", err
	}
	all := append(append([]string(nil), lost...), kept...)
	if !s.recv.wait(30*time.Second, func(l []event) bool { return len(l) >= len(all) }) {
		return "", fmt.Errorf("%d of %d occupied arrived in 30 s", len(s.recv.log()), len(all))
	}
	if err := expect(s.recv.log(), all, nil); err != nil {
		return "", fmt.Errorf("before the kill: %w", err)
	}

	killed := time.Now()
	s.ps.kill9(a)
	s.recv.wait(vacateDelay+20*time.Second, func(l []event) bool { return len(l) >= len(all)+len(lost) })
	s.recv.wait(settle, func([]event) bool { return false }) // what must not come gets its chance
	log := s.recv.log()
	if err := expect(log, all, lost); err != nil {
		return "", err
	}
	last := log[len(log)-1].at.Sub(killed)
	for _, e := range log {
		if e.Type == "vacated" && e.at.Sub(killed) > last {
			last = e.at.Sub(killed)
		}
	}
	measured := fmt.Sprintf("%d vacated, the last %.2f s after the kill (vacate delay %s)", len(lost), last.Seconds(), vacateDelay)
	if last > vacateDelay+3*time.Second {
		return "", fmt.Errorf("too late: %s", measured)
	}
	return measured, nil
}

// killAll kills all nodes while events wait for a receiver that is down, starts them again, and lets half of the
// clients come back within the restart grace.
func killAll(ctx context.Context, s *stage) (string, error) {
	n := s.channels / 4
	delivered := make([]string, n)
	waiting := make([]string, n)
	for i := range n {
		delivered[i], waiting[i] = fmt.Sprintf("early:%d", i), fmt.Sprintf("late:%d", i)
	}
	spread := func(names []string) error {
		for i, p := range s.ps.procs {
			var part []string
			for j := i; j < len(names); j += len(s.ps.procs) {
				part = append(part, names[j])
			}
			if _, err := s.hold(ctx, p, part); err != nil {
				return err
			}
		}
		return nil
	}
	if err := spread(delivered); err != nil {
		return "", err
	}
	if !s.recv.wait(30*time.Second, func(l []event) bool { return len(l) >= n }) {
		return "", fmt.Errorf("%d of %d occupied arrived in 30 s", len(s.recv.log()), n)
	}
	s.recv.answer(fails)
	if err := spread(waiting); err != nil {
		return "", err
	}
	before, err := pull(s.ps.procs[0])
	if err != nil {
		return "", err
	}

	s.ps.kill9(s.ps.procs...)
	for _, c := range s.clients {
		c.close()
	}
	s.clients = nil
	s.recv.answer(takes)
	restarted := time.Now()
	if err := s.ps.startAll(ctx); err != nil {
		return "", err
	}
	up := time.Since(restarted)
	var back, away []string
	for i := range n {
		if i%2 == 0 {
			back = append(back, delivered[i], waiting[i])
		} else {
			away = append(away, delivered[i], waiting[i])
		}
	}
	if err := spread(back); err != nil {
		return "", err
	}
	all := append(append([]string(nil), delivered...), waiting...)
	s.recv.wait(restartGrace+30*time.Second, func(l []event) bool { return len(l) >= len(all)+len(away) })
	s.recv.wait(settle, func([]event) bool { return false })
	log := s.recv.log()
	if err := expect(log, all, away); err != nil {
		return "", err
	}
	ids := map[string]uint64{}
	for _, e := range log {
		ids[e.ID] = e.Seq
	}
	for _, e := range before {
		if ids[e.ID] != e.Seq {
			return "", fmt.Errorf("event %d (%s %s) was committed as %s before the stop and did not arrive under that id", e.Seq, e.Type, e.Channel, e.ID)
		}
	}
	return fmt.Sprintf("%d occupied kept, %d undelivered arrived with their ids, %d vacated, serving again after %.2f s", len(all), n, len(away), up.Seconds()), nil
}

// expect checks the receiver's log: each occupied name exactly one occupied, each vacated name exactly one vacated
// after it, nothing else. Repeats under the same id are what at-least-once allows.
func expect(log []event, occupied, vacated []string) error {
	type seen struct{ occupied, vacated []event }
	got := map[string]*seen{}
	ids := map[string]event{}
	for _, e := range log {
		if old, ok := ids[e.ID]; ok {
			if old.Seq != e.Seq || old.Channel != e.Channel || old.Type != e.Type {
				return fmt.Errorf("id %s names two events: %+v and %+v", e.ID, old, e)
			}
			continue
		}
		ids[e.ID] = e
		s := got[e.Channel]
		if s == nil {
			s = &seen{}
			got[e.Channel] = s
		}
		if e.Type == "occupied" {
			s.occupied = append(s.occupied, e)
		} else {
			s.vacated = append(s.vacated, e)
		}
	}
	want := map[string]int{}
	for _, n := range occupied {
		want[n] = 0
	}
	for _, n := range vacated {
		want[n] = 1
	}
	var wrong []string
	for n, v := range want {
		s := got[n]
		switch {
		case s == nil || len(s.occupied) != 1 || len(s.vacated) != v:
			o, w := 0, 0
			if s != nil {
				o, w = len(s.occupied), len(s.vacated)
			}
			wrong = append(wrong, fmt.Sprintf("%s: %d occupied and %d vacated, want 1 and %d", n, o, w, v))
		case v == 1 && (s.vacated[0].Ends != s.occupied[0].Seq || s.vacated[0].at.Before(s.occupied[0].at)):
			wrong = append(wrong, fmt.Sprintf("%s: vacated %+v does not end occupied %+v", n, s.vacated[0], s.occupied[0]))
		}
	}
	for n := range got {
		if _, ok := want[n]; !ok {
			wrong = append(wrong, n+": nobody attached to it")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	sort.Strings(wrong)
	return fmt.Errorf("%d channels are wrong, the first: %s", len(wrong), wrong[0])
}
