package crashtest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// A story is a case that is told step by step, for a sync that random cases miss too
// seldom. The power fails at its end.
type story struct {
	name  string
	tell  func(*world) error
	check func(*world) error // of each disk that may be left; nil: verify
}

var stories = []story{
	{"a snapshot beyond a truncation comes back", staleSnapshot, nil},
	{"what recovery cut off comes back behind what followed", cutComesBack, nil},
	{"an aborted transaction comes back that recovery dropped", staleAborted, nil},
	{"old segments come back beside a compacted one that recovery put in their place", halfSwapped, nil},
	{"the snapshot between two rolls is needed", twoRolls, cutBetweenRolls},
	{"a topic id is lost twice", lostID, nil},
	{"a transaction index is built again", damagedTxns, nil},
	{"a directory is given an id", noDirectoryID, nil},
	{"a directory learns its cluster", learnsCluster, keepsCluster},
	{"a large index is lost after a clean stop", largeIndex, nil},
	{"old segments go on a full disk", fullDisk, nil},
	{"synced records are gone", lostSegment, readsAround},
	{"synced records are damaged", func(w *world) error { return w.damage(0.5) }, readsAround},
	{"the last synced records of a segment are damaged", func(w *world) error { return w.damage(0.9) }, readsAround},
	{"what a killed process cut off comes back behind what followed", killedTruncation, nil},
	{"a refused batch comes back behind what followed", refusedComesBack, nil},
	{"a start acts on a state that a killed process did not sync", unsyncedState, nil},
	{"a process is killed in a truncation to a start inside a batch", truncatedToStart, nil},
	{"a checkpoint makes a transaction index", newTxnIndex, keepsTxnIndex},
	{"a scrub sets damage aside", func(w *world) error { return w.scrubbed(func(size int64) int64 { return size / 2 }) }, readsAround},
	{"a topic is made anew under a name that a checkpoint has", nameTakenAgain, nothingCommitted},
	{"a topic is made anew a second after the deletion", nameTakenLater, nothingCommitted},
	{"a replica starts anew with what it is told of producers", toldProducers, knowsProducers},
	{"the power fails while what a replica was told of producers changes its place", movedStart, knowsProducers},
	{"a topic id is damaged before the first checkpoint", damagedID, nil},
	{"a log is set aside", setAside, keepsAside},
	{"a scrub passes over a length", func(w *world) error {
		return w.scrubbed(func(size int64) int64 { return size/3 + record.OffLength + 2 })
	}, readsAround},
}

// tell tells a story without the syncs of a place and looks at many disks that the
// power cut may leave.
func tell(s story, place string) error {
	return tellTo(s, (&mutation{place: place, rng: env.NewRand(1), wait: math.MaxInt}).skip)
}

func tellTo(s story, skip func(env.Op) bool) error {
	w := newWorld(1)
	w.habits = habits{durable: 1, segment: 1, uniform: true}
	w.skip = skip
	if err := errors.Join(w.open(), s.tell(w), w.alarm); err != nil {
		return w.failure(0, err)
	}
	w.disk.PowerOff()
	if s.check == nil {
		s.check = (*world).verify
	}
	if err := w.ends(200, s.check); err != nil {
		return w.failure(1, err)
	}
	return nil
}

func TestStories(t *testing.T) {
	for _, s := range stories {
		if err := tellTo(s, nil); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// begin makes the story's only partition.
func (w *world) begin(change func(*partition)) error {
	p := &partition{id: w.newID(), cfg: log.DefaultConfig(), emptied: -1, cutting: -1, wrote: map[int64]bool{}, txns: true}
	p.cfg.Durable, p.cfg.SegmentBytes = true, 1<<24
	if change != nil {
		change(p)
	}
	w.logs = append(w.logs, p)
	return w.attach(p)
}

// segmentBytes changes the log's configuration.
func (w *world) segmentBytes(n int64) func() error {
	return func() error {
		w.logs[0].cfg.SegmentBytes = n
		return w.attach(w.logs[0])
	}
}

// write appends one batch of two records, of size bytes each, of a client.
func (w *world) write(producer int64, sequence int32, size int) func() error {
	return w.writeAs(producer, sequence, size, false)
}

func (w *world) writeAs(producer int64, sequence int32, size int, txn bool) func() error {
	return func() error {
		h := record.NewHeader(0)
		h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.Transactional = producer, 0, sequence, txn
		w.logs[0].wrote[producer] = true
		return w.one(w.batch(h, 2, size), log.OriginClient)
	}
}

// abort appends the marker that aborts a producer's transaction.
func (w *world) abort(producer int64) func() error {
	return func() error {
		h := record.NewHeader(0)
		h.ProducerID, h.ProducerEpoch, h.Transactional, h.Control = producer, 0, true, true
		b, err := record.AppendEndTxn(nil, h, record.ControlAbort, 1, w.clock.Now().UnixMilli())
		return errors.Join(err, w.one(b, log.OriginCoordinator))
	}
}

func (w *world) one(b []byte, origin log.Origin) error {
	p := w.logs[0]
	view := record.Batch(bytes.Clone(b))
	view.SetBaseOffset(p.end())
	view.SetLeaderEpoch(p.epoch)
	end := view.NextOffset()
	err := w.put(p, log.AppendOptions{LeaderEpoch: p.epoch, Now: w.clock.Now(), Origin: origin}, b,
		[]batch{{p.end(), end, view}}, nil)
	if err == nil && p.end() != end {
		return errors.New("the batch was refused")
	}
	return err
}

func (w *world) cutTo(to int64) func() error {
	return func() error {
		p := w.logs[0]
		if err := p.log.TruncateTo(to); err != nil {
			return err
		}
		for len(p.batches) > 0 && p.batches[len(p.batches)-1].next > to {
			p.batches = p.batches[:len(p.batches)-1]
		}
		p.acked, p.cut = min(p.acked, to), to
		return w.agree(p)
	}
}

// startWhere cuts the power and starts with one of the disks that may be left: one on
// which the start does what holds looks for.
func (w *world) startWhere(holds func(*world) bool) func() error {
	return func() error {
		w.disk.PowerOff()
		_ = w.dir.Close(false)
		for range 1000 {
			o := w.branch()
			if err := o.open(); err != nil {
				return err
			}
			if holds(o) {
				if err := o.verify(); err != nil {
					return err
				}
				*w = *o
				return nil
			}
			if err := o.dir.Close(false); err != nil {
				return err
			}
		}
		return errors.New("no power cut leaves a disk on which that happens")
	}
}

// traced tells whether the latest start said something.
func traced(what string) func(*world) bool {
	return func(w *world) bool {
		at := len(w.trace) - 1
		for at > 0 && w.trace[at] != "open" {
			at--
		}
		return slices.ContainsFunc(w.trace[at:], func(line string) bool { return strings.Contains(line, what) })
	}
}

// cutPowerAfter cuts the power at the first operation behind one that is what is looked for.
func (w *world) cutPowerAfter(is func(env.Op) bool) {
	met := false
	w.disk.OnOp(func(op env.Op) error {
		if met {
			return env.ErrPowerOff
		}
		met = is(op)
		return nil
	})
}

func steps(list ...func() error) error {
	for i, step := range list {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

// A checkpoint after a megabyte left a producer snapshot; the log is cut back below it
// and grows past it again. If the snapshot comes back, it tells of what was cut off.
func staleSnapshot(w *world) error {
	return steps(
		func() error { return w.begin(nil) },
		w.write(1, 0, 40),
		w.round,
		w.write(1, 2, 300_000),
		w.write(1, 4, 300_000),
		w.round,
		w.checkpoint, // snapshot at 6
		w.cutTo(2),
		w.write(2, 0, 40),
		w.write(2, 2, 40),
		w.write(2, 4, 40),
		w.round,
		w.checkpoint,
	)
}

// Of two unsynced batches only the second survives, and is cut off with the first, at
// the recovery point. Another of the same size is written there, durable in the
// journal. If the second comes back, it continues that one.
func cutComesBack(w *world) error {
	return steps(
		func() error { return w.begin(nil) },
		w.write(1, 0, 40),
		w.round,
		w.checkpoint,
		w.write(2, 0, 40),
		w.write(2, 2, 40),
		w.startWhere(traced("good batches followed")),
		w.write(3, 0, 40),
		w.round,
	)
}

// A roll makes the transaction index durable before the batches. They are lost, and
// other ones take their offsets, up to the recovery point and beyond.
func staleAborted(w *world) error {
	return steps(
		func() error { return w.begin(nil) },
		w.writeAs(1, 0, 40, true),
		w.abort(1),
		w.round,
		w.checkpoint,
		w.writeAs(1, 2, 40, true),
		w.abort(1),
		w.segmentBytes(1000),
		w.write(2, 0, 400),
		w.startWhere(func(w *world) bool { return w.dir.Log(w.logs[0].id.Topic, w.logs[0].id.Partition).EndOffset() == 3 }),
		w.segmentBytes(1<<24),
		w.write(3, 0, 40),
		w.write(3, 2, 40),
		w.round,
		w.checkpoint,
	)
}

// A checkpoint makes the transaction index of the active segment, below the recovery point
// that it records.
func newTxnIndex(w *world) error {
	return steps(
		func() error { return w.begin(nil) },
		w.writeAs(1, 0, 40, true),
		w.round,
		w.abort(1),
		w.round,
		w.checkpoint,
	)
}

func keepsTxnIndex(w *world) error {
	if traced(".txnindex is built again")(w) {
		return errors.New("the transaction index is lost")
	}
	return w.verify()
}

// The power fails while a compacted segment takes the place of two, and again while
// recovery goes on with that.
func halfSwapped(w *world) error {
	p := func() *partition { return w.logs[0] }
	err := steps(
		func() error {
			return w.begin(func(p *partition) {
				p.cfg.Compact, p.txns = true, false
				p.cfg.MinCleanable, p.cfg.DeleteRetention, p.cfg.SegmentBytes = 0, 0, 400
				p.records, p.must = map[int64]keyValue{}, map[int64]bool{}
			})
		},
		w.write(1, 0, 100),
		w.write(1, 2, 100),
		w.write(1, 4, 100),
		w.write(1, 6, 100),
		w.round,
		w.checkpoint,
		w.segmentBytes(1<<24),
	)
	if err != nil {
		return err
	}
	w.cutPowerAfter(func(op env.Op) bool { return op.Kind == env.OpSync && op.Path == dataDir+"/leat.state" })
	if err := w.compact(p()); err == nil || !w.disk.Crashed() {
		return fmt.Errorf("the compaction was not cut short: %v", err)
	}
	_ = w.dir.Close(false)
	for range 200 {
		o := w.branch()
		o.cutPowerAfter(func(op env.Op) bool {
			return op.Kind == env.OpRename && path.Ext(op.To) == ".log" && strings.HasSuffix(op.Path, ".swap")
		})
		if err := o.open(); err == nil {
			if err := errors.Join(o.verify(), o.dir.Close(false)); err != nil {
				return err
			}
			continue
		}
		if !o.disk.Crashed() {
			return errors.New("the start failed")
		}
		o.dir = nil
		*w = *o
		if err := w.otherEnds(20); err != nil {
			return err
		}
		return nil
	}
	return errors.New("recovery never completes the swap")
}

// A log rolls twice before a round. After a power cut it is cut back to the segment
// between, whose snapshot is the latest one then.
func twoRolls(w *world) error {
	return steps(
		func() error { return w.begin(func(p *partition) { p.cfg.SegmentBytes = 400 }) },
		w.write(1, 0, 100),
		w.write(1, 2, 100), // rolls
		w.write(1, 4, 20),
		w.write(1, 6, 100), // rolls
		w.round,
		w.checkpoint,
	)
}

func cutBetweenRolls(w *world) error {
	return steps(w.verify, w.cutTo(4), w.verifyAlarm)
}

func (w *world) verifyAlarm() error { return w.alarm }

// A power cut took the topic id of a log that had nothing durable; it is given its id again,
// under which the journal then knows its batches.
func lostID(w *world) error {
	return steps(
		func() error { return w.begin(nil) },
		w.write(1, 0, 40),
		w.startWhere(func(w *world) bool {
			l := w.dir.Log(w.logs[0].id.Topic, w.logs[0].id.Partition)
			return l != nil && l.ID().TopicID == [16]byte{} && l.EndOffset() > 0
		}),
		w.write(2, 0, 40),
		w.round,
	)
}

// The topic id of a log with durable records is damaged, before a checkpoint knows of them: it
// is given its id again, and no power cut then leaves less than what was damaged.
func damagedID(w *world) error {
	return steps(
		func() error { return w.begin(nil) },
		w.write(1, 0, 40),
		w.round,
		func() error {
			w.logs[0].firm = nil
			if err := w.dir.Close(false); err != nil {
				return err
			}
			return w.disk.FlipBit(dataDir+"/"+w.logs[0].id.String()+"/partition.metadata", 0)
		},
		w.open,
		func() error { return w.attach(w.logs[0]) },
	)
}

// A damaged transaction index below the recovery point is built again.
func damagedTxns(w *world) error {
	return steps(
		func() error { return w.begin(nil) },
		w.writeAs(1, 0, 40, true),
		w.abort(1),
		w.segmentBytes(500),
		w.write(2, 0, 200), // rolls
		w.round,
		w.checkpoint,
		func() error {
			w.logs[0].firm = nil
			return w.disk.FlipBit(dataDir+"/"+w.logs[0].id.String()+"/00000000000000000000.txnindex", 1)
		},
		func() error {
			list, err := w.logs[0].log.AbortedTxns(0, 100)
			if len(list) != 1 {
				err = errors.Join(err, fmt.Errorf("aborted transactions %v", list))
			}
			return err
		},
	)
}

// A directory that says whose it is, but not its own id, is given one.
func noDirectoryID(w *world) error {
	if err := w.close(); err != nil {
		return err
	}
	f, err := w.disk.OpenFile(dataDir+"/meta.properties", os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("cluster.id=c\nnode.id=1\nversion=1\n"), 0)
	return errors.Join(err, f.Sync(), f.Close(), w.open())
}

// A directory is told its cluster after it was opened.
func learnsCluster(w *world) error {
	if err := w.close(); err != nil {
		return err
	}
	f, err := w.disk.OpenFile(dataDir+"/meta.properties", os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("node.id=1\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAg\nversion=1\n"), 0)
	w.cluster = ""
	return errors.Join(err, f.Sync(), f.Close(), w.open(), w.dir.SetCluster("c"))
}

func keepsCluster(w *world) error {
	if got := w.dir.ClusterID(); got != "c" {
		return fmt.Errorf("the directory belongs to cluster %q", got)
	}
	return nil
}

// An index of many entries is durable after a clean stop.
func largeIndex(w *world) error {
	err := w.begin(func(p *partition) { p.cfg.IndexIntervalBytes, p.txns = 0, false })
	for range 80 {
		if err == nil {
			w.clock.Advance(time.Millisecond)
			err = w.one(w.batch(record.NewHeader(0), 2, 2000), log.OriginClient)
		}
	}
	return errors.Join(err, w.close(), func() error { w.logs[0].firm = map[int64]bool{0: true}; return nil }())
}

// Retention makes room on a full disk, on which the new start cannot be recorded before.
// The power fails at any operation.
func fullDisk(w *world) error {
	for n := 1; ; n++ {
		o := newWorld(1)
		o.habits, o.skip = w.habits, w.skip
		err := errors.Join(o.open(), o.begin(func(p *partition) {
			p.cfg.SegmentBytes, p.cfg.Delete, p.cfg.RetentionBytes, p.cfg.FileDeleteDelayMs, p.txns = 1000, true, 1000, 0, false
		}))
		for range 12 {
			if err == nil {
				err = o.one(o.batch(record.NewHeader(0), 2, 100), log.OriginClient)
			}
		}
		if err := errors.Join(err, o.round(), o.checkpoint()); err != nil {
			return err
		}
		o.disk.SetFree(0)
		o.full = true
		o.disk.CrashAt(n)
		err = errors.Join(o.retain(o.logs[0]), o.tolerate(o.dir.Tick(o.clock.Now())))
		if !o.disk.Crashed() {
			if err != nil {
				return o.failure(n, err)
			}
			*w = *o
			return nil
		}
		if err := o.ends(30, (*world).verify); err != nil {
			return o.failure(n, err)
		}
	}
}

// lostSegment and damage harm synced records of a log of three segments with
// three batches each. The power fails once more at every operation of the recovery.
func lostSegment(w *world) error {
	return w.harm(3, func(name string) error {
		return errors.Join(w.disk.Remove(name), w.disk.SyncDir(path.Dir(name)))
	})
}

func (w *world) damage(at float64) error {
	return w.harm(1, func(name string) error {
		f, err := w.disk.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err == nil {
			_, err = f.WriteAt([]byte("x"), size) // so that the next start looks at it
		}
		off := int64(float64(size) * at)
		err = errors.Join(err, f.Sync(), w.disk.FlipBit(name, off))
		evidence := make([]byte, 50)
		if err == nil {
			_, err = f.ReadAt(evidence, off-25)
		}
		w.logs[0].evidence = evidence
		return errors.Join(err, f.Close())
	})
}

func (w *world) harm(batches int, do func(name string) error) error {
	err := w.begin(func(p *partition) { p.cfg.SegmentBytes, p.txns = 1000, false })
	for range 9 {
		if err == nil {
			err = w.one(w.batch(record.NewHeader(0), 2, 100), log.OriginClient)
		}
	}
	if err := errors.Join(err, w.round(), w.checkpoint(), w.dir.Close(false)); err != nil {
		return err
	}
	list, err := w.disk.ReadDir(dataDir + "/" + w.logs[0].id.String())
	if err != nil {
		return err
	}
	var segments []string
	for _, e := range list {
		if path.Ext(e.Name()) == ".log" {
			segments = append(segments, e.Name())
		}
	}
	w.logs[0].harmed = batches
	if len(segments) != 3 {
		return fmt.Errorf("segments %v", segments)
	}
	if err := do(dataDir + "/" + w.logs[0].id.String() + "/" + segments[1]); err != nil {
		return err
	}
	for n := 1; ; n++ {
		o := w.branch()
		o.disk.CrashAt(n)
		err := o.open()
		if err == nil {
			w.alarm, o.alarm = nil, nil
			*w = *o
			return nil
		}
		if !o.disk.Crashed() {
			return err
		}
		o.dir = nil
		if err := o.ends(20, readsAround); err != nil {
			return err
		}
	}
}

// readsAround reads every batch but those that were harmed, which are refused.
func readsAround(w *world) error {
	p := w.logs[0]
	if err := w.attach(p); err != nil {
		return err
	}
	refused := 0
	for _, b := range p.batches {
		run, err := p.log.Read(b.base, 1, math.MaxInt64, true)
		if errors.Is(err, log.ErrCorrupt) {
			refused++
			continue
		}
		if err != nil {
			return err
		}
		got := make([]byte, run.Len())
		_, err = run.ReadAt(got, 0)
		run.Release()
		if err != nil || !bytes.Equal(got, b.bytes) {
			return fmt.Errorf("the batch at %d is lost: %v", b.base, err)
		}
	}
	if want := p.harmed; refused != want {
		return fmt.Errorf("%d batches are refused, %d were harmed", refused, want)
	}
	return w.verifyEvidence(p)
}

// A scrub finds a damaged batch, the middle one of three, of a sealed segment; what it refuses
// is refused after the power cut, and nothing else. at is the harmed byte of so many.
func (w *world) scrubbed(at func(size int64) int64) error {
	err := w.begin(func(p *partition) { p.cfg.SegmentBytes, p.txns = 1000, false })
	for range 9 {
		if err == nil {
			err = w.one(w.batch(record.NewHeader(0), 2, 100), log.OriginClient)
		}
	}
	p := w.logs[0]
	list, lerr := p.log.Segments()
	if err := errors.Join(err, lerr, w.round(), w.checkpoint()); err != nil || len(list) != 3 {
		return fmt.Errorf("%d segments: %w", len(list), err)
	}
	name := fmt.Sprintf("%s/%s/%020d.log", dataDir, p.id, list[1].Base)
	off := at(list[1].Bytes)
	if err := w.disk.FlipBit(name, off); err != nil {
		return err
	}
	b, err := w.content(name)
	if err != nil {
		return err
	}
	p.harmed, p.evidence = 1, b[off-25:][:50]
	w.scrub()
	if w.alarm == nil {
		return errors.New("the damage was not found")
	}
	w.alarm = nil
	return nil
}

// scrub checks all that is synced.
func (w *world) scrub() {
	s := w.dir.NewScrubber()
	for now, end := w.clock.Now(), w.clock.Now().Add(time.Minute); now.Before(end); {
		now = s.Step(now, log.ScrubOptions{BytesPerSecond: 1 << 20, Interval: time.Hour})
	}
}

// verifyEvidence looks for damaged bytes, which recovery is to keep.
func (w *world) verifyEvidence(p *partition) error {
	dir := dataDir + "/" + p.id.String()
	entries, err := w.disk.ReadDir(dir)
	for _, e := range entries {
		b, err := w.content(dir + "/" + e.Name())
		if err != nil {
			return err
		}
		if bytes.Contains(b, p.evidence) {
			return nil
		}
	}
	return errors.Join(err, errors.New("the damaged bytes are gone"))
}
