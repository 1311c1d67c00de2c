package raftstore

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLogQuiet is for how long a message of raft is not repeated: it says the same thing at every failed heartbeat.
const raftLogQuiet = 10 * time.Second

// raftLogger hands raft's errors to slog as warnings and its warnings as information, since none of them is the end of
// anything: what is fatal is reported by this room. Everything below is dropped.
type raftLogger struct {
	hclog.Logger // a null logger: what is not defined here says nothing
	log          *slog.Logger
	quiet        *quiet
}

// quiet remembers when each message was last let through.
type quiet struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu; raft's messages are constants, so it stays small
}

func newRaftLogger(log *slog.Logger) *raftLogger {
	return &raftLogger{Logger: hclog.NewNullLogger(), log: log, quiet: &quiet{last: map[string]time.Time{}}}
}

func (q *quiet) allow(msg string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last, ok := q.last[msg]; ok && now.Sub(last) < raftLogQuiet {
		return false
	}
	q.last[msg] = now
	return true
}

// Warn takes what raft calls a warning: an election, mostly, which every start has.
func (l *raftLogger) Warn(msg string, args ...any) { l.emit(slog.LevelInfo, msg, args) }

func (l *raftLogger) Error(msg string, args ...any) {
	level := slog.LevelWarn
	if msg == "failed to accept connection" {
		level = slog.LevelDebug // the listener was closed under it: this node is stopping
	}
	l.emit(level, msg, args)
}

func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	switch {
	case level >= hclog.Error:
		l.Error(msg, args...)
	case level >= hclog.Warn:
		l.Warn(msg, args...)
	}
}

func (l *raftLogger) emit(level slog.Level, msg string, args []any) {
	if l.log.Enabled(context.Background(), level) && l.quiet.allow(msg, time.Now()) {
		l.log.Log(context.Background(), level, "raft: "+msg, args...)
	}
}

func (l *raftLogger) IsWarn() bool              { return true }
func (l *raftLogger) IsError() bool             { return true }
func (l *raftLogger) GetLevel() hclog.Level     { return hclog.Warn }
func (l *raftLogger) Named(string) hclog.Logger { return l }

func (l *raftLogger) With(args ...any) hclog.Logger {
	with := *l
	with.log = l.log.With(args...)
	return &with
}
