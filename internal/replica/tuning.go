package replica

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/metadata"
)

// Tuning are this broker's settings of replication.
type Tuning struct {
	LagMax            time.Duration // replica.lag.time.max.ms
	ResponseMaxBytes  int32         // replica.fetch.response.max.bytes
	PartitionMaxBytes int32         // replica.fetch.max.bytes
	MinBytes          int32         // replica.fetch.min.bytes
	MaxWait           time.Duration // replica.fetch.wait.max.ms
	Backoff           time.Duration // replica.fetch.backoff.ms: the longest pause after failures
	// StrangersWait is how long after the beginning of a leader epoch an unknown producer has
	// to begin at sequence 0; see strangers.
	StrangersWait time.Duration // leat.unknown.producer.wait.ms
	// RackAware: replica.selector.class names Kafka's RackAwareReplicaSelector.
	RackAware bool
	// Bytes per second of what is throttled; 0 is no limit.
	LeaderRate   int64 // leader.replication.throttled.rate
	FollowerRate int64 // follower.replication.throttled.rate
}

// DefaultTuning has the defaults.
func DefaultTuning() Tuning {
	return Tuning{
		LagMax: 30 * time.Second, ResponseMaxBytes: 10 << 20, PartitionMaxBytes: 1 << 20, MinBytes: 1,
		MaxWait: 500 * time.Millisecond, Backoff: time.Second, StrangersWait: 45 * time.Second,
	}
}

// Throttled are the replicas that leader.replication.throttled.replicas or its
// counterpart names.
type Throttled struct {
	all   bool
	pairs [][2]int32 // partition, broker
}

// ParseThrottled reads such a list: PARTITION:BROKER, comma separated, or "*".
// Entries that make no sense name nothing.
func ParseThrottled(list string) Throttled {
	var t Throttled
	for _, e := range strings.Split(list, ",") {
		e = strings.TrimSpace(e)
		if e == "*" {
			return Throttled{all: true}
		}
		part, broker, ok := strings.Cut(e, ":")
		i, err1 := strconv.ParseInt(part, 10, 32)
		id, err2 := strconv.ParseInt(broker, 10, 32)
		if ok && err1 == nil && err2 == nil {
			t.pairs = append(t.pairs, [2]int32{int32(i), int32(id)})
		}
	}
	return t
}

// Has tells whether a broker's replica of a partition is throttled.
func (t *Throttled) Has(partition, broker int32) bool {
	return t.all || slices.Contains(t.pairs, [2]int32{partition, broker})
}

// limiter holds a stream to a rate: what was taken is a debt in bytes, which time pays at
// the rate that is in force by then.
type limiter struct {
	mu   sync.Mutex
	owed float64
	at   time.Time // when that was owed
	most float64   // taken at once since nothing was owed
}

// limitWindow bounds the debt of what is counted and never held back, that is what goes to
// replicas in sync: when it is more than the rate allows, it is forgotten after that time,
// also when the rate has become a lower one.
const limitWindow = 10 * time.Second

// limitSlack is a debt that holds nobody back. Who is held back is asked again when a long
// poll is over: if every little debt did that, small fetches would come nowhere near the rate.
const limitSlack = 500 * time.Millisecond

// maxLimited is more than anybody waits for, and less than a Duration holds.
const maxLimited = 24 * time.Hour

// take counts bytes that went.
func (l *limiter) take(now time.Time, bytes int, rate int64) {
	if rate <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pay(now, rate)
	l.most = max(l.most, float64(bytes))
	l.owed = min(l.owed+float64(bytes), l.bound(rate))
}

func (l *limiter) bound(rate int64) float64 { return max(l.most, float64(rate)*limitWindow.Seconds()) }

// pay takes off what time has paid; l.mu is held.
func (l *limiter) pay(now time.Time, rate int64) {
	l.owed = max(0, l.owed-float64(rate)*now.Sub(l.at).Seconds())
	l.at = now
	if l.owed == 0 {
		l.most = 0
	}
	l.owed = min(l.owed, l.bound(rate))
}

// wait is how long until something may go again.
func (l *limiter) wait(now time.Time, rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pay(now, rate)
	left := time.Duration(min(l.owed/float64(rate), maxLimited.Seconds()) * float64(time.Second))
	if left < limitSlack {
		return 0
	}
	return left
}

// tuning is in force since the last image.
func (m *Manager) tuning() *Tuning { return m.tuned.Load() }

// image is the one that was applied last.
func (m *Manager) image() *metadata.Image { return m.img.Load() }

// take notes an image: settings and brokers that every partition looks at.
func (m *Manager) take(img *metadata.Image) {
	m.img.Store(img)
	if m.opt.Tuning != nil {
		t := m.opt.Tuning(img)
		m.tuned.Store(&t)
	}
	rack := ""
	if b := img.Broker(m.opt.NodeID); b != nil && b.Rack != nil {
		rack = *b.Rack
	}
	m.rack.Store(&rack)
}
