package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"innkeeper/cmd/checker"
)

// recut is a run in which the number of partitions changes again and again under channels that clients attach to and leave
// all the time, and under others that are published to. Nothing may be lost or invented, and nobody may be told of a gap.
type recut struct {
	bin      string
	channels int     // that come and go, each of one client
	each     int     // of a connection
	churn    float64 // attaches and detaches per second
	numbers  []int   // of partitions, one after the other
	rest     time.Duration
	voices   continuity // publishes: how long its answers take shows the pause of a channel
	keep     bool

	dir     string
	ps      *processes
	recv    *receiver
	witness *witness
	pulse   *pulse
	talkers []*talker
	changes []change
	began   time.Time // when all was attached that was to be at first
}

// change is one change of the number of partitions.
type change struct {
	to     int
	at     time.Time
	opened time.Duration // until every node had heard that all partitions are open
}

// recutShortest is what -quick adds to the scenarios.
var recutShortest = []string{"-channels", "600", "-churn", "100", "-rest", "4s", "-talk", "20"}

// recutMain runs `chaos repartition` and returns the exit code.
func recutMain(bin string, args []string) int {
	flags := flag.NewFlagSet("repartition", flag.ExitOnError)
	r := &recut{bin: bin, witness: &witness{}, pulse: &pulse{}}
	flags.IntVar(&r.channels, "channels", 20_000, "channels that come and go")
	flags.IntVar(&r.each, "each", 125, "channels of a connection, 200 at most")
	flags.Float64Var(&r.churn, "churn", 300, "attaches and detaches per second")
	numbers := flags.String("numbers", "256,128", "numbers of partitions, one after the other; a cluster begins with 128")
	flags.DurationVar(&r.rest, "rest", 15*time.Second, "between changes")
	talk := flags.Int("talk", 100, "channels that are published to")
	rate := flags.Float64("rate", 10, "messages per second and channel")
	flags.BoolVar(&r.keep, "keep", false, "keep the directory with configurations and logs")
	flags.Parse(args)
	for _, text := range strings.Split(*numbers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "chaos: -numbers: %q is no number\n", text)
			return 2
		}
		r.numbers = append(r.numbers, n)
	}
	if r.channels < r.each || r.each < 1 || r.each > 200 || r.churn <= 0 || *talk < 1 || *rate <= 0 || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "chaos: -channels must be -each at least, -each from 1 to 200, -churn, -talk and -rate more than 0, and nothing may follow")
		return 2
	}
	r.voices = continuity{nodes: 3, channels: *talk, rate: *rate, perNode: 1}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if r.dir, err = os.MkdirTemp("", "innkeeper-repartition-"); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	found, err := r.run(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v (logs: %s)\n", err, filepath.Join(r.dir, "n*", "log"))
		return 1
	}
	if len(found) == 0 {
		fmt.Println("0 violations of G1 to G4, G6 and G7")
		if !r.keep {
			os.RemoveAll(r.dir)
		}
		return 0
	}
	fmt.Printf("%d violations (logs: %s)\n", len(found), filepath.Join(r.dir, "n*", "log"))
	for _, v := range found[:min(len(found), 40)] {
		fmt.Println(" ", v)
	}
	return 1
}

// run does it, prints what was measured, and returns what was broken.
func (r *recut) run(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 9*time.Minute)
	defer cancel()
	s, err := newStage(ctx, r.bin, r.dir, 0, vacateDelay)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r.ps, r.recv = s.ps, s.recv

	calm, still := make(chan struct{}), make(chan struct{})
	living, leave := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer func() { leave(); close(still); clients.Wait() }()
	clients.Go(func() { r.pulse.run(still) })
	flappers, err := r.gather(living)
	if err != nil {
		return nil, err
	}
	for _, f := range flappers {
		clients.Go(func() { f.run(living, calm) })
	}
	hearing, deafen := context.WithCancel(living)
	defer deafen()
	var ears sync.WaitGroup
	silence, err := r.talk(hearing, &ears)
	if err != nil {
		return nil, err
	}
	pass(ctx, settleCopies)
	r.began = time.Now()
	for _, n := range r.numbers {
		if err := r.change(ctx, n); err != nil {
			return nil, err
		}
		pass(ctx, r.rest)
	}
	lasted := time.Since(r.began)
	silence()
	close(calm)
	r.hush(ctx)
	deafen()
	ears.Wait()
	broken := r.heard()
	pass(ctx, vacateDelay+settle) // what must not come gets its chance
	found, err := r.judge(ctx)
	if err != nil {
		return nil, err
	}
	r.report(lasted)
	return append(broken, found...), nil
}

// gather brings up the clients of the channels that come and go, with half of the channels held.
func (r *recut) gather(ctx context.Context) (list []*flutter, err error) {
	for from := 0; from < r.channels; from += r.each {
		f := &flutter{rng: rand.New(rand.NewPCG(1, uint64(from)))}
		for i := from; i < min(from+r.each, r.channels); i++ {
			f.channels = append(f.channels, fmt.Sprintf("flap:%d", i))
		}
		p := r.ps.procs[len(list)%len(r.ps.procs)]
		dialing, cancel := context.WithTimeout(ctx, dialMax)
		ws, err := connect(dialing, p.listen, demoKey)
		cancel()
		if err != nil {
			return nil, err
		}
		f.session = &session{
			agent: &agent{id: fmt.Sprintf("flap%d", len(list)), witness: r.witness}, node: p.name, ws: ws,
			channels: map[string]*slot{}, gone: make(chan struct{}),
		}
		go f.session.read() // ends with its socket
		list = append(list, f)
		for i, name := range f.channels {
			if i%2 == 0 {
				f.session.attach(ctx, name)
			}
		}
	}
	for _, f := range list {
		f.pace = time.Duration(float64(time.Second) * float64(len(list)) / r.churn)
	}
	want := (r.channels + 1) / 2
	if !poll(ctx, time.Minute, func() bool { return len(r.witness.holders()) >= want*9/10 }) {
		return nil, fmt.Errorf("%d of %d channels are attached after a minute", len(r.witness.holders()), want)
	}
	return list, nil
}

// flutter is a client that attaches to channels and leaves them again.
type flutter struct {
	*session
	channels []string
	pace     time.Duration
	rng      *rand.Rand
}

// run goes on until calm is closed, and then holds what it has until ctx ends.
func (f *flutter) run(ctx context.Context, calm <-chan struct{}) {
	defer f.end()
	for {
		select {
		case <-time.After(time.Duration(float64(f.pace) * (0.5 + f.rng.Float64()))):
			f.toggle(ctx, f.channels[f.rng.IntN(len(f.channels))])
		case <-calm:
			<-ctx.Done()
			return
		case <-f.gone:
			return // the witness has it: nobody was to lose its node
		case <-ctx.Done():
			return
		}
	}
}

// talk has messages published until silence is called.
func (r *recut) talk(ctx context.Context, ears *sync.WaitGroup) (silence func(), err error) {
	var addrs, names []string
	for _, p := range r.ps.procs {
		addrs = append(addrs, p.listen)
	}
	for i := range r.voices.channels {
		names = append(names, fmt.Sprintf("talk:%d", i))
	}
	r.talkers = r.voices.talkers(addrs, names)
	for _, t := range r.talkers {
		ears.Go(func() { t.listen(ctx) })
	}
	if !poll(ctx, 30*time.Second, func() bool { return !slices.ContainsFunc(r.talkers, func(t *talker) bool { return !t.isAttached() }) }) {
		return nil, errors.New("clients are not attached after 30 s")
	}
	talking, stop := context.WithCancel(ctx)
	var voices sync.WaitGroup
	for _, t := range r.talkers {
		voices.Go(func() { t.talk(talking) })
	}
	return func() { stop(); voices.Wait() }, nil
}

// change has the number of partitions changed and waits until all are open.
func (r *recut) change(ctx context.Context, n int) error {
	at := time.Now()
	resp, err := ask.Post(fmt.Sprintf("http://%s/cluster/repartition?partitions=%d", r.ps.procs[0].admin, n), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the number of partitions was not changed to %d: %s", n, resp.Status)
	}
	open := func(p *proc) bool {
		var said struct{ Partitions, Open int }
		resp, err := ask.Get("http://" + p.admin + "/cluster/repartition")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(&said) == nil && said.Partitions == n && said.Open == n
	}
	if !poll(ctx, time.Minute, func() bool { return !slices.ContainsFunc(r.ps.procs, func(p *proc) bool { return !open(p) }) }) {
		return fmt.Errorf("not all of %d partitions are open after a minute", n)
	}
	r.changes = append(r.changes, change{n, at, time.Since(at)})
	fmt.Printf("      %d partitions, all reported open after %v\n", n, time.Since(at).Round(10*time.Millisecond))
	return nil
}

// hush waits until everything that was published is answered and heard, or long enough.
func (r *recut) hush(ctx context.Context) {
	poll(ctx, answersMax, func() bool { return !slices.ContainsFunc(r.talkers, func(t *talker) bool { return t.waiting() > 0 }) })
	all := sayingsOf(r.talkers)
	poll(ctx, deliveriesMax, func() bool {
		return !slices.ContainsFunc(r.talkers, func(t *talker) bool { return len(t.missed(all)) > 0 })
	})
}

// heard is what was wrong with messages.
func (r *recut) heard() (broken []string) {
	all := sayingsOf(r.talkers)
	for _, t := range r.talkers {
		if n := t.waiting(); n > 0 {
			broken = append(broken, fmt.Sprintf("client %d has %d publishes without an answer %v after the last", t.id, n, answersMax))
		}
		broken = slices.Concat(broken, t.missed(all), t.ear.faults, t.trouble)
	}
	if sent := r.witness.sent; len(sent) > 0 {
		broken = append(broken, fmt.Sprintf("%d clients lost their node, the first at %v", len(sent), sent[0].at))
	}
	return broken
}

// judge has the checkers look at what was received and seen.
func (r *recut) judge(ctx context.Context) (broken []string, err error) {
	var log []checker.Event
	if !poll(ctx, time.Minute, func() bool {
		var events []event
		if events, err = pull(r.ps.procs[0]); err != nil {
			return false
		}
		log = log[:0]
		for _, e := range events {
			log = append(log, e.Event)
		}
		return len(checker.Complete(r.received(), log, func(checker.Event) bool { return true })) == 0
	}) && err != nil {
		return nil, err
	}
	h := &checker.History{
		App: "demo", Attachments: r.witness.attachments(), Log: r.mine(log), Delay: vacateDelay, End: time.Now(),
		Late: func(t time.Time) time.Duration { return 2 * r.pulse.worst(t.Add(-2*vacateDelay), t.Add(time.Second)) },
	}
	counts := map[string]map[string]int{}
	for _, p := range r.ps.procs {
		if counts[p.name], err = p.counts(); err != nil {
			return nil, err
		}
		for name := range counts[p.name] {
			if !strings.HasPrefix(name, "flap:") {
				delete(counts[p.name], name)
			}
		}
	}
	received := r.received()
	for _, v := range slices.Concat(checker.Check(received), checker.Complete(received, log, func(checker.Event) bool { return true }),
		checker.Judge(h), checker.Counts(h, counts)) {
		broken = append(broken, v.String())
	}
	return broken, nil
}

func (r *recut) received() []checker.Event {
	var out []checker.Event
	for _, e := range r.recv.log() {
		out = append(out, e.Event)
	}
	return out
}

// mine leaves out the channels that are published to: the witness has not seen those.
func (r *recut) mine(log []checker.Event) []checker.Event {
	return slices.DeleteFunc(slices.Clone(log), func(e checker.Event) bool { return !strings.HasPrefix(e.Channel, "flap:") })
}

// report prints the figures.
func (r *recut) report(lasted time.Duration) {
	attachments := r.witness.attachments()
	var quiet, during []time.Duration
	for _, a := range attachments {
		if a.Confirmed.IsZero() || a.Asked.Before(r.began) {
			continue
		}
		if took := a.Confirmed.Sub(a.Asked); r.changing(a.Asked) {
			during = append(during, took)
		} else {
			quiet = append(quiet, took)
		}
	}
	said, acked := 0, 0
	for _, s := range sayingsOf(r.talkers) {
		said, acked = said+s.said, acked+s.count()
	}
	fmt.Printf("%d channels came and went: %d attaches, %d events, in %.0f s with %d changes of the number of partitions\n",
		r.channels, len(attachments), len(r.recv.log()), lasted.Seconds(), len(r.changes))
	fmt.Printf("attach to attached, apart from changes: %s\n", tails(quiet))
	fmt.Printf("attach to attached, within %v of a change: %s\n", changeSpan, tails(during))
	fmt.Printf("%d messages on %d channels, %d acknowledged\n", said, r.voices.channels, acked)
	for _, c := range r.changes {
		// A channel's pause shows in the longest time that one of its publishes took.
		worst := map[int]time.Duration{}
		for _, t := range r.talkers {
			for _, a := range t.answers {
				if d := a.at.Sub(c.at); d > -changeSpan && d < changeSpan {
					worst[a.channel] = max(worst[a.channel], a.took)
				}
			}
		}
		var pauses []time.Duration
		for _, d := range worst {
			pauses = append(pauses, d)
		}
		fmt.Printf("pause of a channel at the change to %d, by its slowest publish: %s\n", c.to, tails(pauses))
	}
}

// changeSpan is how long after a change its effects are looked for.
const changeSpan = 5 * time.Second

func (r *recut) changing(at time.Time) bool {
	return slices.ContainsFunc(r.changes, func(c change) bool { return at.After(c.at.Add(-time.Second)) && at.Before(c.at.Add(changeSpan)) })
}
