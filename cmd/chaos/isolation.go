package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"innkeeper/cmd/checker"
)

// role is what the node that is isolated was to the cluster and to the channels of its clients.
type role string

const (
	leads   role = "leader"
	owns    role = "owner"         // of all channels that its clients hold; another leads
	borders role = "plain gateway" // others own what its clients hold, and lead
)

// trial isolates one node of three and looks at who acts when.
type trial struct {
	kind  kind // pause or cut
	role  role
	lasts time.Duration
}

func (t trial) String() string { return fmt.Sprintf("%s of the %s for %v", t.kind, t.role, t.lasts) }

const (
	pauseLasts = 30 * time.Second
	pauseQuick = 12 * time.Second
	cutLasts   = 15 * time.Second
	// convergeMax is how long after the end of an isolation every node must know what clients hold.
	convergeMax = 10 * time.Second
	// wakeMax is how long a node that stood still may keep the clients that it has no right to any more.
	wakeMax = 2 * time.Second
	// guests is how many connections each side has, lodgings how many channels each of them holds.
	guests, lodgings = 8, 5
)

func trials(quick, network bool) (all []trial) {
	roles, lasts := []role{leads, owns, borders}, pauseLasts
	if quick {
		roles, lasts = roles[:1], pauseQuick
	}
	for _, r := range roles {
		all = append(all, trial{pause, r, lasts})
		if network {
			all = append(all, trial{cut, r, cutLasts})
		}
	}
	return all
}

// isolationMain runs `chaos isolation` and returns the exit code.
func isolationMain(bin string, args []string) int {
	flags := flag.NewFlagSet("isolation", flag.ExitOnError)
	quick := flags.Bool("quick", false, "only the leader, and a shorter pause")
	loop := flags.Bool("loopback", false, "use loopback addresses even where network namespaces are possible")
	only := flags.String("only", "", "run only trials whose name contains this")
	flags.Parse(args)
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	pl := plan{bin: bin, nodes: 3, seed: 1}
	if !*loop && hubPid() == 0 {
		code, entered, err := enter(pl.nodes, append([]string{"-innkeeper", bin, "isolation"}, args...))
		if err != nil {
			return fail(err)
		}
		if entered {
			return code
		}
	}
	if err := pl.place(); err != nil {
		return fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, code := pl.dir, 0
	for i, t := range trials(*quick, pl.network) {
		if !strings.Contains(t.String(), *only) {
			continue
		}
		pl.dir = filepath.Join(dir, fmt.Sprint(i+1))
		said, err := t.run(ctx, pl)
		if err != nil {
			code = 1
			fmt.Printf("FAIL  %v\n      %v\n      kept: %s\n", t, err, pl.dir)
			continue
		}
		fmt.Printf("ok    %v\n      %s\n", t, said)
	}
	if code == 0 {
		os.RemoveAll(dir)
	}
	return code
}

// run tries one isolation on a cluster of its own, and says what was measured or what was wrong.
func (t trial) run(ctx context.Context, pl plan) (said string, err error) {
	c := &campaign{plan: pl, witness: &witness{}, pulse: &pulse{}}
	err = c.stage(ctx, func(ctx context.Context) (err error) {
		said, err = t.tell(ctx, c)
		return err
	})
	for _, v := range c.found {
		err = errors.Join(err, errors.New(v.String()))
	}
	for _, b := range c.broken {
		err = errors.Join(err, errors.New(b))
	}
	return said, err
}

func (t trial) tell(ctx context.Context, c *campaign) (string, error) {
	c.striker = newStriker(c.ps, c.recv, c.network, func(string, ...any) {})
	victim, others, err := t.cast(c.ps)
	if err != nil {
		return "", err
	}
	st, err := victim.status()
	if err != nil {
		return "", err
	}
	here, err := names(st, "here", guests*lodgings, func(owner string) bool {
		return t.role == leads || (owner == victim.id) == (t.role == owns)
	})
	if err != nil {
		return "", err
	}
	there, err := names(st, "there", guests*lodgings, func(owner string) bool { return t.role != owns || owner == victim.id })
	if err != nil {
		return "", err
	}
	c.names = append(append(c.names, here...), there...)

	stop, calm := make(chan struct{}), make(chan struct{})
	clients, leave := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { leave(); close(stop); running.Wait() }()
	running.Go(func() { c.pulse.run(stop) })
	c.began = time.Now()
	for i := range guests {
		for _, side := range []struct {
			name string
			home *proc
			all  []string
		}{{"here", victim, here}, {"there", others[i%2], there}} {
			a := &agent{
				id: fmt.Sprint(side.name, i), rng: rand.New(rand.NewPCG(c.seed, uint64(i))), procs: c.ps.procs, home: side.home,
				steady: true, stays: true, channels: side.all[i*lodgings : (i+1)*lodgings], witness: c.witness,
			}
			running.Go(func() { a.run(clients, calm) })
		}
	}
	if !c.recv.wait(30*time.Second, func(l []event) bool { return len(l) >= len(c.names) }) {
		return "", fmt.Errorf("%d of %d occupied arrived in 30 s", len(c.recv.log()), len(c.names))
	}
	// It holds what others hold too, and stays whatever happens: only the server can send it away.
	sleeper, err := dial(ctx, victim.listen, demoKey)
	if err != nil {
		return "", err
	}
	defer sleeper.close()
	if err := sleeper.attach(ctx, here...); err != nil {
		return "", err
	}

	b := &blow{fault: fault{kind: t.kind, lasts: t.lasts}, nodes: []int{victim.index}}
	c.striker.blows = append(c.striker.blows, b)
	w := watchTable(others[0], victim.id)
	c.striker.strike(ctx, b)
	c.calm = b.to
	takeover := w.end()
	converged, err := c.converge(ctx, sleeper)
	if err != nil {
		return "", err
	}
	close(calm)
	if err := c.settle(ctx); err != nil {
		return "", err
	}
	if err := c.judge(); err != nil {
		return "", err
	}
	said := fmt.Sprintf("the majority took over %.2f s after it began; counts agree %.2f s after its end", takeover.seen.Sub(b.from).Seconds(), converged.Seconds())
	about, err := t.away(c, b, sleeper, takeover)
	return about + "; " + said, errors.Join(err, t.events(c, here, there))
}

// cast chooses the node to isolate.
func (t trial) cast(ps *processes) (victim *proc, others []*proc, err error) {
	lead, rest, err := ps.leader()
	if err != nil {
		return nil, nil, err
	}
	if t.role == leads {
		return lead, rest, nil
	}
	return rest[0], []*proc{lead, rest[1]}, nil
}

// takeover is when the others were seen to own what the isolated node had owned; before is when they were last seen not to.
type takeover struct{ before, seen time.Time }

// tableWatch asks a node again and again who owns what.
type tableWatch struct {
	stop chan struct{}
	done chan takeover
}

const tableEvery = 20 * time.Millisecond

func watchTable(p *proc, victim string) *tableWatch {
	w := &tableWatch{stop: make(chan struct{}), done: make(chan takeover, 1)}
	go func() {
		var t takeover
		defer func() { w.done <- t }()
		for {
			asked := time.Now()
			st, err := p.status()
			if err == nil && st.owned(victim) {
				t.before = asked
			} else if err == nil {
				t.seen = time.Now()
				return
			}
			select {
			case <-w.stop:
				return
			case <-time.After(tableEvery):
			}
		}
	}()
	return w
}

// end is what was seen.
func (w *tableWatch) end() takeover {
	close(w.stop)
	return <-w.done
}

// owned says whether a node owns any partition.
func (st status) owned(node string) bool {
	for _, p := range st.Partitions {
		if p.Owner == node {
			return true
		}
	}
	return false
}

// converge waits until every node gives the same counts and these are what clients hold, and returns how long after the
// isolation that was.
func (c *campaign) converge(ctx context.Context, sleeper *client) (time.Duration, error) {
	var why string
	for time.Since(c.calm) < convergeMax && ctx.Err() == nil {
		asked := time.Now()
		if why = c.apart(sleeper); why == "" {
			return asked.Sub(c.calm), nil
		}
		pass(ctx, 50*time.Millisecond)
	}
	return 0, fmt.Errorf("%v after the isolation: %s", convergeMax, why)
}

// apart says what differs between nodes and clients.
func (c *campaign) apart(sleeper *client) string {
	select {
	case <-sleeper.gone:
	default:
		return "the node keeps a client that it had no right to"
	}
	held := c.witness.holders()
	if len(held) < len(c.names) {
		return fmt.Sprintf("%d of %d channels are held", len(held), len(c.names))
	}
	for _, p := range c.ps.procs {
		counts, err := p.counts()
		if err != nil {
			return err.Error()
		}
		if found := checker.Counts(&checker.History{App: "demo", Attachments: c.witness.attachments()}, map[string]map[string]int{p.name: counts}); len(found) > 0 {
			return found[0].String()
		}
	}
	return ""
}

// away judges that the clients of the isolated node were sent away before others took over from it: at once when it cannot
// reach them itself until it wakes.
func (t trial) away(c *campaign, b *blow, sleeper *client, took takeover) (string, error) {
	if took.seen.IsZero() {
		return "", fmt.Errorf("nobody took over within %v", t.lasts)
	}
	victim := c.ps.procs[b.nodes[0]]
	if t.kind == pause {
		woken := sleeper.ended.Sub(b.to)
		if woken > wakeMax {
			return "", fmt.Errorf("a client that the node slept through was sent away %v after it woke", woken)
		}
		return fmt.Sprintf("a client that waited was sent away %v after it woke", short(max(0, woken))), nil
	}
	n, last := 0, sleeper.ended
	for _, s := range c.witness.sent {
		if s.node != victim.name || s.at.Before(b.from) || s.at.After(b.to) {
			continue
		}
		n++
		if s.at.After(last) {
			last = s.at
		}
		if !s.told {
			return "", fmt.Errorf("a client's socket ended %v after the cut without a DISCONNECTED", s.at.Sub(b.from))
		}
	}
	if n < guests {
		return "", fmt.Errorf("%d of %d clients were sent away", n, guests)
	}
	said := fmt.Sprintf("%d clients sent away by DISCONNECTED, the last after %.2f s", n+1, last.Sub(b.from).Seconds())
	if !last.Before(took.before) {
		return said, fmt.Errorf("the last client was sent away %v after the cut, the others may have taken over after %v", last.Sub(b.from), took.before.Sub(b.from))
	}
	return said, nil
}

// events judges that each transition was told under one id, and that nothing took place but what must: a channel whose
// clients were sent away in time, or that others hold, is occupied throughout. Clients of a node that stands still cannot
// come back before they give it up, so what only they held is vacated once and occupied once more.
func (t trial) events(c *campaign, here, there []string) error {
	var vacated []string
	log := c.recv.log()
	if t.kind == pause {
		vacated = here
		again := map[string]int{}
		var first []event
		ids := map[string]bool{}
		for _, e := range log {
			if ids[e.ID] {
				continue
			}
			ids[e.ID] = true
			if again[e.Channel]++; again[e.Channel] == 3 && e.Type == "occupied" {
				continue // it came back
			}
			first = append(first, e)
		}
		for _, name := range here {
			if again[name] != 3 {
				return fmt.Errorf("%s: %d events, want occupied, vacated, occupied", name, again[name])
			}
		}
		log = first
	}
	return expect(log, append(append([]string(nil), here...), there...), vacated)
}
