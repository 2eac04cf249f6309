// Package broker is the composition root of a broker: listeners, connections, the
// metadata quorum, the log directory, the coordinators, and how they are started and
// stopped. It holds no request logic.
//
// What is told to whom:
//
//	quorum commits an entry  -> publisher: image and delta -> replica.Apply -> machine.Committed
//	log syncs a round        -> replica: high watermark    -> answers, long polls, machine.Committed
//	replica leads __consumer_offsets-N -> machine.Lead("groups-N")
//
// A committed image is published, and its partitions are open, before the reply of
// the request that caused it leaves: whoever created a topic can write to it.
package broker

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// Options of a Broker. All fields but OpenFiles and BootID are required.
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
}

// Broker is one broker with its controller.
type Broker struct {
	opt     Options
	log     *slog.Logger
	clock   env.Clock
	rand    *rand.Rand // for the start only
	seed    func() uint64
	nodeID  int32
	limits  limits
	shares  OpenFiles
	metrics *metrics
	frames  *frames
	connIDs atomic.Uint64

	cfg     atomic.Pointer[config.Config]
	dir     *log.Dir
	boot    string // the kernel's boot id
	opening opening
	dirDown chan struct{} // the log directory failed

	gate gate

	complaints *api.Complaints
	meta       *metadataLog
	replicas   *replica.Manager
	groups     *machine.Runtime
	members    *api.Members
	ids        *producerIDs
	api        *api.Server
	doors      []*door

	ready   atomic.Bool
	ctx     context.Context // ends when the broker stops
	cancel  context.CancelFunc
	loops   sync.WaitGroup // background loops
	readers sync.WaitGroup // connections that may read a request
	syncing sync.WaitGroup // the log directory's sync loop, which ends after the others
	endSync context.CancelFunc
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
		opt: opt, log: opt.Log, clock: opt.Clock, rand: env.NewRand(seed()), seed: seed,
		nodeID: int32(cfg.Int(config.NodeId)), metrics: newMetrics(opt.Metrics),
		limits: limits{
			maxRequest:         int32(cfg.Int(config.SocketRequestMaxBytes)),
			maxUnauthenticated: int32(cfg.Int(config.LeatUnauthenticatedRequestMaxBytes)),
			maxInFlight:        cfg.Int(config.QueuedMaxRequests),
			idle:               config.Millis(cfg, config.ConnectionsMaxIdleMs),
		},
	}
	b.shares = ShareOpenFiles(cfg, opt.OpenFiles)
	b.gate.byAddr, b.gate.files = map[netip.Addr]int{}, b.shares.Connections
	b.dirDown = make(chan struct{}, 1)
	b.opening.damaged = map[log.LogID]log.Recovered{}
	b.cfg.Store(cfg)
	b.frames = newFrames(budget(cfg))
	b.complaints = api.NewComplaints(b.log, b.clock)
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := b.open(ctx); err != nil {
		return nil, errors.Join(err, b.Close(0))
	}
	return b, nil
}

func (b *Broker) open(ctx context.Context) error {
	if err := b.bind(ctx); err != nil {
		return err
	}
	if err := b.openDir(); err != nil {
		return err
	}
	b.members = api.NewMembers(shareOfMemory(leastMembers))
	b.groups = machine.NewRuntime(machine.Options{
		Clock: b.clock, Seed: b.seed(), Loops: runtime.GOMAXPROCS(0),
		CommitTimeout: config.Millis(b.config(), config.OffsetsCommitTimeoutMs),
		Effects:       b.groupEffect,
		Notify:        b.groupEvent,
	})
	b.replicas = replica.New(replica.Options{
		NodeID: b.nodeID, FS: b.opt.FS, Dir: b.dir, Clock: b.clock, Logger: b.log,
		Config: func(img *metadata.Image, topic string) replica.Settings { return topicSettings(b.config(), img, topic) },
		Led:    b.ledOffsets, Resigned: b.resignedOffsets, Committed: b.committedOffsets,
	})
	meta, err := openMetadata(b)
	if err != nil {
		return err
	}
	b.meta = meta
	b.ids = &producerIDs{allocate: b.meta.allocateIDs}
	b.api = &api.Server{
		NodeID: b.nodeID, Config: b.config, Clock: b.clock, Log: b.log, Image: b.meta.image,
		Replicas: b.replicas, Groups: b.groups, Controller: b.meta.submit, Endpoint: b.endpoint,
		ProducerIDs: b.ids.get, Complaints: b.complaints, Members: b.members, Budget: api.NewBudget(budget(b.config()), b.clock),
	}
	b.api.Init()
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

// bind opens every listener for clients.
func (b *Broker) bind(ctx context.Context) error {
	for _, l := range b.config().Listeners() {
		if l.Controller {
			continue // a quorum of one has no peers to listen to
		}
		port := ""
		for i, address := range l.Addresses() {
			host, p, err := net.SplitHostPort(address)
			if err != nil {
				return fmt.Errorf("listener %s: %w", l.Name, err)
			}
			if i > 0 && p == "0" {
				p = port
			}
			d, err := b.openDoor(ctx, l.Name, host, p)
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
	}
	return nil
}

// openDir opens the log directory. A new one gets a cluster id here, since it says in
// meta.properties whose it is before the metadata log has its first record.
func (b *Broker) openDir() error {
	cluster := ""
	if _, err := b.opt.FS.Stat(filepath.Join(b.opt.DataDir, "meta.properties")); errors.Is(err, fs.ErrNotExist) {
		cluster = metadata.UUIDString(env.UUID(b.rand))
	}
	b.opening.fresh = cluster != ""
	var err error
	if b.boot = b.opt.BootID; b.boot == "" {
		if b.boot, err = env.BootID(); err != nil {
			return fmt.Errorf("reading the kernel's boot id: %w", err)
		}
	}
	if b.opening.sameBoot, err = readRegistered(b.opt.FS, b.opt.DataDir, b.boot); err != nil {
		return dataDirError(b.opt.DataDir, err)
	}
	if err := room(b.opt.FS, b.opt.DataDir, b.opening.fresh); err != nil {
		return dataDirError(b.opt.DataDir, err)
	}
	cfg := b.config()
	defaults := logConfig(cfg, ptr(cfg.ResolveTopic(nil)))
	metrics := &log.Metrics{RoundObserved: func(_ int, took time.Duration) { b.metrics.syncSeconds.Observe(took.Seconds()) }}
	b.dir, err = log.OpenDir(log.DirOptions{
		FS: b.opt.FS, Clock: b.clock, Path: b.opt.DataDir, Rand: env.NewRand(b.seed()),
		ClusterID: cluster, NodeID: b.nodeID, BootID: b.boot,
		MaxOpenFiles:    b.shares.Segments,
		RecoveryThreads: cfg.Int(config.NumRecoveryThreadsPerDataDir),
		CheckpointBytes: cfg.Long(config.LeatCheckpointBytes),
		CheckpointEvery: max(config.Millis(cfg, config.LogFlushOffsetCheckpointIntervalMs), time.Millisecond),
		Default:         &defaults,
		Events:          b.logEvent,
		Failed:          b.dirFailed,
		Metrics:         metrics,
	})
	if err != nil {
		return dataDirError(b.opt.DataDir, err)
	}
	b.metrics.watchLog(b.opt.Metrics, metrics)
	return nil
}

// The free space without which a data directory is not opened: one that exists needs it
// for checkpoints, the clean-shutdown marker and the first records, a new one for the
// journal and the metadata log, too.
const (
	startRoom = 1 << 20
	freshRoom = 8 << 20
)

// room refuses a full disk before anything is written. A start after a clean stop could
// do without space, since the journal and the metadata log have theirs, one after a
// crash could not; both are refused alike. While a broker runs it goes on without space.
func room(fsys env.FS, dir string, fresh bool) error {
	need := uint64(startRoom)
	if fresh {
		need = freshRoom
	}
	u, err := fsys.Usage(dir)
	for ; errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir); u, err = fsys.Usage(dir) {
		dir = filepath.Dir(dir)
	}
	if err != nil || u.Total == 0 || u.Free >= need { // a file system that does not tell is met by writing
		return nil
	}
	return fmt.Errorf("%w: %d bytes are free, a start needs %d", syscall.ENOSPC, u.Free, need)
}

// dataDirError says in one line why the data directory cannot be used.
func dataDirError(path string, err error) error {
	switch {
	case errors.Is(err, env.ErrLocked):
		return fmt.Errorf("data directory %s is in use by another process", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data directory %s: no permission: %w", path, err)
	}
	return fmt.Errorf("data directory %s: %w", path, err)
}

// config is the settings in force, dynamic ones included.
func (b *Broker) config() *config.Config { return b.cfg.Load() }

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

func ptr[T any](v T) *T { return &v }
