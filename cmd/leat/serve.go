package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/server"
)

// runServer runs the server with its log on standard error and its banner on
// standard output.
func runServer(ctx context.Context, cfg *config.Config, warnings []config.Warning) error {
	log := newLogger(cfg)
	for _, w := range warnings {
		level := slog.LevelWarn
		if w.Kind == config.Inert || w.Kind == config.Recalled {
			level = slog.LevelInfo
		}
		log.Log(ctx, level, "setting", "name", w.Name, "why", w.Text)
	}
	return server.Run(ctx, server.Options{Config: cfg, Log: log, Version: buildVersion(), Banner: os.Stdout})
}

// newLogger writes as leat.log.level and leat.log.format say.
func newLogger(cfg *config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.String(config.LeatLogLevel))); err != nil {
		level = slog.LevelInfo // the table allows only levels that slog knows
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.String(config.LeatLogFormat) == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}
