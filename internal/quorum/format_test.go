package quorum

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/machine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s differs; got:\n%s", name, got)
	}
}

func sampleEntries() []*raftpb.Entry {
	recs := []machine.Record{{Key: []byte("k"), Value: []byte("value")}, {Key: nil, Value: []byte{}}, {Key: []byte{}, Value: nil}}
	return []*raftpb.Entry{
		{Term: new(uint64(2)), Index: new(uint64(2))},
		{Term: new(uint64(2)), Index: new(uint64(3)), Data: appendBatch(nil, 1, 1_700_000_000_123, recs)},
		{Term: new(uint64(2)), Index: new(uint64(4)), Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte{1, 2, 3}},
	}
}

func sampleSegment() []byte {
	b := appendSegmentHeader(nil, segmentHeader{member: 0x1122334455667788, number: 1, prevIndex: 1, prevTerm: 1})
	b = appendHardState(b, hardState{term: 2, vote: 0x1122334455667788, commit: 1})
	for _, e := range sampleEntries() {
		b = appendEntry(b, e)
	}
	return appendHardState(b, hardState{term: 2, vote: 0x1122334455667788, commit: 4})
}

func sampleSnapshot(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	m := SnapshotMeta{Index: 4, Term: 2, Conf: &raftpb.ConfState{Voters: []uint64{self.ID()}}, Members: []Member{self}}
	err := encodeSnapshot(&b, m, func(w io.Writer) error {
		recs := []machine.Record{{Key: []byte("k"), Value: []byte("value")}, {Value: []byte("only a value")}}
		return writeRecords(w, snapshotHead{3, 1_700_000_000_123}, slices.Values(recs))
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGoldenBytes pins the format: a file written by any version must stay readable.
func TestGoldenBytes(t *testing.T) {
	files := map[string][]byte{
		segmentName(1):  sampleSegment(),
		snapshotName(4): sampleSnapshot(t),
		markerName:      appendSynced(nil, synced{counter: 9, segment: 1, bytes: 300}),
	}
	for name, b := range files {
		golden(t, "testdata/"+name+".hex", []byte(hex.Dump(b)))
	}
	disk := newDisk(t)
	for name, b := range files {
		put(t, disk, "d/"+name, b)
	}
	var lines strings.Builder
	if err := Inspect(disk, "d", func(i Item) error { fmt.Fprintln(&lines, i.File, i); return nil }); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/inspect.txt", []byte(lines.String()))
}

func put(t testing.TB, disk *env.Disk, name string, b []byte) {
	t.Helper()
	f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, 0)
	if err := errors.Join(err, f.Sync(), f.Close(), disk.SyncDir("d")); err != nil {
		t.Fatal(err)
	}
}

func TestMemberID(t *testing.T) {
	// Pinned: it must never change for a member that exists.
	if id := self.ID(); id != 0xc9a848b759c181e2 {
		t.Fatalf("id %#x", id)
	}
	other := self
	other.DirectoryID[15] = 1
	if other.ID() == self.ID() {
		t.Fatal("an empty disk has the old one's id")
	}
}

// FuzzSegment: any bytes as a segment are read up to the first damage, by recovery
// and by Inspect alike.
func FuzzSegment(f *testing.F) {
	whole := sampleSegment()
	f.Add(whole)
	f.Add(append(slices.Clone(whole), make([]byte, 100)...))
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := env.NewDisk(1)
		if err := disk.MkdirAll("d", 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, disk, "d/"+segmentName(1), b)
		frames := 0
		s, err := scanSegment(disk, "d/"+segmentName(1), visitor{
			begin: func(segmentHeader) { frames++ },
			hard:  func(int64, hardState) { frames++ },
			entry: func(int64, *raftpb.Entry) error { frames++; return nil },
		})
		if err != nil && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		items, next := 0, int64(0)
		err = InspectFile(disk, "d/"+segmentName(1), func(i Item) error {
			if i.Pos < next {
				t.Fatalf("item at %d after %d", i.Pos, next)
			}
			next = i.Pos + max(1, i.Skipped)
			if i.Damage == nil && i.Pos < s.size {
				items++
			}
			_ = i.String()
			return nil
		})
		if err != nil || items != frames {
			t.Fatalf("recovery saw %d frames, Inspect %d, %v", frames, items, err)
		}
	})
}

// FuzzSnapshot: any bytes as a snapshot are read whole or found damaged.
func FuzzSnapshot(f *testing.F) {
	whole := sampleSnapshot(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newSnapshotReader(bytes.NewReader(b))
		if err == nil {
			if _, err = readSnapshotHead(r); err == nil {
				for _, err = range records(r) {
				}
			}
		}
		if err != nil && !errors.Is(err, errFrame) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
	})
}

// FuzzBatch: what decodes, encodes to the same bytes.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(sampleEntries()[1].GetData()))
	f.Fuzz(func(t *testing.T, b []byte) {
		batch, err := DecodeBatch(b)
		if err != nil {
			return
		}
		if got := appendBatch(nil, batch.Base, batch.Timestamp, batch.Records); !bytes.Equal(got, b) {
			t.Fatalf("%x encodes to %x", b, got)
		}
	})
}

// FuzzMarker: any bytes as the synced note give a note or none.
func FuzzMarker(f *testing.F) {
	f.Add(append(appendSynced(nil, synced{2, 1, 300}), make([]byte, markerSlot)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := env.NewDisk(1)
		if err := disk.MkdirAll("d", 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, disk, "d/"+markerName, b)
		if _, err := readMarker(disk, "d/"+markerName); err != nil {
			t.Fatal(err)
		}
		if err := InspectFile(disk, "d/"+markerName, func(i Item) error { _ = i.String(); return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzBodies: any body of any kind, its checksum being right.
func FuzzBodies(f *testing.F) {
	for _, b := range [][]byte{sampleSegment(), sampleSnapshot(f)} {
		for len(b) > 0 {
			fr, _, err := nextFrame(b)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(fr.kind), fr.body)
			b = b[fr.size:]
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		fr := frame{frameKind(kind), body, len(body) + frameHead + 1}
		if i, err := describe(fr); err == nil {
			_ = i.String()
		}
		if _, err := parseSnapshotHeader(body); err != nil && !errors.Is(err, errFrame) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		b, start := beginFrame(nil, frameKind(kind))
		b = endFrame(append(b, body...), start)
		if got, ok, err := nextFrame(b); err != nil || !ok || !bytes.Equal(got.body, body) {
			t.Fatalf("%v %v %v", got, ok, err)
		}
	})
}

// FuzzOpen: any sequence of good frames either opens or is refused.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0, 1, 2, 1, 1, 3, 1, 0, 1, 1, 3})
	f.Add([]byte{1, 1, 2, 1, 1, 3, 2, 1, 1, 3, 1, 2, 2, 3, 0, 2, 9, 9})
	f.Fuzz(func(t *testing.T, ops []byte) {
		disk := env.NewDisk(1)
		if err := errors.Join(disk.MkdirAll("d", 0o755), bootstrap(disk, crashDir, []Member{self})); err != nil {
			t.Fatal(err)
		}
		number := uint64(1)
		b := appendSegmentHeader(nil, segmentHeader{member: self.ID(), number: 1, prevIndex: 1, prevTerm: 1})
		next := func() (v uint64) {
			if len(ops) > 0 {
				v, ops = uint64(ops[0]), ops[1:]
			}
			return v
		}
		for len(ops) > 0 && number < 8 {
			switch next() % 3 {
			case 0:
				b = appendHardState(b, hardState{next(), next(), next()})
			case 1:
				b = appendEntry(b, &raftpb.Entry{Term: new(next()), Index: new(next()), Data: []byte("x")})
			case 2:
				put(t, disk, crashDir+"/"+segmentName(number), b)
				number++
				h := segmentHeader{member: self.ID(), number: number, previous: uint64(len(b)), prevIndex: next(), prevTerm: next()}
				b = appendSegmentHeader(nil, h)
			}
		}
		put(t, disk, crashDir+"/"+segmentName(number), b)
		if err := reopen(disk); err != nil && !refused(err) {
			t.Fatal(err)
		}
	})
}

// TestSnapshotMissesNoFrame: frames are whole, one is left out or doubled.
func TestSnapshotMissesNoFrame(t *testing.T) {
	var whole bytes.Buffer
	m := SnapshotMeta{Index: 4, Term: 2, Conf: &raftpb.ConfState{}}
	err := encodeSnapshot(&whole, m, func(w io.Writer) error { _, err := w.Write(make([]byte, 3*snapshotChunk)); return err })
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for b := whole.Bytes(); len(b) > 0; b = b[len(frames[len(frames)-1]):] {
		f, _, err := nextFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, b[:f.size])
	}
	read := func(frames ...[]byte) error {
		r, err := newSnapshotReader(bytes.NewReader(bytes.Join(frames, nil)))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		return err
	}
	if err := read(frames...); err != nil || len(frames) != 5 {
		t.Fatalf("%d frames: %v", len(frames), err)
	}
	for i := range frames {
		if err := read(slices.Delete(slices.Clone(frames), i, i+1)...); !errors.Is(err, errFrame) {
			t.Errorf("without frame %d: %v", i, err)
		}
		if err := read(slices.Insert(slices.Clone(frames), i, frames[i])...); !errors.Is(err, errFrame) {
			t.Errorf("frame %d twice: %v", i, err)
		}
	}
}

// undump reads what hex.Dump wrote.
func undump(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for line := range strings.Lines(string(text)) {
		if len(line) < 60 {
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(line[10:58], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// TestReadsOlderFormats: members without addresses, in snapshots and in changes of
// membership.
func TestReadsOlderFormats(t *testing.T) {
	r, err := newSnapshotReader(bytes.NewReader(undump(t, "testdata/snapshot-v1.hex")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil || r.meta.Index != 4 || !slices.Equal(r.meta.Members, []Member{self}) {
		t.Fatalf("%v, %v", r.meta, err)
	}
	old := append([]byte{0, 0, 0, 1}, self.DirectoryID[:]...)
	if ms, err := parseContext(old); err != nil || !slices.Equal(ms, []Member{self}) {
		t.Fatalf("%v, %v", ms, err)
	}
	at := self
	at.Address = "h:1"
	b := appendContext(at)
	if want := append(append([]byte{0x82}, old...), 0, 3, 'h', ':', '1'); !bytes.Equal(b, want) {
		t.Fatalf("context % x, want % x", b, want)
	}
	if ms, err := parseContext(b); err != nil || !slices.Equal(ms, []Member{at}) {
		t.Fatalf("%v, %v", ms, err)
	}
	for n := 1; n < len(b); n++ {
		if ms, err := parseContext(b[:n]); err == nil && n > 1 {
			t.Fatalf("%d bytes of a context are %v", n, ms)
		}
	}
	if _, err := parseContext([]byte{0x83}); !errors.Is(err, ErrVersion) {
		t.Fatal(err)
	}
}

// TestFoundersBeginAlike: whatever the order in which the voters are named.
func TestFoundersBeginAlike(t *testing.T) {
	voters := []Member{{NodeID: 1, Address: "a:1"}, {NodeID: 2, Address: "b:1"}, {NodeID: 3, Address: "c:1"}}
	var want []byte
	for i := range voters {
		disk := newDisk(t)
		if err := bootstrap(disk, crashDir, voters); err != nil {
			t.Fatal(err)
		}
		b, err := readFile(disk, crashDir+"/"+snapshotName(1))
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && !bytes.Equal(b, want) {
			t.Fatalf("founder %d begins with other bytes", i)
		}
		want = b
		voters = append(voters[1:], voters[0])
	}
}
