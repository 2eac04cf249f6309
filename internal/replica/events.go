package replica

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
)

// event writes one notable thing to the log: its text, and its type for who filters.
func (m *Manager) event(level slog.Level, e fmt.Stringer) {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", e), ".")
	m.opt.Logger.Log(context.Background(), level, e.String(), "event", name)
}

// Truncated tells that a replica dropped records that its leader does not have. Lost
// says that it had counted some of them as committed: an unclean election chose a
// leader without them.
type Truncated struct {
	Log           log.LogID
	From, To      int64 // end offsets
	HighWatermark int64 // before
	Leader        int32
	Lost          bool
}

func (e Truncated) String() string {
	if e.Lost {
		return fmt.Sprintf("partition %s: COMMITTED RECORDS WERE LOST: leader %d does not have offsets %d to %d, which were committed; the log is cut back from %d",
			e.Log, e.Leader, e.To, e.HighWatermark-1, e.From)
	}
	return fmt.Sprintf("partition %s: cut back from %d to %d, where leader %d went another way", e.Log, e.From, e.To, e.Leader)
}

// StartedAnew tells that a replica dropped all it had, which its leader no longer has.
type StartedAnew struct {
	Log      log.LogID
	From, At int64 // end offset before, and where it starts
	Leader   int32
}

func (e StartedAnew) String() string {
	return fmt.Sprintf("partition %s: starts anew at %d, where leader %d starts; it ended at %d", e.Log, e.At, e.Leader, e.From)
}

// ProducersUntold tells that a follower starts anew without what is known of producers.
type ProducersUntold struct {
	Log      log.LogID
	Follower int32
	At       int64
	Err      error
}

func (e ProducersUntold) String() string {
	return fmt.Sprintf("partition %s: broker %d starts at %d without knowing its producers: %v", e.Log, e.Follower, e.At, e.Err)
}

// SetAside tells that the data of a topic that the metadata does not know made room for
// another topic of its name.
type SetAside struct {
	Log  log.LogID
	Path string // where it is now
}

func (e SetAside) String() string {
	return fmt.Sprintf("partition %s: data of topic id %s, which the metadata does not know, is kept in %s: another topic has the name", e.Log, metadata.UUIDString(e.Log.TopicID), e.Path)
}

// CorruptFetched tells that a leader sent a batch without its checksum.
type CorruptFetched struct {
	Log    log.LogID
	Offset int64
	Leader int32
	Err    error
}

func (e CorruptFetched) String() string {
	return fmt.Sprintf("partition %s: what leader %d sent for offset %d is damaged, and is fetched again: %v", e.Log, e.Leader, e.Offset, e.Err)
}

// ReplicaFailed tells that a replica cannot follow, and is tried again.
type ReplicaFailed struct {
	Log    log.LogID
	Leader int32
	Err    error
}

func (e ReplicaFailed) String() string {
	return fmt.Sprintf("partition %s: cannot follow leader %d, and tries again: %v", e.Log, e.Leader, e.Err)
}

// LeaderUnreachable tells that fetches from a broker fail.
type LeaderUnreachable struct {
	Leader     int32
	Partitions int
	Err        error
}

func (e LeaderUnreachable) String() string {
	return fmt.Sprintf("broker %d, the leader of %d partitions that are followed here, does not answer: %v", e.Leader, e.Partitions, e.Err)
}

// ISRChanged tells that the in-sync set of a partition that is led here changed.
type ISRChanged struct {
	Log      log.LogID
	From, To []int32
}

func (e ISRChanged) String() string {
	return fmt.Sprintf("partition %s: in sync are %v, before %v", e.Log, e.To, e.From)
}

// Refetched tells that a damaged replica dropped what it had from the damage on, to fetch
// it again.
type Refetched struct {
	Log      log.LogID
	Damaged  []log.Range
	At, From int64 // end offsets, after and before
	Leader   int32
}

func (e Refetched) String() string {
	return fmt.Sprintf("partition %s: was damaged at %s, is cut back from %d to %d and fetched again from leader %d", e.Log, ranges(e.Damaged), e.From, e.At, e.Leader)
}

// DamagedAlone tells that records are damaged which no other replica has.
type DamagedAlone struct {
	Log     log.LogID
	Damaged []log.Range
}

func (e DamagedAlone) String() string {
	return fmt.Sprintf("partition %s: NOBODY ELSE HAS WHAT IS DAMAGED: offsets %s cannot be read; this broker serves the rest; "+
		"replicas that lack them catch up only if unclean.leader.election.enable allows them to be lost", e.Log, ranges(e.Damaged))
}

// DamageGivenUp tells that replicas go on without damaged records that nobody else has, as
// the topic's settings allow.
type DamageGivenUp struct {
	Log log.LogID
	log.Range
}

func (e DamageGivenUp) String() string {
	return fmt.Sprintf("partition %s: COMMITTED RECORDS ARE GIVEN UP: offsets %d to %d are damaged, nobody else has them, and unclean.leader.election.enable lets replicas go on without", e.Log, e.From, e.To-1)
}

func ranges(list []log.Range) string {
	var s []string
	for _, r := range list {
		s = append(s, fmt.Sprintf("%d to %d", r.From, r.To-1))
	}
	return strings.Join(s, ", ")
}
