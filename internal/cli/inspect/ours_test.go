package inspect

import (
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log/journal"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/quorum"
	"github.com/leat-stream/leat/internal/schema"
)

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(journal.Options{FS: env.OS, Dir: dir, Salt: 7, Size: 64 << 10, Chunk: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Replay(func(journal.Entry) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := j.Reset(); err != nil {
		t.Fatal(err)
	}
	orders, prices := journal.Log{Dir: "orders-0", TopicID: [16]byte{1}}, journal.Log{Dir: "prices-3"}
	if err := j.Append([]journal.Entry{{Log: orders, Base: 0, Position: 100, Data: []byte("abc")}, {Log: prices, Base: 5, Position: 0, Data: []byte("de")}}); err != nil {
		t.Fatal(err)
	}
	if err := j.Forget(orders); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]journal.Entry{{Log: prices, Base: 5, Position: 2, Data: []byte("f")}}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := run(t, dir, "table", options{}, "journal-0", "journal-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"  data orders-0 segment 0 at 100, 3 bytes\n", "  data prices-3 segment 5 at 0, 2 bytes\n", "  forget orders-0\n", "  repeated forget orders-0\n", "  data prices-3 segment 5 at 2, 1 bytes\n", " no more frames"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// A damaged frame is told, and those behind it are shown.
	b, err := os.ReadFile(filepath.Join(dir, "journal-0"))
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(b), "abcde")
	if at < 0 {
		t.Fatal("the payload is not there")
	}
	for name, pos := range map[string]int{"payload": at, "header": at/4096*4096 + 20} {
		bad := append([]byte{}, b...)
		bad[pos] ^= 1
		write(t, dir, name+"/journal-0", bad)
		got, err := run(t, dir, "table", options{}, name+"/journal-0")
		if err == nil || !strings.Contains(got, " damage: ") || !strings.Contains(got, "  forget orders-0\n") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestMetadataLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metadata")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self := quorum.Member{NodeID: 1, DirectoryID: [16]byte{1}}
	lead, committed := make(chan int32, 1), make(chan struct{}, 1)
	l, err := quorum.OpenLog(quorum.Options{FS: env.OS, Dir: dir, Clock: env.Real, Self: self, Voters: []quorum.Member{self}}, quorum.LogHooks{
		Restore:     func(int64, int64, iter.Seq2[machine.Record, error]) error { return nil },
		Records:     func(quorum.Batch) error { committed <- struct{}{}; return nil },
		Lead:        func(epoch int32, _ int64) { lead <- epoch },
		Resign:      func(int32) {},
		SnapshotDue: func(int64) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	value := "5000"
	var records []machine.Record
	for _, r := range []schema.Record{&schema.Topic{TopicID: [16]byte{0xfb, 1}, Name: "orders\x1b"},
		&schema.Config{ResourceType: 2, ResourceName: "orders", Key: "retention.ms", Value: &value}} {
		frame, err := schema.Append(nil, r, schema.Level)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, machine.Record{Value: frame})
	}
	records = append(records, machine.Record{Value: []byte{0x7f, 0xff, 0, 0}})
	if _, err := l.Append(<-lead, time.UnixMilli(at(0)), records); err != nil {
		t.Fatal(err)
	}
	<-committed
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := run(t, filepath.Dir(dir), "table", options{}, "metadata")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`entry \d+ term \d+ offsets 1 to 3 2023-11-14T22:13:20.000Z
  1 Topic TopicID=-wEAAAAAAAAAAAAAAAAAAA Name="orders\\x1b"
  2 Config ResourceType=2 ResourceName="orders" Key="retention.ms" Value="5000"
  3 metadata record is newer than this build: unknown record type 32767 version 0: 7fff0000
`)
	if !want.MatchString(got) {
		t.Errorf("\n%s", got)
	}
	if got, err = run(t, filepath.Dir(dir), "json", options{}, "metadata"); err != nil || !strings.Contains(got, `"fields":{"Name":"orders\u001b","TopicID":"-wEAAAAAAAAAAAAAAAAAAA"}`) {
		t.Errorf("%v\n%s", err, got)
	}
}
