package broker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/quorum"
)

// controllerShard is the one shard of the controller's runtime.
const controllerShard = "controller"

// metadataFolder holds the Raft log, inside the data directory.
const metadataFolder = "metadata"

// metadataLog is this node's part in the metadata: the quorum's member, the
// controller on it, and the committed image that everything else reads.
type metadataLog struct {
	b       *Broker
	log     *quorum.Log
	runtime *machine.Runtime
	img     atomic.Pointer[metadata.Image]

	led  chan struct{} // the controller is loaded, on this node
	term atomic.Int32

	builder *metadata.Builder // of the hooks' goroutine alone

	apply   sync.Mutex // one image at a time goes to the replicas; guards what follows
	serving bool       // images go to the replicas as they come
	// deleted are the topics whose deletion was met in the log before serving: their
	// files may be there still.
	deleted map[[16]byte]struct{}
	due     bool   // a snapshot is wanted, and has to wait
	retried string // what the last retry met, so that it is said once

	incarnation [16]byte
	epoch       int64 // broker epoch; set once before heartbeats begin
	snapshots   sync.WaitGroup
}

// openMetadata opens the Raft log of a quorum of one.
func openMetadata(b *Broker) (*metadataLog, error) {
	m := &metadataLog{
		b: b, led: make(chan struct{}, 1), builder: metadata.NewBuilder(nil),
		incarnation: env.UUID(b.rand), deleted: map[[16]byte]struct{}{},
	}
	m.img.Store(new(metadata.Image))
	m.runtime = machine.NewRuntime(machine.Options{Clock: b.clock, Seed: b.seed(), CommitTimeout: controllerTimeout, Notify: m.controllerEvent})
	if err := b.metadataMissing(); err != nil {
		m.runtime.Close()
		return nil, err
	}
	self := quorum.Member{NodeID: b.nodeID, DirectoryID: b.dir.DirectoryID()}
	l, err := quorum.OpenLog(quorum.Options{
		FS: b.opt.FS, Dir: filepath.Join(b.opt.DataDir, metadataFolder), Clock: b.clock,
		Self: self, Voters: []quorum.Member{self}, Logger: b.log,
		SnapshotBytes: b.config().Long(config.MetadataLogMaxRecordBytesBetweenSnapshots),
	}, quorum.LogHooks{
		Restore: m.restore, Records: m.records, Lead: m.lead, Resign: m.resign, SnapshotDue: m.snapshotDue,
	})
	if err != nil {
		m.runtime.Close()
		return nil, fmt.Errorf("metadata log: %w", err)
	}
	m.log = l
	return m, nil
}

// controllerTimeout is how long a decision of the controller may take to be committed.
const controllerTimeout = 15 * time.Second

// image is the newest committed image.
func (m *metadataLog) image() *metadata.Image { return m.img.Load() }

// submit hands a request to the controller.
func (m *metadataLog) submit(req any, done func(body any, err error)) {
	m.runtime.Submit(controllerShard, req, done)
}

// restore takes the state of a snapshot; a new log begins with one that holds nothing.
func (m *metadataLog) restore(last, _ int64, recs iter.Seq2[machine.Record, error]) error {
	if last == 0 {
		m.builder = metadata.NewBuilder(nil)
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
	for i, rec := range batch.Records {
		if err := m.builder.ApplyFrame(batch.Base+int64(i), rec.Value); err != nil {
			return err
		}
	}
	if img, delta := m.builder.Image(); img != nil {
		m.publish(img, delta)
	}
	if term := m.term.Load(); term != 0 {
		m.runtime.Committed(controllerShard, term, batch.End())
	}
	return nil
}

// publish hands an image on, with what differs from the one before.
func (m *metadataLog) publish(img *metadata.Image, delta *metadata.Delta) {
	m.apply.Lock()
	defer m.apply.Unlock()
	m.takeConfigs(img)
	before := m.img.Swap(img)
	if m.serving {
		m.b.metadataEvents(before, img, delta)
		m.follow(img, delta)
		return
	}
	for _, c := range delta.Topics {
		if c.New == nil {
			m.deleted[c.Old.ID] = struct{}{}
		}
	}
}

// takeConfigs resolves the broker's dynamic settings anew.
func (m *metadataLog) takeConfigs(img *metadata.Image) {
	own := img.Config(metadata.ResourceBroker, fmt.Sprint(m.b.nodeID))
	all := img.Config(metadata.ResourceBroker, "")
	cfg, warnings := m.b.opt.Config.WithDynamic(own, all)
	for _, w := range warnings {
		m.b.log.Warn("dynamic setting", "why", w.String())
	}
	m.b.cfg.Store(cfg)
}

// follow makes the replicas and the coordinators follow a change.
func (m *metadataLog) follow(img *metadata.Image, delta *metadata.Delta) {
	if err := m.b.replicas.Apply(img, delta); err != nil {
		m.b.log.Error("metadata change not followed in full", "why", err)
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
		if p.Leader == m.b.nodeID {
			m.b.forget(api.GroupShard(p.Index), deleted)
		}
	}
}

func (m *metadataLog) lead(epoch int32, end int64) {
	m.term.Store(epoch)
	opts := metadata.Options{Config: m.b.opt.Config, Features: featureRanges(), NodeID: m.b.nodeID}
	m.runtime.Lead(controllerShard, epoch, m.log, func() machine.Machine { return metadata.NewController(nil, opts) })
	m.runtime.Committed(controllerShard, epoch, end)
}

// controllerEvent follows the life of the controller.
func (m *metadataLog) controllerEvent(e machine.Event) {
	switch e.Kind {
	case machine.ShardLoaded:
		select {
		case m.led <- struct{}{}:
		default: // nobody waits any more
		}
	case machine.ShardReload, machine.ShardFailed:
		m.b.log.Error("controller "+e.Kind.String(), "epoch", e.Epoch, "why", e.Err)
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

// snapshotIfDue writes a snapshot of the newest image, beside the hooks, if one is
// wanted. It waits while the files of a deleted topic are still there: once a snapshot
// stands for the deletion, nothing says any more that they may go.
func (m *metadataLog) snapshotIfDue() {
	if !m.due || !m.serving || !m.b.replicas.Settled() {
		return
	}
	m.due = false
	img := m.image()
	m.snapshots.Go(func() {
		if err := m.snapshot(img); err != nil && !errors.Is(err, quorum.ErrClosed) {
			m.b.log.Error("metadata snapshot not written", "why", err)
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
	return m.log.TakeSnapshot(img.Index(), slices.Values(frames))
}

// featureRanges are the feature levels that this build can run.
func featureRanges() []metadata.FeatureRange {
	var all []metadata.FeatureRange
	for _, f := range api.Features {
		all = append(all, metadata.FeatureRange{Name: f.Name, Min: f.Min, Max: f.Max})
	}
	return all
}

// start waits until this node leads, creates the cluster in an empty log, registers
// the broker and opens its partitions.
func (m *metadataLog) start(ctx context.Context) error {
	m.log.Start()
	select {
	case <-m.led:
	case <-m.log.Node().Failed():
		return m.failed()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m.b.loops.Go(m.watch)
	levels := map[string]int16{}
	for _, f := range api.Features {
		levels[f.Name] = f.Max
	}
	body, err := m.ask(ctx, &metadata.Bootstrap{ClusterID: m.b.dir.ClusterID(), Features: levels})
	if err != nil {
		return fmt.Errorf("creating the cluster: %w", err)
	}
	if reply := body.(*metadata.BootstrapReply); reply.Created {
		m.b.log.Info("cluster created", "cluster", reply.ClusterID)
	}
	if err := m.register(ctx); err != nil {
		return err
	}
	if err := m.heartbeat(ctx); err != nil {
		return err
	}
	m.serve()
	if every := config.Millis(m.b.config(), config.MetadataLogMaxSnapshotIntervalMs); every > 0 {
		m.b.every(every, func() { m.snapshotDue(0) })
	}
	m.b.every(config.Millis(m.b.config(), config.BrokerHeartbeatIntervalMs), func() {
		if err := m.heartbeat(m.b.ctx); err != nil && m.b.ctx.Err() == nil {
			m.b.log.Warn("heartbeat", "why", err)
		}
	})
	return nil
}

// serve opens the partitions of the newest image; later ones are followed as they come.
func (m *metadataLog) serve() {
	m.apply.Lock()
	defer m.apply.Unlock()
	img := m.image()
	strays, err := m.b.replicas.Reconcile(img, m.deleted)
	if err != nil {
		m.b.log.Error("deleted topics not removed from the disk", "why", err)
	}
	for _, s := range strays {
		m.b.log.Warn("data of a topic that the metadata does not know is left alone",
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
	err := m.b.replicas.Retry(m.image())
	if err != nil && err.Error() != m.retried {
		m.b.log.Warn("metadata not followed in full yet", "why", err)
	}
	m.retried = fmt.Sprint(err)
	m.snapshotIfDue()
}

// ask submits a request and waits for its answer; loading counts as waiting.
func (m *metadataLog) ask(ctx context.Context, req any) (any, error) {
	type answer struct {
		body any
		err  error
	}
	for {
		done := make(chan answer, 1)
		m.submit(req, func(body any, err error) { done <- answer{body, err} })
		select {
		case a := <-done:
			if errors.Is(a.err, machine.ErrLoading) {
				if !m.b.pause(time.Millisecond) {
					return nil, context.Canceled
				}
				continue
			}
			if err, ok := a.body.(error); ok && a.err == nil {
				return nil, err
			}
			return a.body, a.err
		case <-m.log.Node().Failed():
			return nil, m.failed()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// watch ends the process when the metadata log fails: what cannot be synced must not
// be answered for.
func (m *metadataLog) watch() {
	select {
	case <-m.log.Node().Failed():
		m.b.opt.Failed(m.failed())
	case <-m.b.ctx.Done():
	}
}

func (m *metadataLog) failed() error {
	if err := m.log.Node().Err(); err != nil {
		return fmt.Errorf("metadata log: %w", err)
	}
	return nil
}

// close ends the controller and the member.
func (m *metadataLog) close() error {
	m.runtime.Close()
	err := m.log.Close()
	m.snapshots.Wait()
	return err
}
