// Package node is one node without its sockets: the log directory, the metadata, the
// controller, the replicas, the coordinators and the API, and how they are wired,
// started and stopped. It holds no request logic and starts no goroutine: what runs
// beside its callers runs on an env.Exec, and other nodes are reached by a peer.Caller,
// so that package broker drives it with sockets and the simulator from a seed.
//
// What is told to whom:
//
//	quorum commits an entry  -> publisher: image and delta -> replica.Apply -> machine.Committed
//	log syncs a round        -> replica: high watermark    -> answers, long polls, machine.Committed
//	replica leads __consumer_offsets-N -> machine.Lead("groups-N")
//
// A committed image is published, and its partitions are open, before the reply of
// the request that caused it leaves: whoever created a topic can write to it.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/quorum"
	"github.com/leat-stream/leat/internal/replica"
)

// Options of a Node. All fields are required unless they say otherwise.
type Options struct {
	Config  *config.Config
	Log     *slog.Logger
	FS      env.FS
	Clock   env.Clock
	Exec    env.Exec
	Seed    func() uint64 // seeds that nobody can foresee; a simulator's are from its seed
	DataDir string        // absolute
	// SegmentFiles bounds the open segment files; 0 is not bounded.
	SegmentFiles int
	// RequestMemory and MemberMemory bound what requests and group members hold, in bytes.
	RequestMemory, MemberMemory int64
	// Failed is told an error after which the process has to end. It is called from
	// below whatever was being done, and must not block.
	Failed func(error)
	// BootID is the kernel's; empty asks the kernel.
	BootID string
	// Doors are the bound listeners for clients, as they are registered.
	Doors func() []Door
	// Endpoint tells the address at which a client of conn reaches this node.
	Endpoint func(c *api.Conn) (host string, port int32, ok bool)
	// SyncObserved is told how long each sync round took; it may be nil.
	SyncObserved func(time.Duration)
	// Caller calls other nodes; nil where there are none.
	Caller peer.Caller
	// DirectoryID is the id of a data directory that is new, when one was given to the
	// cluster already (AskID); zero draws one.
	DirectoryID [16]byte
	// Loops run the coordinators, SyncParallel syncs go on at once, each of the journal's
	// two files has JournalBytes, and a segment of the metadata log SegmentBytes; zero takes
	// the defaults, of which the first follows the number of processors. A simulator's must not.
	Loops, SyncParallel        int
	JournalBytes, SegmentBytes int64
	// Version is the build's.
	Version string
	// Controllers is host:port at which others reach this node's CONTROLLER listener;
	// empty where it has none.
	Controllers string
}

// Door is a listener for clients, bound.
type Door struct {
	Name, Host string // Host as configured or advertised
	Port       uint16
}

// Node is one node of a cluster.
type Node struct {
	opt       Options
	log       *slog.Logger
	clock     env.Clock
	rand      *rand.Rand // for the start only
	id        int32
	jobs      jobs
	tasks     *tasks
	former    *former
	addresses addresses
	present   presences
	voting    voting
	hints     hints
	listing   *listing // it belongs to the node's tasks

	scrubs scrubs

	cfg        atomic.Pointer[config.Config]
	dir        *log.Dir
	dirMetrics *log.Metrics
	boot       string // the kernel's boot id
	opening    opening

	complaints *api.Complaints
	meta       *metadataLog
	replicas   *replica.Manager
	groups     *machine.Runtime
	members    *api.Members
	ids        *producerIDs
	api        *api.Server

	ctx     context.Context // ends when the node stops
	cancel  context.CancelFunc
	started atomic.Bool
}

// Open opens the data directory; nothing happens before Start. After an error
// everything is closed again.
func Open(opt Options) (*Node, error) {
	cfg := opt.Config
	n := &Node{
		opt: opt, log: opt.Log, clock: opt.Clock, rand: env.NewRand(opt.Seed()), id: int32(cfg.Int(config.NodeId)),
		jobs: jobs{clock: opt.Clock},
	}
	n.tasks = newTasks(opt.Exec)
	n.scrubs.init(n)
	n.opening.damaged = map[log.LogID]log.Recovered{}
	n.cfg.Store(cfg)
	n.complaints = api.NewComplaints(n.log, n.clock)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open() error {
	if err := n.openDir(); err != nil {
		return err
	}
	n.members = api.NewMembers(n.opt.MemberMemory)
	n.groups = machine.NewRuntime(machine.Options{
		Clock: n.clock, Exec: n.opt.Exec, Seed: n.opt.Seed(), Loops: cmp.Or(n.opt.Loops, runtime.GOMAXPROCS(0)),
		CommitTimeout: config.Millis(n.Config(), config.OffsetsCommitTimeoutMs),
		Effects:       n.groupEffect,
		Notify:        n.groupEvent,
	})
	n.replicas = replica.New(replica.Options{
		NodeID: n.id, FS: n.opt.FS, Dir: n.dir, Clock: n.clock, Logger: n.log,
		Config: func(img *metadata.Image, topic string) replica.Settings { return topicSettings(n.Config(), img, topic) },
		Led:    n.ledOffsets, Resigned: n.resignedOffsets, Committed: n.committedOffsets,
		BrokerEpoch: n.brokerEpoch, Fetch: n.fetchFrom, AlterISR: n.alterISR, Lost: n.reportLost, Tuning: n.tuning,
	})
	meta, err := openMetadata(n)
	if err != nil {
		return err
	}
	n.meta = meta
	n.addresses.belongs, n.addresses.now = n.belongs, n.clock.Now
	if n.former, err = newFormer(n, n.meta.known()); err != nil {
		return err
	}
	if err := n.checkPlace(); err != nil {
		return err
	}
	n.ids = &producerIDs{allocate: n.meta.allocateIDs}
	n.api = &api.Server{
		NodeID: n.id, Version: n.opt.Version, Config: n.Config, Clock: n.clock, Log: n.log, Image: n.Image,
		Replicas: n.replicas, Groups: n.groups, Controller: n.meta.submit, ControllerHere: n.meta.here, Nodes: n.fromNode, Endpoint: n.endpoint,
		ProducerIDs: n.ids.get, Quorum: membership{n}, Complaints: n.complaints, Members: n.members, Budget: api.NewBudget(n.opt.RequestMemory, n.clock),
	}
	n.api.Init()
	return nil
}

// endpoint tells where a client reaches a broker: by the listener of the name that the
// client came in by.
func (n *Node) endpoint(c *api.Conn, of *metadata.Broker) (host string, port int32, ok bool) {
	if of.ID == n.id {
		return n.opt.Endpoint(c)
	}
	l, ok := of.Listener(c.Listener)
	return l.Host, int32(l.Port), ok
}

// openDir opens the log directory. A new one gets the cluster's id when the node is in
// a cluster (Dir.SetCluster).
func (n *Node) openDir() error {
	_, statErr := n.opt.FS.Stat(filepath.Join(n.opt.DataDir, "meta.properties"))
	n.opening.fresh = errors.Is(statErr, fs.ErrNotExist)
	var err error
	if n.boot = n.opt.BootID; n.boot == "" {
		if n.boot, err = env.BootID(); err != nil {
			return fmt.Errorf("reading the kernel's boot id: %w", err)
		}
	}
	if n.opening.lives, err = readLives(n.opt.FS, n.opt.DataDir); err != nil {
		return dataDirError(n.opt.DataDir, err)
	}
	n.opening.sameBoot = n.boot != "" && n.opening.lives.boot == n.boot
	if err := room(n.opt.FS, n.opt.DataDir, n.opening.fresh); err != nil {
		return dataDirError(n.opt.DataDir, err)
	}
	cfg := n.Config()
	defaults := logConfig(cfg, ptr(cfg.ResolveTopic(nil)))
	n.dirMetrics = &log.Metrics{RoundObserved: func(_ int, took time.Duration) {
		if n.opt.SyncObserved != nil {
			n.opt.SyncObserved(took)
		}
	}}
	n.dir, err = log.OpenDir(log.DirOptions{
		FS: n.opt.FS, Clock: n.clock, Path: n.opt.DataDir, Rand: env.NewRand(n.opt.Seed()),
		NodeID: n.id, DirectoryID: n.opt.DirectoryID, BootID: n.boot,
		MaxOpenFiles:    n.opt.SegmentFiles,
		RecoveryThreads: cfg.Int(config.NumRecoveryThreadsPerDataDir),
		SyncParallel:    n.opt.SyncParallel,
		JournalBytes:    n.opt.JournalBytes,
		CheckpointBytes: cfg.Long(config.LeatCheckpointBytes),
		CheckpointEvery: max(config.Millis(cfg, config.LogFlushOffsetCheckpointIntervalMs), time.Millisecond),
		Default:         &defaults,
		Events:          n.logEvent,
		Failed:          n.dirFailed,
		Metrics:         n.dirMetrics,
	})
	if err != nil {
		return dataDirError(n.opt.DataDir, err)
	}
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
	return &dirError{path, err}
}

// dirError is an error of the data directory; what calls it a log directory says which
// once more.
type dirError struct {
	path string
	err  error
}

func (e *dirError) Error() string {
	text, again := e.err.Error(), "log directory "+e.path
	for strings.HasPrefix(text, again+": ") {
		text = strings.TrimPrefix(text, again+": ")
	}
	if rest, ok := strings.CutPrefix(text, again+" "); ok {
		return "data directory " + e.path + " " + rest
	}
	return "data directory " + e.path + ": " + text
}

func (e *dirError) Unwrap() error { return e.err }

// ID is the node's id.
func (n *Node) ID() int32 { return n.id }

// Config is the settings in force, dynamic ones included.
func (n *Node) Config() *config.Config { return n.cfg.Load() }

// Image is the newest committed image of the cluster.
func (n *Node) Image() *metadata.Image { return n.meta.image() }

// API answers requests.
func (n *Node) API() *api.Server { return n.api }

// Replicas are the partitions of this node.
func (n *Node) Replicas() *replica.Manager { return n.replicas }

// Voter is the node's own metadata log, with its Raft id; false while it has none.
func (n *Node) Voter() (id uint64, st quorum.Status, ok bool) {
	l := n.meta.log.Load()
	if l == nil {
		return 0, st, false
	}
	return l.Node().ID(), l.Node().Status(), true
}

// Groups runs the group coordinators.
func (n *Node) Groups() *machine.Runtime { return n.groups }

// Members bounds the memory of group members.
func (n *Node) Members() *api.Members { return n.members }

// Dir is the log directory, and DirMetrics its counters.
func (n *Node) Dir() *log.Dir               { return n.dir }
func (n *Node) DirMetrics() *log.Metrics    { return n.dirMetrics }
func (n *Node) Complaints() *api.Complaints { return n.complaints }

// Healthy is nil while the node works.
func (n *Node) Healthy() error {
	if err := n.dir.Failed(); err != nil {
		return fmt.Errorf("log directory offline: %w", err)
	}
	return n.meta.failed()
}

func ptr[T any](v T) *T { return &v }
