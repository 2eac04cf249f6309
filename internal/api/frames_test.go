package api_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/leattest"
)

// canary is a client whose records must stay what they are while others misbehave.
type canary struct {
	*peer
	to      topic
	written []string
}

func newCanary(t testing.TB, node *leattest.Node) *canary {
	t.Helper()
	p := dial(t, node)
	return &canary{peer: p, to: p.create("canary", 1)}
}

// sing appends one record, and now and then reads all of them.
func (c *canary) sing() {
	c.t.Helper()
	v := fmt.Sprint("note ", len(c.written))
	if at := c.produce(c.to, 0, values(v)); at != int64(len(c.written)) {
		c.t.Fatalf("%s is at %d", v, at)
	}
	c.written = append(c.written, v)
	if n := len(c.written); n&(n-1) == 0 {
		c.check()
	}
}

func (c *canary) check() {
	c.t.Helper()
	part := c.fetch(c.to, 0, 0)
	want(c.t, "fetch", part.ErrorCode, nil)
	if got := texts(c.t, &part, 0); !slices.Equal(got, c.written) {
		c.t.Fatalf("%d records of %d are left", len(got), len(c.written))
	}
}

// sized puts a size before a frame.
func sized(frame []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

// TestFrameAbuse: what is no request ends its own connection, and no other.
func TestFrameAbuse(t *testing.T) {
	node := leattest.Start(t, leattest.Set("socket.request.max.bytes", "1000000"))
	c := newCanary(t, node)
	rng := rand.New(rand.NewPCG(1, 1))
	garbage := make([]byte, 4096)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	for what, bytes := range map[string][]byte{
		"a negative size":              {0xff, 0xff, 0xff, 0xff, 1, 2, 3},
		"the lowest size":              {0x80, 0, 0, 0},
		"a size beyond the limit":      binary.BigEndian.AppendUint32(nil, 1_000_001),
		"the highest size":             {0x7f, 0xff, 0xff, 0xff},
		"an empty frame":               {0, 0, 0, 0},
		"half a header":                sized([]byte{0, 18, 0, 0, 0}),
		"no client id":                 sized([]byte{0, 18, 0, 0, 0, 0, 0, 1}),
		"a client id beyond the frame": sized([]byte{0, 18, 0, 0, 0, 0, 0, 1, 0, 9, 'a'}),
		"a key that nobody knows":      sized([]byte{0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff}),
		"a key that is not built":      sized([]byte{0, 24, 0, 5, 0, 0, 0, 1, 0xff, 0xff, 0}),
		"a version that is not spoken": sized([]byte{0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0}),
		"a body of nothing":            sized([]byte{0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0}),
		"garbage":                      sized(garbage),
		"text":                         []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		// The header is that of TLS: a client that expects encryption.
		"a TLS handshake": {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
	} {
		p := dial(t, node)
		if err := p.Send(bytes); err != nil {
			t.Fatal(err)
		}
		p.wantClosed(what)
		c.sing()
	}
	c.check()
}

// TestHugeArraysAreRefused: a count says nothing about what has to be allocated by it.
func TestHugeArraysAreRefused(t *testing.T) {
	node := leattest.Start(t)
	c := newCanary(t, node)
	for _, h := range api.Handlers(api.ClientDoor) {
		for v := h.Min; v <= h.Max; v++ {
			req := kmsg.RequestForKey(h.Key.Int16())
			req.SetVersion(v)
			var head []byte
			head = binary.BigEndian.AppendUint16(head, uint16(req.Key()))
			head = binary.BigEndian.AppendUint16(head, uint16(v))
			head = append(head, 0, 0, 0, 9, 0xff, 0xff)
			if req.IsFlexible() {
				head = append(head, 0)
			}
			// Every place in which a count may stand gets a huge one.
			body := req.AppendTo(nil)
			for at := range min(len(body), 40) {
				huge := []byte{0x7f, 0xff, 0xff, 0xf0}
				if req.IsFlexible() {
					huge = []byte{0xff, 0xff, 0xff, 0x7f}
				}
				bad := append(bytes.Clone(head), body[:at]...)
				bad = append(append(bad, huge...), make([]byte, 64)...)
				probe(t, node, sized(bad))
			}
		}
		c.sing()
	}
	c.check()
	if used := heap(); used > 400<<20 {
		t.Errorf("%d MiB are in use", used>>20)
	}
}

// probe sends a frame on a connection of its own, ends the sending side, and waits
// until the server has done with it: it answers or closes, or keeps a request that
// waits for others.
func probe(t testing.TB, node *leattest.Node, frame []byte) {
	t.Helper()
	c, err := net.Dial("tcp", node.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(frame); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) {
		return // it is closed already
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatalf("neither an answer nor an end for %x", frame)
			}
			return
		}
	}
}

// heap is the live heap, bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestClaimedSizesCostNothing: memory is taken by what arrives, not by what is
// announced.
func TestClaimedSizesCostNothing(t *testing.T) {
	node := leattest.Start(t)
	c := newCanary(t, node)
	before := heap()
	for range 100 {
		p := dial(t, node)
		if err := p.Send(append(binary.BigEndian.AppendUint32(nil, 100<<20), 0, 0, 0, 9)); err != nil {
			t.Fatal(err)
		}
	}
	c.sing()
	if after := heap(); after > before+250<<20 {
		t.Errorf("100 claims of 100 MiB take %d MiB", (after-before)>>20)
	}
}

// TestPipelinedAnswersComeInOrder: whatever each takes.
func TestPipelinedAnswersComeInOrder(t *testing.T) {
	node := leattest.Start(t)
	p := dial(t, node)
	to := p.create("pipe", 1)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	want(t, "FindCoordinator", ask[*kmsg.FindCoordinatorResponse](p, 4, find).Coordinators[0].ErrorCode, nil)
	short := fetchRequest(to, 0, 1<<40)
	var all []byte
	const rounds = 40
	var expect []int32
	next := func(v int16, req kmsg.Request) {
		req.SetVersion(v)
		f := p.Frame(req)
		all = append(all, f...)
		expect = append(expect, int32(binary.BigEndian.Uint32(f[8:])))
	}
	for range rounds {
		next(produceByID, produceRequest(to, 0, -1, values("x").bytes(t)))
		next(0, kmsg.NewPtrApiVersionsRequest())
		next(latestFetch, short)
		next(produceByID, produceRequest(to, 0, 1, values("x").bytes(t)))
		next(12, metadataRequest("pipe"))
		next(8, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g"}}})
		next(4, kmsg.NewPtrDescribeConfigsRequest())
	}
	go func() { _ = p.Send(all) }() // its end is seen by the answers
	for i, id := range expect {
		if got := p.correlation(); got != id {
			t.Fatalf("answer %d is to request %d, want %d", i, got, id)
		}
	}
}

// TestParkedPollDoesNotStopAProduce: behind a long poll on the same connection a produce
// is done at once; its answer comes after that of the poll.
func TestParkedPollDoesNotStopAProduce(t *testing.T) {
	node := leattest.Start(t)
	p, other := dial(t, node), dial(t, node)
	quiet, busy := other.create("quiet", 1), other.create("busy", 1)
	poll := waiting(fetchRequest(quiet, 0, 0))
	p.post(latestFetch, poll)
	write := produceRequest(busy, 0, -1, values("x").bytes(t))
	p.post(produceByID, write)
	// Another client sees the record, while nobody has written to what is polled.
	seen := fetched(ask[*kmsg.FetchResponse](other, latestFetch, waiting(fetchRequest(busy, 0, 0))))
	if got := texts(t, &seen, 0); !slices.Equal(got, []string{"x"}) {
		t.Fatalf("%q", got)
	}
	other.produce(quiet, 0, values("y"))
	polled := fetched(await[*kmsg.FetchResponse](p, poll))
	if got := texts(t, &polled, 0); !slices.Equal(got, []string{"y"}) {
		t.Errorf("the poll got %q", got)
	}
	want(t, "produce", produced(await[*kmsg.ProduceResponse](p, write)).ErrorCode, nil)
}

// TestParkedPollEndsWithItsConnection: nobody waits for a client that has gone.
func TestParkedPollEndsWithItsConnection(t *testing.T) {
	node := leattest.Start(t)
	stays := dial(t, node)
	quiet := stays.create("quiet", 1)
	for range 3 {
		p := dial(t, node)
		p.post(latestFetch, waiting(fetchRequest(quiet, 0, 0)))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for until := time.Now().Add(patience); gauge(t, node, "leat_connections") != "1"; {
		if time.Now().After(until) {
			t.Fatalf("%s connections are open, want 1", gauge(t, node, "leat_connections"))
		}
	}
}

// gauge reads one of the node's metrics.
func gauge(t *testing.T, node *leattest.Node, name string) string {
	t.Helper()
	resp, err := http.Get("http://" + node.HTTPAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return value
		}
	}
	t.Fatalf("no metric %s", name)
	return ""
}
