package log

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/record"
)

// change changes the bytes of a file on the disk beneath.
func (w *world) change(name string, fn func(p []byte) []byte) {
	w.t.Helper()
	f, err := w.disk.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	p := fn(slices.Clone(w.content(name)))
	if err := f.Truncate(0); err != nil {
		w.t.Fatal(err)
	}
	if _, err := f.WriteAt(p, 0); err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) content(name string) []byte {
	w.t.Helper()
	p, err := readSmall(w.disk, name, 1<<30)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

const (
	aDir = "data/a-0/"
	aLog = aDir + "00000000000000000000.log"
)

func flip(at int) func([]byte) []byte {
	return func(p []byte) []byte {
		p[at] ^= 1
		return p
	}
}

func cutAt(at int) func([]byte) []byte { return func(p []byte) []byte { return p[:at] } }

// unsynced is a log of five batches below the recovery point and three above, in one
// segment; size is that of one.
func unsynced(w *world) (size int) {
	l := w.log("a")
	for range 5 {
		size = w.append(l, batch(1, 100)).Bytes
	}
	w.checkpoint()
	w.reopen() // else the journal has what is synced
	l = w.log("a")
	for range 3 {
		w.append(l, batch(1, 100))
	}
	return size
}

// TestRecoveryTruncates: at the first bad batch behind the recovery point the log is cut
// off, and it is said where, why and how much went. The power was cut, so what was not
// synced was nobody's.
func TestRecoveryTruncates(t *testing.T) {
	for name, c := range map[string]struct {
		change func(size int) func([]byte) []byte
		offset int64
		bytes  func(size int) int // that go
		kept   bool
	}{
		"cut in a header":     {func(s int) func([]byte) []byte { return cutAt(7*s + 20) }, 7, func(int) int { return 20 }, false},
		"cut in the records":  {func(s int) func([]byte) []byte { return cutAt(7*s - 1) }, 6, func(s int) int { return s - 1 }, false},
		"cut in a length":     {func(s int) func([]byte) []byte { return cutAt(5*s + 9) }, 5, func(int) int { return 9 }, false},
		"the last is flipped": {func(s int) func([]byte) []byte { return flip(8*s - 1) }, 7, func(s int) int { return s }, false},
		"the first is flipped, good ones follow": {func(s int) func([]byte) []byte { return flip(6*s - 1) }, 5,
			func(s int) int { return 3 * s }, true},
		"a length is flipped": {func(s int) func([]byte) []byte { return flip(6*s + record.OffLength) }, 6, func(s int) int { return 2 * s }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			size := unsynced(w)
			w.change(aLog, c.change(size))
			before := w.content(aLog)
			w.events = nil
			w.opt.BootID = "after the power cut"
			w.kill()
			l := w.log("a")
			if l.EndOffset() != c.offset {
				t.Fatalf("ends at %d, want %d", l.EndOffset(), c.offset)
			}
			pos := int(c.offset) * size
			e, ok := saw[Truncated](w)
			if !ok || e.Log != l.ID() || e.Offset != c.offset || e.Position != int64(pos) || e.Bytes != int64(c.bytes(size)) ||
				!errors.Is(e.Err, ErrCorrupt) || (e.Kept != "") != c.kept {
				t.Fatalf("told %+v", e)
			}
			if c.kept && !bytes.Equal(w.content(aDir+e.Kept), before[pos:]) {
				t.Fatal("what went was not kept aside")
			}
			r, ok := saw[LogRecovered](w)
			if !ok || r.Point != 5 || r.End != c.offset || r.CutBytes != e.Bytes || !r.Kept || r.FollowedByGood != c.kept || r.Recovered != l.Recovered() {
				t.Fatalf("told %+v", r)
			}
			if got := w.content(aLog); !bytes.Equal(got, before[:pos]) {
				t.Fatalf("the file has %d bytes, want %d", len(got), pos)
			}
			if info := w.append(l, batch(1, 100)); info.FirstOffset != c.offset {
				t.Fatalf("appended at %d", info.FirstOffset)
			}
			if got := readAll(t, l, 0); int64(len(got)) != c.offset+1 {
				t.Fatalf("read %d", got)
			}
		})
	}
}

// TestRecoverySaysNothingOfNothing: whole batches behind the recovery point are taken,
// and what was read is told.
func TestRecoverySaysNothingOfNothing(t *testing.T) {
	w := newWorld(t)
	size := unsynced(w)
	w.events = nil
	w.kill()
	l := w.log("a")
	if r, ok := saw[LogRecovered](w); !ok || r.Point != 5 || r.End != 8 || r.ScannedBytes != int64(3*size) || r.CutBytes != 0 || !r.Kept || r.FollowedByGood {
		t.Fatalf("told %+v", r)
	}
	if _, cut := saw[Truncated](w); cut || l.EndOffset() != 8 {
		t.Fatalf("ends at %d, cut: %v", l.EndOffset(), cut)
	}
	if o, ok := saw[Opened](w); !ok || o.Clean || !o.SameBoot || o.ScannedBytes != int64(3*size) || o.Logs != 1 {
		t.Fatalf("told %+v", o)
	}
}

// derived is what is built from a log: its files as they are.
func (w *world) derived(suffix string) map[string][]byte {
	w.t.Helper()
	all := map[string][]byte{}
	for _, name := range filesOf(w.t, w.disk, "data/a-0") {
		if strings.HasSuffix(name, suffix) {
			all[name] = w.content(name)
		}
	}
	if len(all) == 0 {
		w.t.Fatalf("no %s", suffix)
	}
	return all
}

var harms = map[string]func(*world, string) error{
	"removed": func(w *world, name string) error { return w.disk.Remove(name) },
	"garbage": func(w *world, name string) error {
		w.change(name, func(p []byte) []byte { return bytes.Repeat([]byte{0xa5, 7}, len(p)/2+1)[:len(p)] })
		return nil
	},
	"shorter": func(w *world, name string) error {
		w.change(name, cutAt(len(w.content(name))/2))
		return nil
	},
}

// TestRecoveryRebuilds: every file that is derived from a log can be missing or wrong.
// What is scanned has its indexes built again as they were; whatever is not is held
// against the log when it is used. What was wrong is told.
func TestRecoveryRebuilds(t *testing.T) {
	small := func(c *Config) { c.SegmentBytes, c.IndexIntervalBytes = 3000, 300 }
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, snapshotSuffix, epochFile} {
		for how, harm := range harms {
			for _, scanned := range []bool{false, true} {
				t.Run(fmt.Sprint(how, " ", suffix, " scanned ", scanned), func(t *testing.T) {
					w := newWorld(t)
					recoverUnder := DefaultConfig()
					small(&recoverUnder)
					w.opt.Default = &recoverUnder
					l := w.log("a", small)
					for i := range 40 {
						b := batch(2, 60, idempotent(int64(i%3), 0, int32(i/3*2)))
						if _, err := l.Append(b, AppendOptions{Now: w.clock.Now(), LeaderEpoch: int32(i / 15)}); err != nil {
							t.Fatal(err)
						}
					}
					producers := byID(l.Producers())
					w.checkpoint()
					w.close()
					good := w.derived(suffix)
					for name, p := range good {
						if len(p) > 0 {
							if err := harm(w, name); err != nil {
								t.Fatal(err)
							}
						}
					}
					forget := []string{cleanFile}
					if scanned { // from the beginning
						forget = append(forget, stateFile, recoveryPointFile)
					}
					for _, name := range forget {
						if err := w.disk.Remove("data/" + name); err != nil {
							t.Fatal(err)
						}
					}
					w.events = nil
					w.open()
					l = w.log("a", small)
					for offset := range l.EndOffset() {
						if b := batchAt(t, l, offset); b.BaseOffset() != offset/2*2 || !b.CheckCRC() {
							t.Fatalf("at %d: %+v", offset, b.Header())
						}
					}
					if l.EndOffset() != 80 || !l.Recovered().Kept || (l.Recovered().ScannedBytes > 0) != scanned {
						t.Fatalf("%+v", l.Recovered())
					}
					if _, ok, err := l.OffsetForTime(epoch0.UnixMilli()+1, 80); ok || err != nil {
						t.Fatalf("a record from the future: %v", err)
					}
					if at, ok, err := l.OffsetForTime(epoch0.UnixMilli(), 80); !ok || err != nil || at.Offset != 0 {
						t.Fatalf("%+v %v %v", at, ok, err)
					}
					if got := byID(l.Producers()); !slices.Equal(got, producers) {
						t.Fatalf("producers %+v, want %+v", got, producers)
					}
					if e, end := l.EndOffsetForEpoch(0); e != 0 || end != 30 {
						t.Fatalf("epoch %d ends at %d", e, end)
					}
					if _, ok := saw[IndexRebuilt](w); !ok && (how == "garbage" && !(scanned && suffix == snapshotSuffix) || suffix == epochFile && !scanned) {
						t.Fatalf("nothing was said of it: %v", w.events)
					}
					w.checkpoint()
					if suffix == snapshotSuffix || suffix != epochFile && !scanned {
						return
					}
					for name, p := range good {
						if got := w.content(name); !bytes.Equal(got, p) {
							t.Errorf("%s has %d bytes, had %d", name, len(got), len(p))
						}
					}
				})
			}
		}
	}
}

func byID(list []ProducerInfo) []ProducerInfo {
	slices.SortFunc(list, func(a, b ProducerInfo) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return list
}
