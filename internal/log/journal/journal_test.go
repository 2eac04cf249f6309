package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

var update = flag.Bool("update", false, "write the golden files anew")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func logNamed(name string) Log { return Log{Dir: name, TopicID: [16]byte{15: byte(len(name))}} }

func entry(log string, base, pos int64, data string) Entry {
	return Entry{Log: logNamed(log), Base: base, Position: pos, Data: []byte(data)}
}

func small(fsys env.FS) Options {
	return Options{FS: fsys, Dir: "/", Size: 8 * block, Chunk: block, Salt: 0x5a17}
}

// start opens a journal and resets it.
func start(t testing.TB, o Options) *Journal {
	t.Helper()
	j, err := Open(o)
	must(t, err)
	_, err = j.Replay(func(Entry) error { return nil })
	must(t, err)
	must(t, j.Reset())
	return j
}

// replayed are the entries that a journal hands out, as text.
func replayed(t testing.TB, o Options) ([]string, Replayed) {
	t.Helper()
	j, err := Open(o)
	must(t, err)
	defer j.Close()
	var got []string
	r, err := j.Replay(func(e Entry) error {
		data := string(e.Data)
		if len(data) > 20 {
			data = fmt.Sprintf("%s*%d", data[:1], len(data))
		}
		got = append(got, fmt.Sprintf("%s/%d@%d=%s", e.Log.Dir, e.Base, e.Position, data))
		return nil
	})
	must(t, err)
	return got, r
}

func expect(t testing.TB, o Options, want ...string) Replayed {
	t.Helper()
	got, r := replayed(t, o)
	if !slices.Equal(got, want) {
		t.Fatalf("replayed %q, want %q", got, want)
	}
	return r
}

func TestAppendIsOneWriteAndOneSync(t *testing.T) {
	d := env.NewDisk(1)
	d.Record()
	j := start(t, small(d))
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "one"), entry("b-0", 7, 9, "two")}))
	must(t, j.Append([]Entry{entry("a-0", 0, 3, "three")}))
	must(t, j.Append(nil))
	want := `create journal-0
create journal-1
syncdir .
sync journal-0
write journal-0 0+4096
write journal-0 0+4096
sync journal-0
write journal-0 4096+4096
write journal-0 4096+4096
sync journal-0
write journal-0 8192+8192
write journal-0 8192+4096
sync journal-0`
	if got := strings.Join(d.Recorded(), "\n"); got != want {
		t.Fatalf("got\n%s", got)
	}
	must(t, j.Prepare())
	d.Record()
	must(t, j.Append([]Entry{entry("a-0", 0, 8, "four")}))
	if got := d.Recorded(); !slices.Equal(got, []string{"write journal-0 12288+4096", "sync journal-0"}) {
		t.Fatalf("with room prepared: %q", got)
	}
	c := d.CrashClone(nil)
	expect(t, small(c), "a-0/0@0=one", "b-0/7@9=two", "a-0/0@3=three", "a-0/0@8=four")
}

func TestNothingBeforeReset(t *testing.T) {
	d := env.NewDisk(1)
	j, err := Open(small(d))
	must(t, err)
	is(t, j.Append([]Entry{entry("a-0", 0, 0, "x")}), errNotReset)
	is(t, j.Forget(logNamed("a-0")), errNotReset)
	is(t, j.Trim(), errNotReset)
	is(t, j.Prepare(), errNotReset)
	must(t, j.Reset())
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "x")}))
}

func TestEntriesAreChecked(t *testing.T) {
	j := start(t, small(env.NewDisk(1)))
	for _, e := range []Entry{
		entry("", 0, 0, "x"), entry("..", 0, 0, "x"), entry("a/b", 0, 0, "x"), entry("a\x00", 0, 0, "x"),
		entry(strings.Repeat("n", 256), 0, 0, "x"), entry("a", -1, 0, "x"), entry("a", 0, -1, "x"), entry("a", 0, 0, ""),
	} {
		if j.Append([]Entry{e}) == nil {
			t.Errorf("%+v was taken", e)
		}
	}
	is(t, j.Append([]Entry{entry("a", 0, 0, strings.Repeat("x", 4*block))}), ErrTooLarge)
	must(t, j.Append([]Entry{entry(strings.Repeat("n", 255), 0, 0, "x")}))
	for _, o := range []Options{{Size: block}, {Size: 8*block + 1}, {Size: 8 * block, Chunk: 1}} {
		o.FS = env.NewDisk(1)
		if _, err := Open(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// fill appends blocks until the current generation ends at the latest.
func fill(t *testing.T, j *Journal, log string) int {
	t.Helper()
	for n := 0; ; n++ {
		err := j.Append([]Entry{entry(log, 0, int64(n), "x")})
		if errors.Is(err, ErrFull) {
			return n
		}
		must(t, err)
	}
}

func TestTwoFilesTakeTurns(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d)) // 8 blocks each: reset frame, 6 frames, 1 kept; then 7 frames, 1 kept
	if _, ok := j.Waiting(); ok {
		t.Fatal("a generation waits at the start")
	}
	if n := fill(t, j, "a-0"); n != 13 {
		t.Fatalf("%d frames until full", n)
	}
	g, ok := j.Waiting()
	if !ok || g != 1 || j.Generation() != 2 {
		t.Fatalf("waiting %d %v, current %d", g, ok, j.Generation())
	}
	seg := Segment{logNamed("a-0"), 0}
	if u := j.Unsettled(g); !slices.Equal(u, []Segment{seg}) {
		t.Fatalf("unsettled %v", u)
	}
	if err := j.Trim(); err == nil {
		t.Fatal("trimmed an unsettled generation")
	}
	if len(j.Unsettled(2)) != 1 {
		t.Fatal("the current generation is settled")
	}
	j.Settle(seg, g)
	if len(j.Unsettled(g)) != 0 || len(j.Unsettled(2)) != 1 {
		t.Fatal("settling one generation settled the other, or not itself")
	}
	got, _ := replayed(t, small(d.CrashClone(nil)))
	if len(got) != 13 {
		t.Fatalf("before the trim: %q", got)
	}
	must(t, j.Trim())
	if _, ok := j.Waiting(); ok {
		t.Fatal("still waiting")
	}
	must(t, j.Trim()) // nothing to do
	got, _ = replayed(t, small(d.CrashClone(nil)))
	if len(got) != 7 {
		t.Fatalf("after the trim: %q", got)
	}
	must(t, j.Append([]Entry{entry("b-0", 0, 0, "third")}))
	if j.Generation() != 3 {
		t.Fatalf("generation %d", j.Generation())
	}
	got, r := replayed(t, small(d.CrashClone(nil)))
	if len(got) != 8 || got[7] != "b-0/0@0=third" || len(r.Damaged) > 0 {
		t.Fatalf("in the third: %q %v", got, r)
	}
	if !j.Holds(logNamed("a-0")) || !j.Holds(logNamed("b-0")) || j.Holds(logNamed("c-0")) {
		t.Fatal("Holds is wrong")
	}
}

func TestResetVoidsAllAndGenerationsGoOn(t *testing.T) {
	d := env.NewDisk(1)
	o := small(d)
	for round := range 10 {
		j := start(t, o)
		for k := range round {
			must(t, j.Append([]Entry{entry("a-0", 0, int64(k), fmt.Sprint(round))}))
		}
		if round == 5 {
			if err := j.Reset(); err == nil {
				t.Fatal("reset with unsettled segments")
			}
			j.Settle(Segment{logNamed("a-0"), 0}, j.Generation())
			must(t, j.Reset())
			expect(t, small(d.CrashClone(nil)))
		}
		must(t, j.Close())
		d = d.CrashClone(nil)
		o = small(d)
		got, r := replayed(t, o)
		want := round
		if round == 5 {
			want = 0
		}
		if len(got) != want || len(r.Damaged) > 0 {
			t.Fatalf("round %d: %q %v", round, got, r)
		}
	}
}

func TestForget(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d))
	other := Log{Dir: "a-0", TopicID: [16]byte{1}}
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "old"), entry("b-0", 0, 0, "stays"), {Log: other, Data: []byte("other id")}}))
	before := d.Ops()
	must(t, j.Forget(logNamed("c-0")))
	if d.Ops() != before {
		t.Fatal("forgetting what is not held wrote something")
	}
	must(t, j.Forget(logNamed("a-0"), logNamed("c-0")))
	if j.Holds(logNamed("a-0")) || len(j.Unsettled(1)) != 2 {
		t.Fatal("still held")
	}
	expect(t, small(d.CrashClone(nil)), "b-0/0@0=stays", "a-0/0@0=other id")
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "new")}))
	r := expect(t, small(d.CrashClone(nil)), "b-0/0@0=stays", "a-0/0@0=other id", "a-0/0@0=new")
	if r.Void != 1 || r.Entries != 3 || r.Frames != 4 {
		t.Fatalf("%+v", r)
	}
	if !j.Holds(logNamed("a-0")) {
		t.Fatal("not held again")
	}
}

func TestDamagedForgetIsRepeated(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d))
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "old"), entry("b-0", 0, 0, "stays")}))
	must(t, j.Forget(logNamed("a-0")))
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "new")}))
	must(t, d.FlipBit("journal-0", 2*block+headerSize))
	r := expect(t, small(d), "b-0/0@0=stays", "a-0/0@0=new")
	if len(r.Damaged) != 1 || r.Damaged[0] != (Damage{"/journal-0", 2 * block, 3 * block}) {
		t.Fatalf("%+v", r)
	}
}

func TestForgottenLogsThatLeaveNoRoomForTheTrim(t *testing.T) {
	d := env.NewDisk(1)
	o := small(d)
	j := start(t, o)
	var logs []Log
	for i := range 30 {
		logs = append(logs, logNamed(strings.Repeat("n", 200)+fmt.Sprint(i)))
	}
	var entries []Entry
	for _, l := range logs {
		entries = append(entries, Entry{Log: l, Data: []byte("x")})
	}
	for range 2 {
		must(t, j.Append(entries)) // 2 blocks
	}
	fillTo(t, j, 2, 5)
	must(t, j.Forget(logs...)) // blocks 5 and 6 of 8: the kept one is left, and the repeats need two
	for _, s := range j.Unsettled(1) {
		j.Settle(s, 1)
	}
	must(t, j.Trim())
	must(t, j.Append([]Entry{entry("z-0", 0, 0, "x")}))
	must(t, d.FlipBit("journal-1", 5*block))
	got, r := replayed(t, o)
	if last := got[len(got)-1]; last != "z-0/0@0=x" || slices.ContainsFunc(got, func(s string) bool { return s[0] == 'n' }) {
		t.Fatalf("got %q %+v", got, r)
	}
}

// fillTo appends single blocks until the next frame of the generation goes to a block.
func fillTo(t *testing.T, j *Journal, generation uint64, at int64) {
	t.Helper()
	for n := int64(0); j.generation != generation || j.at != at*block; n++ {
		if j.generation > generation {
			t.Fatalf("passed block %d", at)
		}
		must(t, j.Append([]Entry{entry("f-0", 0, n, "x")}))
	}
}

func TestTornTailIsTheEnd(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d))
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "one")}))
	must(t, j.Append([]Entry{entry("a-0", 0, 3, strings.Repeat("y", block))}))
	must(t, d.FlipBit("journal-0", 3*block+10))
	r := expect(t, small(d), "a-0/0@0=one")
	if len(r.Damaged) > 0 {
		t.Fatalf("a torn tail counts as damage: %+v", r)
	}
}

func TestDamageIsToldAndReadAround(t *testing.T) {
	for name, damage := range map[string]func(d *env.Disk, f env.File) error{
		"flipped header": func(d *env.Disk, f env.File) error { return d.FlipBit("journal-0", 2*block+20) },
		"flipped body":   func(d *env.Disk, f env.File) error { return d.FlipBit("journal-0", 2*block+headerSize+20) },
		"zeroed":         func(d *env.Disk, f env.File) error { _, err := f.WriteAt(zeros[:block], 2*block); return err },
	} {
		t.Run(name, func(t *testing.T) {
			d := env.NewDisk(1)
			o := small(d)
			j := start(t, o)
			for i, s := range []string{"one", "two", "three"} {
				must(t, j.Append([]Entry{entry("a-0", 0, int64(i), s)}))
			}
			must(t, damage(d, j.files[0].File))
			r := expect(t, o, "a-0/0@0=one", "a-0/0@2=three")
			if len(r.Damaged) != 1 || r.Damaged[0] != (Damage{"/journal-0", 2 * block, 3 * block}) {
				t.Fatalf("%+v", r.Damaged)
			}
			start(t, o)
			if st, err := d.Stat("journal-0.damaged-1"); err != nil || st.Size() != 4*block {
				t.Fatalf("no copy was set aside: %v", err)
			}
			if r := expect(t, o); len(r.Damaged) > 0 {
				t.Fatalf("reported again: %+v", r)
			}
		})
	}
}

func TestDamagedFirstFrame(t *testing.T) {
	d := env.NewDisk(1)
	o := small(d)
	j := start(t, o)
	fill(t, j, "a-0") // generations 1 and 2
	must(t, d.FlipBit("journal-1", 0))
	got, r := replayed(t, o)
	if len(got) != 12 || len(r.Damaged) != 1 { // the salt of journal-0 vouches for the rest
		t.Fatalf("%d entries, %+v", len(got), r)
	}
	must(t, d.FlipBit("journal-0", 0))
	o.Salt++ // as a start draws it
	got, r = replayed(t, o)
	if len(got) != 0 || len(r.Damaged) != 2 { // nothing vouches for either
		t.Fatalf("%d entries, %+v", len(got), r)
	}
	j = start(t, o)
	must(t, j.Append([]Entry{entry("b-0", 0, 0, "new")}))
	if r := expect(t, o, "b-0/0@0=new"); len(r.Damaged) > 0 {
		t.Fatalf("%+v", r)
	}
}

func TestEmptiedFileIsDamage(t *testing.T) {
	d := env.NewDisk(1)
	o := small(d)
	j := start(t, o)
	fill(t, j, "a-0")
	must(t, j.files[0].Truncate(0))
	got, r := replayed(t, o)
	if len(got) != 7 || len(r.Damaged) != 1 || r.Damaged[0].File != "/journal-0" {
		t.Fatalf("%d entries, %+v", len(got), r)
	}
	start(t, o)
	if r := expect(t, o); len(r.Damaged) > 0 {
		t.Fatalf("reported again: %+v", r)
	}
}

func TestFailedSyncIsForGood(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d))
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "one")}))
	d.FailSyncs(syscall.EIO)
	is(t, j.Append([]Entry{entry("a-0", 0, 3, "two")}), syscall.EIO)
	d.FailSyncs(nil)
	for _, err := range []error{
		j.Append([]Entry{entry("a-0", 0, 3, "two")}), j.Append(nil), j.Forget(logNamed("a-0")), j.Trim(), j.Reset(), j.Prepare(), j.Err(),
	} {
		is(t, err, syscall.EIO)
	}
}

// TestFullDiskAtAReset: what the journal held before it holds after a reset that found no room,
// to grow a file or to write at all.
func TestFullDiskAtAReset(t *testing.T) {
	for name, fits := range map[string]int{"to grow": 0, "to write": 1} {
		t.Run(name, func(t *testing.T) {
			d := env.NewDisk(1)
			j := start(t, small(d))
			must(t, j.Append([]Entry{entry("a-0", 0, 0, "one")}))
			j.Settle(Segment{Log: logNamed("a-0")}, j.Generation())
			g := j.Generation()
			writes := 0
			d.OnOp(func(op env.Op) error {
				if op.Kind == env.OpWrite && op.Path == "journal-1" {
					if writes++; writes > fits {
						return syscall.ENOSPC
					}
				}
				return nil
			})
			is(t, j.Reset(), ErrFull)
			d.OnOp(nil)
			if !j.Holds(logNamed("a-0")) || j.Generation() != g {
				t.Fatalf("holds it: %v, generation %d, not %d", j.Holds(logNamed("a-0")), j.Generation(), g)
			}
			expect(t, small(d.CrashClone(nil)), "a-0/0@0=one")
			must(t, j.Append([]Entry{entry("a-0", 0, 3, "two")}))
			expect(t, small(d.CrashClone(nil)), "a-0/0@0=one", "a-0/0@3=two")
			j.Settle(Segment{Log: logNamed("a-0")}, j.Generation())
			must(t, j.Reset())
			expect(t, small(d.CrashClone(nil)))
		})
	}
}

func TestFullDiskIsFullAndHeals(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d))
	d.SetFree(0)
	err := j.Append([]Entry{entry("a-0", 0, 0, "one")})
	is(t, err, ErrFull)
	is(t, err, syscall.ENOSPC)
	d.SetFree(block + 10) // what fits of the growth stays
	is(t, j.Append([]Entry{entry("a-0", 0, 0, strings.Repeat("x", block))}), ErrFull)
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "one")}))
	d.SetFree(1 << 20)
	must(t, j.Append([]Entry{entry("a-0", 0, 3, "two")}))
	must(t, j.Err())
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		d.OnOp(func(op env.Op) error {
			if op.Kind == env.OpWrite {
				return env.Partial{N: 100, Err: full}
			}
			return nil
		})
		is(t, j.Append([]Entry{entry("a-0", 0, 6, "never")}), ErrFull)
		is(t, j.Append([]Entry{entry("a-0", 0, 6, strings.Repeat("x", 3*block))}), ErrFull) // for which it would have to grow
		d.OnOp(nil)
		must(t, j.Err())
	}
	must(t, j.Append([]Entry{entry("a-0", 0, 6, "three")}))
	expect(t, small(d.CrashClone(nil)), "a-0/0@0=one", "a-0/0@3=two", "a-0/0@6=three")
}

func TestPayloadThatLooksLikeAFrameIsNone(t *testing.T) {
	// What somebody knows who has read the source, but not the salt.
	forged := make([]byte, block)
	h := header{salt: 1, generation: 1, sequence: 2, firstLive: 1}
	table := appendEntry(nil, kindData, entry("victim-0", 0, 0, "evil"))
	h.table, h.count = uint32(len(table)), 1
	body := append(table, "evil"...)
	h.bodyLength = uint32(len(body))
	h.bodyCRC = checksum(body)
	h.encode(forged)
	copy(forged[headerSize:], body)

	d := env.NewDisk(1)
	o := small(d)
	j := start(t, o)
	pad := block - headerSize - entrySize(kindData, logNamed("a-0"))
	must(t, j.Append([]Entry{entry("a-0", 0, 0, strings.Repeat("p", pad)+string(forged))}))
	must(t, d.FlipBit("journal-0", block)) // the frame around it is torn
	if r := expect(t, o); len(r.Damaged) > 0 {
		t.Fatalf("taken for a frame: %+v", r)
	}
	must(t, d.FlipBit("journal-0", 0)) // and nothing vouches for any salt
	o.Salt++
	expect(t, o)
}

func TestReplayStopsAtTheCallersError(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d))
	must(t, j.Append([]Entry{entry("a-0", 0, 0, "one")}))
	j, err := Open(small(d))
	must(t, err)
	boom := errors.New("boom")
	_, err = j.Replay(func(Entry) error { return boom })
	is(t, err, boom)
	d.FailReads(func(string, int64, int) error { return syscall.EIO })
	_, err = j.Replay(func(Entry) error { return nil })
	is(t, err, syscall.EIO)
	_, err = Open(small(d))
	is(t, err, syscall.EIO)
}

func TestManyBuffers(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Salt: 1}
	j := start(t, o)
	var entries []Entry
	for i := range 3000 {
		entries = append(entries, entry(fmt.Sprintf("t-%d", i), int64(i), int64(i), fmt.Sprint("data ", i)))
	}
	must(t, j.Append(entries))
	if n := j.Used(); n != FrameSize(entries)+block {
		t.Errorf("used %d, frame %d", n, FrameSize(entries))
	}
	must(t, j.Close())
	got, _ := replayed(t, o)
	if len(got) != 3000 || got[2999] != "t-2999/2999@2999=data 2999" {
		t.Fatalf("%d entries", len(got))
	}
}

func TestGolden(t *testing.T) {
	d := env.NewDisk(1)
	j := start(t, small(d))
	must(t, j.Append([]Entry{entry("orders-0", 0, 4096, "batch one"), entry("orders-1", 12, 0, "batch two")}))
	must(t, j.Forget(logNamed("orders-0")))
	must(t, j.Append([]Entry{entry("orders-0", 0, 100, "batch three")}))
	var got strings.Builder
	f := j.files[0]
	for off := int64(0); off < j.at; off += block {
		b := make([]byte, block)
		_, err := f.ReadAt(b, off)
		must(t, err)
		fmt.Fprintf(&got, "frame at %d\n%s", off, hex.Dump(bytes.TrimRight(b, "\x00")))
	}
	name := filepath.Join("testdata", "golden-v1.txt")
	if *update {
		must(t, os.WriteFile(name, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(name)
	must(t, err)
	if got.String() != string(want) {
		t.Fatalf("the bytes changed: this needs a new version in magic\n%s", got.String())
	}
}

// work fills a journal and the other file after it.
func work(d *env.Disk, data string) error {
	j, err := Open(small(d))
	if err != nil {
		return err
	}
	if err := j.Reset(); err != nil {
		return err
	}
	for n := range 6 {
		err := j.Append([]Entry{entry("a-0", 0, int64(n), data), entry("b-0", 0, int64(n), strings.Repeat("y", block))})
		if errors.Is(err, ErrFull) {
			j.Settle(Segment{logNamed("a-0"), 0}, j.Generation())
			j.Settle(Segment{logNamed("b-0"), 0}, j.Generation())
			err = j.Trim()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A killed process leaves names and frames in the page cache that a later one must not
// take for durable.
func TestKilledAnywhereThenPowerCut(t *testing.T) {
	whole := env.NewDisk(1)
	must(t, work(whole, "x"))
	for n := 1; n <= whole.Ops(); n++ {
		d := env.NewDisk(1)
		d.CrashAt(n)
		is(t, work(d, "x"), env.ErrPowerOff)
		d = d.KillClone()
		j, err := Open(small(d))
		must(t, err)
		must(t, j.Reset())
		must(t, j.Append([]Entry{entry("a-0", 0, 0, "acknowledged")}))
		for seed := range uint64(20) {
			expect(t, small(d.CrashClone(env.NewRand(seed))), "a-0/0@0=acknowledged")
		}
		// And cut while the second start is under way.
		for m := 1; m <= 6; m++ {
			d := env.NewDisk(1)
			d.CrashAt(n)
			is(t, work(d, "x"), env.ErrPowerOff)
			d = d.KillClone()
			d.CrashAt(m)
			if j, err := Open(small(d)); err == nil && j.Reset() == nil {
				continue
			}
			for seed := range uint64(20) {
				if _, r := replayed(t, small(d.CrashClone(env.NewRand(seed)))); len(r.Damaged) > 0 {
					t.Fatalf("killed at %d, cut at %d, seed %d: %+v", n, m, seed, r)
				}
			}
		}
	}
}

// After a failed sync the kernel takes the frame for written. A later process must not let
// others follow it before it is.
func TestFailedSyncThenPowerCut(t *testing.T) {
	whole := env.NewDisk(1)
	must(t, work(whole, "x"))
	for n := 1; n <= whole.Ops(); n++ {
		failed := func() *env.Disk {
			d := env.NewDisk(1)
			d.OnOp(func(op env.Op) error {
				if op.N == n && op.Kind == env.OpSync {
					return syscall.EIO
				}
				return nil
			})
			if err := work(d, "x"); err == nil {
				return nil
			}
			return d.KillClone()
		}
		for m := 1; failed() != nil; m++ {
			d := failed()
			d.CrashAt(m)
			if j, err := Open(small(d)); err == nil && j.Reset() == nil {
				break
			}
			for seed := range uint64(20) {
				if _, r := replayed(t, small(d.CrashClone(env.NewRand(seed)))); len(r.Damaged) > 0 {
					t.Fatalf("failed at %d, cut at %d, seed %d: %+v", n, m, seed, r)
				}
			}
		}
	}
}
