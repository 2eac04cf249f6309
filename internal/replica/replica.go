// Package replica holds the partitions of this broker: their roles, the in-sync
// set, the high watermark, and everybody who waits for it to move.
//
// The high watermark of a durable partition is the smallest synced end offset over
// the in-sync replicas; a relaxed partition counts the written end (decision D6).
// Everything readers see and every acks=all answer follow the high watermark and
// nothing else. A leader counts its own end only from what the log directory's sync
// round reported.
//
// A leader knows of its followers what they state when they fetch (leader.go) and asks
// the controller for another in-sync set (isr.go); a follower fetches (fetcher.go) and
// makes its log the leader's (follower.go). A damaged replica is mended (repair.go), and one
// without room stands in nobody's way (room.go).
//
// The package starts no goroutine. It is driven by calls: requests from the API,
// Synced from the sync round, Apply from the metadata publisher, answers of other
// brokers from whoever carries them, timers from the clock; a simulator can therefore drive it from one goroutine.
//
// Lock order: Manager.mu, Partition.mu, then whatever the log takes inside; fetcher.mu,
// changes.mu and turns.mu come last, and nothing of this package is taken under them. Callbacks (an
// operation's ready, Options hooks) run without any lock of this package.
package replica

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
)

// Options of a Manager. All fields are required, but those that say otherwise.
type Options struct {
	NodeID int32
	FS     env.FS
	Dir    *log.Dir
	Clock  env.Clock
	Logger *slog.Logger
	// Config resolves a topic's settings under an image.
	Config func(img *metadata.Image, topic string) Settings
	// Led is called after this broker became leader of a partition in epoch, and
	// Resigned after it stopped being; Committed after the high watermark of a led
	// partition moved. They are called for partitions whose Settings say Watched.
	Led       func(p *Partition, epoch int32)
	Resigned  func(p *Partition, epoch int32)
	Committed func(p *Partition, hw int64)

	// What follows is for a cluster; a broker that is alone may leave it out.

	// BrokerEpoch is this broker's own, given at its registration; -1 before.
	BrokerEpoch func() int64
	// Fetch sends a follower's fetch to the broker that leads; done is called exactly
	// once, on any goroutine, and an error means that no answer came.
	Fetch func(leader int32, req *kmsg.FetchRequest, done func(*kmsg.FetchResponse, error))
	// AlterISR sends a leader's wish for other in-sync replicas to the controller; done
	// is as with Fetch.
	AlterISR func(req *kmsg.AlterPartitionRequest, done func(*kmsg.AlterPartitionResponse, error))
	// Lost tells the controller that replicas here are not to be believed; done is as with
	// Fetch, and gets those that lead on since nobody else has their records.
	Lost func(parts []Ref, done func(kept []Ref, err error))
	// Tuning gives the settings of replication under an image; DefaultTuning without it.
	Tuning func(img *metadata.Image) Tuning
}

// Settings of a topic as this package needs them.
type Settings struct {
	Log     log.Config
	MinISR  int
	Durable bool // the high watermark counts synced bytes only
	Watched bool // a coordinator lives on this topic
	Deletes bool // cleanup.policy has delete, or is empty: DeleteRecords is allowed
	Unclean bool // unclean.leader.election.enable: records may be given up to go on

	LeaderThrottled, FollowerThrottled Throttled
}

// Manager is the set of partitions on this broker.
type Manager struct {
	opt Options

	byName sync.Map // string -> *topic
	byID   sync.Map // [16]byte -> *topic

	stopping atomic.Bool // no fetch waits any more

	img      atomic.Pointer[metadata.Image] // applied last
	tuned    atomic.Pointer[Tuning]
	rack     atomic.Pointer[string] // of this broker; empty when it has none
	changes  changes                // of in-sync sets
	repairs  repairs                // of damaged replicas
	looks    looks                  // for old duplicates
	turns    turns                  // to hand over where nobody has room
	ticking  atomic.Bool
	ticked   atomic.Int64 // ns: the last look for lagging followers
	gained   atomic.Int64 // ns: when leadership with followers was last taken
	polls    polls
	deleting atomic.Int64 // deletions that wait for a low watermark
	asks     asks         // of consumers

	leaderLimit, followerLimit limiter
	counters                   counters

	moves atomic.Uint64 // partitions that came or went

	mu        sync.Mutex             // one Apply, Reconcile or Retry at a time; guards what follows
	fetchers  map[int32]*fetcher     // by leader
	woken     []*fetcher             // to be pumped at the end
	unopened  []log.LogID            // assigned here, and could not be opened
	undeleted []log.LogID            // deleted by the metadata, and still on disk
	hurt      map[log.LogID]struct{} // known to be damaged before they are opened
}

// topic is one topic's partitions on this broker, by partition index.
type topic struct {
	name string
	id   [16]byte

	mu    sync.RWMutex
	parts map[int32]*Partition
}

func (t *topic) partition(i int32) *Partition {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.parts[i]
}

// all lists the partitions of a topic, by index.
func (t *topic) all() []*Partition {
	t.mu.RLock()
	defer t.mu.RUnlock()
	parts := make([]*Partition, 0, len(t.parts))
	for _, p := range t.parts {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b *Partition) int { return cmp.Compare(a.id.Partition, b.id.Partition) })
	return parts
}

// New returns an empty manager; Apply fills it.
func New(opt Options) *Manager {
	m := &Manager{opt: opt, fetchers: map[int32]*fetcher{}, hurt: map[log.LogID]struct{}{}}
	m.changes.m, m.repairs.m = m, m
	t, rack := DefaultTuning(), ""
	m.tuned.Store(&t)
	m.rack.Store(&rack)
	m.img.Store(new(metadata.Image))
	return m
}

// Ref names a partition: by topic name, or by topic id when Topic is empty.
type Ref struct {
	Topic   string
	TopicID [16]byte
	Index   int32
}

// Find returns the partition, or the error that a client gets: UNKNOWN_TOPIC_ID for
// an id nobody has here, UNKNOWN_TOPIC_OR_PARTITION otherwise.
func (m *Manager) Find(ref Ref) (*Partition, *kerr.Error) {
	var t *topic
	if ref.Topic != "" {
		if v, ok := m.byName.Load(ref.Topic); ok {
			t = v.(*topic)
		}
	} else if v, ok := m.byID.Load(ref.TopicID); ok {
		t = v.(*topic)
	} else {
		return nil, kerr.UnknownTopicID
	}
	if t == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	if p := t.partition(ref.Index); p != nil {
		return p, nil
	}
	return nil, kerr.UnknownTopicOrPartition
}

// Each calls fn for every partition on this broker, by topic name and index.
func (m *Manager) Each(fn func(p *Partition)) {
	var topics []*topic
	m.byName.Range(func(_, v any) bool { topics = append(topics, v.(*topic)); return true })
	slices.SortFunc(topics, func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
	for _, t := range topics {
		for _, p := range t.all() {
			fn(p)
		}
	}
}

// Moves counts the partitions that came or went: while it stands still, Each lists the
// same ones.
func (m *Manager) Moves() uint64 { return m.moves.Load() }

// each is Each in no order.
func (m *Manager) each(fn func(p *Partition)) {
	m.byName.Range(func(_, v any) bool {
		t := v.(*topic)
		t.mu.RLock()
		defer t.mu.RUnlock()
		for _, p := range t.parts {
			fn(p)
		}
		return true
	})
}

// Fail is told that the log directory failed: whoever waits for the high watermark
// gets KAFKA_STORAGE_ERROR. Reads go on. It must not be called from within the
// directory's own hook, which may run below a partition's lock.
func (m *Manager) Fail() {
	m.Each(func(p *Partition) { p.failWaiting(kerr.KafkaStorageError) })
}

func (m *Manager) now() time.Time { return m.opt.Clock.Now() }
