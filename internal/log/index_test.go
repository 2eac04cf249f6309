package log

import (
	"fmt"
	"testing"
)

// TestIndexInterval: one entry once more than so many bytes went by without one.
func TestIndexInterval(t *testing.T) {
	w := newWorld(t)
	size := int64(len(batch(1, 100)))
	for _, interval := range []int64{0, size - 1, size, 3 * size, 1 << 30} {
		l := w.log(fmt.Sprint("every-", interval), func(c *Config) { c.IndexIntervalBytes = interval })
		var want, since int64
		for range 20 {
			if since > interval {
				want, since = want+1, 0
			}
			since += size
			w.append(l, batch(1, 100))
		}
		if got := int64((*l.segs.Load())[0].offsets.count()); got != want {
			t.Fatalf("interval %d: %d entries, want %d", interval, got, want)
		}
		c := *l.Config()
		c.IndexIntervalBytes = 0
		l.SetConfig(c)
		w.append(l, batch(1, 100))
		if got := int64((*l.segs.Load())[0].offsets.count()); got != want+1 {
			t.Fatalf("interval %d, then 0: %d entries, want %d", interval, got, want+1)
		}
		if got := readAll(t, l, 7); len(got) != 14 {
			t.Fatalf("interval %d: read %d", interval, got)
		}
	}
}
