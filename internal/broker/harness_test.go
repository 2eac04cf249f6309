package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/replica"
)

// testNode is a broker on loopback, for a test. Its clock stands still unless it is moved.
type testNode struct {
	t       *testing.T
	fs      env.FS
	clock   *env.VirtualClock
	dir     string
	boot    string
	files   uint64 // limit of open files
	members int64  // memory of group members, 0 by default
	sets    []string
	reg     *prometheus.Registry
	b       *Broker
	dead    *atomic.Bool // the running broker was left to itself: it may fail
	log     *logText
}

// logText is what the broker wrote to its log.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// has says whether a line has all the words.
func (l *logText) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.buf.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		return true
	}
	return false
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// prepare makes a node on a simulated disk that is not started.
func prepare(t *testing.T, sets ...string) *testNode {
	n := &testNode{t: t, clock: env.NewClock(time.Now()), dir: "data", boot: "boot-1", log: &logText{}}
	disk := env.NewDisk(1)
	disk.SetClock(n.clock)
	n.fs = disk
	n.sets = append([]string{"listeners=PLAINTEXT://127.0.0.1:0", "offsets.topic.num.partitions=3"}, sets...)
	return n
}

func start(t *testing.T, sets ...string) *testNode {
	t.Helper()
	n := prepare(t, sets...)
	n.start()
	return n
}

func (n *testNode) options() Options {
	n.t.Helper()
	cfg, _, err := config.Load(config.Sources{Sets: n.sets})
	if err != nil {
		n.t.Fatal(err)
	}
	n.reg = prometheus.NewRegistry()
	dead := new(atomic.Bool)
	n.dead = dead
	return Options{
		Config: cfg, Log: slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		FS: n.fs, Clock: n.clock, Metrics: n.reg, DataDir: n.dir, BootID: n.boot, OpenFiles: n.files, MemberMemory: n.members,
		Failed: func(err error) {
			if !dead.Load() {
				n.t.Errorf("the broker failed: %v", err)
			}
		},
	}
}

// open opens a broker that must come up, but does not start it.
func (n *testNode) open() {
	n.t.Helper()
	b, err := Open(n.t.Context(), n.options())
	if err != nil {
		n.t.Fatal(err)
	}
	n.b = b
	n.t.Cleanup(func() {
		// Without grace: what a test leaves open is cut.
		if err := b.Close(0); err != nil {
			n.t.Logf("close: %v", err)
		}
	})
}

func (n *testNode) start() {
	n.t.Helper()
	n.open()
	if err := n.b.Start(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *testNode) stop() {
	n.t.Helper()
	if err := n.b.Close(time.Second); err != nil {
		n.t.Fatal(err)
	}
}

// disk is the simulated disk beneath.
func (n *testNode) disk() *env.Disk { return n.fs.(*env.Disk) }

// kill leaves the running broker to itself and starts another on what its process had
// written; power on what a power cut under a new boot id leaves.
func (n *testNode) kill() { n.restartOn(n.disk().KillClone()) }

func (n *testNode) power() {
	n.boot += "+"
	n.restartOn(n.disk().CrashClone(env.NewRand(5)))
}

func (n *testNode) restartOn(d *env.Disk) {
	n.t.Helper()
	old := n.disk()
	n.fs = d
	d.SetClock(n.clock)
	n.dead.Store(true)
	old.PowerOff() // the old one reaches nothing any more
	n.log = &logText{}
	n.start()
}

// client is one connection that speaks in kmsg.
type client struct {
	t    *testing.T
	nc   net.Conn
	corr int32
	sent []kmsg.Request // not answered yet
}

func (n *testNode) dial() *client {
	n.t.Helper()
	return n.dialTo(n.b.Addr())
}

func (n *testNode) dialTo(address string) *client {
	n.t.Helper()
	nc, err := new(net.Dialer).DialContext(n.t.Context(), "tcp", address)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil { // a hang fails the test
		n.t.Fatal(err)
	}
	return &client{t: n.t, nc: nc}
}

// send writes requests, all at once.
func (c *client) send(reqs ...kmsg.Request) {
	c.t.Helper()
	var out []byte
	for _, r := range reqs {
		out = c.frame(out, r)
	}
	if _, err := c.nc.Write(out); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) frame(dst []byte, r kmsg.Request) []byte {
	c.corr++
	c.sent = append(c.sent, r)
	return append(dst, kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, r, c.corr)...)
}

// receive reads the answer to the oldest request; it must be that one's.
func (c *client) receive() kmsg.Response {
	c.t.Helper()
	resp, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

func (c *client) next() (kmsg.Response, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.nc, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, err
	}
	req := c.sent[0]
	c.sent = c.sent[1:]
	if got, want := int32(binary.BigEndian.Uint32(body)), c.corr-int32(len(c.sent)); got != want {
		c.t.Fatalf("answer %d came, %d is due", got, want)
	}
	body = body[4:]
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		body = body[1:]
	}
	return resp, resp.ReadFrom(body)
}

// try is ask for goroutines that must not end the test.
func (c *client) try(r kmsg.Request) (kmsg.Response, error) {
	if _, err := c.nc.Write(c.frame(nil, r)); err != nil {
		return nil, err
	}
	return c.next()
}

// ask sends one request and reads its answer.
func (c *client) ask(r kmsg.Request) kmsg.Response {
	c.t.Helper()
	c.send(r)
	return c.receive()
}

// ended says whether the broker has closed the connection, after all that was owed.
func (c *client) ended() bool {
	c.t.Helper()
	_, err := c.nc.Read(make([]byte, 1))
	if err == nil {
		c.t.Fatal("the connection is open, and sends")
	}
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// createTopic makes a topic of one partition.
func (c *client) createTopic(name string, configs ...string) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	for _, kv := range configs {
		k, v, _ := strings.Cut(kv, "=")
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = k, &v
		topic.Configs = append(topic.Configs, cfg)
	}
	req.Topics = append(req.Topics, topic)
	resp := c.ask(req).(*kmsg.CreateTopicsResponse)
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		c.t.Fatal(err)
	}
}

// alter sets one config of a resource; without a value it is deleted.
func (c *client) alter(kind kmsg.ConfigResourceType, resource, setting string) {
	c.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = 1
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, resource
	cfg := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	name, value, set := strings.Cut(setting, "=")
	cfg.Name, cfg.Op = name, kmsg.IncrementalAlterConfigOpDelete
	if set {
		cfg.Value, cfg.Op = &value, kmsg.IncrementalAlterConfigOpSet
	}
	r.Configs = append(r.Configs, cfg)
	req.Resources = append(req.Resources, r)
	resp := c.ask(req).(*kmsg.IncrementalAlterConfigsResponse)
	if err := kerr.ErrorForCode(resp.Resources[0].ErrorCode); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) deleteTopic(name string) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 6
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	req.Topics = append(req.Topics, topic)
	resp := c.ask(req).(*kmsg.DeleteTopicsResponse)
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		c.t.Fatal(err)
	}
}

// produceRequest carries one record to partition 0 of a topic.
func produceRequest(topic string, acks int16, value []byte) *kmsg.ProduceRequest {
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{})
	b.Append(time.Now().UnixMilli(), []byte("k"), value)
	batch, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, acks, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// produce writes one record and returns its offset.
func (c *client) produce(topic string, value []byte) int64 {
	c.t.Helper()
	return c.produced(c.ask(produceRequest(topic, -1, value)))
}

func (c *client) produced(resp kmsg.Response) int64 {
	c.t.Helper()
	p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		c.t.Fatal(err)
	}
	return p.BaseOffset
}

// fetchRequest asks for partition 0 of a topic.
func fetchRequest(topic string, offset int64, minBytes int32, wait time.Duration) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 11
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis = minBytes, 64<<20, int32(wait.Milliseconds())
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 64<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetched are the values in an answer.
func (c *client) fetched(resp kmsg.Response) (values []string) {
	c.t.Helper()
	f := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(f.ErrorCode); err != nil {
		c.t.Fatal(err)
	}
	p := f.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		c.t.Fatal(err)
	}
	for b, err := range record.Split(p.RecordBatches) {
		if err != nil {
			c.t.Fatal(err)
		}
		for r, err := range b.Records(1 << 30) {
			if err != nil {
				c.t.Fatal(err)
			}
			values = append(values, string(r.Value))
		}
	}
	return values
}

func (c *client) fetch(topic string, offset int64) []string {
	c.t.Helper()
	return c.fetched(c.ask(fetchRequest(topic, offset, 0, 0)))
}

// eventually waits for a condition that other goroutines bring about. Each look lets
// the clock run a little, so that what the broker does now and then is done.
func (n *testNode) eventually(what string, holds func() bool) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		if ctx.Err() != nil {
			n.t.Fatalf("never: %s\n%s", what, n.log)
		}
		n.clock.Advance(10 * time.Millisecond)
		time.Sleep(100 * time.Microsecond)
	}
}

// waiting is the number of long polls on partition 0 of a topic.
func (n *testNode) waiting(topic string) int {
	n.t.Helper()
	return n.partition(topic).Waiting()
}

func (n *testNode) partition(topic string) *replica.Partition {
	n.t.Helper()
	p, err := n.b.node.Replicas().Find(replica.Ref{Topic: topic})
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// endpoint is a broker as Metadata tells it.
type endpoint struct {
	host string
	port int
}

func (e endpoint) portText() string { return strconv.Itoa(e.port) }

func (c *client) brokers() (all []endpoint) {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	for _, b := range c.ask(req).(*kmsg.MetadataResponse).Brokers {
		all = append(all, endpoint{b.Host, int(b.Port)})
	}
	return all
}
