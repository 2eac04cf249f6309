package journal

import (
	"errors"
	"fmt"
	"testing"
)

// One round of many small runs, trimmed as it fills.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j := start(b, Options{Dir: b.TempDir(), Salt: 1})
			defer j.Close()
			data := make([]byte, 4096)
			var entries []Entry
			for i := range n {
				entries = append(entries, Entry{Log: logNamed(fmt.Sprintf("some-topic-%d", i)), Data: data})
			}
			b.SetBytes(int64(n * len(data)))
			b.ReportAllocs()
			for b.Loop() {
				err := j.Append(entries)
				if errors.Is(err, ErrFull) {
					g, _ := j.Waiting()
					for _, s := range j.Unsettled(g) {
						j.Settle(s, g)
					}
					must(b, j.Trim())
					err = j.Append(entries)
				}
				must(b, err)
			}
		})
	}
}
