package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A rolling restart: each node of three is stopped with SIGTERM and started again, one after the other, under clients that
// listen and publish and come back when they are sent away, as those of an SDK do. Nothing may be noticed: no state event, no
// acknowledged message lost, doubled or out of order.

// rollout is what a rolling restart is made of.
type rollout struct {
	bin      string
	clients  int // that listen
	channels int // clients/channels listen to each
	rate     int // messages per second, over all channels
	rounds   int // of all nodes
	keep     bool
}

// rollingDelay is the vacate delay, within which clients have to be back. It is the default of innkeeper.
const rollingDelay = 5 * time.Second

// smallest is the rolling restart that -quick adds to the scenarios.
var smallest = []string{"-clients", "300", "-channels", "100", "-rate", "100"}

// rollingMain runs `chaos rolling` and returns the exit code.
func rollingMain(bin string, args []string) int {
	flags := flag.NewFlagSet("rolling", flag.ExitOnError)
	r := rollout{bin: bin}
	flags.IntVar(&r.clients, "clients", 5000, "clients that listen, each to one channel")
	flags.IntVar(&r.channels, "channels", 1000, "channels they share")
	flags.IntVar(&r.rate, "rate", 200, "messages per second, over all channels")
	flags.IntVar(&r.rounds, "rounds", 1, "how many times each node is restarted")
	flags.BoolVar(&r.keep, "keep", false, "keep the directory with configurations and logs")
	flags.Parse(args)
	if r.clients < 1 || r.channels < 1 || r.channels > r.clients || r.rate < 1 || r.rounds < 1 || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "chaos: -clients, -channels, -rate and -rounds must be 1 or more, -channels at most -clients, and nothing may follow")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := r.run(ctx); err != nil {
		fmt.Println("FAIL  rolling restart:", err)
		return 1
	}
	return 0
}

// run plays and judges.
func (r *rollout) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.rounds)*3*time.Minute+2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "innkeeper-chaos-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil && !r.keep {
			os.RemoveAll(dir)
		} else {
			fmt.Printf("      logs: %s\n", filepath.Join(dir, "n*", "log"))
		}
	}()
	s, err := newStage(ctx, r.bin, dir, 0, rollingDelay)
	if err != nil {
		return err
	}
	defer s.close()
	crowd, err := r.gather(ctx, s)
	if err != nil {
		return err
	}
	defer crowd.end()
	if !s.recv.wait(30*time.Second, func(l []event) bool { return len(l) >= r.channels }) {
		return fmt.Errorf("%d of %d occupied arrived in 30 s", len(s.recv.log()), r.channels)
	}
	crowd.publish(r.rate)
	fmt.Printf("      %d clients on %d channels, %d messages/s\n", r.clients, r.channels, r.rate)
	for range r.rounds {
		for _, p := range s.ps.procs {
			if err := r.restart(ctx, s, crowd, p); err != nil {
				return err
			}
		}
	}
	sent, err := crowd.settle(ctx)
	if err != nil {
		return err
	}
	s.recv.wait(rollingDelay+settle, func([]event) bool { return false }) // what must not come gets its chance
	names := make([]string, r.channels)
	for i := range names {
		names[i] = rollName(i)
	}
	waits := crowd.waits()
	if err := expect(s.recv.log(), names, nil); err != nil {
		if longest := slices.Max(append(waits.away, 0)); longest > rollingDelay {
			return fmt.Errorf("state events: %w; but clients were away for up to %v, longer than the vacate delay: the machine is too busy to tell", err, longest)
		}
		return fmt.Errorf("state events: %w", err)
	}
	fmt.Printf("ok    rolling restart: no state event; %d messages acknowledged, each heard once and in order by all of its %d listeners\n",
		sent, r.clients/r.channels)
	fmt.Printf("      away from being told to go until attached again (%d times): %s\n", len(waits.away), spreadOf(waits.away))
	fmt.Printf("      publish to acknowledgement: %s\n", spreadOf(waits.acks))
	return nil
}

func rollName(i int) string { return fmt.Sprintf("roll:%d", i) }

// restart stops one node, starts it again and tells how long that took.
func (r *rollout) restart(ctx context.Context, s *stage, crowd *crowd, p *proc) error {
	lead, err := s.ps.leading()
	if err != nil {
		return err
	}
	role := "follows"
	if lead == p {
		role = "leads"
	}
	here := crowd.on(p)
	began := time.Now()
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.gone():
	case <-time.After(30 * time.Second):
		return fmt.Errorf("%s does not stop", p.name)
	case <-ctx.Done():
		return ctx.Err()
	}
	stopped := time.Since(began)
	if err := s.ps.start(p); err != nil {
		return err
	}
	if err := s.ps.ready(ctx, p); err != nil {
		return err
	}
	fmt.Printf("      %s (%s, %d clients): stopped after %.2f s, ready again after %.2f s more\n", p.name, role, here,
		stopped.Seconds(), (time.Since(began) - stopped).Seconds())
	return crowd.failed()
}

// crowd is all clients of a rolling restart.
type crowd struct {
	cancel   context.CancelFunc
	ctx      context.Context
	wg       sync.WaitGroup
	procs    []*proc
	guests   []*guest // listeners, then publishers
	hearing  []*guest
	speaking []*guest
	channels int

	mu   sync.Mutex
	err  error
	away []time.Duration
	acks []time.Duration
}

// dialing is how many clients connect at once at first.
const dialing = 32

// publishers is how many clients publish; each has its own channels.
const publishers = 10

// gather connects all clients, spread over the nodes, and waits until each is attached.
func (r *rollout) gather(ctx context.Context, s *stage) (*crowd, error) {
	c := &crowd{procs: s.ps.procs, channels: r.channels}
	c.ctx, c.cancel = context.WithCancel(ctx)
	for i := range r.clients {
		c.hearing = append(c.hearing, newGuest(c, i, rollName(i%r.channels)))
	}
	for i := range publishers {
		c.speaking = append(c.speaking, newGuest(c, r.clients+i, ""))
	}
	c.guests = slices.Concat(c.hearing, c.speaking)
	slots := make(chan struct{}, dialing)
	for _, g := range c.guests {
		slots <- struct{}{}
		c.wg.Go(func() { g.run(c.ctx, func() { <-slots }) })
	}
	for _, g := range c.guests {
		select {
		case <-g.settled:
		case <-ctx.Done():
			c.end()
			return nil, fmt.Errorf("not all clients are attached: %w", ctx.Err())
		}
	}
	return c, nil
}

func (c *crowd) end() {
	c.cancel()
	for _, g := range c.guests {
		g.leave()
	}
	c.wg.Wait()
}

// on counts the clients on a node.
func (c *crowd) on(p *proc) (n int) {
	for _, g := range c.guests {
		if g.where() == p {
			n++
		}
	}
	return n
}

// publish begins to publish at a rate per second, channel after channel.
func (c *crowd) publish(rate int) {
	c.wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i = (i + 1) % c.channels {
			select {
			case <-tick.C:
			case <-c.ctx.Done():
				return
			}
			if !c.speaking[i%publishers].say(rollName(i)) {
				return
			}
		}
	})
}

// settle ends the publishing, waits until everything is acknowledged and heard, and returns how many messages that were.
func (c *crowd) settle(ctx context.Context) (sent int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	said := map[string]int{}
	for _, g := range c.speaking {
		for name, n := range g.hush() {
			said[name] = n
			sent += n
		}
	}
	all := func() error {
		for _, g := range c.speaking {
			if n := g.unanswered(); n > 0 {
				return fmt.Errorf("%d publishes of %s are not acknowledged", n, g.id)
			}
		}
		for _, g := range c.hearing {
			if n := g.heard(); n < said[g.channel] {
				return fmt.Errorf("%s heard %d of the %d messages of %s", g.id, n, said[g.channel], g.channel)
			}
		}
		return nil
	}
	for err = all(); err != nil; err = all() {
		if broken := c.failed(); broken != nil {
			return 0, broken
		}
		select {
		case <-time.After(50 * time.Millisecond): // many clients, and no one event
		case <-ctx.Done():
			return 0, err
		}
	}
	return sent, c.failed()
}

// fail notes what must not be; the first counts.
func (c *crowd) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *crowd) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *crowd) note(list *[]time.Duration, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*list = append(*list, d)
}

// crowdWaits is how long clients waited.
type crowdWaits struct{ away, acks []time.Duration }

func (c *crowd) waits() crowdWaits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return crowdWaits{slices.Clone(c.away), slices.Clone(c.acks)}
}

// spreadOf is the distribution of durations, in words.
func spreadOf(list []time.Duration) string {
	if len(list) == 0 {
		return "none"
	}
	slices.Sort(list)
	at := func(share float64) time.Duration {
		return list[min(int(share*float64(len(list))), len(list)-1)].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v, longest %v", at(0.5), at(0.9), at(0.99), list[len(list)-1].Round(100*time.Microsecond))
}

// pick chooses where to connect: another node than the last one, since that has just sent the client away.
func (c *crowd) pick(last *proc) *proc {
	for {
		if p := c.procs[rand.IntN(len(c.procs))]; p != last {
			return p
		}
	}
}
