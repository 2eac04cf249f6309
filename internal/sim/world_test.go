package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/schema"
)

func TestMomentTellsTheClocksApart(t *testing.T) {
	wall := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	a, b := moment(wall, time.Second), moment(wall.Add(-time.Hour), 3*time.Second)
	if a.UnixNano() != wall.UnixNano() || b.UnixNano() != wall.Add(-time.Hour).UnixNano() {
		t.Errorf("wall clocks %v and %v", a, b)
	}
	if d := b.Sub(a); d != 2*time.Second || !b.After(a) {
		t.Errorf("%v passed, want 2s", d)
	}
	if d := b.Round(0).Sub(a.Round(0)); d != -time.Hour {
		t.Errorf("the wall clocks differ by %v, want -1h", d)
	}
	if c := a.Add(2 * time.Second); !c.Equal(b) {
		t.Errorf("%v and %v are one moment", c, b)
	}
}

// toy answers ApiVersions and Metadata.
type toy struct{ s *api.Server }

func (p *toy) Start(done func(error)) { done(nil) }
func (p *toy) API() *api.Server       { return p.s }

func bootToy(h *Host) (Process, error) {
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		return nil, err
	}
	b := metadata.NewBuilder(nil)
	for i, rec := range []schema.Record{&schema.ClusterCreated{ClusterID: "toy"}, &schema.RegisterBroker{BrokerID: 1, Epoch: 1}} {
		if err := b.Apply(int64(i), rec); err != nil {
			return nil, err
		}
	}
	img, _ := b.Image()
	s := &api.Server{
		NodeID: h.Node, Config: func() *config.Config { return cfg }, Clock: h.Clock, Log: slog.New(slog.DiscardHandler),
		Image: func() *metadata.Image { return img }, Budget: api.NewBudget(1<<30, h.Clock),
		Endpoint: func(*api.Conn, *metadata.Broker) (string, int32, bool) { return h.Name, 9092, true },
	}
	s.Init()
	return &toy{s}, nil
}

func toyWorld(seed uint64, trace io.Writer) (w *World, server, client *Host) {
	w = NewWorld(seed, trace)
	server, client = w.AddHost("n1", 1), w.AddHost("c1", -1)
	server.Boot = bootToy
	server.Start()
	return w, server, client
}

func ask() kmsg.Request {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	return req
}

// One seed gives one trace, with faults in it too.
func TestWorldRepeats(t *testing.T) {
	run := func(seed uint64) (uint64, string) {
		var trace bytes.Buffer
		w, server, client := toyWorld(seed, &trace)
		w.SetPath(client, server, Path{Max: 20 * time.Millisecond, Resets: 0.05})
		var l *Link
		answers := 0
		var again func()
		again = func() {
			if l == nil || l.Closed() {
				l = w.Dial(client, server, ClientDoor, "toy")
			}
			l.Call(ask(), time.Second, func(_ kmsg.Response, err error) {
				if err == nil {
					answers++
				}
				client.Clock.AfterFunc(time.Millisecond, again)
			})
		}
		for range 3 {
			again()
		}
		w.Clock.AfterFunc(time.Second, server.Kill)
		w.Clock.AfterFunc(2*time.Second, server.Start)
		w.Clock.AfterFunc(3*time.Second, server.Pause)
		w.Clock.AfterFunc(3500*time.Millisecond, server.Resume)
		if err := w.Run(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		if answers < 300 || w.Count["connection reset"] == 0 {
			t.Errorf("%d answers, %d resets", answers, w.Count["connection reset"])
		}
		w.Flush()
		return w.Sum(), trace.String()
	}
	a, at := run(1)
	b, bt := run(1)
	if a != b || at != bt {
		t.Error("one seed gave two traces")
	}
	if c, _ := run(2); a == c {
		t.Error("two seeds gave one trace")
	}
}

func TestCallsEndOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(w *World, server, client *Host)
		want  error
	}{
		{"none", func(*World, *Host, *Host) {}, nil},
		{"down", func(_ *World, s, _ *Host) { s.Kill() }, errUnreachable},
		{"without power", func(_ *World, s, _ *Host) { s.Crash() }, errTimeout},
		{"paused", func(_ *World, s, _ *Host) { s.Pause() }, errTimeout},
		{"cut on the way there", func(w *World, s, c *Host) { w.SetPath(c, s, Path{Blocked: true}) }, errTimeout},
		{"cut on the way back", func(w *World, s, c *Host) { w.SetPath(s, c, Path{Blocked: true}) }, errTimeout},
		{"reset", func(w *World, s, c *Host) { w.SetPath(s, c, Path{Resets: 1}) }, errUnreachable},
		{"cut and healed", func(w *World, s, c *Host) {
			w.SetPath(c, s, Path{Blocked: true})
			w.Clock.AfterFunc(time.Second, w.Heal)
		}, nil},
		{"paused and resumed", func(w *World, s, _ *Host) { s.Pause(); w.Clock.AfterFunc(time.Second, s.Resume) }, nil},
		{"killed meanwhile", func(w *World, s, _ *Host) { w.Clock.AfterFunc(50*time.Microsecond, s.Kill) }, errUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, server, client := toyWorld(1, nil)
			c.fault(w, server, client)
			var got []error
			w.Dial(client, server, ClientDoor, "toy").Call(ask(), 5*time.Second, func(_ kmsg.Response, err error) { got = append(got, err) })
			if err := w.Run(10 * time.Second); err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || !errors.Is(got[0], c.want) || (c.want == nil) != (got[0] == nil) {
				t.Errorf("told %v, want %v", got, c.want)
			}
		})
	}
}

// Nothing of a dead process happens after its death, and a crash loses what no sync covers.
func TestDeath(t *testing.T) {
	w, server, _ := toyWorld(1, nil)
	ran := 0
	count := func() { ran++ }
	loop := server.Exec.Loop("loop", count)
	server.Clock.AfterFunc(time.Millisecond, count)
	loop.Wake()
	server.Exec.Go("once", count)
	if err := server.Disk.MkdirAll("d", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := server.Disk.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	old := server.Disk
	server.Crash()
	loop.Wake()
	server.Start()
	if err := w.Run(time.Second); err != nil {
		t.Fatal(err)
	}
	if ran != 0 {
		t.Errorf("%d things of the dead ran", ran)
	}
	if _, err := server.Disk.Stat("d"); err != nil {
		t.Errorf("what was synced: %v", err)
	}
	if err := old.MkdirAll("e", 0o755); err == nil {
		t.Error("the dead wrote")
	}
	if server.BootID == "n1-boot-0" {
		t.Error("the kernel is the same after a power cut")
	}
}

// A step of the wall clock moves no timer.
func TestClockFaults(t *testing.T) {
	w, server, _ := toyWorld(1, nil)
	server.Clock.rate = 2
	var fired time.Duration
	server.Clock.AfterFunc(4*time.Second, func() { fired = w.Now() })
	before := server.Clock.Now()
	w.Clock.AfterFunc(time.Second, func() { server.Clock.offset -= time.Hour })
	if err := w.Run(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if fired.Round(time.Millisecond) != 2*time.Second {
		t.Errorf("4s of a clock at double rate took %v", fired)
	}
	now := server.Clock.Now()
	if d := now.Sub(before).Round(time.Millisecond); d != 20*time.Second {
		t.Errorf("%v passed, want 20s", d)
	}
	if d := time.Duration(now.UnixNano() - before.UnixNano()).Round(time.Millisecond); d != 20*time.Second-time.Hour {
		t.Errorf("the wall clock moved by %v", d)
	}
}

// A slow disk puts off what syncs and nothing else.
func TestSlowDisk(t *testing.T) {
	w, server, _ := toyWorld(1, nil)
	server.syncDelay = time.Second
	var order []string
	server.Exec.Loop("sync", func() { order = append(order, fmt.Sprint("sync after a moment: ", w.Now() > 0)) }).Wake()
	server.Exec.Loop("other", func() { order = append(order, fmt.Sprint("other after a moment: ", w.Now() > 10*time.Millisecond)) }).Wake()
	if err := w.Run(2 * time.Second); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(order) != "[other after a moment: false sync after a moment: true]" {
		t.Errorf("%v", order)
	}
}
