package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"innkeeper/cmd/checker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "receiver:", err)
		}
		os.Exit(1)
	}
}

// run is the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "check" {
		if len(args) != 2 {
			return errors.New("usage: receiver check FILE")
		}
		return check(args[1], stdout)
	}
	flags := flag.NewFlagSet("receiver", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:9000", "`address` to listen on")
	file := flags.String("out", "-", "`file` that batches are appended to; - is standard output")
	mode := flags.String("mode", "ok", "how to answer: one of "+modes())
	every := flags.Duration("counts", 0, "print the counts to standard error this often; 0 only at the end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, ok := answers[*mode]; !ok {
		return fmt.Errorf("mode %q is unknown; it must be one of %s", *mode, modes())
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *file != "-" {
		f, err := os.OpenFile(*file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		stdout = f
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	r := newReceiver(stdout, *mode)
	fmt.Fprintf(stderr, "receiver listens on http://%s, answers %s\n", l.Addr(), *mode)
	err = serve(ctx, l, r, *every, stderr)
	fmt.Fprintf(stderr, "%s\n", r.status())
	return err
}

// serve runs until ctx ends. Requests that hang are cut off.
func serve(ctx context.Context, l net.Listener, r *receiver, every time.Duration, stderr io.Writer) error {
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	var tick <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case err := <-failed:
			return err
		case <-tick:
			fmt.Fprintf(stderr, "%s\n", r.status())
		case <-ctx.Done():
			server.Close()
			<-failed
			return nil
		}
	}
}

// check judges a record.
func check(file string, stdout io.Writer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	events, err := checker.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	violations := checker.Check(events)
	for _, v := range violations {
		fmt.Fprintln(stdout, v)
	}
	fmt.Fprintf(stdout, "%d events received, %d violations\n", len(events), len(violations))
	if len(violations) > 0 {
		return fmt.Errorf("%s breaks the promises", file)
	}
	return nil
}
