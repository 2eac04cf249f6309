package bench

import (
	"context"
	"testing"
	"time"
)

func TestPacerIsNeverEarly(t *testing.T) {
	p := newPacer()
	defer p.close()
	for _, wait := range []time.Duration{-time.Second, 0, 50 * time.Microsecond, 300 * time.Microsecond, 5 * time.Millisecond} {
		due := time.Now().Add(wait)
		if err := p.until(context.Background(), due); err != nil || time.Now().Before(due) {
			t.Errorf("%v: early by %v, %v", wait, time.Until(due), err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.until(ctx, time.Now().Add(time.Hour)); err == nil {
		t.Error("waits although the context has ended")
	}
}

func BenchmarkPacer(b *testing.B) {
	p := newPacer()
	defer p.close()
	var late time.Duration
	for b.Loop() {
		due := time.Now().Add(100 * time.Microsecond)
		if err := p.until(context.Background(), due); err != nil {
			b.Fatal(err)
		}
		late += time.Since(due)
	}
	b.ReportMetric(float64(late.Microseconds())/float64(b.N), "us-late")
}
