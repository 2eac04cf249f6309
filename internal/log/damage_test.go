package log

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// filesOf lists the files below a directory.
func filesOf(t testing.TB, d *env.Disk, dir string) (all []string) {
	t.Helper()
	entries, err := d.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := dir + "/" + e.Name(); e.IsDir() {
			all = append(all, filesOf(t, d, name)...)
		} else {
			all = append(all, name)
		}
	}
	return all
}

func smallSegments(c *Config) { c.SegmentBytes, c.IndexIntervalBytes = 3000, 300 }

// TestDamagedFiles truncates, removes and flips every file of a directory. The start
// may be refused with an error; what is opened has all synced records, or says which
// ones it lacks. (A flipped bit in a batch below the recovery point is for the reader's
// checksum.)
func TestDamagedFiles(t *testing.T) {
	modes := []string{"clean", "kill", "reboot"}
	if testing.Short() {
		modes = modes[:1]
	}
	for _, how := range modes {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			l := w.log("a", smallSegments)
			for i := range 60 {
				w.append(l, batch(2, 50+i, idempotent(int64(i%3), 0, int32(i/3*2))))
				if i%20 == 9 {
					w.checkpoint()
				}
			}
			w.checkpoint()
			if how == "clean" {
				w.close()
			}
			for _, name := range filesOf(t, w.disk, "data") {
				info, err := w.disk.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				size := info.Size()
				for _, cut := range []int64{0, size / 3, size / 2, size - 1} {
					tryDamaged(t, w, how, fmt.Sprintf("%s cut to %d of %d", name, cut, size), true, func(d *env.Disk) error {
						f, err := d.OpenFile(name, os.O_RDWR, 0)
						if err != nil {
							return err
						}
						return errors.Join(f.Truncate(max(cut, 0)), f.Sync(), f.Close())
					})
				}
				tryDamaged(t, w, how, name+" removed", true, func(d *env.Disk) error { return d.Remove(name) })
				for at := int64(0); at < size; at += size/9 + 1 {
					tryDamaged(t, w, how, fmt.Sprintf("%s flipped at %d", name, at), false, func(d *env.Disk) error { return d.FlipBit(name, at) })
				}
			}
		})
	}
}

// tryDamaged opens a damaged copy of the directory and reads it. strict: no synced
// record may be missing without a word.
func tryDamaged(t *testing.T, w *world, how, what string, strict bool, damage func(*env.Disk) error) {
	t.Helper()
	d := w.disk.KillClone()
	if err := damage(d); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	v := &world{t: t, disk: d, fs: d, clock: w.clock, opt: w.opt}
	if how == "reboot" {
		v.opt.BootID = "other"
	}
	dir, err := OpenDir(v.options())
	if err != nil {
		return // refused with a reason
	}
	c := DefaultConfig()
	smallSegments(&c)
	l, err := dir.OpenLog(testID("a"), c, Hooks{})
	if err != nil {
		return
	}
	told := false
	seen := int64(0)
	for at := l.StartOffset(); at < 120; {
		run, err := l.Read(at, 1<<20, l.EndOffset(), true)
		if err != nil {
			told, at = true, at+1
			continue
		}
		if run.Len() == 0 {
			break
		}
		seen += run.NextOffset() - at
		at = run.NextOffset()
		run.Release()
	}
	if strict && seen < 120 && !told && l.Recovered().Kept {
		t.Errorf("%s: %d of 120 records are there and nothing was said: %v", what, seen, v.events)
	}
	info, err := l.Append(batch(1, 1), AppendOptions{Now: w.clock.Now(), LeaderEpoch: 1})
	if err == nil && info.FirstOffset < 120 && l.Recovered().Kept {
		t.Errorf("%s: offset %d is given again", what, info.FirstOffset)
	}
}

// TestLookupChecksTheBatch: a time found in a damaged batch would send a reader anywhere.
func TestLookupChecksTheBatch(t *testing.T) {
	w := newWorld(t)
	l := w.log("a")
	w.append(l, batch(3, 100))
	w.sync()
	if _, ok, err := l.OffsetForTime(epoch0.UnixMilli(), 3); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := w.disk.FlipBit("data/a-0/"+segmentName(0, logSuffix), l.Size()-1); err != nil {
		t.Fatal(err)
	}
	if at, ok, err := l.OffsetForTime(epoch0.UnixMilli(), 3); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("found %+v, %v, %v in a damaged batch", at, ok, err)
	}
}
