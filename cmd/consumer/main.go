package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"innkeeper/cmd/consumer/mirror"
)

// saveEvery is how often the file is written while there are changes. What the file lacks is read again.
const saveEvery = time.Second

func main() {
	nodes := flag.String("node", "http://127.0.0.1:8080", "client addresses of nodes, separated by commas")
	key := flag.String("key-file", "", "file with a key of the app, appId.keyId:secret, that has channel-metadata on all channels")
	state := flag.String("state", "", "file to keep the table in")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*nodes, ","), *key, *state); err != nil {
		fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, nodes []string, keyFile, state string) error {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return fmt.Errorf("-key-file: %w", err)
	}
	table, err := load(state)
	if err != nil {
		return err
	}
	var saved time.Time
	m := mirror.New(mirror.Config{
		Nodes: nodes, Key: strings.TrimSpace(string(key)), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Changed: func(t *mirror.Table, e *mirror.Event) {
			show(t, e)
			if state != "" && time.Since(saved) >= saveEvery {
				if err := save(state, *t); err != nil {
					slog.Error("the table is not saved", "err", err)
				}
				saved = time.Now()
			}
		},
	}, table)
	if err := m.Run(ctx); err != nil {
		return err
	}
	last, _, ok := m.Table()
	if state == "" || !ok {
		return nil
	}
	return save(state, last)
}

func show(t *mirror.Table, e *mirror.Event) {
	switch {
	case e == nil:
		fmt.Printf("%8d  = %d channels are occupied\n", t.Seq, len(t.Channels))
	case e.Type == "occupied":
		fmt.Printf("%8d  + %q\n", e.Seq, e.Channel)
	case e.Type == "vacated":
		fmt.Printf("%8d  - %q\n", e.Seq, e.Channel)
	}
}

// load reads a table. That there is none yet is no error; one that cannot be read is, since it may be somebody's file.
func load(file string) (t mirror.Table, err error) {
	if file == "" {
		return t, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(text, &t); err != nil || t.Channels == nil {
		return t, fmt.Errorf("%s holds no table (%v); remove it to make the table anew", file, err)
	}
	return t, nil
}

// save replaces the file at once: table and seq stay together whatever happens.
func save(file string, t mirror.Table) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	fresh := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}
