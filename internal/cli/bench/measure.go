package bench

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// Latencies are kept from a microsecond to ten minutes, to three digits.
const (
	lowest  = int64(time.Microsecond)
	highest = int64(10 * time.Minute)
	digits  = 3
)

// window is the time that is measured, and what happened in it.
type window struct {
	from, until time.Time
	most        int64 // records; 0 is no limit

	mu      sync.Mutex
	hist    *hdrhistogram.Histogram
	records int64
	bytes   int64
	last    time.Time // when the last record came
	errors  int64
	first   error
	full    chan struct{} // closed when most is reached
}

func newWindow(start time.Time, b bounds) *window {
	from := start.Add(b.warmup)
	return &window{from: from, until: from.Add(b.duration), most: b.records,
		hist: hdrhistogram.New(lowest, highest, digits), full: make(chan struct{})}
}

// count takes one record that was done at now and should have begun at due.
func (w *window) count(due, now time.Time, size int) {
	if now.Before(w.from) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !now.Before(w.until) || w.most > 0 && w.records >= w.most {
		return
	}
	w.records++
	w.bytes += int64(size)
	w.last = now
	// What is longer than the highest value is counted as that.
	_ = w.hist.RecordValue(min(max(int64(now.Sub(due)), lowest), highest))
	if w.records == w.most {
		close(w.full)
	}
}

// addBulk counts many records without a latency.
func (w *window) addBulk(now time.Time, records, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Before(w.from) || !now.Before(w.until) || w.most > 0 && w.records >= w.most {
		return
	}
	w.records += records
	w.bytes += bytes
	w.last = now
	if w.most > 0 && w.records >= w.most {
		close(w.full)
	}
}

func (w *window) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.errors++; w.first == nil {
		w.first = err
	}
}

func (w *window) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

// latency is a distribution in milliseconds.
type latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	P100 float64 `json:"max"`
}

// summary is what was measured.
type summary struct {
	Records    int64    `json:"records"`
	Seconds    float64  `json:"seconds"`
	PerSecond  float64  `json:"records_per_second"`
	MBPerS     float64  `json:"mb_per_second"` // 10^6 bytes of keys and values
	Errors     int64    `json:"errors"`
	FirstError string   `json:"first_error,omitempty"`
	Latency    *latency `json:"latency_ms,omitempty"`
}

func (w *window) summary() summary {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := summary{Records: w.records, Errors: w.errors}
	if w.first != nil {
		s.FirstError = w.first.Error()
	}
	end := w.until
	if w.last.Before(end) && (w.most > 0 && w.records >= w.most || time.Now().Before(end)) {
		end = w.last
	}
	if s.Seconds = end.Sub(w.from).Seconds(); s.Seconds > 0 {
		s.PerSecond = float64(w.records) / s.Seconds
		s.MBPerS = float64(w.bytes) / s.Seconds / 1e6
	} else {
		s.Seconds = 0
	}
	if w.hist.TotalCount() > 0 {
		ms := func(n int64) float64 { return float64(n) / float64(time.Millisecond) }
		q := func(p float64) float64 { return ms(w.hist.ValueAtPercentile(p)) }
		s.Latency = &latency{Mean: w.hist.Mean() / float64(time.Millisecond), P50: q(50), P90: q(90), P95: q(95),
			P99: q(99), P999: q(99.9), P100: ms(w.hist.Max())}
	}
	return s
}

// result is the answer of one benchmark.
type result struct {
	Benchmark string         `json:"benchmark"`
	Topic     string         `json:"topic"`
	Settings  map[string]any `json:"settings"`
	// Open tells that records had intended times (a fixed rate).
	Open    bool     `json:"fixed_rate"`
	Summary summary  `json:"result"`
	Ack     *latency `json:"ack_latency_ms,omitempty"`
}

func (r result) emit(e *conn.Env, what string) error {
	s := r.Summary
	t := out.Table{Rows: [][]string{
		{"records", fmt.Sprint(s.Records)}, {"seconds", fmt.Sprintf("%.2f", s.Seconds)},
		{"records/s", fmt.Sprintf("%.0f", s.PerSecond)}, {"MB/s", fmt.Sprintf("%.2f", s.MBPerS)}}}
	if s.Errors > 0 {
		t.Rows = append(t.Rows, []string{"errors", fmt.Sprintf("%d (%s)", s.Errors, s.FirstError)})
	}
	tables := []out.Table{t}
	if s.Latency != nil {
		h := out.Table{Header: []string{what + " (ms)", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"}, Right: []int{1, 2, 3, 4, 5, 6, 7}}
		h.Rows = append(h.Rows, s.Latency.row("latency"))
		if r.Ack != nil {
			h.Rows = append(h.Rows, r.Ack.row("acknowledged"))
		}
		tables = append(tables, h)
	}
	if err := e.Emit(r, tables...); err != nil {
		return err
	}
	if s.Latency != nil && !r.Open && !e.JSON() {
		e.Note("no --rate: these are latencies of a saturated system")
	}
	if s.Errors > 0 {
		return fmt.Errorf("%d records failed: %w", s.Errors, errText(s.FirstError))
	}
	return nil
}

type errText string

func (e errText) Error() string { return string(e) }

func (l latency) row(name string) []string {
	row := []string{name}
	for _, v := range []float64{l.Mean, l.P50, l.P90, l.P95, l.P99, l.P999, l.P100} {
		row = append(row, strings.TrimSuffix(fmt.Sprintf("%.3f", v), ".000"))
	}
	return row
}
