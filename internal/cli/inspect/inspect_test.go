package inspect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/record"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s (%v)\n got\n%s\nwant\n%s", name, err, got, want)
	}
}

// run dumps paths below dir and gives the output with dir taken out.
func run(t *testing.T, dir, format string, opt options, names ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	o := out.New(&stdout, &stderr)
	o.Format = format
	var paths []string
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, n))
	}
	if opt.until == 0 {
		opt.until = -1
	}
	err := dump(o, paths, opt)
	return strings.ReplaceAll(stdout.String(), dir+"/", ""), err
}

// at is the time of the n-th record.
func at(n int64) int64 { return 1_700_000_000_000 + n }

// batchOf builds a batch of records "k<n>"="v<n>".
func batchOf(t *testing.T, base int64, n int, codec record.Codec, change func(*record.BatchHeader)) []byte {
	t.Helper()
	h := record.NewHeader(base)
	if change != nil {
		change(&h)
	}
	var b record.Builder
	b.Reset(h, record.Compression{Codec: codec})
	for i := range n {
		o := base + int64(i)
		var value []byte
		if o%3 != 2 {
			value = []byte("v\x1b" + string(rune('a'+o%26)))
		}
		b.Append(at(o), []byte{'k', byte(o)}, value, record.Header{Key: "h", Value: []byte{0xff}})
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// write puts a file into dir, which nobody may change.
func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o444); err != nil {
		t.Fatal(err)
	}
}

// segmentBytes are four batches: plain, compressed and idempotent, of an open
// transaction, and its marker.
func segmentBytes(t *testing.T) []byte {
	t.Helper()
	producer := func(h *record.BatchHeader) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = 9, 1, 5 }
	txn := func(h *record.BatchHeader) { producer(h); h.Transactional = true }
	raw := batchOf(t, 0, 3, record.CodecNone, nil)
	raw = append(raw, batchOf(t, 3, 2, record.CodecGzip, producer)...)
	raw = append(raw, batchOf(t, 5, 1, record.CodecNone, txn)...)
	h := record.NewHeader(6)
	h.ProducerID, h.ProducerEpoch = 9, 1
	raw, err := record.AppendEndTxn(raw, h, record.ControlCommit, 7, at(6))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var batchLine = regexp.MustCompile(`(?m)^\d+ batch `)

const firstSegment = "00000000000000000000.log"

func TestSegment(t *testing.T) {
	dir := t.TempDir()
	raw := segmentBytes(t)
	write(t, dir, "orders-0/"+firstSegment, append(raw, make([]byte, 100)...))
	got, err := run(t, dir, "table", options{records: true}, "orders-0")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "segment.txt", got)
	if got, err = run(t, dir, "json", options{records: true}, "orders-0"); err != nil {
		t.Fatal(err)
	}
	golden(t, "segment.json", got)
	if got, err = run(t, dir, "table", options{from: 4, until: 6}, "orders-0"); err != nil {
		t.Fatal(err)
	}
	golden(t, "segment-range.txt", got)
}

// Whatever byte is flipped, and wherever the file ends: the damage is told, the
// other batches are still shown, and nothing is changed.
func TestSegmentDamage(t *testing.T) {
	raw := segmentBytes(t)
	dir := t.TempDir()
	name := "orders-0/" + firstSegment
	whole := func(b []byte) (batches int, err error) {
		if err := os.RemoveAll(filepath.Join(dir, "orders-0")); err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, b)
		text, err := run(t, dir, "table", options{records: true}, name)
		if left, rerr := os.ReadFile(filepath.Join(dir, name)); rerr != nil || !bytes.Equal(left, b) {
			t.Fatalf("the file was changed: %v", rerr)
		}
		return len(batchLine.FindAllString(text, -1)), err
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x10
		n, err := whole(bad)
		// Base offset and leader epoch stand outside the checksum.
		outside := false
		for pos := 0; pos < len(raw); pos += len(mustFirst(t, raw[pos:])) {
			outside = outside || i-pos >= 0 && i-pos < record.OffLength || i-pos >= record.OffLeaderEpoch && i-pos < record.OffMagic
		}
		if outside && (n != 4 || err != nil) || !outside && (n != 3 || err == nil) {
			t.Errorf("byte %d flipped: %d batches, %v", i, n, err)
		}
	}
	ends := map[int]int{}
	for pos, n := 0, 0; pos <= len(raw); n++ {
		ends[pos] = n
		if pos == len(raw) {
			break
		}
		pos += len(mustFirst(t, raw[pos:]))
	}
	batches, last := 0, 0
	for end := range len(raw) + 1 {
		n, err := whole(raw[:end])
		if b, ok := ends[end]; ok {
			batches, last = b, end
			if n != batches || err != nil {
				t.Errorf("%d bytes: %d batches, %v", end, n, err)
			}
		} else if torn := raw[last:end]; n != batches || (err == nil) != isZero(torn) { // zeros may be preallocated ones
			t.Errorf("%d bytes: %d batches, want %d, %v", end, n, batches, err)
		}
	}
}

func mustFirst(t *testing.T, run []byte) record.Batch {
	t.Helper()
	b, err := record.First(run)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInternalTopics(t *testing.T) {
	var b record.Builder
	h := record.NewHeader(0)
	b.Reset(h, record.Compression{})
	add := func(key, value []byte) { b.Append(at(0), key, value) }
	offset := kmsg.OffsetCommitKey{Version: 1, Group: "g", Topic: "orders", Partition: 2}
	v := kmsg.OffsetCommitValue{Version: 3, Offset: 42, LeaderEpoch: 5, Metadata: "m", CommitTimestamp: at(1)}
	add(offset.AppendTo(nil), v.AppendTo(nil))
	add(offset.AppendTo(nil), nil)
	group := kmsg.GroupMetadataKey{Version: 2, Group: "g"}
	protocol := "range"
	gv := kmsg.GroupMetadataValue{Version: 3, ProtocolType: "consumer", Generation: 7, Protocol: &protocol, Members: []kmsg.GroupMetadataValueMember{{MemberID: "m-1", ClientID: "c", ClientHost: "/h"}}}
	add(group.AppendTo(nil), gv.AppendTo(nil))
	add(group.AppendTo(nil), nil)
	add([]byte{0, 99, 1}, []byte("newer"))
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "__consumer_offsets-3/"+firstSegment, raw)

	b.Reset(h, record.Compression{})
	txn := kmsg.TxnMetadataKey{TransactionalID: "pay"}
	tv := kmsg.TxnMetadataValue{ProducerID: 8, ProducerEpoch: 1, State: kmsg.TransactionStateOngoing, Topics: []kmsg.TxnMetadataValueTopic{{Topic: "orders", Partitions: []int32{0, 1}}}}
	add(txn.AppendTo(nil), tv.AppendTo(nil))
	if raw, err = b.Build(nil); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "__transaction_state-0/"+firstSegment, raw)
	got, err := run(t, dir, "table", options{records: true}, ".")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "internal-topics.txt", got)
	if got, err = run(t, dir, "json", options{records: true}, "__consumer_offsets-3"); err != nil {
		t.Fatal(err)
	}
	golden(t, "internal-topics.json", got)
	if got, err = run(t, dir, "table", options{records: true, raw: true}, "__transaction_state-0"); err != nil || strings.Contains(got, "transaction pay") {
		t.Errorf("%v\n%s", err, got)
	}
}

// smallFiles are the files beside the segments, by name.
func smallFiles() map[string][]byte {
	be := binary.BigEndian
	var index, times, txns, snap []byte
	for _, e := range [][3]uint64{{10, 500, 1}, {20, 900, 5}} {
		index = be.AppendUint32(be.AppendUint32(index, uint32(e[0])), uint32(e[1]))
		times = be.AppendUint32(be.AppendUint64(times, uint64(at(int64(e[2])))), uint32(e[0]))
	}
	txns = be.AppendUint16(txns, 0)
	for _, n := range []uint64{9, 100, 120, 100} {
		txns = be.AppendUint64(txns, n)
	}
	body := be.AppendUint32(nil, 1)
	body = be.AppendUint64(body, 9)
	body = be.AppendUint16(body, 1)
	body = be.AppendUint32(body, 5)
	body = be.AppendUint64(body, 130)
	body = be.AppendUint32(body, 2)
	body = be.AppendUint64(body, uint64(at(3)))
	body = be.AppendUint32(body, 4)
	body = be.AppendUint64(body, 128)
	snap = be.AppendUint16(snap, 1)
	snap = be.AppendUint32(snap, crc32.Checksum(body, castagnoli))
	snap = append(snap, body...)
	return map[string][]byte{
		"orders-0/00000000000000000100.index":     append(index, make([]byte, 64)...),
		"orders-0/00000000000000000100.timeindex": times,
		"orders-0/00000000000000000100.txnindex":  txns,
		"orders-0/00000000000000000130.snapshot":  snap,
		"orders-0/leader-epoch-checkpoint":        []byte("0\n2\n0 0\n3 120\n"),
		"orders-0/partition.metadata":             []byte("version: 0\ntopic_id: Xl7j2bTPQZuVzH0kkv3C9A\n"),
		"recovery-point-offset-checkpoint":        []byte("0\n1\norders 0 130\n"),
		"meta.properties":                         []byte("version=1\ncluster.id=x\n"),
		"unknown.file":                            []byte("passed over"),
	}
}

func TestSmallFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range smallFiles() {
		write(t, dir, name, content)
	}
	got, err := run(t, dir, "table", options{}, ".")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "small-files.txt", got)
	if got, err = run(t, dir, "json", options{}, "."); err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSpace(got), "\n") {
		if !json.Valid([]byte(l)) {
			t.Errorf("no JSON: %s", l)
		}
	}
}

func TestSmallFilesDamaged(t *testing.T) {
	dir := t.TempDir()
	for name, change := range map[string]func([]byte) []byte{
		"orders-0/00000000000000000100.index":     func(b []byte) []byte { return append(append([]byte{}, b[8:16]...), b[:8]...) },
		"orders-0/00000000000000000100.timeindex": func(b []byte) []byte { return b[:len(b)-1] },
		"orders-0/00000000000000000100.txnindex":  func(b []byte) []byte { b[1] = 9; return b },
		"orders-0/00000000000000000130.snapshot":  func(b []byte) []byte { b[20] ^= 1; return b },
		"orders-0/leader-epoch-checkpoint":        func(b []byte) []byte { return bytes.Replace(b, []byte("3 120"), []byte("three 120"), 1) },
		"recovery-point-offset-checkpoint":        func(b []byte) []byte { return bytes.Replace(b, []byte("\n1\n"), []byte("\n5\n"), 1) },
		"meta.properties":                         func(b []byte) []byte { return append(b, 0xff) },
	} {
		write(t, dir, name, change(smallFiles()[name]))
		if got, err := run(t, dir, "table", options{}, name); err == nil || !strings.Contains(got, " damage: ") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "unknown.file", nil)
	var usage *out.UsageError
	if _, err := run(t, dir, "table", options{}, "unknown.file"); !errors.As(err, &usage) {
		t.Error(err)
	}
	if _, err := run(t, dir, "table", options{}, "nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzDump: no bytes make any reader panic or change its file, and it comes to an end.
func FuzzDump(f *testing.F) {
	names := []string{"orders-0/" + firstSegment, "__consumer_offsets-0/" + firstSegment, "a.index", "a.timeindex", "a.txnindex", "a.snapshot", "journal-0",
		"leat.state", "leader-epoch-checkpoint", "recovery-point-offset-checkpoint", "partition.metadata", "metadata/00000000000000000001.log",
		"metadata/00000000000000000001.snapshot", "metadata/synced"}
	var t testing.T
	f.Add(uint8(0), segmentBytes(&t))
	for name, content := range smallFiles() {
		for i, n := range names {
			if filepath.Ext(n) == filepath.Ext(name) || strings.HasSuffix(name, n) {
				f.Add(uint8(i), content)
			}
		}
	}
	f.Add(uint8(6), append([]byte(journalMagic), make([]byte, 100)...))
	f.Add(uint8(7), []byte{0, 0, 0, 1, 0, 0, 0, 0, 1})
	f.Add(uint8(7), goldenState(f, "v1"))
	f.Add(uint8(7), goldenState(f, "v2"))
	f.Fuzz(func(t *testing.T, kind uint8, content []byte) {
		dir := t.TempDir()
		name := names[int(kind)%len(names)]
		write(t, dir, name, content)
		for _, format := range []string{"table", "json"} {
			_, err := run(t, dir, format, options{records: true}, name)
			_ = err // damage is an error
		}
		if left, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(left, content) {
			t.Fatalf("the file was changed: %v", err)
		}
	})
}
