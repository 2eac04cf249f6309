package replica

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// beforeReads calls a function before each read of a file.
type beforeReads struct {
	env.FS
	read func(name string)
}

type readFile struct {
	env.File
	fs *beforeReads
}

func (b *beforeReads) OpenFile(name string, flag int, perm fs.FileMode) (env.File, error) {
	f, err := b.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return readFile{f, b}, nil
}

func (f readFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.read != nil {
		f.fs.read(f.Name())
	}
	return f.File.ReadAt(p, off)
}

// Retention takes the segment out that a read of committed records has begun in, and with
// it the list of aborted transactions: without that, aborted records would be read.
func TestRetentionBesideAReadOfCommittedRecords(t *testing.T) {
	hooks := &beforeReads{}
	w := &world{t: t, wrap: func(f env.FS) env.FS { hooks.FS = f; return hooks }}
	w.begin()
	s := durable()
	s.Log.SegmentBytes, s.Log.RetentionMs, s.Log.RetentionBytes = 400, -1, 0
	w.create("t", 1, s)
	p := w.part("t", 0)
	h := record.NewHeader(0)
	h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.Transactional = 9, 0, 0, true
	w.write(p, w.batchOf(h, "aborted"), log.OriginClient)
	h.Control = true
	marker, err := record.AppendEndTxn(nil, h, record.ControlAbort, 1, w.clock.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	w.write(p, marker, log.OriginCoordinator)
	w.write(p, w.batch(strings.Repeat("b", 300)), log.OriginClient) // rolls
	w.mustSync()
	if err := w.dir.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	w.kill() // what an append knows of positions is forgotten
	p = w.part("t", 0)
	part := from("t", 0, 0)
	hooks.read = func(name string) {
		if strings.HasSuffix(name, "/00000000000000000000.log") {
			hooks.read = nil
			if r, err := p.log.Retain(w.clock.Now(), p.HighWatermark()); err != nil || r.Segments == 0 {
				t.Errorf("retention: %+v, %v", r, err)
			}
		}
	}
	f := p.read(&part, &FetchLimits{Replica: Consumer, ReadCommitted: true}, part.MaxBytes, true)
	if hooks.read != nil {
		t.Fatal("the segment was not read")
	}
	if f.Err != kerr.OffsetOutOfRange || f.Run != nil {
		t.Fatalf("%+v", f)
	}
}

func (w *world) write(p *Partition, batch []byte, origin log.Origin) {
	w.t.Helper()
	if _, err := p.log.Append(batch, log.AppendOptions{Now: w.clock.Now(), Origin: origin}); err != nil {
		w.t.Fatal(err)
	}
}
