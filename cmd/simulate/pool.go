package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"innkeeper/cmd/sim"
)

// order is what a worker is told to play, as TestWorker of cmd/sim reads it.
type order struct {
	sim.Case
	Timeline bool `json:"timeline"` // report also what went well
}

// pool is a number of processes that play cases, one at a time each. A process that dies of a case is replaced.
type pool struct {
	ctx    context.Context
	binary string
	idle   chan *process // one for each that may run; nil: not started yet
}

func newPool(ctx context.Context, binary string, size int) *pool {
	p := &pool{ctx: ctx, binary: binary, idle: make(chan *process, size)}
	for range size {
		p.idle <- nil
	}
	return p
}

// close ends all processes. No case may be under way.
func (p *pool) close() {
	for range cap(p.idle) {
		if w := <-p.idle; w != nil {
			w.end()
		}
	}
}

// all plays n cases and hands each outcome to done, one at a time, as they come. It ends early with the context.
func (p *pool) all(n int, of func(int) order, done func(sim.Outcome)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := make(chan int)
	for range cap(p.idle) {
		wg.Go(func() {
			for i := range next {
				out := p.play(of(i))
				mu.Lock()
				if p.ctx.Err() == nil {
					done(out)
				}
				mu.Unlock()
			}
		})
	}
	for i := 0; i < n && p.ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
}

// batch plays cases side by side and returns their outcomes in order.
func (p *pool) batch(cases []sim.Case) []sim.Outcome {
	out := make([]sim.Outcome, len(cases))
	var wg sync.WaitGroup
	for i, c := range cases {
		wg.Go(func() { out[i] = p.play(order{c, false}) })
	}
	wg.Wait()
	return out
}

// play waits for a process and plays a case on it. A process that ends, or that takes far too long, is a violation.
func (p *pool) play(o order) sim.Outcome {
	w := <-p.idle
	if w == nil {
		var err error
		if w, err = start(p.ctx, p.binary); err != nil {
			p.idle <- nil
			return crashed(o.Case, err.Error(), "")
		}
	}
	out, err := w.play(o)
	if err != nil {
		w.end()
		w = nil
	}
	p.idle <- w
	return out
}

// process is a test binary at work.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	words bytes.Buffer // on stderr; read after the process has ended
}

func start(ctx context.Context, binary string) (*process, error) {
	w := &process{cmd: exec.CommandContext(ctx, binary, "-test.run", "^TestWorker$", "-worker", "-test.timeout", "0")}
	// One CPU each: what runs in a bubble hardly gains by a second one and pays for passing work between them. And memory
	// is cheaper than collecting it often.
	w.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400", "GOTRACEBACK=all")
	w.cmd.Stderr = io.MultiWriter(&w.words, os.Stderr)
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewScanner(out)
	w.out.Buffer(nil, 256<<20)
	return w, w.cmd.Start()
}

// end lets the process finish.
func (w *process) end() {
	w.in.Close()
	w.cmd.Wait()
}

// patience is how long a run may take for each simulated minute, and besides.
const patience = 30 * time.Second

// play has one case played. After an error the process is of no use any more.
func (w *process) play(o order) (sim.Outcome, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return crashed(o.Case, err.Error(), ""), err
	}
	if _, err := w.in.Write(append(b, '\n')); err != nil {
		return crashed(o.Case, "its process is gone", ""), err
	}
	hung := false
	watch := time.AfterFunc(patience*time.Duration(2+o.Minutes), func() {
		hung = true
		w.cmd.Process.Signal(syscall.SIGQUIT) // prints what every goroutine does
	})
	var said strings.Builder
	for w.out.Scan() {
		if line, ok := strings.CutPrefix(w.out.Text(), "outcome "); ok && watch.Stop() {
			var out sim.Outcome
			if err := json.Unmarshal([]byte(line), &out); err != nil {
				return crashed(o.Case, err.Error(), line), err
			}
			return out, nil
		}
		fmt.Fprintln(&said, w.out.Text())
	}
	watch.Stop()
	w.cmd.Wait()
	what := "the process ended: " + fmt.Sprint(w.cmd.ProcessState)
	if hung {
		what = "the run hangs"
	}
	return crashed(o.Case, what, said.String()+w.words.String()), fmt.Errorf("%s", what)
}

// crashed is the outcome of a run that has none.
func crashed(c sim.Case, what, said string) sim.Outcome {
	const most = 64 << 10
	if len(said) > most {
		said = said[:most] + "\n…\n"
	}
	schedule, places := c.Schedule()
	return sim.Outcome{
		Case: c, Faults: places, Clients: c.Options().Clients, Violations: []string{"run: " + what},
		Report: fmt.Sprintf("seed %d: %s\nschedule:\n%v%s", c.Seed, what, schedule, said),
	}
}
