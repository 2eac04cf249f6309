package server

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type healthy struct{}

func (healthy) Healthy() error { return nil }
func (healthy) Ready() error   { return nil }

// hasty is a door that waits for nobody, and a client that has sent a request to it.
func hasty(t *testing.T, reg *prometheus.Registry, p patience, request string) (*httpDoor, net.Conn) {
	t.Helper()
	d, err := bindHTTP(t.Context(), "127.0.0.1", "0", 4)
	if err != nil {
		t.Fatal(err)
	}
	d.patience = p
	d.serve(reg, healthy{}, true, func(err error) { t.Error(err) })
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", d.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil { // a hang fails the test
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return d, c
}

const shortly = 50 * time.Millisecond

// TestSlowBodies: a client that does not send the body that it has announced is sent away.
func TestSlowBodies(t *testing.T) {
	for _, announced := range []string{"Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n", "Content-Length: 100000000\r\n\r\n" + strings.Repeat("x", maxBody)} {
		for _, request := range []string{"GET /metrics", "GET /healthz", "POST /debug/pprof/symbol", "POST /nothing"} {
			_, c := hasty(t, prometheus.NewRegistry(), patience{time.Minute, shortly, time.Minute}, request+" HTTP/1.1\r\nHost: x\r\n"+announced)
			if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("%s, %q: %v", request, announced[:20], err)
			}
		}
	}
}

// TestBodiesThatCome: what is sent in time is read.
func TestBodiesThatCome(t *testing.T) {
	_, c := hasty(t, prometheus.NewRegistry(), patience{time.Minute, time.Minute, time.Minute}, "POST /debug/pprof/symbol HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n0x1")
	got, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(got), "num_symbols: 1") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSlowReaders: a client that does not take its answer is cut off, and the answer ends.
func TestSlowReaders(t *testing.T) {
	reg := prometheus.NewRegistry()
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "large"}, []string{"l"})
	reg.MustRegister(v)
	for i := range 2_000 {
		v.WithLabelValues(strings.Repeat("x", 10_000) + string(rune('0'+i))).Set(1)
	}
	began := make(chan struct{})
	begin := sync.OnceFunc(func() { close(began) })
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "began"}, func() float64 { begin(); return 1 }))
	d, _ := hasty(t, reg, patience{time.Minute, time.Minute, shortly}, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	for late := time.Now().Add(time.Minute); d.ln.(*bounded).open.Load() > 0; runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("it holds its connection")
		}
	}
}

// TestProfilesTakeTheirTime: a profile may last longer than an answer.
func TestProfilesTakeTheirTime(t *testing.T) {
	_, c := hasty(t, prometheus.NewRegistry(), patience{shortly, shortly, 10 * shortly}, "GET /debug/pprof/profile?seconds=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") || len(got) < 500 {
		t.Errorf("%d bytes, %v: %.100q", len(got), err, got)
	}
}
