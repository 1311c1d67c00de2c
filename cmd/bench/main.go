package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type commands struct {
	Run   bench    `cmd:"" default:"withargs" help:"Measure and print a table (the default)."`
	Floor floorCmd `cmd:"" help:"Run the bare server that figures are compared with."`
}

// bench is one run of scenarios.
type bench struct {
	Scenarios []string      `arg:"" optional:"" help:"What to measure: fanout, spread, cycles, cycles3, moves, log, connections, channels. Default: all."`
	Quick     bool          `help:"Smaller and shorter: to see that it works, not to compare."`
	Bin       string        `default:"bin/innkeeper" help:"The innkeeper program." type:"path"`
	Dir       string        `help:"Where servers keep their data while they are measured. Default: the system's temporary directory." type:"path"`
	Window    int           `default:"64" help:"Messages that the publisher of the fan-out may be ahead of the slowest subscriber."`
	Timeout   time.Duration `default:"15m" help:"Give up after this long."`

	rows []row
	out  io.Writer // progress
}

type scenario struct {
	name string
	run  func(context.Context) error
}

func (b *bench) all() []scenario {
	return []scenario{
		{"fanout", b.fanout},
		{"spread", b.spread},
		{"cycles", func(ctx context.Context) error { return b.cycles(ctx, 1, 100) }},
		{"cycles3", func(ctx context.Context) error { return b.cycles(ctx, 3, 250) }},
		{"moves", b.moves},
		{"log", b.log},
		{"connections", b.connections},
		{"channels", b.channels},
	}
}

// Run measures the chosen scenarios. One that fails is reported and does not keep the others from running.
func (b *bench) Run() error {
	b.out = os.Stderr
	ctx, cancel := context.WithTimeout(context.Background(), b.Timeout)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	all := b.all()
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	for _, name := range b.Scenarios {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown scenario %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	if b.Window < 1 {
		return fmt.Errorf("--window: %d is out of range; it must be 1 or more", b.Window)
	}
	if _, err := os.Stat(b.Bin); err != nil {
		return fmt.Errorf("%w; build it with: go build -o bin/ ./cmd/...", err)
	}
	var failed []string
	for _, s := range all {
		if len(b.Scenarios) > 0 && !slices.Contains(b.Scenarios, s.name) {
			continue
		}
		b.progress("— %s", s.name)
		if err := s.run(ctx); err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
			}
			b.progress("%s failed: %v", s.name, err)
			failed = append(failed, s.name)
			b.rows = append(b.rows, row{s.name, "failed, see above", "", "**no**"})
		}
	}
	b.table(os.Stdout)
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// start starts a cluster of n processes.
func (b *bench) start(ctx context.Context, n int, t tuning) (*cluster, error) {
	return startCluster(ctx, b.Bin, b.Dir, n, t)
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.out, format+"\n", args...)
}

func main() {
	var cli commands
	ctx := kong.Parse(&cli, kong.Name("bench"), kong.Description("Measures what Innkeeper costs, with servers and load in separate processes."))
	ctx.FatalIfErrorf(ctx.Run())
}
