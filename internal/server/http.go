package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpDoor serves /metrics, /healthz, /readyz and, when enabled, /debug/pprof; / lists
// them.
type httpDoor struct {
	host string // as configured
	ln   net.Listener
	srv  *http.Server // nil until it serves
	end  chan struct{}
	// patience is set before serve.
	patience patience
}

// patience is how long a client may take to send its headers and its body, and to take
// an answer; a profile's own time comes on top of that (net/http/pprof adds it).
type patience struct{ header, body, answer time.Duration }

var usual = patience{header: 5 * time.Second, body: 5 * time.Second, answer: 2 * time.Minute}

// maxBody is far more than any request here needs: pprof's symbol look-up has a body.
const maxBody = 1 << 20

// health tells whether the process is alive and whether it serves.
type health interface {
	// Healthy is nil while the node works; a failed log directory is an error.
	Healthy() error
	// Ready is nil once the node serves clients.
	Ready() error
}

// bindHTTP binds an address for at most so many connections; serving starts with serve.
func bindHTTP(ctx context.Context, host, port string, connections int) (*httpDoor, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	return &httpDoor{host: host, patience: usual, ln: &bounded{Listener: ln, most: int64(connections)}}, nil
}

// serve answers until close; a failure while serving goes to failed.
func (d *httpDoor) serve(reg *prometheus.Registry, h health, profiling bool, failed func(error)) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", index(profiling))
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", probe(h.Healthy))
	mux.HandleFunc("GET /readyz", probe(h.Ready))
	if profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	d.srv = &http.Server{
		Handler:           bodies(mux, d.patience.body),
		ReadHeaderTimeout: d.patience.header, WriteTimeout: d.patience.answer, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	d.end = make(chan struct{})
	go func() {
		defer close(d.end)
		if err := d.srv.Serve(d.ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("http: %w", err))
		}
	}()
}

// bodies reads a request's body before it is handled, in time or not at all. The
// server's own ReadTimeout is not for this: it would end a handler that works for longer.
func bodies(h http.Handler, within time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			h.ServeHTTP(w, r)
			return
		}
		rc := http.NewResponseController(w)
		err := rc.SetReadDeadline(time.Now().Add(within))
		var body []byte
		if err == nil {
			body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		}
		if err == nil {
			err = rc.SetReadDeadline(time.Time{})
		}
		if err != nil {
			w.Header().Set("Connection", "close")
			http.Error(w, "the request's body: "+err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r)
	})
}

// close ends the door and waits for its goroutine. Requests under way (a profile, a
// scrape) are cut: they hold nothing that must be finished.
func (d *httpDoor) close() error {
	if d.srv == nil { // bound only
		return d.ln.Close()
	}
	err := d.srv.Close()
	<-d.end
	return err
}

// index names what is behind the door, for whoever opens the address of the banner.
func index(profiling bool) http.HandlerFunc {
	paths := []string{"/metrics", "/healthz", "/readyz"}
	if profiling {
		paths = append(paths, "/debug/pprof/")
	}
	page := "<!doctype html><title>Leat</title><h1>Leat</h1><ul>\n"
	for _, p := range paths {
		page += fmt.Sprintf("<li><a href=%q>%s</a>\n", p, p)
	}
	page += "</ul>\n"
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// The other end may be gone; there is nobody to tell.
		_, _ = io.WriteString(w, page)
	}
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// bounded closes connections beyond a number at once: the HTTP door may not use up the
// files that clients and segments need.
type bounded struct {
	net.Listener
	most int64
	open atomic.Int64
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.open.Add(1) <= b.most {
			return &counted{Conn: c, left: sync.OnceFunc(func() { b.open.Add(-1) })}, nil
		}
		b.open.Add(-1)
		c.Close()
	}
}

// counted tells once that a connection is closed.
type counted struct {
	net.Conn
	left func()
}

func (c *counted) Close() error {
	c.left()
	return c.Conn.Close()
}
