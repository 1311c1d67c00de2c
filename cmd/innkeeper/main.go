package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"innkeeper/cmd/node/config"
)

// Exit codes; the help of the program lists them too. A second signal ends with 128 plus the signal's number.
const (
	exitOK      = 0 // done, or stopped by a signal
	exitRefused = 1 // could not start: configuration, port or data directory
	exitUsage   = 2 // command line not understood
	exitFailed  = 3 // failed while running, or did not stop in time
)

const description = `A clustered realtime broker that never loses count. Official Ably SDKs connect to it.

Exit codes: 0 done or stopped by a signal; 1 could not start (configuration, port or data directory); 2 wrong command line; 3 failed while running or did not stop in time; 128 + n ended at once by a second signal n.`

// commands is the command line.
type commands struct {
	Serve  serveCmd  `cmd:"" help:"Run one node of a cluster."`
	Dev    devCmd    `cmd:"" help:"Run a cluster for development in one process."`
	Config configCmd `cmd:"" help:"Work with configuration files."`

	Cluster clusterCmd `cmd:"" help:"Look at a running cluster, and change who is in it."`
	Events  eventsCmd  `cmd:"" help:"Follow the events of a running cluster, or have them sent again."`
	Stats   statsCmd   `cmd:"" help:"Show what an app had open and did, with its peaks."`

	Drain drainCmd `cmd:"" help:"Have a node hand over what it has and stop."`

	Apps       appsCmd       `cmd:"" help:"List, make and change apps of a running cluster."`
	Keys       keysCmd       `cmd:"" help:"List, make, change and revoke keys."`
	Namespaces namespacesCmd `cmd:"" help:"List, make and change namespaces."`
	Rules      rulesCmd      `cmd:"" help:"List, make and change rules: which events go where."`
	Limits     limitsCmd     `cmd:"" help:"List and set what apps and accounts may have and do."`

	Backup  backupCmd  `cmd:"" help:"Save what a running cluster has agreed on to a file."`
	Restore restoreCmd `cmd:"" help:"Make the data directory of a new cluster from a backup."`

	Version versionCmd `cmd:"" help:"Show version, Go version and revision."`
}

// world is what a command may touch outside of its flags.
type world struct {
	environ        []string
	stdout, stderr io.Writer
	signals        <-chan os.Signal
	exit           func(code int) // ends the process at once
}

// exitError ends the program with a code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	signals := make(chan os.Signal, 2) // the second one must not be lost while the first is handled
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], world{environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr, signals: signals, exit: os.Exit}))
}

// parserExit carries the code out of the parser, which ends the program itself when it has shown a help text.
type parserExit int

// run executes one command line and returns the exit code.
func run(args []string, w world) (code int) {
	defer func() {
		if e := recover(); e != nil {
			c, ok := e.(parserExit)
			if !ok {
				panic(e)
			}
			code = int(c)
		}
	}()
	var cli commands
	cli.Serve.Settings = settingFlags(config.Default(), func(string) bool { return true })
	cli.Dev.Settings = settingFlags(devDefault(), devSetting)
	parser, err := kong.New(&cli,
		kong.Name("innkeeper"),
		kong.Description(description),
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(func(code int) { panic(parserExit(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.ExplicitGroups(settingGroups()),
	)
	if err != nil {
		panic(err) // our own tags are wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(w.stderr, "innkeeper: %v\nTry \"innkeeper --help\", or \"innkeeper COMMAND --help\".\n", err)
		return exitUsage
	}
	err = ctx.Run(w, kind(strings.Fields(ctx.Command())[0]))
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(w.stderr, "innkeeper: %v\n", err)
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitRefused
}
