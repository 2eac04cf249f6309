// Package group is the group coordinator: classic consumer groups and committed
// offsets, as one machine.Machine over one partition of __consumer_offsets, in
// Kafka's record schemas.
//
// State is of two kinds. Durable state (what a group's last metadata record says,
// and its committed offsets) is changed by Apply alone and is the same after every
// load of the same records. Volatile state (who is joining, who waits for an
// assignment, the generation that is being formed, session deadlines) is changed by
// Decide and is derived from the durable one by Resume: a group comes back from a
// load as its last record left it, Stable with its members or Empty, and a rebalance
// that was under way is lost, as it is in Kafka.
//
// Invariants, each checked by the model test:
//   - every token is answered exactly once, parked or not;
//   - a member waits for a join only in PreparingRebalance, for a sync only in
//     CompletingRebalance;
//   - a generation has one protocol, one leader, and hands assignments only to its
//     members; the generation of a group never falls while the machine lives;
//   - every member but one whose join is parked for good reason has a session deadline.
//
// Iteration is in a fixed order everywhere (members by seniority, names sorted), so
// that the same inputs give the same decisions.
//
// Facts followed: KIP-62, KIP-134, KIP-211, KIP-345, KIP-394, KIP-518, KIP-814,
// KIP-1043, KIP-848 (topic ids of offsets).
package group

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/leat-stream/leat/internal/machine"
)

// Options are the settings of a coordinator. The zero value stands for Kafka's
// defaults, except that InitialRebalanceDelay is used as it is.
type Options struct {
	// InitialRebalanceDelay is how long the first rebalance of an empty group waits
	// for more members; 0 completes it at once (group.initial.rebalance.delay.ms).
	InitialRebalanceDelay time.Duration
	// MinSessionTimeout and MaxSessionTimeout bound what members may ask for
	// (group.min.session.timeout.ms, group.max.session.timeout.ms).
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// MaxSize is how many members a group may have (group.max.size).
	MaxSize int
	// MaxPending is how many member ids of one group may be handed out and not yet
	// used; beyond it the oldest is forgotten.
	MaxPending int
	// NewMemberJoinTimeout is how long the first join of a member may be parked.
	NewMemberJoinTimeout time.Duration
	// OffsetMetadataMax is the longest metadata of a commit, in UTF-16 units
	// (offset.metadata.max.bytes).
	OffsetMetadataMax int
	// OffsetsRetention is how long offsets outlive their group, or their commit when
	// there is no group (offsets.retention.minutes).
	OffsetsRetention time.Duration
	// OffsetsRetentionCheckInterval is the pause between two looks for expired
	// offsets (offsets.retention.check.interval.ms).
	OffsetsRetentionCheckInterval time.Duration
	// MaxBatchBytes bounds the records of one decision (max.message.bytes of the topic).
	MaxBatchBytes int
}

func (o Options) withDefaults() Options {
	def(&o.MinSessionTimeout, 6*time.Second)
	def(&o.MaxSessionTimeout, 30*time.Minute)
	def(&o.MaxSize, math.MaxInt32)
	def(&o.MaxPending, 1<<16)
	def(&o.NewMemberJoinTimeout, 5*time.Minute)
	def(&o.OffsetMetadataMax, 4096)
	def(&o.OffsetsRetention, 7*24*time.Hour)
	def(&o.OffsetsRetentionCheckInterval, 10*time.Minute)
	def(&o.MaxBatchBytes, 1048588)
	return o
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Machine is the coordinator of the groups of one partition.
type Machine struct {
	opts       Options
	groups     map[string]*group
	expireFrom string // the group at which an expiry that filled its batch goes on
	// sweeps are deletions of topics that did not go into one batch, oldest first.
	sweeps []sweep
	// foreign counts records that belong to group types which are not built.
	foreign int64
	// held is what members and pending members hold, and told what the shell knows of it.
	held, told int64
}

var _ machine.Machine = (*Machine)(nil)

// New makes an empty coordinator, to be filled by Apply.
func New(opts Options) *Machine {
	return &Machine{opts: opts.withDefaults(), groups: make(map[string]*group)}
}

// ForeignRecords counts the records, seen by Apply, of group types that this
// coordinator does not build (KIP-848, share and streams groups of another broker).
func (m *Machine) ForeignRecords() int64 { return m.foreign }

// turn is one call of Decide or Resume: what it may know and what it has decided so far.
type turn struct {
	*Machine
	now   time.Time
	rand  *rand.Rand
	token machine.Token
	out   machine.Decision
	bytes int // of out.Records
}

// Decide answers a request of this package, or a timer.
func (m *Machine) Decide(in machine.Input) machine.Decision {
	t := &turn{Machine: m, now: in.Now, rand: in.Rand, token: in.Token}
	switch r := in.Request.(type) {
	case Join:
		t.join(r)
	case Sync:
		t.sync(r)
	case Heartbeat:
		t.heartbeat(r)
	case Leave:
		t.leave(r)
	case CommitOffsets:
		t.commitOffsets(r)
	case FetchOffsets:
		t.fetchOffsets(r)
	case Describe:
		t.describe(r)
	case List:
		t.list(r)
	case DeleteGroup:
		t.deleteGroup(r)
	case DeleteOffsets:
		t.deleteOffsets(r)
	case TopicsDeleted:
		t.topicsDeleted(r)
	case machine.TimerFired:
		t.fired(r.Key)
	default:
		// A broken invariant of the program, not of its input: requests are made by
		// our own handlers only.
		panic("group: unknown request type")
	}
	t.tellHeld()
	return t.out
}

// Resume readies the volatile state after a load.
func (m *Machine) Resume(now time.Time) machine.Decision {
	t := &turn{Machine: m, now: now}
	for _, g := range m.sorted() {
		t.resume(g)
	}
	t.scheduleExpiry()
	t.tellHeld()
	return t.out
}

// reply answers the request of a token; the token 0 is nobody's.
func (t *turn) reply(token machine.Token, body any) {
	if token != 0 {
		t.out.Replies = append(t.out.Replies, machine.Reply{Token: token, Body: body})
	}
}

// write adds a record to the decision.
func (t *turn) write(rec machine.Record) {
	t.out.Records = append(t.out.Records, rec)
	t.bytes += recordSize(rec)
}

// fits says whether a record of n bytes more would still go into one batch.
func (t *turn) fits(n int) bool { return t.bytes+n+batchOverhead <= t.opts.MaxBatchBytes }

func (t *turn) ms() int64 { return t.now.UnixMilli() }
