// Command chaos breaks clusters of real Innkeeper processes and checks, at the webhook receiver and by what clients saw,
// that no event is lost, invented or reordered.
//
//	chaos                    five scenarios: kill -9 of the node that holds the clients, in all roles, and of all nodes
//	chaos isolation          a node that stands still or is cut off, in all roles: who acts when, to the millisecond
//	chaos rolling            every node stopped and started again, one after the other, under clients that come back
//	chaos campaign           a seeded schedule of faults under clients that come and go
//	chaos continuity         nodes are killed one after the other while messages flow and members come and go: all acknowledged
//	                         is heard once, in order, and all agree on who is present
//	chaos repartition        the number of partitions changes while channels come and go and messages flow: nothing is noticed but a pause
//	chaos -cleanup           remove what a campaign left that was itself killed with -9
//
// The scenarios use loopback addresses. A campaign that may make network namespaces gives each node one; their names begin
// with "innk-", and they go when the campaign ends. It cuts, narrows and unplugs what lies between them; elsewhere it uses
// 127.0.1.x and leaves the network alone. Both end every process they started, by its id, and no other.
//
// Read rolling.go with guest.go (the rolling restart); for the campaign schedule.go (what may happen), strike.go (how it is
// done and taken back), network.go, agent.go and flapper.go (the clients), campaign.go (the course), isolation.go, figures.go,
// report.go and picture.go. What is a violation is decided by cmd/checker. For messages: continuity.go (the course), talker.go
// and listener.go (the clients), ledger.go (the judge), copies.go (what the next kill would take along); for presence
// attendee.go and attendants.go (the clients), assembly.go (the judge); recut.go for the change of the number of partitions.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	var (
		bin      = flag.String("innkeeper", "bin/innkeeper", "the innkeeper binary")
		quick    = flag.Bool("quick", false, "400 channels a side instead of 2,000, and at the end the shortest of the isolations, rolling restarts, runs of continuity and campaigns")
		channels = flag.Int("channels", 0, "channels a side, overrides -quick")
		only     = flag.String("only", "", "run only scenarios whose name contains this")
		keep     = flag.Bool("keep", false, "keep the directory with configurations and logs")
		clean    = flag.Bool("cleanup", false, "remove what campaigns left that were killed with -9, and do nothing else")
	)
	flag.Parse()
	if *clean {
		if err := cleanup(); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			os.Exit(1)
		}
		return
	}
	if flag.Arg(0) == "campaign" {
		os.Exit(campaignMain(*bin, flag.Args()[1:]))
	}
	if flag.Arg(0) == "continuity" {
		os.Exit(continuityMain(*bin, flag.Args()[1:]))
	}
	if flag.Arg(0) == "isolation" {
		os.Exit(isolationMain(*bin, flag.Args()[1:]))
	}
	if flag.Arg(0) == "repartition" {
		os.Exit(recutMain(*bin, flag.Args()[1:]))
	}
	if flag.Arg(0) == "rolling" {
		os.Exit(rollingMain(*bin, flag.Args()[1:]))
	}
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "chaos: unknown argument %q; there are \"campaign\", \"continuity\", \"isolation\", \"repartition\" and \"rolling\"\n", flag.Arg(0))
		os.Exit(2)
	}
	n := 2000
	if *quick {
		n = 400
	}
	if *channels > 0 {
		n = *channels
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	passed, failed := 0, 0
	for i, sc := range scenarios() {
		if !strings.Contains(sc.name, *only) {
			continue
		}
		start := time.Now()
		said, err := play(ctx, *bin, n, *keep, i, sc)
		if err != nil {
			failed++
			fmt.Printf("FAIL  %s (%.1f s)\n      %v\n", sc.name, time.Since(start).Seconds(), err)
			continue
		}
		passed++
		fmt.Printf("ok    %s (%.1f s)\n      %s\n", sc.name, time.Since(start).Seconds(), said)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
	if *quick && *only == "" {
		stop()
		fmt.Println("a leader that stands still, and one that is cut off:")
		code := isolationMain(*bin, []string{"-quick"})
		fmt.Println("a rolling restart:")
		code = max(code, rollingMain(*bin, smallest))
		fmt.Println("another number of partitions, and back:")
		code = max(code, recutMain(*bin, recutShortest))
		fmt.Println("messages while nodes are killed:")
		code = max(code, continuityMain(*bin, shortRun))
		fmt.Println("a short campaign:")
		os.Exit(max(code, campaignMain(*bin, shortest)))
	}
}

// shortest is the campaign that -quick adds to the scenarios.
var shortest = []string{"-minutes", "0.4", "-gap", "3s", "-nodes", "3", "-channels", "60"}

// campaignMain runs `chaos campaign` and returns the exit code.
func campaignMain(bin string, args []string) int {
	flags := flag.NewFlagSet("campaign", flag.ExitOnError)
	pl := plan{bin: bin}
	flags.IntVar(&pl.nodes, "nodes", 5, "nodes of the cluster, 3 to 9")
	flags.IntVar(&pl.channels, "channels", 240, "channels that flap")
	flags.Uint64Var(&pl.seed, "seed", 1, "seed of faults and clients")
	flags.StringVar(&pl.flapper, "flapper", "scripts/sdk/flapper.mjs", "script with clients of an official SDK; empty runs none")
	flags.DurationVar(&pl.gap, "gap", 7*time.Second, "mean time between the beginnings of faults")
	minutes := flags.Float64("minutes", 10, "how long faults keep coming")
	quick := flags.Bool("quick", false, "one minute, a fault every 4 s")
	loop := flags.Bool("loopback", false, "use loopback addresses even where network namespaces are possible")
	file := flags.String("report", "", "`file` for the report in Markdown; the timeline goes beside it as .svg")
	keep := flags.Bool("keep", false, "keep the directory with configurations, logs and all that was seen")
	flags.Parse(args)
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	pl.length = time.Duration(*minutes * float64(time.Minute))
	if *quick {
		pl.length, pl.gap = time.Minute, 4*time.Second
	}
	if pl.nodes < 3 || pl.nodes > 9 || pl.channels < 12 || flags.NArg() > 0 {
		return fail(fmt.Errorf("-nodes must be from 3 to 9, -channels at least 12, and nothing may follow"))
	}
	if !*loop && hubPid() == 0 {
		code, entered, err := enter(pl.nodes, append([]string{"-innkeeper", bin, "campaign"}, args...))
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
	c, err := perform(ctx, pl)
	if err != nil {
		if ctx.Err() != nil {
			os.RemoveAll(pl.dir)
			return fail(errors.New("interrupted; nothing was judged and nothing is left"))
		}
		return fail(fmt.Errorf("%w (logs: %s)", err, filepath.Join(pl.dir, "n*", "log")))
	}
	fmt.Println(c.verdict())
	if *file != "" {
		picture := pictureOf(*file)
		err := errors.Join(os.WriteFile(*file, []byte(c.report(filepath.Base(picture))), 0o644), os.WriteFile(picture, []byte(c.picture()), 0o644))
		if err != nil {
			return fail(err)
		}
	}
	if len(c.found)+len(c.broken) == 0 {
		if *keep {
			fmt.Println("kept:", pl.dir)
		} else {
			os.RemoveAll(pl.dir)
		}
		return 0
	}
	for _, v := range c.found {
		fmt.Println(" ", v)
	}
	for _, s := range c.broken {
		fmt.Println(" ", s)
	}
	fmt.Println("kept:", pl.dir)
	return 1
}

// enter runs this command again among network namespaces for n nodes, if this machine lets us make them.
func enter(n int, args []string) (code int, entered bool, err error) {
	if err := namespaced(); err != nil {
		fmt.Printf("no network namespaces (%v): loopback addresses, and only faults of processes and of the receiver\n", err)
		return 0, false, nil
	}
	code, err = underHub(n, args)
	return code, true, err
}

// place decides where the nodes live, and makes the directory for what they leave.
func (pl *plan) place() error {
	pid := hubPid()
	if pl.network = pid != 0; !pl.network {
		pid = os.Getpid()
	}
	pl.dir = runDir(pid)
	pl.bin, _ = filepath.Abs(pl.bin)
	return os.MkdirAll(pl.dir, 0o755)
}

// play runs one scenario on a cluster of its own. What it leaves is removed unless it failed.
func play(ctx context.Context, bin string, channels int, keep bool, i int, sc scenario) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "innkeeper-chaos-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err == nil && !keep {
			os.RemoveAll(dir)
		} else {
			fmt.Printf("      logs: %s\n", filepath.Join(dir, "n*", "log"))
		}
	}()
	s, err := newStage(ctx, bin, dir, channels, vacateDelay)
	if err != nil {
		return "", err
	}
	defer s.close()
	return sc.run(ctx, s)
}

// pull reads all events of the demo app from one node.
func pull(p *proc) ([]event, error) {
	var all []event
	for after := uint64(0); ; {
		req, err := http.NewRequest("GET", fmt.Sprintf("http://%s/events?after=%d&limit=1000", p.listen, after), nil)
		if err != nil {
			return nil, err
		}
		id, secret, _ := strings.Cut(demoKey, ":")
		req.SetBasicAuth(id, secret)
		resp, err := ask.Do(req)
		if err != nil {
			return nil, err
		}
		var page struct {
			Last   uint64  `json:"last"`
			Events []event `json:"events"`
		}
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		} else {
			err = json.NewDecoder(resp.Body).Decode(&page)
		}
		resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("GET /events on %s: %w", p.name, err)
		}
		all = append(all, page.Events...)
		if len(page.Events) == 0 {
			return all, nil
		}
		after = page.Events[len(page.Events)-1].Seq
	}
}
