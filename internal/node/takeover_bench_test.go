package node

import (
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/peer"
	"github.com/leat-stream/leat/internal/quorum"
)

// deciding is a controller without a node.
type deciding struct {
	tb     testing.TB
	c      *metadata.Controller
	offset int64
	rand   *rand.Rand
}

// do decides a request; it gives the answer and the records, which are applied.
func (d *deciding) do(req any) (any, []machine.Record) {
	d.tb.Helper()
	got := d.c.Decide(machine.Input{Now: time.UnixMilli(1_700_000_000_000), Rand: d.rand, Token: 1, Request: req})
	for _, rec := range got.Records {
		d.offset++
		if err := d.c.Apply(d.offset, 0, rec); err != nil {
			d.tb.Fatal(err)
		}
	}
	if len(got.Replies) != 1 {
		d.tb.Fatalf("%T has %d answers", req, len(got.Replies))
	}
	return got.Replies[0].Body, got.Records
}

// beat is a broker's heartbeat.
func (d *deciding) beat(broker int32, fence bool) []machine.Record {
	d.tb.Helper()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = 1
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset, req.WantFence = broker, d.c.View().Broker(broker).Epoch, d.offset, fence
	resp, recs := d.do(&metadata.Request{Req: req})
	if r := resp.(*kmsg.BrokerHeartbeatResponse); r.ErrorCode != 0 || r.IsFenced != fence {
		d.tb.Fatalf("broker %d: %+v", broker, r)
	}
	return recs
}

// newDeciding has brokers from 1 on, and partitions over topics of a hundred, each on
// three of them.
func newDeciding(tb testing.TB, cfg *config.Config, brokers, partitions int) *deciding {
	tb.Helper()
	d := &deciding{tb: tb, rand: rand.New(rand.NewPCG(1, 2))}
	d.c = metadata.NewController(nil, metadata.Options{Config: cfg, NodeID: 1, Features: featureRanges()})
	d.do(&metadata.Bootstrap{Features: map[string]int16{"metadata.version": 33, "eligible.leader.replicas.version": 1}})
	for id := int32(1); id <= int32(brokers); id++ {
		req := kmsg.NewPtrBrokerRegistrationRequest()
		req.Version, req.BrokerID, req.ClusterID = 4, id, d.c.View().ClusterID()
		req.IncarnationID = [16]byte{byte(id), 1}
		req.Features = metadata.RegistrationFeatures(featureRanges())
		req.LogDirs = [][16]byte{{200, byte(id), 9}}
		l := kmsg.NewBrokerRegistrationRequestListener()
		l.Name, l.Host, l.Port = "PLAINTEXT", "127.0.0.1", 9092
		req.Listeners = append(req.Listeners, l)
		if resp, _ := d.do(&metadata.RegisterBroker{Req: req}); resp.(*kmsg.BrokerRegistrationResponse).ErrorCode != 0 {
			tb.Fatalf("broker %d: %+v", id, resp)
		}
		d.beat(id, false)
	}
	for i := 0; i < partitions; i += 100 {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = 7
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = fmt.Sprintf("topic-%05d", i/100), 100, 3
		req.Topics = append(req.Topics, t)
		if resp, _ := d.do(&metadata.Request{Req: req}); resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode != 0 {
			tb.Fatalf("%+v", resp)
		}
	}
	return d
}

// leaders are the other brokers, as far as a follower's fetches reach them: an answer is
// held back until it is let go, as that of a long poll.
type leaders struct {
	mu      sync.Mutex
	waiting map[int32]func()
	named   map[int32]int // partitions in the last fetch
}

func (l *leaders) Call(to peer.Target, _ peer.Lane, req kmsg.Request, _ time.Duration, done func(kmsg.Response, error)) {
	fetch, ok := req.(*kmsg.FetchRequest)
	if !ok {
		done(nil, peer.ErrUnreachable)
		return
	}
	n := 0
	for _, t := range fetch.Topics {
		n += len(t.Partitions)
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.Version, resp.SessionID = fetch.Version, 1
	l.mu.Lock()
	l.waiting[to.Node], l.named[to.Node] = func() { done(resp, nil) }, n
	l.mu.Unlock()
}

func (l *leaders) Send(peer.Target, peer.Lane, kmsg.Request) {}

// release answers what waits, but for what was sent to one broker, and waits until each of
// those that answered has been asked again. It gives how many partitions these requests name.
func (l *leaders) release(but int32) (named int) {
	l.mu.Lock()
	all := l.waiting
	l.waiting, l.named = map[int32]func(){}, map[int32]int{}
	l.mu.Unlock()
	for id, answer := range all {
		if id != but {
			answer()
		}
	}
	delete(all, but)
	l.await(len(all))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.named {
		named += n
	}
	return named
}

// await waits until so many brokers were asked.
func (l *leaders) await(n int) {
	for {
		l.mu.Lock()
		got := len(l.waiting)
		l.mu.Unlock()
		if got >= n {
			return
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkTakeover is what one of 30 brokers does when another falls silent. There are
// 100,000 partitions, so that it has 10,000 replicas. It takes the records of the
// controller's decision into its image, begins to lead its share of what the other led, and
// follows new leaders elsewhere, up to the fetches that name them. Logs lie on a real
// disk, nothing is written to, and the other brokers answer nothing but empty fetches.
// The figure is the process's CPU, collection of garbage included.
func BenchmarkTakeover(b *testing.B) {
	const brokers, partitions, self, lost = 30, 100_000, 1, 7
	cfg, _, err := config.Load(config.Sources{Sets: []string{"node.id=1", "process.roles=broker", "listeners=PLAINTEXT://127.0.0.1:9092",
		"controller.quorum.bootstrap.servers=127.0.0.1:9093"}})
	if err != nil {
		b.Fatal(err)
	}
	var spent, elapsed time.Duration
	var led, named, replicas, records int
	for range b.N {
		b.StopTimer()
		d := newDeciding(b, cfg, brokers, partitions)
		others := &leaders{waiting: map[int32]func(){}, named: map[int32]int{}}
		var exec env.Goroutines
		n, err := Open(Options{
			Config: cfg, Log: slog.New(slog.DiscardHandler), FS: env.OS, Clock: env.Real, Exec: &exec, Seed: func() uint64 { return 1 },
			DataDir: b.TempDir(), RequestMemory: 1 << 30, MemberMemory: 1 << 30, Caller: others,
			Failed: func(err error) { b.Error(err) },
			Doors:  func() []Door { return []Door{{"PLAINTEXT", "127.0.0.1", 9092}} }, Endpoint: func(*api.Conn) (string, int32, bool) { return "", 0, false },
		})
		if err != nil {
			b.Fatal(err)
		}
		img := d.c.View()
		snapshot := func(yield func(machine.Record, error) bool) {
			for frame, err := range img.Snapshot() {
				if !yield(machine.Record{Value: frame}, err) {
					return
				}
			}
		}
		if err := n.meta.restore(d.offset, 0, iter.Seq2[machine.Record, error](snapshot)); err != nil {
			b.Fatal(err)
		}
		n.meta.epoch.Store(img.Broker(self).Epoch)
		n.meta.serve()
		others.await(brokers - 1)
		others.release(-1) // the sessions are made, and the next requests name nothing
		led0 := n.replicas.Stats().Led
		recs := d.beat(lost, true)
		batch := quorum.Batch{Base: n.meta.image().Index() + 1, Records: recs}
		runtime.GC()
		before, began := cpuTime(b), time.Now()
		b.StartTimer()
		if err := n.meta.records(batch); err != nil {
			b.Fatal(err)
		}
		named += others.release(lost)
		b.StopTimer()
		spent += cpuTime(b) - before
		elapsed += time.Since(began)
		led += n.replicas.Stats().Led - led0
		replicas += n.replicas.Stats().Led + n.replicas.Stats().Followed
		records += len(recs)
		if err := n.Close(); err != nil {
			b.Fatal(err)
		}
		exec.Wait()
	}
	each := func(total int) float64 { return float64(total) / float64(b.N) }
	b.ReportMetric(float64(spent.Microseconds())/1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(each(records), "records")
	b.ReportMetric(each(replicas), "replicas")
	b.ReportMetric(each(led), "led-anew")
	b.ReportMetric(each(named), "fetched-anew")
}

// cpuTime is what the process has used.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
