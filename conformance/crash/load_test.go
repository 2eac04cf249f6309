//go:build conformance

package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// position is where a record stands.
type position struct {
	partition int32
	offset    int64
}

func (p position) String() string { return fmt.Sprintf("%d/%d", p.partition, p.offset) }

// record is what a producer sent: a key and how many records of that key it is.
type record struct {
	key    string
	number int64
}

func (r record) String() string { return fmt.Sprintf("record %d of %s", r.number, r.key) }

// load is the producers and the group, and what they were told.
type load struct {
	producers []*kgo.Client
	members   []*kgo.Client
	stop      context.CancelFunc // no further sends are begun
	abandon   context.CancelFunc // those that were begun are given up
	leave     context.CancelFunc // of the members
	producing sync.WaitGroup
	consuming sync.WaitGroup

	mu       sync.Mutex
	sent     map[record]position
	started  map[int]bool // producers of which a record was acknowledged
	failures []error
	commits  map[int32]int64
	consumed map[position]record
	wrong    []string // what the group saw and should not have
}

// newLoad starts producers, each of its own codec, and members of a group.
func newLoad(addr string, seed uint64) (*load, error) {
	l := &load{sent: map[record]position{}, started: map[int]bool{}, commits: map[int32]int64{}, consumed: map[position]record{}}
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	begun, abandon := context.WithCancel(context.Background())
	producing, stop := context.WithCancel(begun)
	consuming, leave := context.WithCancel(context.Background())
	l.stop, l.abandon, l.leave = stop, abandon, leave
	for i := range killProducers {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(killTopic), kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerBatchCompression(codecs[i%len(codecs)]), kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(300),
			kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.RecordRetries(1<<30))
		if err != nil {
			l.close()
			return nil, err
		}
		l.producers = append(l.producers, cl)
		rng := rand.New(rand.NewPCG(seed, uint64(i)+2))
		l.producing.Go(func() { l.produce(producing, begun, cl, i, rng) })
	}
	for range killMembers {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup(killGroup), kgo.ConsumeTopics(killTopic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond),
			kgo.RebalanceTimeout(3*time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
		if err != nil {
			l.close()
			return nil, err
		}
		l.members = append(l.members, cl)
		l.consuming.Go(func() { l.consume(consuming, cl) })
	}
	return l, nil
}

// produce sends records of sixteen keys at a few thousand a second, each with a
// number, until ctx ends. Sends live as long as begun does.
func (l *load) produce(ctx, begun context.Context, cl *kgo.Client, producer int, rng *rand.Rand) {
	numbers := map[string]int64{}
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	padding := strings.Repeat("leat ", 400)
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		for range 2 {
			key := fmt.Sprintf("producer %d key %d", producer, rng.IntN(16))
			numbers[key]++
			r := record{key, numbers[key]}
			value := fmt.Sprintf("%d %s", r.number, padding[:rng.IntN(len(padding))])
			cl.Produce(begun, &kgo.Record{Key: []byte(key), Value: []byte(value)}, func(kr *kgo.Record, err error) {
				l.mu.Lock()
				defer l.mu.Unlock()
				if err != nil {
					l.failures = append(l.failures, fmt.Errorf("%v: %w", r, err))
					return
				}
				l.sent[r] = position{kr.Partition, kr.Offset}
				l.started[producer] = true
			})
		}
	}
}

// consume reads and commits what it has read, until it is told to leave.
func (l *load) consume(ctx context.Context, cl *kgo.Client) {
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		// A broker that is gone shows as errors of partitions; the client tries again.
		fetches.EachRecord(func(kr *kgo.Record) {
			r, err := parseRecord(kr)
			l.mu.Lock()
			defer l.mu.Unlock()
			at := position{kr.Partition, kr.Offset}
			if err != nil {
				l.wrong = append(l.wrong, err.Error())
			} else if before, ok := l.consumed[at]; ok && before != r {
				l.wrong = append(l.wrong, fmt.Sprintf("at %v the group read %v, and later %v", at, before, r))
			}
			l.consumed[at] = r
		})
		l.commit(ctx, cl)
	}
}

// commit commits what was polled and, once the broker says that it is so, keeps it.
func (l *load) commit(ctx context.Context, cl *kgo.Client) {
	head := cl.UncommittedOffsets()
	if len(head) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := cl.CommitUncommittedOffsets(bounded); err != nil {
		return // it is not known to be committed, so nothing is expected of it
	}
	done := cl.CommittedOffsets()[killTopic]
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, o := range head[killTopic] {
		if c, ok := done[p]; ok && c.Offset >= o.Offset {
			l.commits[p] = max(l.commits[p], o.Offset)
		}
	}
}

// allStarted says whether every producer has its id: a client gives up its first
// records when the broker goes away before it has one.
func (l *load) allStarted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.started) == killProducers
}

func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent)
}

func (l *load) committed() map[int32]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[int32]int64{}
	for p, o := range l.commits {
		out[p] = o
	}
	return out
}

// finish ends the producers, each with all it began, and returns what was acknowledged.
func (l *load) finish(t *testing.T) map[record]position {
	t.Helper()
	l.stop()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	context.AfterFunc(ctx, l.abandon)
	l.producing.Wait()
	for _, cl := range l.producers {
		if err := cl.Flush(ctx); err != nil {
			t.Fatalf("a producer does not come to an end: %v", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var c complaints
	for _, err := range l.failures {
		c.add("a send failed, though the broker came back: %v", err)
	}
	c.report(t)
	return l.sent
}

// awaitConsumed waits until the group has read the whole log, and compares.
func (l *load) awaitConsumed(t *testing.T, log map[position]record) {
	t.Helper()
	await(t, "the group to have read everything", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.consumed) >= len(log)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	var c complaints
	for at, r := range l.consumed {
		if log[at] != r {
			c.add("at %v the group read %v, and the log holds %v", at, r, log[at])
		}
	}
	for _, w := range l.wrong {
		c.add("%s", w)
	}
	c.report(t)
}

// complaints are what is wrong; a broken run may have very many.
type complaints []string

func (c *complaints) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

// report fails the test with the first of the complaints and their number.
func (c complaints) report(t *testing.T) {
	t.Helper()
	if len(c) > 0 {
		t.Errorf("%d complaints, such as:\n%s", len(c), strings.Join(c[:min(len(c), 20)], "\n"))
	}
}

func (l *load) close() {
	l.abandon()
	l.leave()
	l.producing.Wait()
	l.consuming.Wait()
	for _, cl := range append(l.producers, l.members...) {
		cl.CloseAllowingRebalance()
	}
}

// parseRecord reads back what produce wrote.
func parseRecord(kr *kgo.Record) (record, error) {
	number, _, ok := strings.Cut(string(kr.Value), " ")
	if !ok {
		return record{}, errors.New("a value without a number")
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return record{string(kr.Key), n}, err
}

func parse(t *testing.T, kr *kgo.Record) record {
	t.Helper()
	r, err := parseRecord(kr)
	if err != nil {
		t.Fatalf("partition %d offset %d: %v", kr.Partition, kr.Offset, err)
	}
	return r
}

// await waits for a condition that the load brings about.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(settle)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// pause lets the load run for a while.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
