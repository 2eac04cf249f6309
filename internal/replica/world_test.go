package replica

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/schema"
)

const self = int32(1)

// world is one broker's partitions on a simulated disk and clock. Everything happens
// on the test's goroutine; nothing is synced before sync is called.
type world struct {
	t     *testing.T
	disk  *env.Disk
	wrap  func(env.FS) env.FS // if not nil: what the log directory sees of the disk
	boot  string              // the kernel's boot id
	clock *env.VirtualClock
	dir   *log.Dir
	m     *Manager

	builder *metadata.Builder
	img     *metadata.Image
	index   int64
	topics  map[string]Settings

	told []string // what the coordinators' hooks were told
	down bool     // the directory failed, and the manager was not told yet
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	w.begin()
	return w
}

func (w *world) begin() {
	w.disk, w.boot, w.clock = env.NewDisk(1), "boot", env.NewClock(time.UnixMilli(1_700_000_000_000))
	w.topics, w.builder = map[string]Settings{}, metadata.NewBuilder(nil)
	w.open()
}

// open opens the directory and follows the image from nothing.
func (w *world) open() {
	w.t.Helper()
	w.disk.SetClock(w.clock)
	fsys := env.FS(w.disk)
	if w.wrap != nil {
		fsys = w.wrap(fsys)
	}
	d, err := log.OpenDir(log.DirOptions{
		FS: fsys, Clock: w.clock, Path: "data", Rand: env.NewRand(7), ClusterID: "cluster", NodeID: self, BootID: w.boot,
		SyncParallel: 1, RecoveryThreads: 1, JournalBytes: 1 << 20, Failed: func(error) { w.down = true },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.dir, w.down = d, false
	w.m = New(Options{
		NodeID: self, FS: w.disk, Dir: d, Clock: w.clock, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Config:    func(_ *metadata.Image, topic string) Settings { return w.topics[topic] },
		Led:       func(p *Partition, epoch int32) { w.tell("led %s %d", p.ID(), epoch) },
		Resigned:  func(p *Partition, epoch int32) { w.tell("resigned %s %d", p.ID(), epoch) },
		Committed: func(p *Partition, hw int64) { w.tell("committed %s %d", p.ID(), hw) },
	})
	img, _ := w.builder.Image()
	w.img = img
	if err := w.m.Apply(img, metadata.Diff(nil, img)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tell(format string, args ...any) {
	w.told = append(w.told, fmt.Sprintf(format, args...))
}

// power cuts the power, and goes on with what that leaves.
func (w *world) power(rng *rand.Rand) {
	w.boot += "+"
	w.restart(w.disk.CrashClone(rng))
}

// kill ends the process, and goes on with all it had written.
func (w *world) kill() { w.restart(w.disk.KillClone()) }

// restart goes on with a disk. As a registration does, it gives every partition a new
// leader epoch.
func (w *world) restart(disk *env.Disk) {
	w.t.Helper()
	w.disk = disk
	for t := range w.builder.View().Topics() {
		for _, p := range t.Partitions {
			c := schema.NewPartitionChange()
			c.TopicID, c.Index, c.Leader = t.ID, p.Index, p.Leader
			w.record(c)
		}
	}
	w.open()
}

func (w *world) record(r schema.Record) {
	w.t.Helper()
	w.index++
	if err := w.builder.Apply(w.index, r); err != nil {
		w.t.Fatal(err)
	}
}

// apply hands the records so far to the manager.
func (w *world) apply() error {
	img, delta := w.builder.Image()
	w.img = img
	return w.m.Apply(img, delta)
}

func topicID(name string) (id [16]byte) {
	copy(id[:], name)
	id[15] = 1
	return id
}

func durable() Settings {
	return Settings{Log: log.DefaultConfig(), MinISR: 1, Durable: true, Deletes: true}
}

func relaxed() Settings {
	s := durable()
	s.Durable, s.Log.Durable = false, false
	return s
}

// create makes a topic of this broker alone.
func (w *world) create(name string, partitions int, s Settings) {
	w.t.Helper()
	w.topics[name] = s
	w.record(&schema.Topic{TopicID: topicID(name), Name: name})
	for i := range partitions {
		w.record(&schema.Partition{TopicID: topicID(name), Index: int32(i), Leader: self, Replicas: []int32{self}, ISR: []int32{self}})
	}
	if err := w.apply(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(name string) {
	w.t.Helper()
	w.record(&schema.RemoveTopic{TopicID: topicID(name)})
	if err := w.apply(); err != nil {
		w.t.Fatal(err)
	}
}

// sync runs one sync round; a directory that fails in it is told to the manager.
func (w *world) sync() error {
	_, err := w.dir.SyncRound()
	if w.down {
		w.down = false
		w.m.Fail()
	}
	return err
}

func (w *world) mustSync() {
	w.t.Helper()
	if err := w.sync(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) part(topic string, index int32) *Partition {
	w.t.Helper()
	p, err := w.m.Find(Ref{Topic: topic, Index: index})
	if err != nil {
		w.t.Fatalf("%s-%d: %v", topic, index, err)
	}
	return p
}

// batch is a batch of values, of no producer.
func (w *world) batch(values ...string) []byte {
	return w.batchOf(record.NewHeader(0), values...)
}

// sequenced is a batch of an idempotent producer.
func (w *world) sequenced(producer int64, sequence int32, values ...string) []byte {
	h := record.NewHeader(0)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence = producer, 0, sequence
	return w.batchOf(h, values...)
}

func (w *world) batchOf(h record.BatchHeader, values ...string) []byte {
	w.t.Helper()
	var b record.Builder
	b.Reset(h, record.Compression{})
	for _, v := range values {
		b.Append(w.clock.Now().UnixMilli(), nil, []byte(v))
	}
	out, err := b.Build(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// produced is a produce request on its way.
type produced struct {
	answered bool
	results  []Produced
}

func (a *produced) String() string {
	if !a.answered {
		return "waiting"
	}
	var s []string
	for _, r := range a.results {
		if r.Err != nil {
			s = append(s, r.Err.Message)
			continue
		}
		s = append(s, fmt.Sprintf("%d-%d", r.Info.FirstOffset, r.Info.LastOffset))
	}
	return strings.Join(s, " ")
}

func (w *world) produce(acks int16, parts ...ProducePart) *produced {
	a := &produced{}
	w.m.Produce(parts, acks, 30*time.Second, func(op *ProduceOp) {
		if a.answered {
			w.t.Error("a produce request was answered twice")
		}
		a.answered, a.results = true, op.Results
	})
	return a
}

// send produces values to one partition.
func (w *world) send(topic string, index int32, acks int16, values ...string) *produced {
	return w.produce(acks, ProducePart{w.part(topic, index), w.batch(values...)})
}

func (w *world) expect(a fmt.Stringer, want string) {
	w.t.Helper()
	if a.String() != want {
		w.t.Fatalf("answer is %q, want %q", a, want)
	}
}

// fetched is a fetch on its way.
type fetched struct {
	op *FetchOp
}

func (f *fetched) String() string {
	if f.op == nil {
		return "waiting"
	}
	var s []string
	for _, r := range f.op.Collect() {
		s = append(s, show(r))
		r.Release()
	}
	return strings.Join(s, "; ")
}

func show(r Fetched) string {
	switch {
	case r.Err != nil:
		return r.Err.Message
	case r.Diverging:
		return fmt.Sprintf("diverging %d at %d", r.DivergingEpoch, r.DivergingEnd)
	case r.Run == nil:
		return fmt.Sprintf("nothing, hw %d", r.HighWatermark)
	}
	values, err := runValues(r)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, hw %d", strings.Join(values, ","), r.HighWatermark)
}

func runValues(r Fetched) (values []string, err error) {
	buf := make([]byte, r.Run.Len())
	if _, err := r.Run.ReadAt(buf, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for b, err := range record.Split(buf) {
		if err != nil {
			return nil, err
		}
		for rec, err := range b.Records(1 << 20) {
			if err != nil {
				return nil, err
			}
			values = append(values, string(rec.Value))
		}
	}
	return values, nil
}

func values(t *testing.T, r Fetched) []string {
	t.Helper()
	all, err := runValues(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// poll fetches with a long wait.
func (w *world) poll(minBytes int32, parts ...FetchPart) *fetched {
	f := &fetched{}
	w.m.Fetch(parts, FetchLimits{Replica: Consumer, MinBytes: minBytes, MaxBytes: 1 << 20, MaxWait: time.Minute}, func(op *FetchOp) {
		if f.op != nil {
			w.t.Error("a fetch was answered twice")
		}
		f.op = op
	})
	return f
}

func from(topic string, index int32, offset int64) FetchPart {
	return FetchPart{Ref: Ref{Topic: topic, Index: index}, Offset: offset, MaxBytes: 1 << 20, LeaderEpoch: -1, LastFetchedEpoch: -1}
}

// read fetches at once.
func (w *world) read(topic string, index int32, offset int64) string {
	var out string
	w.m.Fetch([]FetchPart{from(topic, index, offset)}, FetchLimits{Replica: Consumer, MaxBytes: 1 << 20}, func(op *FetchOp) {
		r := op.Collect()[0]
		out = show(r)
		r.Release()
	})
	return out
}

// latest is what ListOffsets answers for the end.
func (w *world) latest(topic string, index int32) int64 {
	w.t.Helper()
	l := w.part(topic, index).ListOffset(Latest, -1, false)
	if l.Err != nil {
		w.t.Fatal(l.Err)
	}
	return l.Offset
}

func (w *world) expectRead(topic string, index int32, offset int64, want string) {
	w.t.Helper()
	if got := w.read(topic, index, offset); got != want {
		w.t.Fatalf("read of %s-%d from %d: %q, want %q", topic, index, offset, got, want)
	}
}

var (
	storage   = kerr.KafkaStorageError.Message
	unknown   = kerr.UnknownTopicOrPartition.Message
	notLeader = kerr.NotLeaderForPartition.Message
)
