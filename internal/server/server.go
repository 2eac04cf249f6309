// Package server is what "leat serve" runs: the broker, and the HTTP door with
// metrics and health beside it.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/leat-stream/leat/internal/broker"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
)

// stopGrace is how long answers that are owed may take to leave at a stop.
const stopGrace = 1200 * time.Millisecond

// lowOpenFiles is a limit of open files that an operator should raise.
const lowOpenFiles = 1024

// ErrRemoved ends a server that was removed from its cluster while it was up.
var ErrRemoved = broker.ErrRemoved

// Options of a server.
type Options struct {
	Config *config.Config
	Log    *slog.Logger
	// Version is shown in the banner and in the leat_build_info metric.
	Version string
	// Banner gets a few lines that say what listens where; nil is silent.
	Banner io.Writer
	// Embedded servers leave the process's limits and memory settings alone.
	Embedded bool
}

// Server is one node.
type Server struct {
	opt    Options
	reg    *prometheus.Registry
	broker *broker.Broker
	http   []*httpDoor
	failed chan error
}

// Start opens the data directory and the doors. When it returns, clients are served.
func Start(ctx context.Context, opt Options) (*Server, error) {
	s := &Server{opt: opt, reg: prometheus.NewRegistry(), failed: make(chan error, 4)}
	var files uint64
	var memory int64
	if !opt.Embedded {
		var err error
		if files, err = raiseOpenFiles(); err != nil {
			opt.Log.Warn("open files", "why", err)
		}
		memory = followCgroup()
	}
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(opt.Version))
	dir, err := filepath.Abs(opt.Config.DataDir())
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := s.bindHTTP(ctx, files); err != nil { // before anything is written: a port that is taken leaves no trace
		return nil, err
	}
	b, err := broker.Open(ctx, broker.Options{
		Config: opt.Config, Log: opt.Log, FS: env.OS, Clock: env.Real, Metrics: s.reg,
		DataDir: dir, OpenFiles: files, Failed: s.fail, Version: opt.Version,
	})
	if err != nil {
		return nil, errors.Join(err, s.closeHTTP())
	}
	s.broker = b
	for _, d := range s.http {
		d.serve(s.reg, b, opt.Config.Bool(config.PprofEnable), s.fail)
	}
	if err := b.Start(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.tellLimits(ctx, files, memory)
	s.banner(dir)
	return s, nil
}

// tellLimits says what the process may take. It comes after all that can fail, so that
// a start that is refused says why and nothing else.
func (s *Server) tellLimits(ctx context.Context, files uint64, memory int64) {
	if files > 0 {
		level := slog.LevelInfo
		if files < lowOpenFiles {
			level = slog.LevelWarn
		}
		shares := broker.ShareOpenFiles(s.opt.Config, files)
		s.opt.Log.Log(ctx, level, "open files", "limit", files, "connections", shares.Connections, "segments", shares.Segments)
	}
	if memory > 0 {
		s.opt.Log.Info("memory limit", "bytes", memory)
	}
}

// bindHTTP binds the HTTP door; a further address of the same name (::1 beside
// 127.0.0.1) may be missing on the machine. After an error nothing is bound.
func (s *Server) bindHTTP(ctx context.Context, files uint64) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeHTTP())
		}
	}()
	port := ""
	for i, address := range s.opt.Config.HTTPAddresses() {
		host, p, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("http.listen: %w", err)
		}
		if i > 0 && p == "0" {
			p = port
		}
		d, err := bindHTTP(ctx, host, p, broker.ShareOpenFiles(s.opt.Config, files).HTTP)
		if err != nil {
			if i > 0 {
				continue
			}
			set := s.opt.Config.String(config.HttpListen)
			return broker.PortTaken(err, string(config.HttpListen), func(other int) string {
				return set[:strings.LastIndexByte(set, ':')+1] + strconv.Itoa(other)
			}, p)
		}
		if _, port, err = net.SplitHostPort(d.ln.Addr().String()); err != nil {
			return fmt.Errorf("http.listen: %w", err)
		}
		s.http = append(s.http, d)
	}
	return nil
}

// fail takes an error after which the server cannot go on.
func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default: // the first ones tell enough
	}
}

// Failed yields an error after which the server cannot go on.
func (s *Server) Failed() <-chan error { return s.failed }

// Addr is an address at which this machine reaches the first listener for clients, "" when
// the node is a controller only.
func (s *Server) Addr() string {
	if s.broker.Addr() == "" {
		return ""
	}
	return reachable(s.broker.Addr())
}

// HTTPAddr is an address at which this machine reaches the HTTP door, "" when there is none.
func (s *Server) HTTPAddr() string {
	if len(s.http) == 0 {
		return ""
	}
	return reachable(s.http[0].ln.Addr().String())
}

// Stop ends the node in order: no new connections, answers that are owed, flush,
// clean-shutdown marker. It takes less than two seconds.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) stop() error {
	return errors.Join(s.broker.Close(stopGrace), s.closeHTTP())
}

func (s *Server) closeHTTP() error {
	var errs []error
	for _, d := range s.http {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

// Run starts a server, waits until ctx is done or the server fails, and stops it.
func Run(ctx context.Context, opt Options) error {
	s, err := Start(ctx, opt)
	if err != nil {
		if ctx.Err() != nil {
			opt.Log.Info("stopped before it served")
		}
		return besideStop(ctx, err)
	}
	var failure error
	select {
	case <-ctx.Done():
		opt.Log.Info("stopping")
	case failure = <-s.Failed():
		opt.Log.Error("stopping after a failure", "why", failure)
	}
	return errors.Join(failure, s.Stop())
}

// besideStop is what a start that was told to stop failed with, besides that it was: a node
// that waits for its cluster stops in order, as one that serves.
func besideStop(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if err == context.Canceled || err == context.Cause(ctx) {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		rest = append(rest, besideStop(ctx, e))
	}
	return errors.Join(rest...)
}

// buildInfo is the constant metric that names the build.
func buildInfo(version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "leat_build_info", Help: "The build, as labels; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	g.Set(1)
	return g
}
