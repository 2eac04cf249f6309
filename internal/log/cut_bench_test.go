package log

import (
	"fmt"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// BenchmarkTruncate cuts 150 logs back by one batch each, which was synced by the journal, as
// followers do in a failover.
func BenchmarkTruncate(b *testing.B) {
	for name, cut := range map[string]func(*Dir, []Cut){
		"one by one": func(_ *Dir, cuts []Cut) {
			for i := range cuts {
				cuts[i].Err = cuts[i].Log.TruncateTo(cuts[i].To)
			}
		},
		"together": (*Dir).TruncateLogs,
	} {
		b.Run(name, func(b *testing.B) {
			d, err := OpenDir(DirOptions{FS: env.OS, Clock: env.Real, Path: b.TempDir(), Rand: env.NewRand(1), BootID: "b"})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close(false)
			cuts := make([]Cut, 150)
			for i := range cuts {
				if cuts[i].Log, err = d.OpenLog(LogID{Topic: "t", TopicID: [16]byte{1}, Partition: int32(i)}, DefaultConfig(), Hooks{}); err != nil {
					b.Fatal(err)
				}
			}
			write := func() {
				for i := range cuts {
					if _, err := cuts[i].Log.Append(batch(1, 1000), AppendOptions{Now: epoch0}); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := d.SyncRound(); err != nil {
					b.Fatal(err)
				}
			}
			write()
			for b.Loop() {
				b.StopTimer()
				write()
				for i := range cuts {
					cuts[i].To = cuts[i].Log.EndOffset()
				}
				write()
				if err := d.Checkpoint(); err != nil {
					b.Fatal(err)
				}
				write()
				b.StartTimer()
				cut(d, cuts)
				for _, c := range cuts {
					if c.Err != nil || c.Log.EndOffset() != c.To {
						b.Fatal(fmt.Sprint(c.Log.ID(), " ends at ", c.Log.EndOffset(), ", not ", c.To, ": "), c.Err)
					}
				}
			}
		})
	}
}
