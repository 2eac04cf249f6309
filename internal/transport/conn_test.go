package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/nodewire"
	"github.com/leat-stream/leat/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// frame is a request as a server got it.
type frame struct {
	wire.Header
	body []byte
}

func readFrame(r io.Reader) (f frame, err error) {
	var head [4]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err = io.ReadFull(r, b); err != nil {
		return f, err
	}
	f.Header, f.body, err = wire.ParseHeader(b)
	return f, err
}

func (f frame) answer(resp kmsg.Response) []byte {
	resp.SetVersion(f.Version)
	b := wire.AppendResponseHeader(nil, f.Key, f.Version, f.CorrelationID)
	b = resp.AppendTo(b)
	wire.PatchSize(b, 0)
	return b
}

// place is a connection and the server's end of it.
type place struct {
	t      *testing.T
	net    *env.Net
	exec   env.Goroutines
	server net.Conn
	conn   *Conn
	ended  chan error
}

// between connects host a to host b of a simulated network, inside a synctest bubble.
func between(t *testing.T, change func(*Options)) *place {
	p := &place{t: t, net: env.NewNet(1, env.Real), ended: make(chan error, 10)}
	l, err := p.net.Host("b").Listen(t.Context(), ":9093")
	must(t, err)
	o := Options{Network: p.net.Host("a"), Clock: env.Real, Exec: &p.exec, Ended: func(_ *Conn, err error) { p.ended <- err }}
	if change != nil {
		change(&o)
	}
	p.conn, err = Dial(t.Context(), o, "b:9093")
	must(t, err)
	p.server, err = l.Accept()
	must(t, err)
	must(t, l.Close())
	return p
}

func (p *place) close() {
	p.conn.Close()
	p.server.Close()
	p.exec.Wait()
}

// result is how a call went, with the virtual time that it took.
type result struct {
	resp kmsg.Response
	err  error
	took time.Duration
}

// call makes a call whose results arrive on the channel, more than one if it is wrong.
func (p *place) call(req kmsg.Request, timeout time.Duration) chan result {
	p.t.Helper()
	f, err := Encode("leat-1", req)
	must(p.t, err)
	answers, began := make(chan result, 10), time.Now()
	must(p.t, p.conn.Call(f, timeout, func(r kmsg.Response, err error) { answers <- result{r, err, time.Since(began)} }))
	return answers
}

func (p *place) request() frame {
	p.t.Helper()
	f, err := readFrame(p.server)
	must(p.t, err)
	return f
}

func (p *place) reply(b []byte) {
	p.t.Helper()
	_, err := p.server.Write(b)
	must(p.t, err)
}

func wants(t *testing.T, got chan result, after time.Duration, target error) {
	t.Helper()
	r := <-got
	if !errors.Is(r.err, target) || r.took != after || (r.err == nil) != (r.resp != nil) {
		t.Errorf("answered %+v, %v after %v; want %v after %v", r.resp, r.err, r.took, target, after)
	}
	synctest.Wait()
	if len(got) > 0 {
		t.Errorf("answered twice: %+v", <-got)
	}
}

// Headers are right for each kind of key, on both sides.
func TestEveryKindOfHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		versions := kmsg.NewPtrApiVersionsRequest()
		versions.Version = 3 // flexible, its response's header is not
		old := kmsg.NewPtrListOffsetsRequest()
		old.Version = 1 // not flexible
		fetch := kmsg.NewPtrFetchRequest()
		fetch.Version = 17 // flexible
		for _, c := range []struct {
			req  kmsg.Request
			resp kmsg.Response
		}{
			{versions, &kmsg.ApiVersionsResponse{ErrorCode: 1}}, {old, &kmsg.ListOffsetsResponse{}}, {fetch, &kmsg.FetchResponse{SessionID: 5}},
			{&nodewire.HelloRequest{ClusterID: "c"}, &nodewire.HelloResponse{ClusterID: "c", FreeNodeID: 7}},
		} {
			got := p.call(c.req, time.Second)
			f := p.request()
			again := c.req.ResponseKind().RequestKind()
			again.SetVersion(f.Version)
			if err := again.ReadFrom(f.body); err != nil || f.Key != c.req.Key() || string(f.ClientID) != "leat-1" || !bytes.Equal(again.AppendTo(nil), c.req.AppendTo(nil)) {
				t.Errorf("key %d came as %+v, %v", c.req.Key(), f, err)
			}
			p.reply(f.answer(c.resp))
			r := <-got
			if r.err != nil || r.resp.GetVersion() != c.req.GetVersion() || !bytes.Equal(r.resp.AppendTo(nil), c.resp.AppendTo(nil)) {
				t.Errorf("key %d was answered %+v, %v", c.req.Key(), r.resp, r.err)
			}
		}
	})
}

// Many calls are under way at a time, and each gets its own response, in any order.
func TestPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		var got []chan result
		var frames []frame
		for i := range 10 {
			got = append(got, p.call(&nodewire.PullRequest{NodeID: int32(i)}, time.Second))
		}
		for range 10 {
			frames = append(frames, p.request())
		}
		for i := range frames {
			f := frames[len(frames)-1-i]
			var req nodewire.PullRequest
			must(t, req.ReadFrom(f.body))
			p.reply(f.answer(&nodewire.PullResponse{Commit: uint64(req.NodeID)}))
		}
		for i, answers := range got {
			if r := <-answers; r.err != nil || r.resp.(*nodewire.PullResponse).Commit != uint64(i) {
				t.Errorf("call %d: %+v, %v", i, r.resp, r.err)
			}
		}
		if s := p.conn.Stats(); s.Pending != 0 || s.Waiting != 0 || s.In == 0 || s.Out == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A call whose time is over fails alone while others are answered; what comes for it
// later is dropped.
func TestTimeoutOfOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		long, short := p.call(&nodewire.PullRequest{}, time.Minute), p.call(&nodewire.HelloRequest{}, time.Second)
		first, second := p.request(), p.request()
		wants(t, short, time.Second, ErrTimeout) // waits behind the long poll: the connection stays
		p.reply(first.answer(&nodewire.PullResponse{}))
		wants(t, long, time.Second, nil)
		p.reply(second.answer(&nodewire.HelloResponse{}))
		again := p.call(&nodewire.HelloRequest{}, time.Second)
		p.reply(p.request().answer(&nodewire.HelloResponse{}))
		wants(t, again, 0, nil)
		if s := p.conn.Stats(); s.Pending != 0 || s.TimedOut != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A connection on which nothing comes back ends at its oldest call's deadline, and
// those who wait on it are told at once.
func TestHalfOpenIsFoundOut(t *testing.T) {
	for name, path := range map[string][2]string{"requests are lost": {"a", "b"}, "responses are lost": {"b", "a"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := between(t, nil)
				defer p.close()
				p.net.SetPath(path[0], path[1], env.Path{Blocked: true})
				first, second := p.call(&nodewire.HelloRequest{}, time.Second), p.call(&nodewire.HelloRequest{}, time.Minute)
				go func() {
					if f, err := readFrame(p.server); err == nil {
						p.server.Write(f.answer(&nodewire.HelloResponse{}))
					}
				}()
				wants(t, first, time.Second, ErrTimeout)
				wants(t, second, time.Second, ErrEnded)
				if err := <-p.ended; !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "nothing came back") {
					t.Error(err)
				}
			})
		})
	}
}

// A call with next to no time ends no connection that is just slow, but several such
// in a row find out that it is silent.
func TestShortCallsAreNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		wants(t, p.call(&nodewire.HelloRequest{}, 0), 0, ErrTimeout)
		for range 4 {
			wants(t, p.call(&nodewire.HelloRequest{}, 100*time.Millisecond), 100*time.Millisecond, ErrTimeout)
		}
		if len(p.ended) > 0 {
			t.Errorf("ended after 400 ms: %v", <-p.ended)
		}
		wants(t, p.call(&nodewire.HelloRequest{}, 100*time.Millisecond), 100*time.Millisecond, ErrTimeout)
		if len(p.ended) == 0 {
			t.Error("500 ms of silence were not noticed")
		}
	})
}

// A slow answer is no silence: as long as bytes come, the connection lives.
func TestSlowResponseIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		got := p.call(&nodewire.SnapshotRequest{}, 10*time.Second)
		b := p.request().answer(&nodewire.SnapshotResponse{Data: make([]byte, 1000)})
		p.reply(b[:500])
		wants(t, got, 10*time.Second, ErrTimeout)
		p.reply(b[500:])
		again := p.call(&nodewire.HelloRequest{}, time.Second)
		p.reply(p.request().answer(&nodewire.HelloResponse{}))
		wants(t, again, 0, nil)
		if len(got) > 0 {
			t.Errorf("answered twice: %+v", <-got)
		}
	})
}

func TestBrokenConnectionIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		got := p.call(&nodewire.HelloRequest{}, time.Minute)
		p.request()
		p.net.Cut("a", "b")
		wants(t, got, 0, ErrEnded)
		if err := <-p.ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		f, err := Encode("", &nodewire.HelloRequest{})
		must(t, err)
		if err := p.conn.Call(f, time.Second, nil); !errors.Is(err, ErrEnded) {
			t.Errorf("a call on it: %v", err)
		}
		if err := p.conn.Send(f); !errors.Is(err, ErrEnded) {
			t.Errorf("a send on it: %v", err)
		}
	})
}

func TestCloseTellsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		got := p.call(&nodewire.HelloRequest{}, time.Minute)
		p.conn.Close()
		wants(t, got, 0, ErrClosed)
		p.conn.Close()
		p.close()
		if err := <-p.ended; !errors.Is(err, ErrClosed) || len(p.ended) > 0 {
			t.Error(err)
		}
	})
}

func TestMalformedResponses(t *testing.T) {
	big := func(size int32, id int32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(size)), uint32(id))
	}
	for name, c := range map[string]struct {
		bytes func(f frame) []byte
		ends  bool
	}{
		"too large":         {func(f frame) []byte { return big(1001, f.CorrelationID) }, true},
		"negative":          {func(f frame) []byte { return big(-1, f.CorrelationID) }, true},
		"no id":             {func(f frame) []byte { return big(3, f.CorrelationID) }, true},
		"unknown id":        {func(f frame) []byte { return big(4, f.CorrelationID+1) }, true},
		"end in the middle": {func(f frame) []byte { return nil }, true},
		"not decodable":     {func(f frame) []byte { return append(big(6, f.CorrelationID), 1, 2) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := between(t, func(o *Options) { o.MaxResponse = 1000 })
				defer p.close()
				got := p.call(&nodewire.HelloRequest{}, time.Minute)
				if b := c.bytes(p.request()); b != nil {
					p.reply(b)
				} else {
					p.reply(big(100, 1))
					p.server.Close()
				}
				r := <-got
				if want := map[bool]error{true: ErrEnded, false: ErrProtocol}[c.ends]; !errors.Is(r.err, want) {
					t.Errorf("%v, want %v", r.err, want)
				}
				synctest.Wait()
				if (len(p.ended) > 0) != c.ends {
					t.Errorf("%d ends", len(p.ended))
				}
			})
		})
	}
}

// A frame's response header may have tagged fields; what is no such header is refused.
func TestTagsOfResponseHeader(t *testing.T) {
	body := (&kmsg.FetchResponse{Version: 17, SessionID: 9}).AppendTo(nil)
	for _, c := range []struct {
		tags []byte
		ok   bool
	}{
		{[]byte{0}, true}, {[]byte{1, 5, 2, 0xaa, 0xbb}, true}, {[]byte{2, 5, 0, 6, 1, 1}, true},
		{[]byte{}, false}, {[]byte{0x80}, false}, {[]byte{101}, false}, {[]byte{1, 5, 0xff, 0xff, 3}, false}, {[]byte{1, 0x80}, false},
	} {
		req := kmsg.NewPtrFetchRequest()
		req.Version = 17
		f, err := Encode("", req)
		must(t, err)
		b := bytes.Clone(c.tags)
		if c.ok {
			b = append(b, body...)
		}
		resp, err := f.Decode(b)
		if (err == nil) != c.ok || (c.ok && resp.(*kmsg.FetchResponse).SessionID != 9) {
			t.Errorf("%x: %+v, %v", c.tags, resp, err)
		}
	}
}

// A receiver that takes nothing presses old one-way messages out, and in the end the
// connection; nothing is written in part.
func TestSendIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, func(o *Options) { o.MaxSends, o.SendBytes = 3, 300_000 })
		defer p.close()
		send := func(to uint64, size int) {
			f, err := Encode("", &nodewire.RaftRequest{To: to, Messages: [][]byte{make([]byte, size)}})
			must(t, err)
			must(t, p.conn.Send(f))
			synctest.Wait()
		}
		got := func() (to []uint64) {
			for {
				must(t, p.server.SetReadDeadline(time.Now().Add(time.Millisecond)))
				f, err := readFrame(p.server)
				if err != nil {
					return to
				}
				var req nodewire.RaftRequest
				must(t, req.ReadFrom(f.body))
				to = append(to, req.To)
			}
		}
		send(1, 500_000) // fills the network's window; the writer hangs in it
		for to := uint64(2); to <= 6; to++ {
			send(to, 10)
		}
		if s := fmt.Sprint(got()); s != "[1 4 5 6]" {
			t.Errorf("by count: %s", s)
		}
		send(1, 500_000)
		send(2, 200_000)
		send(3, 200_000)
		send(4, 50_000)
		send(5, 1_000_000) // too large for the limit itself: kept, alone
		if s := fmt.Sprint(got()); s != "[1 5]" {
			t.Errorf("by bytes: %s", s)
		}
		if n := p.conn.Stats().Dropped; n != 5 {
			t.Errorf("%d dropped", n)
		}
		send(1, 500_000)
		began := time.Now()
		if err := <-p.ended; !errors.Is(err, ErrEnded) || time.Since(began) != DefaultStall {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestTooManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, func(o *Options) { o.MaxPending = 2 })
		defer p.close()
		p.call(&nodewire.HelloRequest{}, time.Minute)
		p.call(&nodewire.HelloRequest{}, time.Minute)
		f, err := Encode("", &nodewire.HelloRequest{})
		must(t, err)
		if err := p.conn.Call(f, time.Minute, nil); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
	})
}

// A call that could not even be written in time leaves the queue.
func TestTimeoutBeforeTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		first := p.call(&nodewire.HelloRequest{}, time.Minute)
		f, err := Encode("", &nodewire.RaftRequest{Messages: [][]byte{make([]byte, 500_000)}})
		must(t, err)
		must(t, p.conn.Send(f))
		synctest.Wait()
		late := p.call(&nodewire.HelloRequest{ClusterID: "late"}, time.Second)
		wants(t, late, time.Second, ErrTimeout)
		if s := p.conn.Stats(); s.Waiting != 0 || s.Pending != 1 {
			t.Errorf("%+v", s)
		}
		p.reply(p.request().answer(&nodewire.HelloResponse{}))
		wants(t, first, time.Second, nil)
	})
}

// An answer to what was not even asked is no answer.
func TestAnswerBeforeTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := between(t, nil)
		defer p.close()
		f, err := Encode("", &nodewire.RaftRequest{Messages: [][]byte{make([]byte, 500_000)}})
		must(t, err)
		must(t, p.conn.Send(f))
		synctest.Wait()
		got := p.call(&nodewire.HelloRequest{}, time.Minute)
		p.reply(frame{Header: wire.Header{Key: nodewire.KeyHello, CorrelationID: 2}}.answer(&nodewire.HelloResponse{}))
		if r := <-got; !errors.Is(r.err, ErrProtocol) || !errors.Is(r.err, ErrEnded) {
			t.Errorf("%+v", r)
		}
	})
}

func TestDialGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := env.NewNet(1, env.Real)
		n.Block("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var exec env.Goroutines
		_, err := Dial(ctx, Options{Network: n.Host("a"), Clock: env.Real, Exec: &exec}, "b:1")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// echo answers requests for snapshots on loopback TCP, with as many bytes as they ask for.
func echo(t testing.TB) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				fetched := fetchedFrame()
				for {
					f, err := readFrame(nc)
					if err != nil {
						return
					}
					if f.Key == nodewire.KeyRaft {
						continue
					}
					if f.Key == kmsg.Fetch.Int16() {
						binary.BigEndian.PutUint32(fetched[4:], uint32(f.CorrelationID))
						if _, err := nc.Write(fetched); err != nil {
							return
						}
						continue
					}
					var req nodewire.SnapshotRequest
					if req.ReadFrom(f.body) != nil {
						return
					}
					resp := nodewire.SnapshotResponse{Data: make([]byte, req.MaxBytes)}
					if _, err := nc.Write(f.answer(&resp)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// fetchedBytes is what echo's answer to a Fetch has of records.
const fetchedBytes = 1 << 20

func fetchedFrame() []byte {
	resp := kmsg.NewPtrFetchResponse()
	resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{{RecordBatches: make([]byte, fetchedBytes)}}}}
	return frame{Header: wire.Header{Key: kmsg.Fetch.Int16(), Version: 17}}.answer(resp)
}

func dialTCP(t testing.TB) *Conn {
	exec := new(env.Goroutines)
	c, err := Dial(t.Context(), Options{Network: env.TCP, Clock: env.Real, Exec: exec}, echo(t))
	must(t, err)
	t.Cleanup(func() { c.Close(); exec.Wait() })
	return c
}

func TestOverTCP(t *testing.T) {
	c := dialTCP(t)
	large := make([]byte, 40<<20)
	f, err := Encode("", &nodewire.RaftRequest{Messages: [][]byte{large, {1}, large}})
	must(t, err)
	must(t, c.Send(f))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				f, err := Encode("", &nodewire.SnapshotRequest{Index: uint64(i)})
				must(t, err)
				got := make(chan result, 1)
				must(t, c.Call(f, time.Minute, func(r kmsg.Response, err error) { got <- result{resp: r, err: err} }))
				if r := <-got; r.err != nil {
					t.Errorf("call %d: %v", i, r.err)
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Out < 80<<20 || s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

// A snapshot in a Raft message is not copied on its way to the socket.
func TestLargeBodyIsNotCopied(t *testing.T) {
	large := make([]byte, 64<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := Encode("", &nodewire.RaftRequest{Messages: [][]byte{large}})
	must(t, err)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || f.size < len(large) {
		t.Errorf("%d bytes allocated for a frame of %d", n, f.size)
	}
}

// The records of a fetch lie in memory that was used before.
func TestFetchedRecordsAreLent(t *testing.T) {
	const calls = 50
	c := dialTCP(t)
	fetch := func() {
		req := kmsg.NewPtrFetchRequest()
		req.Version = 17
		f, err := Encode("", req)
		must(t, err)
		done := make(chan struct{})
		must(t, c.Call(f, time.Minute, func(r kmsg.Response, err error) {
			if err != nil || len(r.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches) != fetchedBytes {
				t.Errorf("%v", err)
			}
			close(done)
		}))
		<-done
	}
	fetch() // the server's answer is made
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		fetch()
	}
	runtime.ReadMemStats(&after)
	// Under the race detector a pool forgets at random.
	if n := after.TotalAlloc - before.TotalAlloc; n > calls*fetchedBytes*9/10 {
		t.Errorf("%d bytes allocated for %d answers of %d", n, calls, fetchedBytes)
	}
}

// BenchmarkCall is the rate of small calls with 32 under way.
func BenchmarkCall(b *testing.B) { benchmark(b, 0) }

// BenchmarkLargeResponse is the same with a response of 1 MiB; the server copies it twice.
func BenchmarkLargeResponse(b *testing.B) { benchmark(b, 1<<20) }

func benchmark(b *testing.B, size int32) {
	c := dialTCP(b)
	b.SetBytes(int64(size))
	places := make(chan struct{}, 32)
	b.ReportAllocs()
	for b.Loop() {
		places <- struct{}{}
		f, err := Encode("", &nodewire.SnapshotRequest{MaxBytes: size})
		must(b, err)
		must(b, c.Call(f, time.Minute, func(_ kmsg.Response, err error) {
			if err != nil {
				b.Error(err)
			}
			<-places
		}))
	}
	for range cap(places) {
		places <- struct{}{}
	}
}
