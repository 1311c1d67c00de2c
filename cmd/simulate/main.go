// Command simulate plays schedules of faults on simulated clusters and has every promise judged. Each seed is a cluster
// of its own in the fake time of a test binary that this program builds and feeds (cmd/sim); several run at once. A
// failure is printed with its seed, made smaller as long as it still fails, and told as a timeline.
//
//	go run ./cmd/simulate --seeds 150 --nodes 5 --minutes 10     a campaign
//	go run ./cmd/simulate --seed 17 --minutes 10                 one seed again, with its timeline
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"github.com/alecthomas/kong"

	"innkeeper/cmd/sim"
)

type flags struct {
	Seeds     int           `help:"How many seeds to play." default:"150"`
	First     uint64        `help:"The first of them."`
	Seed      *uint64       `help:"Play this seed alone and print its timeline."`
	Nodes     int           `help:"How many nodes found the cluster; more may join. 0: three to seven, by the seed." default:"5"`
	Minutes   float64       `help:"Simulated minutes of each run." default:"10"`
	Jobs      int           `short:"j" help:"How many run at once. 0: as many as there are CPUs."`
	ShrinkFor time.Duration `help:"How long to look for a smaller schedule that fails." default:"5m"`
	Tries     int           `help:"How often a smaller schedule may pass before it counts as passing: goroutines are not part of a seed." default:"2"`
	Without   []int         `help:"With --seed: faults of its schedule that shall not take place."`
	Idle      []int         `help:"With --seed: clients that shall do nothing."`
	Log       bool          `help:"With --seed: print what the nodes say."`
	Reports   string        `help:"Directory for the reports of failures." default:"${reports}"`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Description("Plays schedules of faults on simulated clusters and judges what everybody saw."),
		kong.Vars{"reports": filepath.Join(os.TempDir(), "innkeeper-simulate")})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := f.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

// run says whether all promises were kept.
func (f *flags) run(ctx context.Context) (bool, error) {
	if f.Minutes < 2 {
		return false, fmt.Errorf("--minutes %v: want 2 at least, since a run ends with a time without faults", f.Minutes)
	}
	if f.Nodes != 0 && (f.Nodes < 3 || f.Nodes > 7) {
		return false, fmt.Errorf("--nodes %d: want 3 to 7, or 0", f.Nodes)
	}
	if f.Jobs <= 0 {
		f.Jobs = runtime.NumCPU()
	}
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "sim.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "innkeeper/cmd/sim")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return false, fmt.Errorf("building the simulation: %w", err)
	}
	p := newPool(ctx, binary, f.Jobs)
	defer p.close()
	if f.Seed != nil {
		return f.replay(p)
	}
	return f.campaign(p)
}

func (f *flags) of(seed uint64) sim.Case {
	return sim.Case{Seed: seed, Nodes: f.Nodes, Minutes: f.Minutes}
}

// replay plays one seed.
func (f *flags) replay(p *pool) (bool, error) {
	c := f.of(*f.Seed)
	c.Without, c.Idle, c.Log = f.Without, f.Idle, f.Log
	out := p.play(order{c, true})
	fmt.Print(out.Report)
	if len(out.Violations) > 0 {
		f.shrink(p, out)
	}
	return len(out.Violations) == 0, nil
}

// campaign plays all seeds.
func (f *flags) campaign(p *pool) (bool, error) {
	if err := os.MkdirAll(f.Reports, 0o755); err != nil {
		return false, err
	}
	t := newTally(f.Seeds)
	stop := t.print(os.Stderr, 10*time.Second)
	var failed []sim.Outcome
	p.all(f.Seeds, func(i int) order { return order{f.of(f.First + uint64(i)), false} }, func(out sim.Outcome) {
		t.add(out)
		if len(out.Violations) == 0 {
			return
		}
		failed = append(failed, out)
		path := filepath.Join(f.Reports, fmt.Sprintf("%d.txt", out.Case.Seed))
		fmt.Fprintf(os.Stderr, "seed %d FAILED: %s (%s)\n", out.Case.Seed, out.Violations[0], path)
		if err := os.WriteFile(path, []byte(out.Report), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	stop()
	fmt.Println(t)
	if len(failed) > 0 {
		f.shrink(p, failed[0])
	}
	if err := p.ctx.Err(); err != nil {
		return false, errors.New("interrupted")
	}
	return len(failed) == 0, nil
}

// shrink prints the smallest case that still fails as far as it can be found in time.
func (f *flags) shrink(p *pool, out sim.Outcome) {
	if f.ShrinkFor <= 0 || p.ctx.Err() != nil {
		return
	}
	fmt.Fprintf(os.Stderr, "shrinking seed %d, %v at most\n", out.Case.Seed, f.ShrinkFor)
	small := shrinker{play: p.batch, tries: f.Tries, width: f.Jobs, end: time.Now().Add(f.ShrinkFor), log: os.Stderr}.shrink(out)
	if small == nil {
		fmt.Printf("seed %d does not fail again at once; its report stands as it is:\n%s", out.Case.Seed, out.Report)
		return
	}
	fmt.Printf("smallest schedule found:\n%s%s\n", small.Report, replayLine(small.Case))
}

// replayLine is how to play a case again.
func replayLine(c sim.Case) string {
	line := fmt.Sprintf("again: scripts/simulate --seed %d --nodes %d --minutes %v", c.Seed, c.Nodes, c.Minutes)
	for _, list := range []struct {
		flag  string
		items []int
	}{{"without", c.Without}, {"idle", c.Idle}} {
		for i, x := range list.items {
			sep := ","
			if i == 0 {
				sep = " --" + list.flag + "="
			}
			line += fmt.Sprint(sep, x)
		}
	}
	return line
}
