package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// assembly is clients that are present on channels while nodes are killed. At every quiet moment all of them and all nodes
// must agree on who is there, and nobody whose connection lives may ever be seen leaving without having said so.
type assembly struct {
	procs    []*proc
	channels []string
	raw      []*attendee
	sdk      *attendants // nil: no official SDK takes part
	why      string      // it does not
	watching sync.WaitGroup

	mu      sync.Mutex
	wrong   []string
	leaves  map[leaveSeen]string // that nobody said, and who saw each first
	quiets  []time.Duration      // until all agreed
	changes int
	still   bool
}

// leaveSeen is a member that somebody saw leave.
type leaveSeen struct {
	channel string
	memberKey
}

const (
	attendeesPerNode = 2
	meetingRooms     = 5
	remainTime       = 15 * time.Second // members stay for that long when their connection is lost
	quietMax         = 30 * time.Second // for everybody to agree
	stirEvery        = 100 * time.Millisecond
)

// assemble has clients enter, and change what they say, until ctx ends.
func assemble(ctx context.Context, procs []*proc, path string) *assembly {
	s := &assembly{procs: procs, leaves: map[leaveSeen]string{}}
	var addrs []string
	for _, p := range procs {
		addrs = append(addrs, p.listen)
	}
	for i := range meetingRooms {
		s.channels = append(s.channels, fmt.Sprintf("meet:%d", i))
	}
	for i := range attendeesPerNode * len(procs) {
		a := newAttendee(s, i, addrs, s.channels)
		s.raw = append(s.raw, a)
		s.watching.Go(func() { a.attend(ctx) })
	}
	s.sdk, s.why = startAttendants(path, procs, s.channels)
	s.watching.Go(func() { s.stir(ctx) })
	return s
}

func (s *assembly) blame(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < 10*faultsMax {
		s.wrong = append(s.wrong, "presence: "+fmt.Sprintf(format, args...))
	}
}

// sawLeave notes that somebody saw a member leave that had not said so.
func (s *assembly) sawLeave(witness, channel string, who memberKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := (leaveSeen{channel, who}); s.leaves[l] == "" {
		s.leaves[l] = witness
	}
}

// stir has clients say something, now one and then another.
func (s *assembly) stir(ctx context.Context) {
	rng := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(stirEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		still := s.still
		if !still {
			s.changes++
		}
		s.mu.Unlock()
		switch {
		case still:
		case n%5 == 0 && s.sdk != nil:
			s.sdk.stir()
		default:
			s.raw[rng.IntN(len(s.raw))].stir(rng, s.channels)
		}
	}
}

// rest has everybody say nothing until all agree, and then go on.
func (s *assembly) rest(ctx context.Context, when string) {
	s.hush(true)
	defer s.hush(false)
	began, why := time.Now(), ""
	if poll(ctx, quietMax, func() bool { why = s.disagreement(ctx); return why == "" }) {
		s.mu.Lock()
		s.quiets = append(s.quiets, time.Since(began))
		s.mu.Unlock()
	} else if ctx.Err() == nil {
		s.blame("%s, %v after the last change: %s", when, quietMax, why)
	}
	s.judge()
}

func (s *assembly) hush(still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.still = still
}

// judge looks at the leaves that nobody said: each is wrong of a member that was meant to be there all the time, of a
// connection that lives. Of others, their own word may be what was missed.
func (s *assembly) judge() {
	s.mu.Lock()
	leaves := s.leaves
	s.leaves = map[leaveSeen]string{}
	s.mu.Unlock()
	for l, witness := range leaves {
		steady := s.sdk != nil && slices.Contains(s.sdk.steady, l.channel+" "+l.memberKey.String())
		for _, a := range s.raw {
			steady = steady || a.steady(l.channel, l.memberKey)
		}
		if steady {
			s.blame("%s saw %v leave %s, whose connection lives", witness, l.memberKey, l.channel)
		}
	}
	for _, a := range s.raw {
		a.settle()
	}
	if s.sdk != nil {
		s.sdk.settle()
	}
}

// disagreement says who sees something else than there is, the first of them and how many; "" when nobody does.
func (s *assembly) disagreement(ctx context.Context) string {
	theirs := &attendantsView{}
	if s.sdk != nil {
		var err error
		if theirs, err = s.sdk.look(); err != nil {
			return err.Error()
		}
		for _, l := range theirs.Leaves {
			s.sawLeave("ably-js "+l[3], l[0], memberKey{l[1], l[2]})
		}
		for _, text := range theirs.Trouble {
			s.blame("%s", text)
		}
	}
	var wrong []string
	asked := 0
	for _, name := range s.channels {
		want := slices.Clone(theirs.Means[name])
		for _, a := range s.raw {
			a.mu.Lock()
			for client, m := range a.rooms[name].means {
				want = append(want, memberKey{client, a.conn}.String()+"="+string(m.Data))
			}
			a.mu.Unlock()
		}
		slices.Sort(want)
		compare := func(who string, got []string) {
			slices.Sort(got)
			if asked++; !slices.Equal(got, want) {
				wrong = append(wrong, fmt.Sprintf("%s on %s sees %v, want %v", who, name, got, want))
			}
		}
		for _, a := range s.raw {
			if !a.isOnline() {
				continue
			}
			got, ok := a.sees(name)
			if !ok {
				return a.name + " waits for something on " + name
			}
			compare(a.name, got)
		}
		for i, sees := range theirs.Sees {
			compare(fmt.Sprint("ably-js ", i), sees[name])
		}
		for _, p := range s.procs {
			got, err := p.present(ctx, name)
			if err != nil {
				return err.Error()
			}
			compare(p.name, got)
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d views are wrong; %s", len(wrong), asked, wrong[0])
}

// present is who is present on a channel, as a node says over REST.
func (p *proc) present(ctx context.Context, name string) (list []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+p.listen+"/channels/"+name+"/presence?limit=1000", nil)
	if err != nil {
		return nil, err
	}
	user, pass, _ := strings.Cut(demoKey, ":")
	req.SetBasicAuth(user, pass)
	resp, err := ask.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s for the members of %s", p.name, resp.Status, name)
	}
	var members []struct{ ClientID, ConnectionID, Data string }
	if err := json.NewDecoder(resp.Body).Decode(&members); err != nil {
		return nil, err
	}
	for _, m := range members {
		list = append(list, memberKey{m.ClientID, m.ConnectionID}.String()+"="+m.Data)
	}
	return list, nil
}

// end lets one attendee go in order and another without a word, waits until everybody has noticed, and says what was wrong.
func (s *assembly) end(ctx context.Context, stop func()) []string {
	s.raw[0].leave(true)
	s.raw[1].leave(false)
	s.rest(ctx, "at the end")
	stop()
	s.watching.Wait()
	if s.sdk != nil {
		s.sdk.close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong
}

func (s *assembly) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := "no official SDK (" + s.why + ")"
	if s.sdk != nil {
		others = fmt.Sprintf("%d clients of ably-js", len(s.procs))
	}
	return fmt.Sprintf("%d raw clients and %s were present on %d channels and changed that %d times; at %d quiet moments they and all nodes agreed after %s",
		len(s.raw), others, len(s.channels), s.changes, len(s.quiets), tails(slices.Clone(s.quiets)))
}
