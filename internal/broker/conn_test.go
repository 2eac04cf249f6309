package broker

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
)

func TestAnswersLeaveInTheOrderOfRequests(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	var reqs []kmsg.Request
	for i := range 300 { // more than may be in flight of some clients, less than queued.max.requests
		switch i % 3 {
		case 0:
			reqs = append(reqs, produceRequest("t", -1, []byte("v")))
		case 1:
			reqs = append(reqs, fetchRequest("t", 0, 1, time.Hour))
		case 2:
			v := kmsg.NewPtrApiVersionsRequest()
			v.Version = int16(i % 5)
			reqs = append(reqs, v)
		}
	}
	c.send(reqs...)
	offset := int64(0)
	for i := range reqs {
		resp := c.receive() // checks that it is the one that is due
		if i%3 == 0 {
			if got := c.produced(resp); got != offset {
				t.Fatalf("record %d got offset %d", offset, got)
			}
			offset++
		}
	}
}

// TestALongPollDoesNotHoldWhatRunsBesideIt: the answer to the fetch comes first, but
// only because the produce request behind it on the same connection was carried out.
func TestALongPollDoesNotHoldWhatRunsBesideIt(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	c.send(fetchRequest("t", 0, 1, time.Hour), produceRequest("t", -1, []byte("v")))
	if got := c.fetched(c.receive()); len(got) != 1 || got[0] != "v" {
		t.Fatalf("fetched %q", got)
	}
	if got := c.produced(c.receive()); got != 0 {
		t.Fatalf("offset %d", got)
	}
}

func TestAcksZeroHasNoAnswer(t *testing.T) {
	n := start(t)
	c := n.dial()
	c.createTopic("t")
	c.nc.Write(kmsg.NewRequestFormatter().AppendRequest(nil, produceRequest("t", 0, []byte("v")), 77))
	if got := c.fetched(c.ask(fetchRequest("t", 0, 1, time.Hour))); len(got) != 1 {
		t.Fatalf("fetched %q", got)
	}
}

func TestFramesThatAreRefused(t *testing.T) {
	n := start(t, "socket.request.max.bytes=100000")
	for name, frame := range map[string][]byte{
		"too large":           {0, 1, 0x86, 0xa1}, // 100,001
		"negative":            {0xff, 0xff, 0xff, 0xff},
		"most negative":       {0x80, 0, 0, 0},
		"empty":               {0, 0, 0, 0},
		"shorter than header": {0, 0, 0, 4, 0, 18, 0, 0},
		"unknown key":         {0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0, 0},
		"unknown version":     {0, 0, 0, 10, 0, 3, 0x7f, 0xff, 0, 0, 0, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.dial()
			if _, err := c.nc.Write(frame); err != nil {
				t.Fatal(err)
			}
			if !c.ended() {
				t.Fatal("the connection stays open")
			}
		})
	}
	if !n.log.has("connection closed", "100001", "socket.request.max.bytes allows 100000") {
		t.Fatalf("the log does not say why:\n%s", n.log)
	}
	if got := n.dial().ask(kmsg.NewPtrApiVersionsRequest()).(*kmsg.ApiVersionsResponse); got.ErrorCode != 0 {
		t.Fatal("the broker does not serve others any more")
	}
}

// TestBeforeAuthentication: a listener that authenticates takes small frames only until
// the client has said who it is; one that does not is not concerned.
func TestBeforeAuthentication(t *testing.T) {
	n := prepare(t, "leat.unauthenticated.request.max.bytes=5000",
		"listeners=A://127.0.0.1:0,B://127.0.0.1:0", "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT")
	n.open()
	n.b.doors[0].authenticates = true // the seam of the SASL listeners
	if err := n.b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := n.dial()
	if got := c.ask(kmsg.NewPtrApiVersionsRequest()).(*kmsg.ApiVersionsResponse); got.ErrorCode != 0 {
		t.Fatal("a small request is refused")
	}
	c.nc.Write([]byte{0, 0, 0x13, 0x89}) // 5,001
	if !c.ended() {
		t.Fatal("a large frame was taken before authentication")
	}
	if !n.log.has("leat.unauthenticated.request.max.bytes allows 5000") {
		t.Fatalf("the log does not say why:\n%s", n.log)
	}
	c = n.dialTo(n.b.Listening()[1].Address)
	c.createTopic("t")
	c.produce("t", make([]byte, 20_000))
}

// scripted is a connection whose bytes come as a test says; it notes the deadlines.
type scripted struct {
	net.Conn
	chunks   [][]byte
	deadline time.Time
	waits    []time.Time // the deadline at each read
}

func (s *scripted) Read(p []byte) (int, error) {
	s.waits = append(s.waits, s.deadline)
	if len(s.chunks) == 0 {
		if s.deadline.IsZero() {
			return 0, io.EOF
		}
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, s.chunks[0])
	if s.chunks[0] = s.chunks[0][n:]; len(s.chunks[0]) == 0 {
		s.chunks = s.chunks[1:]
	}
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error)       { return len(p), nil }
func (s *scripted) Close() error                      { return nil }
func (s *scripted) SetReadDeadline(t time.Time) error { s.deadline = t; return nil }
func (s *scripted) SetWriteDeadline(time.Time) error  { return nil }
func (s *scripted) RemoteAddr() net.Addr              { return &net.TCPAddr{} }
func (s *scripted) LocalAddr() net.Addr               { return &net.TCPAddr{} }

func (n *testNode) serveScript(s *scripted) {
	c := newConn(n.b, s, api.Conn{Listener: "PLAINTEXT", Remote: s.RemoteAddr(), Local: s.LocalAddr()})
	c.authenticated.Store(true)
	c.serve(func() {})
}

func TestAFrameMustArriveInTime(t *testing.T) {
	n := start(t)
	const size = 1 << 20
	drip := &scripted{chunks: [][]byte{{0, size >> 16, 0, 0}}}
	for range 50 {
		drip.chunks = append(drip.chunks, []byte{0})
	}
	began := time.Now()
	n.serveScript(drip)
	if !n.log.has("connection closed", "only 50 bytes of a frame of 1048576 came in time") {
		t.Fatalf("the log does not say why:\n%s", n.log)
	}
	if drip.waits[0] != (time.Time{}) {
		t.Fatal("the silence between two requests has a deadline of its own")
	}
	last := time.Now().Add(progress + size/slowest*time.Second)
	for i, by := range drip.waits[1:] {
		if by.Before(began) || by.After(last) {
			t.Fatalf("read %d of the frame may take until %v, the frame began at %v", i, by, began)
		}
	}
}

func TestTheSilenceBetweenRequestsHasNoDeadline(t *testing.T) {
	n := start(t)
	req := kmsg.NewPtrApiVersionsRequest()
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	s := &scripted{chunks: [][]byte{frame[:7], frame[7:], frame}}
	n.serveScript(s)
	if !s.deadline.IsZero() {
		t.Fatalf("the deadline of a frame stays: %v", s.deadline)
	}
}

func TestRandomBytesHarmNobody(t *testing.T) {
	n := start(t)
	other := n.dial()
	other.createTopic("t")
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		frame := make([]byte, 4+8+rng.IntN(300))
		for i := range frame {
			frame[i] = byte(rng.Uint32())
		}
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		handlers := api.Handlers(api.ClientDoor)
		h := handlers[rng.IntN(len(handlers))]
		binary.BigEndian.PutUint16(frame[4:], uint16(h.Key))
		binary.BigEndian.PutUint16(frame[6:], uint16(h.Min+int16(rng.IntN(int(h.Max-h.Min)+1))))
		n.serveScript(&scripted{chunks: [][]byte{frame, frame}})
	}
	if got := other.produce("t", []byte("v")); got != 0 {
		t.Fatalf("offset %d", got)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	n := start(t, "connections.max.idle.ms=60000")
	silent, waiting := n.dial(), n.dial()
	waiting.createTopic("t")
	silent.ask(kmsg.NewPtrApiVersionsRequest())
	waiting.send(fetchRequest("t", 0, 1, 5*time.Minute))
	n.eventually("the fetch waits", func() bool { return n.waiting("t") == 1 })
	n.clock.Advance(50 * time.Second)
	busy := n.dial()
	busy.ask(kmsg.NewPtrApiVersionsRequest())
	n.clock.Advance(30 * time.Second)
	if !silent.ended() {
		t.Fatal("the idle connection is open")
	}
	if got := busy.produce("t", []byte("v")); got != 0 {
		t.Fatal("the busy connection does not serve")
	}
	if got := waiting.fetched(waiting.receive()); len(got) != 1 {
		t.Fatalf("the waiting connection fetched %q", got)
	}
}

func TestConnectionLimits(t *testing.T) {
	n := start(t, "max.connections=3", "max.connections.per.ip=5", "max.connections.per.ip.overrides=10.0.0.1:1,127.0.0.1:2")
	first, second := n.dial(), n.dial()
	first.ask(kmsg.NewPtrApiVersionsRequest())
	second.ask(kmsg.NewPtrApiVersionsRequest())
	if !n.dial().ended() {
		t.Fatal("a third connection of the address was admitted")
	}
	if !n.log.has("connection refused", "max.connections.per.ip") {
		t.Fatalf("the log does not say why:\n%s", n.log)
	}
	first.nc.Close()
	n.eventually("a place is free", func() bool {
		c := n.dial()
		c.send(kmsg.NewPtrApiVersionsRequest())
		_, err := c.next()
		return err == nil
	})
	second.ask(kmsg.NewPtrApiVersionsRequest())
}

func TestAllConnectionsCount(t *testing.T) {
	n := start(t, "max.connections=2", "listeners=A://127.0.0.1:0,B://127.0.0.1:0", "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT")
	n.dial().ask(kmsg.NewPtrApiVersionsRequest())
	n.dial().ask(kmsg.NewPtrApiVersionsRequest())
	if !n.dialTo(n.b.Listening()[1].Address).ended() {
		t.Fatal("a third connection was admitted, on another listener")
	}
}

func TestAddressLimits(t *testing.T) {
	got, err := addressLimits(" 10.0.0.1:5, [::1]:2,fe80::1:7,,")
	if err != nil || len(got) != 3 {
		t.Fatal(got, err)
	}
	for _, bad := range []string{"10.0.0.1", "host:3", "10.0.0.1:-1", "10.0.0.1:x", ":5"} {
		if _, err := addressLimits(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	n := prepare(t, "max.connections.per.ip.overrides=nonsense")
	if _, err := Open(t.Context(), n.options()); err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("the start says %v", err)
	}
}

// TestQueueIsBounded: a client that does not read its answers is not read either.
func TestQueueIsBounded(t *testing.T) {
	n := start(t, "queued.max.requests=2")
	c := n.dial()
	c.createTopic("t")
	c.send(fetchRequest("t", 0, 1, time.Hour), fetchRequest("t", 0, 1, time.Hour), produceRequest("t", -1, bytes.Repeat([]byte("x"), 100)))
	n.eventually("two fetches wait", func() bool { return n.waiting("t") == 2 })
	if end := n.partition("t").Log().EndOffset(); end != 0 {
		t.Fatalf("the third request was carried out: end %d", end)
	}
	n.dial().produce("t", []byte("v")) // answers the fetches, which makes room
	c.receive()
	c.receive()
	if got := c.produced(c.receive()); got != 1 {
		t.Fatalf("offset %d", got)
	}
}

// TestRefusalsDoNotFillTheLog: one line for many refusals of a kind, and their number later.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	n := start(t)
	for range 50 {
		c := n.dial()
		if _, err := c.nc.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
			t.Fatal(err)
		}
		if !c.ended() {
			t.Fatal("a frame of -1 bytes, and the connection goes on")
		}
	}
	n.eventually("every connection is over", func() bool { return gathered(n, "leat_connections_refused_total") == 50 })
	if lines := strings.Count(n.log.String(), "connection closed"); lines != 1 {
		t.Fatalf("%d lines:\n%s", lines, n.log)
	}
	n.clock.Advance(2 * idleScan)
	n.tells("level=WARN", "more of the same, not shown", "connection closed", "left_out=49")
}

// gathered is the value of a metric without labels.
func gathered(n *testNode, name string) float64 {
	n.t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetCounter().GetValue() + f.Metric[0].GetGauge().GetValue()
		}
	}
	n.t.Fatalf("no metric %s", name)
	return 0
}
