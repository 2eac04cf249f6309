package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/group"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/schema"
)

// coordinators is a server with real group coordinators on logs in memory, and a
// controller that creates the coordinators' topics, each with 3 partitions.
type coordinators struct {
	t       *testing.T
	s       *Server
	clock   *env.VirtualClock
	runtime *machine.Runtime
	image   atomic.Pointer[metadata.Image]

	mu       sync.Mutex
	builder  *metadata.Builder
	logs     map[int32]*memoryLog
	creating error // what creation of a topic fails with
	created  int
}

func newCoordinators(t *testing.T) *coordinators {
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	c := &coordinators{t: t, clock: env.NewClock(time.UnixMilli(1_700_000_000_000)), builder: metadata.NewBuilder(nil), logs: make(map[int32]*memoryLog)}
	c.runtime = machine.NewRuntime(machine.Options{Clock: c.clock, Seed: 1})
	t.Cleanup(c.runtime.Close)
	c.apply(
		&schema.ClusterCreated{ClusterID: "cluster"},
		&schema.RegisterBroker{BrokerID: 1, Epoch: 1},
	)
	c.topic("t", 2)
	c.s = &Server{
		NodeID: 1, Config: func() *config.Config { return cfg }, Clock: c.clock, Log: slog.New(slog.DiscardHandler),
		Image: c.image.Load, Groups: c.runtime, Budget: NewBudget(1<<30, env.Real), Controller: c.control,
		Endpoint: func(*Conn, *metadata.Broker) (string, int32, bool) { return "broker", 9092, true },
	}
	c.s.Init()
	return c
}

func (c *coordinators) apply(recs ...schema.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rec := range recs {
		if err := c.builder.Apply(c.builder.View().Index()+1, rec); err != nil {
			c.t.Fatal(err)
		}
	}
	img, _ := c.builder.Image()
	c.image.Store(img)
}

func (c *coordinators) topic(name string, partitions int32) {
	var id [16]byte
	copy(id[:], "id-"+name)
	recs := []schema.Record{&schema.Topic{TopicID: id, Name: name}}
	for p := range partitions {
		recs = append(recs, &schema.Partition{TopicID: id, Index: p, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}, Directories: make([][16]byte, 1)})
	}
	c.apply(recs...)
}

// control is the controller: it creates topics, as the broker does at once.
func (c *coordinators) control(req any, done func(any, error)) {
	create, ok := req.(*metadata.AutoCreateTopics)
	if !ok {
		done(nil, fmt.Errorf("unexpected request %T", req))
		return
	}
	if c.creating != nil {
		done(nil, c.creating)
		return
	}
	for _, name := range create.Names {
		c.created++
		c.topic(name, 3)
		if name == metadata.OffsetsTopic {
			for p := range int32(3) {
				c.lead(p, &memoryLog{})
			}
		}
	}
	done(kmsg.NewPtrCreateTopicsResponse(), nil)
}

// lead starts a coordinator on a log and waits until it serves.
func (c *coordinators) lead(p int32, log *memoryLog) {
	log.committed = func(end int64) { c.runtime.Committed(GroupShard(p), 1, end) }
	c.logs[p] = log
	c.runtime.Lead(GroupShard(p), 1, log, func() machine.Machine { return group.New(group.Options{}) })
	c.runtime.Committed(GroupShard(p), 1, 0)
	for loading := true; loading && log.hold == nil; {
		done := make(chan error, 1)
		c.runtime.View(GroupShard(p), func(machine.Machine) any { return nil }, func(_ any, err error) { done <- err })
		loading = errors.Is(<-done, machine.ErrLoading)
	}
}

// memoryLog is a log in memory that commits at once, unless told otherwise.
type memoryLog struct {
	mu        sync.Mutex
	recs      []machine.Record
	committed func(end int64)
	hold      chan struct{} // the load waits for its end
	stuck     atomic.Bool   // nothing is committed
	fails     error         // of appends
}

func (l *memoryLog) Append(_ int32, _ time.Time, recs []machine.Record) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil {
		return 0, l.fails
	}
	l.recs = append(l.recs, recs...)
	if !l.stuck.Load() {
		l.committed(int64(len(l.recs)))
	}
	return int64(len(l.recs)) - 1, nil
}

func (l *memoryLog) Load(_ int32, fn func(int64, int64, machine.Record) error) (int64, error) {
	if l.hold != nil {
		<-l.hold
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.recs {
		if err := fn(int64(i), 0, r); err != nil {
			return 0, err
		}
	}
	return int64(len(l.recs)), nil
}

// send puts a request through Serve as bytes and returns where its answer comes.
func (c *coordinators) send(version int16, req kmsg.Request) <-chan kmsg.Response {
	c.t.Helper()
	req.SetVersion(version)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, req, 7)[4:]
	answers := make(chan kmsg.Response, 1)
	conn := &Conn{ID: 1, Remote: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}, Principal: "User:ANONYMOUS"}
	verdict := c.s.Serve(conn, frame, new(Request), func(a Answer) {
		var b []byte
		for _, piece := range a().Pieces {
			b = append(b, piece.Bytes...)
		}
		resp := req.ResponseKind()
		resp.SetVersion(version)
		b = b[8:]
		if resp.IsFlexible() {
			b = b[1:]
		}
		if err := resp.ReadFrom(b); err != nil {
			c.t.Errorf("%T of version %d: %v", resp, version, err)
		}
		answers <- resp
	})
	if verdict.Err != nil {
		c.t.Fatalf("%T of version %d: %v", req, version, verdict.Err)
	}
	for i := range frame { // what is kept of a frame must be a copy
		frame[i] = 0xff
	}
	return answers
}

// do sends a request and waits for its answer.
func do[R kmsg.Response](c *coordinators, version int16, req kmsg.Request) R {
	c.t.Helper()
	return (<-c.send(version, req)).(R)
}

func (c *coordinators) find() {
	c.t.Helper()
	resp := do[*kmsg.FindCoordinatorResponse](c, 4, &kmsg.FindCoordinatorRequest{CoordinatorKeys: []string{"g"}})
	if resp.Coordinators[0].ErrorCode != 0 {
		c.t.Fatalf("no coordinator: %v", kerr.ErrorForCode(resp.Coordinators[0].ErrorCode))
	}
}

// versions calls fn for every version of an API that is spoken.
func versions(key kmsg.Key, fn func(version int16)) {
	all := Handlers(ClientDoor)
	i := slices.IndexFunc(all, func(h Handler) bool { return h.Key == key })
	for v := all[i].Min; v <= all[i].Max; v++ {
		fn(v)
	}
}

func joinRequest(id string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = id, 10000, 60000, "consumer"
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("metadata")}}
	return req
}

// member joins a group as its only member, in any version, and brings the assignment.
func (c *coordinators) member(id string, version int16) (memberID string, generation int32) {
	c.t.Helper()
	req := joinRequest(id)
	join := do[*kmsg.JoinGroupResponse](c, version, req)
	if version >= 4 {
		if join.ErrorCode != kerr.MemberIDRequired.Code {
			c.t.Fatalf("join version %d: error %d", version, join.ErrorCode)
		}
		req.MemberID = join.MemberID
		join = do[*kmsg.JoinGroupResponse](c, version, req)
	}
	if join.ErrorCode != 0 || join.LeaderID != join.MemberID || len(join.Members) != 1 || string(join.Members[0].ProtocolMetadata) != "metadata" {
		c.t.Fatalf("join version %d: %+v", version, join)
	}
	sync := do[*kmsg.SyncGroupResponse](c, 5, &kmsg.SyncGroupRequest{
		Group: id, MemberID: join.MemberID, Generation: join.Generation,
		ProtocolType: kmsg.StringPtr("consumer"), Protocol: kmsg.StringPtr("range"),
		GroupAssignment: []kmsg.SyncGroupRequestGroupAssignment{{MemberID: join.MemberID, MemberAssignment: []byte("assignment")}},
	})
	if sync.ErrorCode != 0 || string(sync.MemberAssignment) != "assignment" {
		c.t.Fatalf("sync: %+v", sync)
	}
	return join.MemberID, join.Generation
}
