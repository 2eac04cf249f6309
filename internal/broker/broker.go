// Package broker puts a node (package node) on sockets: listeners, connections, their
// limits and their metrics, and how they are started and stopped. It holds no request
// logic.
package broker

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/node"
	"github.com/leat-stream/leat/internal/peer"
)

// ErrRemoved ends a broker that was removed from its cluster while it was up.
var ErrRemoved = node.ErrRemoved

// Options of a Broker. All fields but OpenFiles, BootID and MemberMemory are required.
type Options struct {
	Config  *config.Config
	Log     *slog.Logger
	FS      env.FS
	Clock   env.Clock
	Metrics prometheus.Registerer
	DataDir string // absolute
	// OpenFiles is the process's limit of open files; 0 is not known.
	OpenFiles uint64
	// Failed is told an error after which the process has to end.
	Failed  func(error)
	Version string
	// BootID is the kernel's; empty asks the kernel.
	BootID string
	// MemberMemory bounds what group members hold, in bytes; 0 is a quarter of the
	// process's memory limit.
	MemberMemory int64
}

// Broker is one broker with its controller.
type Broker struct {
	opt     Options
	log     *slog.Logger
	clock   env.Clock
	limits  limits
	shares  OpenFiles
	metrics *metrics
	frames  *frames
	connIDs atomic.Uint64
	exec    env.Goroutines

	gate  gate
	node  *node.Node
	peers *peer.Peers
	doors []*door

	ready   atomic.Bool
	ctx     context.Context // ends when the broker stops
	cancel  context.CancelFunc
	loops   sync.WaitGroup // background loops
	readers sync.WaitGroup // connections that may read a request
	closing sync.Once
}

// limits bound what connections may take.
type limits struct {
	maxRequest         int32 // bytes of one frame
	maxUnauthenticated int32 // of one that comes before the client has authenticated
	maxInFlight        int   // requests of one connection that are not yet answered
	idle               time.Duration
}

// memoryShare bounds the memory of requests when queued.max.request.bytes does not
// say, and that of group members: a quarter of the process's memory limit, but not too
// little to work with, or memoryShare where there is no limit.
const (
	memoryShare  = 256 << 20
	leastBudget  = 32 << 20
	leastMembers = 64 << 20
)

// Open binds the listeners and opens the data directory; nothing is served before
// Start. After an error everything is closed again.
func Open(ctx context.Context, opt Options) (*Broker, error) {
	seed, err := secretSeed()
	if err != nil {
		return nil, err
	}
	cfg := opt.Config
	if _, err := addressLimits(cfg.String(config.MaxConnectionsPerIpOverrides)); err != nil {
		return nil, err
	}
	b := &Broker{
		opt: opt, log: opt.Log, clock: opt.Clock, metrics: newMetrics(opt.Metrics),
		limits: limits{
			maxRequest:         int32(cfg.Int(config.SocketRequestMaxBytes)),
			maxUnauthenticated: int32(cfg.Int(config.LeatUnauthenticatedRequestMaxBytes)),
			maxInFlight:        cfg.Int(config.QueuedMaxRequests),
			idle:               config.Millis(cfg, config.ConnectionsMaxIdleMs),
		},
	}
	b.shares = ShareOpenFiles(cfg, opt.OpenFiles)
	b.gate.byAddr, b.gate.files = map[netip.Addr]int{}, b.shares.Connections
	b.frames = newFrames(budget(cfg))
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := b.open(ctx, seed); err != nil {
		return nil, errors.Join(err, b.Close(0))
	}
	return b, nil
}

func (b *Broker) open(ctx context.Context, seed func() uint64) error {
	if err := b.bind(ctx); err != nil {
		return err
	}
	b.peers = peer.New(peer.Options{
		Network: env.TCP, Clock: b.clock, Exec: &b.exec, Logger: b.log,
		Resolve: func(id int32, d peer.Door) (string, bool) { return b.node.Resolve(id, d) },
		Broken: func(to peer.Target, _ peer.Lane, _ error) {
			if to.Node >= 0 {
				b.node.Broke(to.Node)
			}
		},
		Refused: func(id int32) { b.node.Refused(id) },
	})
	directory, err := b.identify(ctx)
	if err != nil {
		return err
	}
	n, err := node.Open(node.Options{
		DirectoryID: directory,
		Caller:      b.peers, Controllers: b.controllers(), Version: b.opt.Version,
		Config: b.opt.Config, Log: b.log, FS: b.opt.FS, Clock: b.clock, Exec: &b.exec, Seed: seed, DataDir: b.opt.DataDir,
		SegmentFiles: b.shares.Segments, RequestMemory: budget(b.opt.Config), MemberMemory: cmp.Or(b.opt.MemberMemory, shareOfMemory(leastMembers)),
		Failed: b.opt.Failed, BootID: b.opt.BootID, Doors: b.registered, Endpoint: b.endpoint,
		SyncObserved: func(took time.Duration) { b.metrics.syncSeconds.Observe(took.Seconds()) },
	})
	if err != nil {
		return err
	}
	b.node = n
	b.metrics.watchLog(b.opt.Metrics, n.DirMetrics())
	b.registerGauges(b.opt.Metrics)
	return nil
}

func budget(cfg *config.Config) int64 {
	if n := cfg.Long(config.QueuedMaxRequestBytes); n > 0 {
		return n
	}
	return shareOfMemory(leastBudget)
}

func shareOfMemory(least int64) int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return max(limit/4, least)
	}
	return memoryShare
}

// bind opens every listener.
func (b *Broker) bind(ctx context.Context) error {
	for _, l := range b.config().Listeners() {
		err := b.bindListener(ctx, l)
		if err != nil && l.Optional && errors.Is(err, syscall.EADDRINUSE) {
			// Nobody asked for it: a node that is started with nothing must come up.
			b.log.Warn("no other node can join this one", "why", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bindListener opens all addresses of a listener.
func (b *Broker) bindListener(ctx context.Context, l config.Listener) error {
	port := ""
	for i, address := range l.Addresses() {
		host, p, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		if i > 0 && p == "0" {
			p = port
		}
		d, err := b.openDoor(ctx, l, host, p)
		if err != nil {
			if i > 0 {
				continue // ::1 beside 127.0.0.1 is not on every machine
			}
			return err
		}
		if _, port, err = net.SplitHostPort(d.ln.Addr().String()); err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		b.doors = append(b.doors, d)
	}
	return nil
}

// config is the settings in force, dynamic ones included.
func (b *Broker) config() *config.Config {
	if b.node == nil { // binding
		return b.opt.Config
	}
	return b.node.Config()
}

// secretSeed makes a source of seeds that nobody can foresee.
func secretSeed() (func() uint64, error) {
	var key [32]byte
	if _, err := cryptorand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	src := rand.NewChaCha8(key)
	var mu sync.Mutex
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return src.Uint64()
	}, nil
}
