package api

import (
	"bytes"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
	"github.com/leat-stream/leat/internal/schema"
)

// world is the server of broker 1 of a cluster of three, which has no partition itself:
// what it knows of others is its image. Its controller is a function of the test.
type world struct {
	t       *testing.T
	s       *Server
	img     *metadata.Image
	builder *metadata.Builder

	// control decides requests by the door of clients, here those of the controllers'.
	control, here func(req any, done func(any, error))

	mu    sync.Mutex
	asked []any // of either
	// denied are the operations that nobody may do.
	denied []kmsg.ACLOperation
}

func newWorld(t *testing.T) *world {
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	clock := env.NewClock(time.UnixMilli(1_700_000_000_000))
	w := &world{t: t, builder: metadata.NewBuilder(nil)}
	rack := "r2"
	w.apply(
		&schema.ClusterCreated{ClusterID: "cluster"},
		w.broker(1, nil, false), w.broker(2, &rack, false), w.broker(3, nil, true),
	)
	w.s = &Server{
		NodeID: 1, Config: func() *config.Config { return cfg }, Clock: clock, Log: slog.New(slog.DiscardHandler),
		Image:    func() *metadata.Image { return w.img },
		Replicas: replica.New(replica.Options{NodeID: 1, Clock: clock, Logger: slog.New(slog.DiscardHandler)}),
		Budget:   NewBudget(1<<30, env.Real),
		Endpoint: func(_ *Conn, b *metadata.Broker) (string, int32, bool) {
			l, ok := b.Listener("PLAINTEXT")
			return l.Host, int32(l.Port), ok
		},
		Controller:     func(req any, done func(any, error)) { w.note(req); w.control(req, done) },
		ControllerHere: func(req any, done func(any, error)) { w.note(req); w.here(req, done) },
		Authorize: func(_ *Conn, op kmsg.ACLOperation, _ kmsg.ACLResourceType, _ string) bool {
			return !slices.Contains(w.denied, op)
		},
	}
	w.s.Init()
	return w
}

func (w *world) note(req any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, req)
}

func (w *world) broker(id int32, rack *string, fenced bool) *schema.RegisterBroker {
	return &schema.RegisterBroker{BrokerID: id, Epoch: int64(id), Rack: rack, Fenced: fenced,
		Listeners: []schema.RegisterBrokerListener{{Name: "PLAINTEXT", Host: "host", Port: uint16(9000 + id)}}}
}

func (w *world) apply(recs ...schema.Record) {
	w.t.Helper()
	for _, rec := range recs {
		if err := w.builder.Apply(w.builder.View().Index()+1, rec); err != nil {
			w.t.Fatal(err)
		}
	}
	w.img, _ = w.builder.Image()
}

// topic adds a topic; each partition is its leader and its replicas, all in sync.
func (w *world) topic(name string, partitions ...[]int32) [16]byte {
	w.t.Helper()
	var id [16]byte
	copy(id[:], "id-"+name)
	recs := []schema.Record{&schema.Topic{TopicID: id, Name: name}}
	for i, p := range partitions {
		recs = append(recs, &schema.Partition{TopicID: id, Index: int32(i), Leader: p[0], LeaderEpoch: 5, PartitionEpoch: 6,
			Replicas: p[1:], ISR: p[1:], Directories: make([][16]byte, len(p)-1)})
	}
	w.apply(recs...)
	return id
}

// conn is a connection by a door.
func (w *world) conn(at Door) *Conn {
	return &Conn{Listener: "PLAINTEXT", Controller: at == ControllerDoor, Principal: "User:ANONYMOUS",
		Remote: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 1}, Local: &net.TCPAddr{}}
}

// serve runs a request and decodes its answer, which has to come at once; nil when
// the request is refused or the connection closed.
func (w *world) serve(at Door, version int16, req kmsg.Request) kmsg.Response {
	w.t.Helper()
	req.SetVersion(version)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 7)
	var out *Output
	v := w.s.Serve(w.conn(at), frame[4:], new(Request), func(a Answer) { o := a(); out = &o })
	if v.Err != nil {
		return nil
	}
	if out == nil {
		w.t.Fatalf("%s version %d: no answer", kmsg.NameForKey(req.Key()), version)
	}
	if out.Close {
		return nil
	}
	var all bytes.Buffer
	for _, p := range out.Pieces {
		all.Write(p.Bytes)
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	body := all.Bytes()[8:]
	if resp.IsFlexible() && req.Key() != kmsg.ApiVersions.Int16() {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		w.t.Fatalf("%s version %d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	return resp
}
