package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"innkeeper/transport/protocol"
)

// continuity is a run of G7: clients at all nodes publish and subscribe while one node after the other is killed with -9,
// and afterwards everybody must have heard every acknowledged message exactly once, in the order of each publisher.
type continuity struct {
	bin      string
	nodes    int
	channels int
	rate     float64 // messages per second and channel
	perNode  int     // clients at each node
	length   time.Duration
	every    time.Duration // between kills
	down     time.Duration // from a kill to the start of the process
	listener string        // script with clients of an official SDK that listen; "" runs none
	present  string        // and of one with clients that are present
	keep     bool
}

// shortRun is what -quick adds to the scenarios.
var shortRun = []string{"-seconds", "20", "-every", "7s", "-down", "2s", "-channels", "20", "-rate", "20"}

func continuityMain(bin string, args []string) int {
	flags := flag.NewFlagSet("continuity", flag.ExitOnError)
	c := continuity{bin: bin}
	flags.IntVar(&c.nodes, "nodes", 3, "nodes of the cluster")
	flags.IntVar(&c.channels, "channels", 100, "channels that are published to")
	flags.Float64Var(&c.rate, "rate", 50, "messages per second and channel")
	flags.IntVar(&c.perNode, "clients", 2, "clients at each node; each channel has one at every node")
	seconds := flags.Float64("seconds", 120, "how long nodes are killed")
	flags.DurationVar(&c.every, "every", 10*time.Second, "between kills")
	flags.DurationVar(&c.down, "down", 3*time.Second, "from a kill until the process is started again")
	flags.StringVar(&c.listener, "listener", "scripts/sdk/listener.mjs", "script with clients of an official SDK that listen; empty runs none")
	flags.StringVar(&c.present, "attendants", "scripts/sdk/attendants.mjs", "script with clients of an official SDK that are present; empty runs none")
	flags.BoolVar(&c.keep, "keep", false, "keep the directory with configurations and logs")
	flags.Parse(args)
	c.length = time.Duration(*seconds * float64(time.Second))
	if c.nodes < 2 || c.channels < 1 || c.rate <= 0 || c.perNode < 1 || c.every <= c.down || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "chaos: a run of continuity needs 2 nodes, a channel, a rate and a client, and nodes that start before the next is killed")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "innkeeper-continuity-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	report, violations, err := c.run(ctx, dir)
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v (logs: %s)\n", err, filepath.Join(dir, "n*", "log"))
		return 1
	}
	fmt.Print(report)
	if len(violations) == 0 {
		fmt.Println("0 violations of G7")
		if !c.keep {
			os.RemoveAll(dir)
		}
		return 0
	}
	fmt.Printf("%d violations of G7 (logs: %s)\n", len(violations), filepath.Join(dir, "n*", "log"))
	for _, v := range violations[:min(len(violations), 40)] {
		fmt.Println(" ", v)
	}
	return 1
}

const (
	settleCopies  = 5 * time.Second  // before the first kill
	answersMax    = 40 * time.Second // for the last publishes to be answered
	deliveriesMax = 20 * time.Second // for the last of them to be heard
	sdkChannels   = 20               // for the clients of an official SDK: they share one process, which is not to be the slowest part
)

// run does it and returns what is worth telling, and what was broken.
func (c *continuity) run(ctx context.Context, dir string) (report string, violations []string, err error) {
	places, err := loopback(c.nodes, func(int) string { return "127.0.0.1" })
	if err != nil {
		return "", nil, err
	}
	ps, err := newProcesses(c.bin, dir, places, "", vacateDelay, restartGrace)
	if err != nil {
		return "", nil, err
	}
	defer func() { ps.kill9(ps.procs...) }()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := ps.startAll(starting); err != nil {
		return "", nil, err
	}
	var addrs, names []string
	for _, p := range ps.procs {
		addrs = append(addrs, p.listen)
	}
	for i := range c.channels {
		names = append(names, fmt.Sprintf("talk:%d", i))
	}
	talkers := c.talkers(addrs, names)
	living, leave := context.WithCancel(ctx)
	var ears sync.WaitGroup
	defer func() { leave(); ears.Wait() }()
	for _, t := range talkers {
		ears.Go(func() { t.listen(living) })
	}
	if !poll(ctx, 30*time.Second, func() bool { return !slices.ContainsFunc(talkers, func(t *talker) bool { return !t.isAttached() }) }) {
		return "", nil, errors.New("clients are not attached after 30 s")
	}
	theirs := c.everybody()[:min(sdkChannels, c.channels)]
	sdk, why := startListener(c.listener, ps.procs, names[:len(theirs)])
	if sdk != nil {
		defer sdk.kill()
	}
	meeting, disperse := context.WithCancel(ctx)
	party := assemble(meeting, ps.procs, c.present)
	defer func() { disperse(); party.watching.Wait() }()
	talking, silence := context.WithCancel(ctx)
	var voices sync.WaitGroup
	for _, t := range talkers {
		voices.Go(func() { t.talk(talking) })
	}
	whole := &copies{procs: ps.procs}
	voices.Go(func() { whole.watch(talking) })
	begun := time.Now()
	kills, err := c.strike(ctx, ps, whole, party)
	lasted := time.Since(begun)
	silence()
	voices.Wait()
	if err != nil {
		return "", nil, err
	}

	violations = append(violations, party.end(ctx, disperse)...)
	answered := poll(ctx, answersMax, func() bool { return !slices.ContainsFunc(talkers, func(t *talker) bool { return t.waiting() > 0 }) })
	if !answered {
		for _, t := range talkers {
			if n := t.waiting(); n > 0 {
				violations = append(violations, fmt.Sprintf("client %d has %d publishes without an answer %v after the last", t.id, n, answersMax))
			}
		}
	}
	all := sayingsOf(talkers)
	poll(ctx, deliveriesMax, func() bool {
		return !slices.ContainsFunc(talkers, func(t *talker) bool { return len(t.missed(all)) > 0 })
	})
	leave()
	ears.Wait()
	var missed []string
	for _, t := range talkers {
		violations = slices.Concat(violations, t.ear.faults, t.trouble)
		missed = append(missed, t.missed(all)...)
	}
	sdkSaid := "no official SDK took part (" + why + ")"
	if sdk != nil {
		listeners, trouble, err := sdk.finish()
		if err != nil {
			return "", nil, err
		}
		heard := 0
		for _, e := range listeners {
			violations = append(violations, e.faults...)
			missed = append(missed, e.missed(theirs, all)...)
			heard += e.heard
		}
		violations = append(violations, trouble...)
		sdkSaid = fmt.Sprintf("%d clients of ably-js on %d channels heard %d messages", len(listeners), len(theirs), heard)
	}
	return c.report(talkers, all, kills, lasted, whole.String()+"\n"+sdkSaid+"\n"+party.String()), append(violations, missed...), nil
}

// talkers are the clients: at each node each channel has one that publishes and subscribes.
func (c *continuity) talkers(addrs, names []string) (list []*talker) {
	for k := range c.perNode {
		var mine []int
		for i := k; i < c.channels; i += c.perNode {
			mine = append(mine, i)
		}
		interval := time.Duration(float64(time.Second) * float64(c.nodes) / c.rate / float64(len(mine)))
		for range addrs {
			format := protocol.Format(k % 2)
			list = append(list, newTalker(len(list), addrs, format, names, mine, interval))
		}
	}
	return list
}

func (c *continuity) everybody() []int {
	list := make([]int, c.channels)
	for i := range list {
		list[i] = i
	}
	return list
}

func sayingsOf(talkers []*talker) map[voice]*sayings {
	all := map[voice]*sayings{}
	for _, t := range talkers {
		for ch, s := range t.said {
			all[voice{t.id, ch}] = s
		}
	}
	return all
}

// quietSpan is how long before a kill clients cease to change who is present, so that all can agree.
const quietSpan = 2 * time.Second

// strike kills one node after the other for as long as the run lasts. It waits with the next until all agree on who is
// present.
func (c *continuity) strike(ctx context.Context, ps *processes, whole *copies, party *assembly) (kills []time.Time, err error) {
	sleep := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !sleep(settleCopies) {
		return nil, ctx.Err()
	}
	for n := 0; time.Duration(n)*c.every < c.length; n++ {
		victim := ps.procs[n%len(ps.procs)]
		kills = append(kills, time.Now())
		whole.killing()
		ps.kill9(victim)
		whole.killed()
		if !sleep(c.down) {
			return nil, ctx.Err()
		}
		if err := ps.start(victim); err != nil {
			return nil, err
		}
		if !sleep(max(0, c.every-c.down-quietSpan)) {
			return nil, ctx.Err()
		}
		party.rest(ctx, fmt.Sprintf("after kill %d", n+1))
		if !sleep(time.Until(kills[n].Add(c.every))) {
			return nil, ctx.Err()
		}
	}
	return kills, nil
}

// report is the figures of a run.
func (c *continuity) report(talkers []*talker, all map[voice]*sayings, kills []time.Time, lasted time.Duration, sdk string) string {
	var b strings.Builder
	said, acked, heard, moves := 0, 0, 0, 0
	nacks := map[int]int{}
	var waits, pauses []time.Duration
	for _, s := range all {
		said += s.said
		acked += s.count()
	}
	for _, t := range talkers {
		heard += t.ear.heard
		moves += t.moves
		waits = append(waits, t.waits...)
		for _, p := range t.silences() {
			pauses = append(pauses, p.long)
		}
		for code, n := range t.nacks {
			nacks[code] += n
		}
	}
	fmt.Fprintf(&b, "%d nodes, %d channels at %g messages/s, %d kills in %.0f s, down for %v each\n", c.nodes, c.channels, c.rate, len(kills), lasted.Seconds(), c.down)
	fmt.Fprintf(&b, "%d published (%.0f/s), %d acknowledged, %d heard by %d clients, which lost their node %d times\n", said, float64(said)/lasted.Seconds(), acked, heard, len(talkers), moves)
	for _, code := range slices.Sorted(maps.Keys(nacks)) {
		fmt.Fprintf(&b, "%d refused with %d\n", nacks[code], code)
	}
	fmt.Fprintf(&b, "said to acknowledged: %s\n", tails(waits))
	fmt.Fprintf(&b, "pauses of a channel at a client above %v: %d; %s\n", pauseLeast, len(pauses), tails(pauses))
	fmt.Fprintln(&b, sdk)
	return b.String()
}

// tails is median, tails and maximum.
func tails(list []time.Duration) string {
	if len(list) == 0 {
		return "none"
	}
	slices.Sort(list)
	at := func(q float64) time.Duration { return list[int(q*float64(len(list)-1))].Round(time.Millisecond) }
	return fmt.Sprintf("median %v, 99%% %v, 99.9%% %v, max %v", at(0.5), at(0.99), at(0.999), at(1))
}

// poll asks until ok or the time is over. What it asks about is on the other side of sockets.
func poll(ctx context.Context, limit time.Duration, ok func() bool) bool {
	for end := time.Now().Add(limit); ; {
		if ok() {
			return true
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return false
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
