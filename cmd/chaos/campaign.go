package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"innkeeper/cmd/checker"
)

// plan is what a campaign is asked for.
type plan struct {
	bin, flapper    string // flapper "" runs no official SDK
	nodes, channels int
	seed            uint64
	length, gap     time.Duration
	network         bool // run in the hub's namespace
	dir             string
}

const (
	campaignGrace = 10 * time.Second
	smallDisk     = "size=192m"
	calmMax       = 120 * time.Second // until nobody's sockets are counted any more and all events arrived
)

// campaign is one run with all that was seen in it.
type campaign struct {
	plan
	ps       *processes
	recv     *receiver
	witness  *witness
	pulse    *pulse
	striker  *striker
	pullers  []*puller
	sdk      *flapper
	sdkWhy   string // why no SDK takes part
	names    []string
	began    time.Time
	calm     time.Time     // the last fault was taken back
	rested   time.Duration // after calm, until the log said what clients hold and all was received
	ended    time.Time
	log      []checker.Event
	receipts []event
	history  *checker.History
	found    []checker.Violation
	unjudged int      // channels for which the search for an order took too long
	broken   []string // what is no promise to users and still must not be
}

// perform runs a campaign to its end and judges it.
func perform(ctx context.Context, pl plan) (*campaign, error) {
	c := &campaign{plan: pl, witness: &witness{}, pulse: &pulse{}}
	return c, c.stage(ctx, c.play)
}

// stage runs a story on a new cluster, and ends that.
func (c *campaign) stage(ctx context.Context, story func(context.Context) error) error {
	pl := c.plan
	hook := "127.0.0.1:0"
	places, err := loopback(pl.nodes, func(i int) string { return fmt.Sprintf("127.0.1.%d", i+1) })
	if pl.network {
		hook, places, err = hubIP+":9000", nil, nil
		for i := range pl.nodes {
			places = append(places, place{nodeIP(i), [4]int{8080, 8090, 7900, 7910}, inNamespace(nodeName(hubPid(), i))})
		}
	}
	if err != nil {
		return err
	}
	if c.recv, err = newReceiver(hook); err != nil {
		return err
	}
	defer c.recv.close()
	if c.ps, err = newProcesses(pl.bin, pl.dir, places, c.recv.url, vacateDelay, campaignGrace); err != nil {
		return err
	}
	unmount, err := c.smallDisks()
	defer unmount()
	if err != nil {
		return err
	}
	defer c.ps.kill9(c.ps.procs...)
	start, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.ps.startAll(start); err != nil {
		return err
	}
	return story(ctx)
}

// smallDisks gives the last two nodes a file system that can be filled.
func (c *campaign) smallDisks() (unmount func(), err error) {
	var mounted []string
	unmount = func() {
		for _, d := range mounted {
			syscall.Unmount(d, syscall.MNT_DETACH)
		}
	}
	if !c.network {
		return unmount, nil
	}
	for _, p := range c.ps.procs[max(1, len(c.ps.procs)-2):] {
		data := filepath.Join(p.dir, "data")
		if err := os.MkdirAll(data, 0o755); err != nil {
			return unmount, err
		}
		if err := syscall.Mount("innk", data, "tmpfs", 0, smallDisk); err != nil {
			return unmount, err
		}
		mounted = append(mounted, data)
		p.small = true
	}
	return unmount, nil
}

// play lets clients and faults loose, waits for the calm after them, and judges.
func (c *campaign) play(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(c.seed, 1))
	c.names = make([]string, c.channels)
	for i := range c.names {
		c.names[i] = fmt.Sprintf("c:%d", i)
	}
	c.striker = newStriker(c.ps, c.recv, c.network, c.say)
	stop, calm := make(chan struct{}), make(chan struct{})
	clients, leave := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { leave(); close(stop); running.Wait() }()
	running.Go(func() { c.pulse.run(stop) })
	running.Go(func() { c.striker.watch(stop) })
	c.began = time.Now()
	for _, a := range c.agents(rng) {
		running.Go(func() { a.run(clients, calm) })
	}
	for i := range pullers {
		p := &puller{procs: c.ps.procs, rng: rand.New(rand.NewPCG(c.seed, uint64(1000+i)))}
		c.pullers = append(c.pullers, p)
		running.Go(func() {
			if err := p.run(clients, calm); err != nil {
				c.striker.broke("a consumer that pulls gave up: %v", err)
			}
		})
	}
	c.sdk, c.sdkWhy = startFlapper(c.flapper, c.seed, c.ps.procs, c.names, c.witness)
	if c.sdk != nil {
		defer c.sdk.close()
	}

	c.striker.run(ctx, draw(c.seed, c.length, c.gap, c.network))
	c.calm = time.Now()
	c.say("the last fault is over; %d attachments asked for so far", len(c.witness.attachments()))
	close(calm)
	if c.sdk != nil {
		c.sdk.calm()
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	return c.judge()
}

// say prints a line of progress.
func (c *campaign) say(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

// agents are our own clients. A third is steady and shares the first half of the channels, so that some channels are held
// nearly always; the others flap over all of them.
func (c *campaign) agents(rng *rand.Rand) []*agent {
	var out []*agent
	n := max(6, c.channels*3/10)
	for i := range n {
		a := &agent{id: fmt.Sprintf("go%d", i), rng: rand.New(rand.NewPCG(c.seed, uint64(i)+2)), procs: c.ps.procs,
			steady: i%3 == 0, stays: i%2 == 0, witness: c.witness}
		from := c.names
		if a.steady {
			from = c.names[:len(c.names)/2]
		}
		for _, k := range rng.Perm(len(from))[:min(6, len(from))] {
			a.channels = append(a.channels, from[k])
		}
		out = append(out, a)
	}
	return out
}

// settle waits until what the log says is what clients hold and all of it was received, or long enough; then it takes
// the log.
func (c *campaign) settle(ctx context.Context) error {
	c.say("calm; waiting for the last events")
	var why string
	for deadline := time.Now().Add(calmMax); time.Now().Before(deadline); pass(ctx, 500*time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if why = c.unsettled(); why == "" {
			c.rested = time.Since(c.calm)
			break
		}
	}
	if why != "" {
		c.broken = append(c.broken, fmt.Sprintf("%v after the last fault: %s", calmMax, why))
	}
	pass(ctx, settle) // what must not come gets its chance
	c.ended = time.Now()
	c.history = &checker.History{
		App: "demo", Attachments: c.witness.attachments(), Outages: c.striker.outages, Delay: vacateDelay, End: c.ended,
		Late: func(t time.Time) time.Duration { return 2 * c.pulse.worst(t.Add(-2*vacateDelay), t.Add(time.Second)) },
	}
	return nil
}

// unsettled says what is still missing.
func (c *campaign) unsettled() string {
	for _, p := range c.ps.procs {
		if !p.isReady() {
			return p.name + " is not ready"
		}
	}
	events, err := pull(c.ps.procs[0])
	if err != nil {
		return err.Error()
	}
	got := map[string]bool{}
	for _, e := range c.recv.log() {
		got[e.ID] = true
	}
	open := map[string]bool{}
	for _, e := range events {
		if !got[e.ID] {
			return fmt.Sprintf("event %d was not received", e.Seq)
		}
		open[e.Channel] = e.Type == "occupied"
	}
	log := make([]checker.Event, len(events))
	for i, e := range events {
		log[i] = e.Event
	}
	for _, p := range c.pullers {
		if why := p.behind(log); why != "" {
			return why
		}
	}
	held := c.witness.holders()
	for name, is := range open {
		if is != (held[name] > 0) {
			return fmt.Sprintf("%s is held by %d and the log says occupied: %v", name, held[name], is)
		}
	}
	return ""
}

// judge takes what all nodes say and lets the checkers look at everything.
func (c *campaign) judge() error {
	counts := map[string]map[string]int{}
	for i, p := range c.ps.procs {
		events, err := pull(p)
		if err != nil {
			return err
		}
		log := make([]checker.Event, len(events))
		for k, e := range events {
			log[k] = e.Event
		}
		if i == 0 {
			c.log = log
		} else if err := same(c.log, log); err != nil {
			c.broken = append(c.broken, fmt.Sprintf("%s tells other events than %s: %v", p.name, c.ps.procs[0].name, err))
		}
		if counts[p.name], err = p.counts(); err != nil {
			return err
		}
	}
	c.receipts = c.recv.log()
	received := make([]checker.Event, len(c.receipts))
	for i, e := range c.receipts {
		received[i] = e.Event
	}
	c.history.Log = c.log
	c.found = append(c.found, checker.Check(received)...)
	c.found = append(c.found, checker.Complete(received, c.log, func(checker.Event) bool { return true })...)
	c.found = append(c.found, checker.Judge(c.history)...)
	for _, p := range c.pullers {
		c.found = append(c.found, p.judge(c.log)...)
	}
	c.found = append(c.found, checker.Counts(c.history, counts)...)
	first := map[string]time.Time{}
	for _, e := range c.receipts {
		if _, ok := first[e.ID]; !ok {
			first[e.ID] = e.at
		}
	}
	disorder, unknown := checker.Linear(c.history, first)
	c.found = append(c.found, disorder...)
	c.unjudged = unknown
	c.broken = append(c.broken, c.striker.deaths...)
	for _, b := range c.striker.blows {
		if b.wrong != "" {
			c.broken = append(c.broken, fmt.Sprintf("%s at %.1f s: %s", b.kind, b.from.Sub(c.began).Seconds(), b.wrong))
		}
	}
	for _, p := range c.ps.procs {
		text, err := os.ReadFile(filepath.Join(p.dir, "log"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
				c.broken = append(c.broken, p.name+" says "+strings.TrimSpace(line))
			}
		}
	}
	return c.keep()
}

// keep writes down what was seen, for those who look into a failure.
func (c *campaign) keep() error {
	var errs []error
	for name, what := range map[string]any{"attachments.json": c.history.Attachments, "outages.json": c.history.Outages, "log.json": c.log, "violations.json": c.found} {
		b, err := json.Marshal(what)
		errs = append(errs, err, os.WriteFile(filepath.Join(c.dir, name), b, 0o644))
	}
	f, err := os.Create(filepath.Join(c.dir, "receipts.jsonl"))
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer f.Close()
	w := json.NewEncoder(f)
	for _, e := range c.receipts {
		errs = append(errs, w.Encode(map[string]any{"received_ms": e.at.UnixMilli(), "batch": map[string]any{"events": []checker.Event{e.Event}}}))
	}
	return errors.Join(errs...)
}

// same compares two logs.
func same(a, b []checker.Event) error {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Errorf("%v of %q against %v of %q", a[i], a[i].Channel, b[i], b[i].Channel)
		}
	}
	if len(a) != len(b) {
		return fmt.Errorf("%d events against %d", len(a), len(b))
	}
	return nil
}

// counts asks one node how many subscribers each channel has.
func (p *proc) counts() (map[string]int, error) {
	out := map[string]int{}
	for cursor := ""; ; {
		resp, err := ask.Get("http://" + p.admin + "/channels?limit=1000&app=demo&cursor=" + cursor)
		if err != nil {
			return nil, err
		}
		var page struct {
			Channels []struct {
				Channel   string `json:"channel"`
				Occupancy struct {
					Subscribers int `json:"subscribers"`
				} `json:"occupancy"`
			} `json:"channels"`
			Next string `json:"next"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("GET /channels on %s: %s, %v", p.name, resp.Status, err)
		}
		for _, ch := range page.Channels {
			out[ch.Channel] = ch.Occupancy.Subscribers
		}
		if page.Next == "" {
			return out, nil
		}
		cursor = page.Next
	}
}
