package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// The crash test drives a journal the way a log directory does, over segments that are
// plain files, cuts the power at some operation, recovers and compares.

// model is what must be on disk, kept outside of it.
type model map[Log]*modelLog

type modelLog struct {
	base  int64  // of its only segment
	bytes []byte // all that was appended
	acked int    // how many of them are durable
	// While a truncation or recreation is under way either state may be found.
	orElse *modelLog
}

// toy is a log directory with one segment per log.
type toy struct {
	d     *env.Disk
	j     *Journal
	m     model
	files map[Log]env.File
	dirty map[Log]int // bytes that are not durable yet start here
	rng   *rand.Rand
}

func segmentName(l Log, base int64) string { return fmt.Sprintf("%s/%020d.log", l.Dir, base) }

func toyOptions(d *env.Disk) Options {
	return Options{FS: d, Dir: "/own", Size: 6 * block, Chunk: block, Salt: 77}
}

// openToy recovers what the disk holds.
func openToy(d *env.Disk, m model, rng *rand.Rand) (*toy, Replayed, error) {
	t := &toy{d: d, m: m, files: map[Log]env.File{}, dirty: map[Log]int{}, rng: rng}
	var r Replayed
	err := errors.Join(d.MkdirAll("/own", 0o755), d.SyncDir("/"))
	if err != nil {
		return t, r, err
	}
	if t.j, err = Open(toyOptions(d)); err != nil {
		return t, r, err
	}
	touched := map[string]env.File{}
	r, err = t.j.Replay(func(e Entry) error {
		name := segmentName(e.Log, e.Base)
		f := touched[name]
		if f == nil {
			var err error
			if f, err = d.OpenFile(name, os.O_RDWR, 0); errors.Is(err, fs.ErrNotExist) {
				if err = d.SyncDir(e.Log.Dir); errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
				return err // gone for good: Reset will forget what it held
			} else if err != nil {
				return err
			}
			touched[name] = f
		}
		_, err := f.WriteAt(e.Data, e.Position)
		return err
	})
	if err != nil {
		return t, r, err
	}
	for _, name := range slices.Sorted(maps.Keys(touched)) {
		if err := errors.Join(touched[name].Sync(), touched[name].Close()); err != nil {
			return t, r, err
		}
	}
	return t, r, t.j.Reset()
}

// check compares a recovered disk with the model and makes the model follow it.
func (t *toy) check() error {
	for _, l := range t.logs() {
		ml := t.m[l]
		err := t.checkLog(l, ml)
		if err != nil && ml.orElse != nil {
			if err2 := t.checkLog(l, ml.orElse); err2 != nil {
				return fmt.Errorf("%w, nor %w", err, err2)
			}
			*ml, err = *ml.orElse, nil
		}
		if err != nil {
			return err
		}
		ml.orElse = nil
	}
	return nil
}

func (t *toy) checkLog(l Log, ml *modelLog) error {
	if t.files[l] != nil {
		t.files[l].Close()
		delete(t.files, l)
	}
	f, err := t.d.OpenFile(segmentName(l, ml.base), os.O_RDWR, 0)
	if err != nil {
		if ml.acked == 0 && errors.Is(err, fs.ErrNotExist) {
			delete(t.m, l)
			return errors.Join(t.d.MkdirAll(l.Dir, 0o755), t.d.SyncDir("/"), t.d.SyncDir(l.Dir))
		}
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	got := make([]byte, size)
	if size > 0 {
		if _, err := f.ReadAt(got, 0); err != nil {
			return err
		}
	}
	if len(got) < ml.acked || !bytes.Equal(got[:ml.acked], ml.bytes[:ml.acked]) {
		return fmt.Errorf("%s: acknowledged bytes are lost: %d acknowledged, %d there", l.Dir, ml.acked, size)
	}
	if len(got) > len(ml.bytes) {
		return fmt.Errorf("%s: %d bytes, of which %d were ever written", l.Dir, size, len(ml.bytes))
	}
	for i := ml.acked; i < len(got); i++ {
		if got[i] != ml.bytes[i] && got[i] != 0 {
			return fmt.Errorf("%s: byte %d of %d (%d acknowledged) is foreign", l.Dir, i, size, ml.acked)
		}
	}
	// As a log's recovery: cut what nobody was told of, in place; a killed process may
	// have left it all in the page cache only, names included.
	err = errors.Join(f.Truncate(int64(ml.acked)), f.Sync(), t.d.SyncDir("/"), t.d.SyncDir(l.Dir))
	if err != nil {
		return err
	}
	ml.bytes = ml.bytes[:ml.acked]
	t.files[l] = f
	return nil
}

func (t *toy) logs() []Log {
	return slices.SortedFunc(maps.Keys(t.m), func(a, b Log) int { return cmp.Compare(a.Dir, b.Dir) })
}

// step does one thing at random.
func (t *toy) step() error {
	logs := t.logs()
	switch p := t.rng.IntN(20); {
	case len(logs) < 2 || len(logs) < 6 && p == 0:
		return t.create()
	case p < 10:
		return t.append(logs[t.rng.IntN(len(logs))])
	case p < 16:
		return t.round()
	case p < 17:
		return t.truncate(logs[t.rng.IntN(len(logs))])
	case p < 18:
		return t.recreate(logs[t.rng.IntN(len(logs))])
	case p < 19:
		return t.j.Prepare()
	default:
		return t.trim()
	}
}

func (t *toy) create() error {
	l := Log{Dir: fmt.Sprintf("t-%d", t.rng.IntN(1000))}
	if t.m[l] != nil {
		return nil
	}
	t.m[l] = &modelLog{}
	if err := errors.Join(t.d.MkdirAll(l.Dir, 0o755), t.d.SyncDir("/")); err != nil {
		return err
	}
	f, err := t.d.OpenFile(segmentName(l, 0), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	t.files[l] = f
	return t.d.SyncDir(l.Dir)
}

func (t *toy) append(l Log) error {
	ml := t.m[l]
	data := make([]byte, 1+t.rng.IntN(600))
	for i := range data {
		data[i] = byte(1 + t.rng.IntN(255))
	}
	at := len(ml.bytes)
	if _, ok := t.dirty[l]; !ok {
		t.dirty[l] = at
	}
	ml.bytes = append(ml.bytes, data...)
	_, err := t.files[l].WriteAt(data, int64(at))
	return err
}

// round makes all that is dirty durable, by the journal or in place.
func (t *toy) round() error {
	var entries []Entry
	dirty := slices.SortedFunc(maps.Keys(t.dirty), func(a, b Log) int { return cmp.Compare(a.Dir, b.Dir) })
	for _, l := range dirty {
		ml := t.m[l]
		entries = append(entries, Entry{Log: l, Base: ml.base, Position: int64(t.dirty[l]), Data: ml.bytes[t.dirty[l]:]})
	}
	if len(entries) == 0 {
		return nil
	}
	err := ErrFull
	if t.rng.IntN(4) > 0 {
		err = t.j.Append(entries)
	}
	if errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) {
		for _, e := range entries {
			if err := t.files[e.Log].Sync(); err != nil {
				return err
			}
			t.j.Settle(Segment{e.Log, e.Base}, t.j.Generation())
		}
	} else if err != nil {
		return err
	}
	for _, l := range dirty {
		t.m[l].acked = len(t.m[l].bytes)
	}
	clear(t.dirty)
	return nil
}

func (t *toy) trim() error {
	g, ok := t.j.Waiting()
	if !ok {
		return nil
	}
	list := t.j.Unsettled(g)
	slices.SortFunc(list, func(a, b Segment) int { return cmp.Compare(a.Log.Dir, b.Log.Dir) })
	for _, s := range list {
		if f := t.files[s.Log]; f != nil {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		t.j.Settle(s, g)
	}
	return t.j.Trim()
}

// release makes the journal hold nothing of a log.
func (t *toy) release(l Log, sync bool) error {
	if !t.j.Holds(l) {
		return nil
	}
	if sync {
		if err := t.files[l].Sync(); err != nil {
			return err
		}
	}
	err := t.j.Forget(l)
	if errors.Is(err, ErrFull) {
		if err := t.trim(); err != nil {
			return err
		}
		err = t.j.Forget(l)
	}
	return err
}

func (t *toy) truncate(l Log) error {
	ml := t.m[l]
	if len(ml.bytes) == 0 || len(ml.bytes) != ml.acked {
		return nil
	}
	if err := t.release(l, true); err != nil {
		return err
	}
	to := t.rng.IntN(len(ml.bytes))
	old := *ml
	*ml = modelLog{base: ml.base, bytes: slices.Clone(ml.bytes[:to]), acked: to, orElse: &old}
	if err := errors.Join(t.files[l].Truncate(int64(to)), t.files[l].Sync()); err != nil {
		return err
	}
	ml.orElse = nil
	return nil
}

// recreate removes a log and makes it anew under the same name and id.
func (t *toy) recreate(l Log) error {
	ml := t.m[l]
	old := *ml
	*ml = modelLog{orElse: &old}
	t.files[l].Close()
	delete(t.files, l)
	delete(t.dirty, l)
	if err := errors.Join(t.d.RemoveAll(segmentName(l, ml.base)), t.d.SyncDir(l.Dir)); err != nil {
		return err
	}
	ml.orElse = nil
	if err := t.release(l, false); err != nil {
		return err
	}
	f, err := t.d.OpenFile(segmentName(l, 0), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	t.files[l] = f
	return t.d.SyncDir(l.Dir)
}

// crashCase runs one seed with some power cuts; m takes syncs out, nil: none.
func crashCase(seed uint64, m *missing) error {
	rng := env.NewRand(seed)
	d := env.NewDisk(seed)
	mod := model{}
	for life := range 6 {
		if m != nil {
			d.SkipSync(m.skip)
			d.OnOp(m.cut)
		}
		d.CrashAt(1 + rng.IntN([]int{6, 20, 120}[rng.IntN(3)])) // often while it starts
		t, r, err := openToy(d, mod, rng)
		if err == nil && len(r.Damaged) > 0 {
			return fmt.Errorf("life %d: a power cut counts as damage: %+v", life, r)
		}
		if err == nil {
			if err = t.check(); err != nil && !d.Crashed() {
				return fmt.Errorf("life %d: %w", life, err)
			}
		}
		for err == nil {
			err = t.step()
		}
		if !d.Crashed() {
			return fmt.Errorf("life %d: %w", life, err)
		}
		kills := 1
		if m != nil {
			kills = 4
		}
		if rng.IntN(8) < kills {
			d = d.KillClone()
		} else {
			d = d.CrashClone(rng)
		}
	}
	t, r, err := openToy(d, mod, rng)
	if err != nil || len(r.Damaged) > 0 {
		return fmt.Errorf("at the end: %+v: %w", r, err)
	}
	return t.check()
}

func TestCrash(t *testing.T) {
	n := uint64(1200)
	if testing.Short() {
		n = 300
	}
	for seed := range n {
		if err := crashCase(seed, nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// FuzzReplay builds both files of blocks that start with 128 bytes of the input; with
// seal their checksums are made right, so that the fuzzer gets behind them.
func FuzzReplay(f *testing.F) {
	const used = 128
	d := env.NewDisk(1)
	j := start(f, small(d))
	must(f, j.Append([]Entry{entry("orders-0", 0, 4096, "batch one"), entry("b", 1, 2, "batch two")}))
	must(f, j.Forget(logNamed("orders-0")))
	must(f, j.Append([]Entry{entry("orders-0", 0, 0, "batch three")}))
	var seed []byte
	for off := int64(0); off < j.at; off += block {
		b := make([]byte, used)
		_, err := j.files[0].ReadAt(b, off)
		must(f, err)
		seed = append(seed, b...)
	}
	f.Add(seed, []byte{}, true)
	f.Add(seed, seed[:used], false)
	f.Add(seed[used:], seed[:2*used], true)
	f.Fuzz(func(t *testing.T, a, b []byte, seal bool) {
		d := env.NewDisk(1)
		for i, input := range [][]byte{a, b} {
			content := make([]byte, 8*block)
			for k := 0; k < 8 && k*used < len(input); k++ {
				copy(content[k*block:(k+1)*block], input[k*used:min((k+1)*used, len(input))])
			}
			if seal {
				reseal(content)
			}
			h, err := d.OpenFile(fmt.Sprintf("journal-%d", i), os.O_RDWR|os.O_CREATE, 0o644)
			must(t, err)
			_, err = h.WriteAt(content, 0)
			must(t, err)
		}
		j, err := Open(small(d))
		must(t, err)
		_, err = j.Replay(func(e Entry) error {
			if !validDir(e.Log.Dir) || e.Base < 0 || e.Position < 0 {
				t.Errorf("handed out %+v", e)
			}
			return nil
		})
		must(t, err)
		must(t, j.Reset())
		must(t, j.Append([]Entry{entry("a-0", 0, 0, "after")}))
		expect(t, small(d), "a-0/0@0=after")
	})
}

// reseal makes the checksums of all headers right.
func reseal(b []byte) {
	for p := b; len(p) >= block; p = p[block:] {
		length := binary.BigEndian.Uint32(p[40:])
		if int64(length) <= int64(len(p)-headerSize) {
			binary.BigEndian.PutUint32(p[44:], checksum(p[headerSize:headerSize+length]))
		}
		binary.BigEndian.PutUint32(p[4:], checksum(p[8:headerSize]))
	}
}
