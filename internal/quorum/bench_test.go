package quorum

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
)

// BenchmarkStart is from an empty folder to leadership, on the real disk.
func BenchmarkStart(b *testing.B) {
	for range b.N {
		l := benchLog(b, nil)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend is a batch committed at a time, on the real disk.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(map[int]string{1: "one", 32: "thirty-two"}[writers], func(b *testing.B) {
			var mu sync.Mutex
			waiting := map[int64]chan struct{}{}
			l := benchLog(b, func(batch Batch) error {
				mu.Lock()
				defer mu.Unlock()
				close(waiting[batch.End()-1])
				delete(waiting, batch.End()-1)
				return nil
			})
			defer l.Close()
			epoch := int32(l.Node().Status().Term)
			work := make(chan struct{})
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for range work {
						done := make(chan struct{})
						mu.Lock()
						last, err := l.Append(epoch, time.UnixMilli(1), []machine.Record{{Key: []byte("k"), Value: make([]byte, 100)}})
						waiting[last] = done
						mu.Unlock()
						if err != nil {
							b.Error(err)
							return
						}
						<-done
					}
				})
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
		})
	}
}

func benchLog(b *testing.B, records func(Batch) error) *Log {
	b.Helper()
	led := make(chan struct{})
	l, err := OpenLog(Options{
		FS: env.OS, Dir: filepath.Join(b.TempDir(), "meta"), Clock: env.Real, Self: self, Voters: []Member{self},
	}, LogHooks{Records: records, Lead: func(int32, int64) { close(led) }})
	if err != nil {
		b.Fatal(err)
	}
	l.Start()
	<-led
	return l
}
