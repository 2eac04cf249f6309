//go:build conformance

package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/sim/history"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	loadTopic      = "load"
	loadPartitions = 6
	// settle bounds what must come to an end once nothing is broken.
	settle = time.Minute
)

func now() history.Time { return history.Time(time.Now().UnixNano()) }

// load is the clients, and what they saw.
type load struct {
	stop    context.CancelFunc // no further sends are begun
	abandon context.CancelFunc // those that were begun are given up
	leave   context.CancelFunc // of who reads
	sending sync.WaitGroup
	reading sync.WaitGroup
	running []*program

	mu       sync.Mutex
	h        history.History
	acked    map[string]int                         // by producer
	failures []string                               // sends that failed
	errors   []clientError                          // other errors that a client should not see where nothing is broken
	seen     map[string]*errorCount                 // all other errors, by who was told and in what
	given    map[string]map[history.Partition]int64 // by group and tail: how far it was given, the next offset
	clients  []*kgo.Client
}

// newLoad starts producers, groups and a reader of the tail, of franz-go, librdkafka and
// the Java client.
func newLoad(t *testing.T, seeds []string, seed uint64) *load {
	t.Helper()
	l := franz(t, seeds, seed)
	l.programs(t, seeds, seed)
	l.awaitStarted(t, producers+len(l.running))
	return l
}

// producers is how many of franz-go there are.
const producers = 3

// franz starts producers, a group and a reader of the tail, all of franz-go.
func franz(t *testing.T, seeds []string, seed uint64) *load {
	t.Helper()
	l := &load{acked: map[string]int{}, seen: map[string]*errorCount{}, given: map[string]map[history.Partition]int64{}}
	begun, abandon := context.WithCancel(context.Background())
	sending, stop := context.WithCancel(begun)
	reading, leave := context.WithCancel(context.Background())
	l.abandon, l.stop, l.leave = abandon, stop, leave
	t.Cleanup(l.close)
	for i := range producers {
		name := fmt.Sprintf("franz%d", i)
		opts := []kgo.Opt{
			kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(loadTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(500),
		}
		if i == 0 {
			opts = append(opts, kgo.MetadataMinAge(50*time.Millisecond)) // one that looks again at once; by default it is 5 s
		}
		cl := l.client(t, opts...)
		rng := rand.New(rand.NewPCG(seed, uint64(i)+2))
		l.sending.Go(func() { l.produce(sending, begun, cl, name, rng) })
	}
	for i := range 2 {
		l.member(t, reading, seeds, "franz", i)
	}
	l.tail(t, reading, seeds)
	return l
}

func (l *load) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	if name := os.Getenv("LEAT_CLIENT_LOG"); name != "" { // for who looks for the cause of something
		f, err := os.OpenFile(fmt.Sprintf("%s-%d", name, len(l.clients)), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		opts = append(opts, kgo.WithLogger(kgo.BasicLogger(f, kgo.LogLevelDebug, func() string { return time.Now().UTC().Format("15:04:05.000 ") })))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	l.clients = append(l.clients, cl)
	return cl
}

// produce sends a few hundred records a second to random partitions until ctx ends.
// Sends live as long as begun does.
func (l *load) produce(ctx, begun context.Context, cl *kgo.Client, name string, rng *rand.Rand) {
	pace := time.NewTicker(4 * time.Millisecond)
	defer pace.Stop()
	padding := strings.Repeat("leat ", 200)
	for number := int64(0); ; number++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		p := history.Partition{Topic: loadTopic, Number: int32(rng.IntN(loadPartitions))}
		value := fmt.Sprintf("%s/%d", name, number)
		l.mu.Lock()
		at := len(l.h.Produces)
		l.h.Produces = append(l.h.Produces, history.Produce{
			Producer: name, Number: number, Partition: p, Value: value, Begin: now(), End: history.Never, Offset: -1, Promised: true, Idempotent: true,
		})
		l.mu.Unlock()
		r := &kgo.Record{Partition: p.Number, Value: []byte(value + " " + padding[:rng.IntN(len(padding))])}
		cl.Produce(begun, r, func(kr *kgo.Record, err error) { l.produced(at, kr.Offset, err) })
	}
}

// produced takes the outcome of a send.
func (l *load) produced(at int, offset int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := &l.h.Produces[at]
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("%s to %v, begun %v ago: %v", o.Value, o.Partition, time.Duration(now()-o.Begin).Round(time.Millisecond), err))
		return
	}
	o.End, o.Outcome, o.Offset = now(), history.OK, offset
	l.acked[o.Producer]++
}

// valueOf is what history knows of a record's value.
func valueOf(kr *kgo.Record) string {
	v, _, _ := strings.Cut(string(kr.Value), " ")
	return v
}

// tail reads everything outside of a group, and asks for the ends.
func (l *load) tail(t *testing.T, ctx context.Context, seeds []string) {
	from := map[int32]kgo.Offset{}
	for p := range int32(loadPartitions) {
		from[p] = kgo.NewOffset().AtStart()
	}
	cl := l.client(t, kgo.SeedBrokers(seeds...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{loadTopic: from}))
	l.reading.Go(func() {
		next := map[int32]int64{}
		for ctx.Err() == nil {
			begin := now()
			fetches := cl.PollFetches(ctx)
			end := now()
			l.keep(ctx, fetches, next, history.Read{Consumer: "tail", Begin: begin, End: end})
		}
	})
	l.reading.Go(func() {
		for ctx.Err() == nil {
			l.ends(ctx, cl)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
}

// keep records what a poll gave, from the offset on that the reader stood at, and its
// errors; the end of ctx is none.
func (l *load) keep(ctx context.Context, fetches kgo.Fetches, next map[int32]int64, like history.Read) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, _, _ := strings.Cut(like.Consumer, " ")
	fetches.EachError(func(topic string, p int32, err error) {
		if ctx.Err() == nil {
			l.saw("franz "+name, "poll", fmt.Sprintf("%s-%d: %v", topic, p, err))
		}
	})
	who := like.Consumer
	if like.Group != "" {
		who = like.Group
	}
	given := l.given[who]
	if given == nil {
		given = map[history.Partition]int64{}
		l.given[who] = given
	}
	fetches.EachPartition(func(ftp kgo.FetchTopicPartition) {
		if len(ftp.Records) == 0 {
			return
		}
		rd := like
		rd.Partition = history.Partition{Topic: ftp.Topic, Number: ftp.Partition}
		from, ok := next[ftp.Partition]
		if !ok {
			from = ftp.Records[0].Offset
		}
		rd.From = from
		for _, kr := range ftp.Records {
			rd.Records = append(rd.Records, history.Record{Offset: kr.Offset, Value: valueOf(kr)})
			next[ftp.Partition] = kr.Offset + 1
		}
		l.h.Reads = append(l.h.Reads, rd)
		given[rd.Partition] = max(given[rd.Partition], next[ftp.Partition])
	})
}

// awaitStarted waits until n producers have had an acknowledgement: a client gives up its
// first records when the broker goes away before it has its id.
func (l *load) awaitStarted(t *testing.T, n int) {
	t.Helper()
	await(t, "every producer's first record", func() bool { return len(l.acknowledged()) >= n })
}

// acknowledged is the number of acknowledgements so far, by producer.
func (l *load) acknowledged() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for k, v := range l.acked {
		out[k] = v
	}
	return out
}

// awaitProgress waits until every producer has had a further acknowledgement.
func (l *load) awaitProgress(t *testing.T, when string, before map[string]int) {
	t.Helper()
	await(t, "further acknowledgements "+when, func() bool {
		for name, n := range l.acknowledged() {
			if n <= before[name] {
				return false
			}
		}
		return true
	})
}

func (l *load) close() {
	for _, p := range l.running {
		_ = p.cmd.Process.Kill() // it has ended, unless the test failed
		<-p.gone
	}
	l.abandon()
	l.leave()
	l.sending.Wait()
	l.reading.Wait()
	for _, cl := range l.clients {
		cl.CloseAllowingRebalance()
	}
	l.clients = nil
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
