package log

import (
	"os"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// TestOrder pins the order of writes, syncs and renames: durability is that order. With
// LEAT_REWRITE set it writes the file anew.
func TestOrder(t *testing.T) {
	const golden = "testdata/order.txt"
	var out strings.Builder
	w := newWorld(t)
	step := func(name string, fn func()) {
		w.disk.Record()
		fn()
		out.WriteString("# " + name + "\n")
		for _, op := range w.disk.Recorded() {
			out.WriteString(op + "\n")
		}
		out.WriteString("\n")
	}
	var l *Log
	small := func(c *Config) { compacted(c); c.SegmentBytes, c.Delete, c.RetentionBytes = 700, true, 600 }
	key := func(k string) []byte { return keyed(record.NewHeader(0), k, strings.Repeat("v", 100)) }
	step("create", func() { l = w.log("a", small) })
	step("first append", func() { w.append(l, key("a")) })
	step("first round: names are synced before the bytes count", w.sync)
	step("append", func() { w.append(l, key("a")) })
	step("round by the journal", w.sync)
	step("appends that roll", func() {
		for range 4 {
			w.append(l, key("a"))
		}
	})
	step("round with a sealed segment", w.sync)
	step("checkpoint", func() {
		if err := w.dir.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	})
	step("compaction", func() {
		if _, err := l.Compact(CompactOptions{Now: w.clock.Now()}); err != nil {
			t.Fatal(err)
		}
	})
	step("start offset", func() {
		if err := l.SetStartOffset(1); err != nil {
			t.Fatal(err)
		}
	})
	step("truncation", func() {
		if err := l.TruncateTo(5); err != nil {
			t.Fatal(err)
		}
	})
	step("retention", func() {
		for range 8 {
			w.append(l, key("b"))
		}
		w.checkpoint()
		w.disk.Record()
		if _, err := l.Retain(w.clock.Now(), l.EndOffset()); err != nil {
			t.Fatal(err)
		}
		if err := w.dir.emptyTrash(w.clock.Now()); err != nil {
			t.Fatal(err)
		}
	})
	step("delete", func() {
		if err := w.dir.Delete(l.ID()); err != nil {
			t.Fatal(err)
		}
	})
	step("clean stop", w.close)
	if os.Getenv("LEAT_REWRITE") != "" {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Fatalf("the order of operations changed; got\n%s", out.String())
	}
}
