package main

import (
	"io"
	"log/slog"

	"innkeeper/cmd/node/config"
)

// newLogger writes log lines as the configuration wants them.
func newLogger(cfg config.Log, to io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // the configuration was checked: only one put together by code gets here
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		opts.ReplaceAttr = spanAsText
		return slog.New(slog.NewJSONHandler(to, opts))
	}
	return slog.New(slog.NewTextHandler(to, opts))
}

// spanAsText has a duration look in JSON as it does in text, with its unit: it would be a bare number of nanoseconds.
func spanAsText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
