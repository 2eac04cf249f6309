package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Settings are what varies with the seed.
type Settings struct {
	Nodes  int
	Topics []TopicSettings
	// Faults is false in some seeds: nothing may be lost in a healthy cluster either.
	Faults bool
	// PowerCuts: hosts may lose what is not synced. Not with relaxed topics.
	PowerCuts bool
	FaultGap  time.Duration // on average

	SyncTime time.Duration // of a good disk, at most

	SessionTimeout  time.Duration // of brokers
	ReplicaLag      time.Duration
	SnapshotBytes   int
	OffsetsRF       int
	GroupSession    time.Duration
	Slowness        int // how many times slower than the fastest clients work
	Producers       int
	Eager           int  // of the producers
	RoughStart      bool // the power fails while the cluster is founded
	AnyStart        bool // an unknown producer may begin with any batch at once, as with Kafka
	PlainProducers  int
	Consumers       int
	Groups, Members int
	VoterChanges    bool     // an operator adds and removes voters
	More            []string // settings of every node
	Mix             Mix
}

// TopicSettings are those of a topic.
type TopicSettings struct {
	Name         string
	Partitions   int
	RF, MinISR   int
	Relaxed      bool
	SegmentBytes int
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// drawSettings draws them for a seed.
func drawSettings(r *rand.Rand) Settings {
	s := Settings{
		Nodes: pick(r, 1, 3, 3, 3, 3, 4, 4, 5), Faults: r.IntN(8) > 0, PowerCuts: r.IntN(4) > 0,
		FaultGap:       pick(r, time.Second, 2*time.Second, 4*time.Second),
		SessionTimeout: pick(r, 2*time.Second, 4*time.Second, 9*time.Second), ReplicaLag: pick(r, 500*time.Millisecond, time.Second, 3*time.Second, 10*time.Second),
		SnapshotBytes: pick(r, 2<<10, 16<<10, 1<<20), GroupSession: pick(r, 6*time.Second, 10*time.Second),
		Producers: 2 + r.IntN(3), PlainProducers: r.IntN(2), Consumers: 1 + r.IntN(2), Groups: 1 + r.IntN(2), Members: 1 + r.IntN(3),
	}
	s.Slowness = pick(r, 1, 2, 4, 6, 6) // many calm runs see more faults an hour than few busy ones
	if s.Eager = max(0, r.IntN(6)-3); !s.Faults {
		s.Slowness, s.Eager = 6, s.Eager/2
	}
	s.SyncTime = pick(r, 0, 5*time.Millisecond, 40*time.Millisecond)
	s.OffsetsRF = min(3, s.Nodes)
	for i := range 1 + r.IntN(3) {
		t := TopicSettings{
			Name: fmt.Sprint("t", i), Partitions: 1 + r.IntN(4), RF: s.OffsetsRF, MinISR: min(pick(r, 1, 2, 2), s.Nodes),
			Relaxed: !s.PowerCuts && r.IntN(3) == 0, SegmentBytes: pick(r, 1<<20, 16<<10, 1<<30),
		}
		s.Topics = append(s.Topics, t)
	}
	// A reader that is given damaged bytes goes on once the scrubber has come by: within
	// a week by default, which no run has.
	// Followers that catch up in small steps are met in the middle of it.
	s.More = append(s.More, fmt.Sprint("replica.fetch.max.bytes=", pick(r, 1<<20, 1<<20, 1<<10)))
	s.More = append(s.More, fmt.Sprint("log.flush.offset.checkpoint.interval.ms=", pick(r, 1000, 5000, 60_000)))
	s.More = append(s.More, "leat.scrub.bytes.per.second=10000000", "leat.scrub.interval.ms=5000")
	s.VoterChanges = r.IntN(2) == 0
	s.RoughStart = s.Faults && s.PowerCuts && r.IntN(2) == 0
	if s.AnyStart = r.IntN(4) == 0; s.AnyStart {
		s.More = append(s.More, "leat.unknown.producer.wait.ms=0")
	}
	return s
}

func (s *Settings) partitions() (all []tp) {
	for _, t := range s.Topics {
		for p := range t.Partitions {
			all = append(all, tp{t.Name, int32(p)})
		}
	}
	return all
}
