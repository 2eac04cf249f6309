package node

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/forming"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/quorum"
)

// controllerShard is the one shard of the controller's runtime.
const controllerShard = "controller"

// metadataFolder holds the Raft log, inside the data directory.
const metadataFolder = "metadata"

// metadataLog is this node's part in the metadata: the quorum's member, the
// controller on it, and the committed image that everything else reads.
type metadataLog struct {
	n         *Node
	log       atomic.Pointer[quorum.Log]        // nil while the node has none
	observing sync.Mutex                        // guards what observations hold
	observer  atomic.Pointer[observation]       // nil while the node is a member of the quorum
	hint      atomic.Pointer[nodewire.Identity] // the leader, as a node said when this one joined
	runtime   *machine.Runtime
	img       atomic.Pointer[metadata.Image]

	term atomic.Int32

	taking  sync.Mutex // one batch at a time comes in; guards what follows
	builder *metadata.Builder

	apply   sync.Mutex           // one image at a time goes to the replicas; guards what follows
	dynamic [2]map[string]string // the settings that the configuration in force follows: of this broker, of all
	serving bool                 // images go to the replicas as they come
	// deleted are the topics whose deletion was met in the log before serving: their
	// files may be there still.
	deleted map[[16]byte]struct{}
	due     bool   // a snapshot is wanted, and has to wait
	retried string // what the last retry met, so that it is said once

	incarnation [16]byte
	epoch       atomic.Int64              // broker epoch; 0 before the registration
	leaderless  atomic.Pointer[time.Time] // since when no leader is known; nil: one is
	snapshots   sync.WaitGroup

	joining // of the broker to the cluster
	contact contact
	calls   calls
	waiters imageWaiters
}

// openMetadata opens the metadata of a node that has some already.
func openMetadata(n *Node) (*metadataLog, error) {
	m := &metadataLog{
		n: n, builder: metadata.NewBuilder(nil),
		incarnation: env.UUID(n.rand), deleted: map[[16]byte]struct{}{},
	}
	m.calls.m = m
	m.said = map[string]bool{}
	m.img.Store(new(metadata.Image))
	m.runtime = machine.NewRuntime(machine.Options{Clock: n.clock, Exec: n.opt.Exec, Seed: n.opt.Seed(), CommitTimeout: controllerTimeout,
		Notify: m.controllerEvent, Effects: n.controllerEffect})
	there, err := n.metadataThere()
	switch {
	case err != nil || !there:
	case n.Config().Controller():
		if err = m.open(nil, false); errors.Is(err, quorum.ErrEmpty) {
			err = nil // a first start was cut short before it began the log
		}
	default:
		err = n.vetRole()
	}
	if err != nil {
		m.runtime.Close()
		return nil, err
	}
	return m, nil
}

// vetRole refuses the start, without the controller's role, of the only voter: there is nobody else
// who could say so. Of another voter its cluster does (forming).
func (n *Node) vetRole() error {
	only, err := quorum.OnlyVoter(n.opt.FS, filepath.Join(n.opt.DataDir, metadataFolder), quorum.MemberOf(n.self()))
	switch {
	case errors.Is(err, quorum.ErrEmpty):
	case err != nil:
		n.log.Warn("the metadata log of this node, which is no controller now, cannot be read: whether it is the only voter is not known", "why", err)
	case only:
		return forming.OnlyVoter(n.self())
	}
	return nil
}

// open opens the metadata log. Where there is none, voters begin one, and join makes one
// that waits for others to fill it.
func (m *metadataLog) open(voters []quorum.Member, join bool) error {
	n := m.n
	l, err := quorum.OpenLog(quorum.Options{
		FS: n.opt.FS, Dir: filepath.Join(n.opt.DataDir, metadataFolder), Clock: n.clock, Exec: n.opt.Exec,
		Self: quorum.Member{NodeID: n.id, DirectoryID: n.dir.DirectoryID(), Address: n.opt.Controllers}, Voters: voters, Join: join, Logger: n.log,
		SnapshotBytes: n.Config().Long(config.MetadataLogMaxRecordBytesBetweenSnapshots),
		SegmentBytes:  n.opt.SegmentBytes,
		TickInterval:  raftTick, ElectionTicks: raftElection, HeartbeatTicks: raftHeartbeat,
		Moved: func() { n.tasks.post(m.moved) }, Doubted: m.doubted,
		Send: m.sendRaft, FetchSnapshot: m.fetchSnapshot, Failed: m.logFailed,
	}, quorum.LogHooks{
		Restore: m.restore, Records: m.records, Lead: m.lead, Resign: m.resign, SnapshotDue: m.snapshotDue,
	})
	if err != nil {
		return fmt.Errorf("metadata log: %w", err)
	}
	m.log.Store(l)
	return nil
}

// The pace of the quorum: a leader that is silent for 0.5 to 1 s is replaced.
const (
	raftTick      = 50 * time.Millisecond
	raftElection  = 10
	raftHeartbeat = 2
)

// logFailed ends the process when the metadata log fails: what cannot be synced must
// not be answered for (decision D6).
func (m *metadataLog) logFailed(err error) {
	err = fmt.Errorf("metadata log: %w", err)
	m.n.tasks.post(func() { m.fail(err) })
	m.n.opt.Failed(err)
}

// controllerTimeout is how long a decision of the controller may take to be committed.
const controllerTimeout = 15 * time.Second

// image is the newest committed image.
func (m *metadataLog) image() *metadata.Image { return m.img.Load() }

// restore takes the state of a snapshot; a new log begins with one that holds nothing.
//
// A node that becomes a member of the quorum has followed an observer so far: what
// comes twice is passed over, by its offsets.
func (m *metadataLog) restore(last, _ int64, recs iter.Seq2[machine.Record, error]) error {
	m.taking.Lock()
	defer m.taking.Unlock()
	if last <= m.image().Index() {
		for _, err := range recs {
			if err != nil {
				return err
			}
		}
		return nil
	}
	b, err := metadata.LoadSnapshot(func(yield func([]byte, error) bool) {
		for rec, err := range recs {
			if !yield(rec.Value, err) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	m.builder = b
	if img, _ := b.Image(); img != nil {
		m.publish(img, metadata.Diff(m.image(), img))
	}
	return nil
}

// records takes one committed batch into the image, publishes it, and only then lets
// the replies that wait for it go.
func (m *metadataLog) records(batch quorum.Batch) error {
	m.taking.Lock()
	defer m.taking.Unlock()
	if batch.End() > m.image().Index()+1 {
		if err := m.take(batch); err != nil {
			return err
		}
	}
	if term := m.term.Load(); term != 0 {
		m.runtime.Committed(controllerShard, term, batch.End())
	}
	return nil
}

func (m *metadataLog) take(batch quorum.Batch) error {
	for i, rec := range batch.Records {
		if err := m.builder.ApplyFrame(batch.Base+int64(i), rec.Value); err != nil {
			return err
		}
	}
	if img, delta := m.builder.Image(); img != nil {
		m.publish(img, delta)
	}
	return nil
}

// publish hands an image on, with what differs from the one before.
func (m *metadataLog) publish(img *metadata.Image, delta *metadata.Delta) {
	m.apply.Lock()
	defer m.apply.Unlock()
	m.takeConfigs(img)
	before := m.img.Swap(img)
	defer m.n.tasks.post(func() {
		m.imageMoved()
		m.progress()
	})
	if m.serving {
		m.n.metadataEvents(before, img, delta)
		m.follow(img, delta)
		return
	}
	for _, c := range delta.Topics {
		if c.New == nil {
			m.deleted[c.Old.ID] = struct{}{}
		}
	}
}

// takeConfigs resolves the broker's dynamic settings anew if they have changed.
func (m *metadataLog) takeConfigs(img *metadata.Image) {
	own := img.Config(metadata.ResourceBroker, fmt.Sprint(m.n.id))
	all := img.Config(metadata.ResourceBroker, "")
	if maps.Equal(own, m.dynamic[0]) && maps.Equal(all, m.dynamic[1]) {
		return
	}
	m.dynamic = [2]map[string]string{own, all}
	cfg, warnings := m.n.opt.Config.WithDynamic(own, all)
	for _, w := range warnings {
		m.n.log.Warn("dynamic setting", "why", w.String())
	}
	m.n.cfg.Store(cfg)
}

// follow makes the replicas and the coordinators follow a change.
func (m *metadataLog) follow(img *metadata.Image, delta *metadata.Delta) {
	if err := m.n.replicas.Apply(img, delta); err != nil {
		m.n.log.Error("metadata change not followed in full", "why", err)
	}
	var deleted []group.Topic
	for _, c := range delta.Topics {
		if c.New == nil {
			deleted = append(deleted, group.Topic{Name: c.Old.Name, ID: c.Old.ID})
		}
	}
	if len(deleted) > 0 {
		m.forget(img, deleted)
	}
	m.recover(delta)
	m.snapshotIfDue()
}

// forget removes the committed offsets of deleted topics. A coordinator that is not
// loaded now does it once it is (forgetUnknown).
func (m *metadataLog) forget(img *metadata.Image, deleted []group.Topic) {
	offsets := img.Topic(metadata.OffsetsTopic)
	if offsets == nil {
		return
	}
	for _, p := range offsets.Partitions {
		if p.Leader == m.n.id {
			m.n.forget(api.GroupShard(p.Index), deleted)
		}
	}
}

func (m *metadataLog) lead(epoch int32, end int64) {
	m.term.Store(epoch)
	opts := metadata.Options{Config: m.n.opt.Config, Features: featureRanges(), NodeID: m.n.id}
	m.runtime.Lead(controllerShard, epoch, m.log.Load(), func() machine.Machine { return metadata.NewController(nil, opts) })
	m.runtime.Committed(controllerShard, epoch, end)
}

// controllerEvent follows the life of the controller.
func (m *metadataLog) controllerEvent(e machine.Event) {
	switch e.Kind {
	case machine.ShardLoaded:
		m.n.tasks.post(m.bootstrap)
		m.n.tasks.post(m.doubts)
	case machine.ShardReload, machine.ShardFailed:
		m.n.log.Error("controller "+e.Kind.String(), "epoch", e.Epoch, "why", e.Err)
	}
}

func (m *metadataLog) resign(epoch int32) {
	m.term.CompareAndSwap(epoch, 0)
	m.runtime.Resign(controllerShard, epoch)
}

// snapshotDue asks for a snapshot.
func (m *metadataLog) snapshotDue(int64) {
	m.apply.Lock()
	defer m.apply.Unlock()
	m.due = true
	m.snapshotIfDue()
}

// SnapshotDue tells whether a snapshot of the metadata is wanted and has to wait.
func (n *Node) SnapshotDue() bool {
	n.meta.apply.Lock()
	defer n.meta.apply.Unlock()
	return n.meta.due
}

// snapshotIfDue writes a snapshot of the newest image, beside the hooks, if one is
// wanted. It waits while the files of a deleted topic are still there: once a snapshot
// stands for the deletion, nothing says any more that they may go.
func (m *metadataLog) snapshotIfDue() {
	if !m.due || !m.serving || !m.n.replicas.Settled() {
		return
	}
	l := m.log.Load()
	if l == nil {
		m.due = false // whoever votes has snapshots
		return
	}
	if l.End() <= m.image().Index() {
		return // the log lacks what was observed
	}
	m.due = false
	img := m.image()
	m.snapshots.Add(1)
	m.n.opt.Exec.Go("snapshot", func() {
		defer m.snapshots.Done()
		if err := m.snapshot(img); err != nil && !errors.Is(err, quorum.ErrClosed) {
			m.n.log.Error("metadata snapshot not written", "why", err)
		}
	})
}

// snapshot writes an image as the log's snapshot. Its records are made before the
// file is begun: a snapshot is whole or not there.
func (m *metadataLog) snapshot(img *metadata.Image) error {
	var frames []machine.Record
	for frame, err := range img.Snapshot() {
		if err != nil {
			return err
		}
		frames = append(frames, machine.Record{Value: frame})
	}
	return m.log.Load().TakeSnapshot(img.Index(), slices.Values(frames))
}

// featureRanges are the feature levels that this build can run.
func featureRanges() []metadata.FeatureRange {
	var all []metadata.FeatureRange
	for _, f := range api.Features {
		all = append(all, metadata.FeatureRange{Name: f.Name, Min: f.Min, Max: f.Max})
	}
	return all
}

// serve opens the partitions of the newest image; later ones are followed as they come.
func (m *metadataLog) serve() {
	m.apply.Lock()
	defer m.apply.Unlock()
	img := m.image()
	for _, id := range m.n.dir.Damaged() {
		m.n.replicas.Damaged(id)
	}
	known := img
	if mutant.On("node/deletes-unknown") {
		known = new(metadata.Image) // as a node would have that has not caught up
	}
	strays, err := m.n.replicas.Reconcile(known, m.deleted)
	if err != nil {
		m.n.log.Error("deleted topics not removed from the disk", "why", err)
	}
	for _, s := range strays {
		m.n.log.Warn("data of a topic that the metadata does not know is left alone",
			"path", s.Path, "topic", s.Topic, "id", metadata.UUIDString(s.TopicID), "partitions", len(s.Partitions))
	}
	m.deleted = nil
	m.serving = true
	m.follow(img, metadata.Diff(nil, img))
}

// retry does again what the replicas could not do.
func (m *metadataLog) retry() {
	m.apply.Lock()
	defer m.apply.Unlock()
	err := m.n.replicas.Retry(m.image())
	if err != nil && err.Error() != m.retried {
		m.n.log.Warn("metadata not followed in full yet", "why", err)
	}
	m.retried = fmt.Sprint(err)
	m.snapshotIfDue()
}

func (m *metadataLog) failed() error {
	if l := m.log.Load(); l != nil && l.Node().Err() != nil {
		return fmt.Errorf("metadata log: %w", l.Node().Err())
	}
	return nil
}

// close ends the controller and the member.
func (m *metadataLog) close() error {
	m.endObserving()
	m.runtime.Close()
	var err error
	if l := m.log.Load(); l != nil {
		err = l.Close()
	}
	m.snapshots.Wait()
	return err
}
