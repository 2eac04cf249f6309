// Package leat embeds a Leat node in a program: a broker that speaks Apache Kafka's
// protocol, with its data in a directory of the program's choice.
//
//	node := leat.New(leat.Options{DataDir: "data"})
//	err := node.Run(ctx) // serves until ctx is done, then stops in order
//
// Tests use package leattest instead.
package leat

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/server"
)

// Version of this build; the release process sets it.
var Version = "dev"

// Options of a node. The zero value serves localhost:9092 from ./leat-data.
type Options struct {
	// DataDir holds everything; it is created. Empty is ./leat-data.
	DataDir string
	// Settings are Kafka's broker settings by name, as in server.properties; see
	// docs/configuration.md. Port 0 in "listeners" takes a free port.
	Settings map[string]string
	// Log receives the node's events; nil discards them.
	Log *slog.Logger
}

// Node is one node. Make it by New, and Run it once.
type Node struct {
	opt   Options
	ready chan struct{}

	mu   sync.Mutex
	addr string
	http string
}

// New makes a node; nothing happens before Run.
func New(opt Options) *Node { return &Node{opt: opt, ready: make(chan struct{})} }

// Ready is closed when the node serves clients.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Addr is the host:port of the first listener, once the node is ready.
func (n *Node) Addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

// HTTPAddr is the host:port of metrics and health, once the node is ready; "" when
// http.listen is empty.
func (n *Node) HTTPAddr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.http
}

// Run serves until ctx is done, and then stops in order: what was acknowledged is on
// disk. It returns nil after such a stop, and an error when the node could not start
// or could not go on.
func (n *Node) Run(ctx context.Context) error {
	logger := n.opt.Log
	if logger == nil {
		logger = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	src := config.Sources{Route: server.RouteTo}
	for _, name := range slices.Sorted(maps.Keys(n.opt.Settings)) {
		src.Sets = append(src.Sets, name+"="+n.opt.Settings[name])
	}
	if n.opt.DataDir != "" {
		src.Sets = append(src.Sets, "log.dirs="+n.opt.DataDir)
	}
	cfg, warnings, err := config.Load(src)
	if err != nil {
		return fmt.Errorf("leat: %w", err)
	}
	for _, w := range warnings {
		logger.Warn(w.String())
	}
	s, err := server.Start(ctx, server.Options{Config: cfg, Log: logger, Version: Version, Embedded: true})
	if err != nil {
		return fmt.Errorf("leat: %w", err)
	}
	n.mu.Lock()
	n.addr, n.http = s.Addr(), s.HTTPAddr()
	n.mu.Unlock()
	close(n.ready)
	select {
	case <-ctx.Done():
		return s.Stop()
	case failure := <-s.Failed():
		if err := s.Stop(); err != nil {
			logger.Error("stop", "why", err)
		}
		return fmt.Errorf("leat: %w", failure)
	}
}
