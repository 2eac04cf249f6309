package schema

import (
	"bufio"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
)

var rewrite = flag.Bool("rewrite", false, "write the golden bytes anew")

func uuid(b byte) (u [16]byte) {
	for i := range u {
		u[i] = b + byte(i)
	}
	return u
}

func ptr(s string) *string { return &s }

// samples has each record type with every field set, and those with tagged
// fields a second time with none of them.
func samples() []Record {
	return []Record{
		&ClusterCreated{ClusterID: "4L6g3nShT-eMCtK--X86sw"},
		&FeatureLevel{Name: "metadata.version", Level: 33},
		&RegisterBroker{
			BrokerID: 7, Epoch: 1 << 40, IncarnationID: uuid(1), Directories: [][16]byte{uuid(2), uuid(3)},
			Listeners: []RegisterBrokerListener{
				{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092},
				{Name: "SSL", Host: "::1", Port: 65535, SecurityProtocol: 1},
			},
			Features: []RegisterBrokerFeature{{Name: "metadata.version", MinSupported: 7, MaxSupported: 33}},
			Rack:     ptr("a"), Fenced: true, InControlledShutdown: true, RegisteredAt: 99,
		},
		func() Record { r := NewRegisterBroker(); r.BrokerID = 1; return r }(),
		&UnregisterBroker{BrokerID: 7, Epoch: 12},
		&BrokerChange{BrokerID: 7, Epoch: 12, Fence: -1, ControlledShutdown: 1, Directories: [][16]byte{uuid(2)}},
		&BrokerChange{BrokerID: 7, Epoch: 12},
		&Topic{TopicID: uuid(4), Name: "orders"},
		&RemoveTopic{TopicID: uuid(4)},
		&Partition{
			TopicID: uuid(4), Index: 3, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 9,
			Replicas: []int32{1, 2, 3}, ISR: []int32{1}, ELR: []int32{2}, LastKnownELR: []int32{3},
			Adding: []int32{4}, Removing: []int32{5}, Recovering: true,
			Directories: [][16]byte{uuid(1), uuid(2), {}},
		},
		&Partition{TopicID: uuid(4), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1},
		&PartitionChange{
			TopicID: uuid(4), Index: 3, Leader: -1, ISR: []int32{}, ELR: []int32{2}, LastKnownELR: []int32{2},
			Replicas: []int32{2, 3}, Adding: []int32{}, Removing: []int32{1}, Recovering: -1,
			// Longer than 127 bytes, so that its size takes two bytes.
			Directories: [][16]byte{uuid(1), uuid(2), uuid(3), uuid(4), uuid(5), uuid(6), uuid(7), uuid(8), uuid(9)},
		},
		func() Record { r := NewPartitionChange(); r.TopicID = uuid(4); return r }(),
		&Config{ResourceType: 2, ResourceName: "orders", Key: "retention.ms", Value: ptr("-1")},
		&Config{ResourceType: 4, Key: "log.retention.ms"},
		&ProducerIDs{BrokerID: 7, BrokerEpoch: 12, Next: 2000},
		&SnapshotHeader{Index: 1234, Term: 5, LastBrokerEpoch: 77},
		&SnapshotFooter{Records: 17},
		&RegisterController{
			NodeID: 7, IncarnationID: uuid(1), DirectoryID: uuid(2), MayVote: true,
			Listeners: []RegisterControllerListener{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9093, SecurityProtocol: 1}},
			Features:  []RegisterControllerFeature{{Name: "leat.metadata.version", MinSupported: 1, MaxSupported: 2}},
		},
		&UnregisterController{NodeID: 7},
	}
}

// TestGolden pins the bytes of every record version: they are on disks.
func TestGolden(t *testing.T) {
	const path = "testdata/golden.txt"
	var got strings.Builder
	for _, rec := range samples() {
		b, err := Append(nil, rec, Level)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%T v%d %x\n", rec, len(rec.levels())-1, b)
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	want := map[string]bool{}
	for i := 0; lines.Scan(); i++ {
		want[lines.Text()] = true
		name, hexBytes := lines.Text(), lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:]
		b, err := hex.DecodeString(hexBytes)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(rec, samples()[i]) {
			t.Errorf("%s decodes to %+v", name, rec)
		}
	}
	for line := range strings.Lines(got.String()) {
		if !want[strings.TrimSpace(line)] {
			t.Errorf("bytes changed: %s", line)
		}
	}
	// Every type has a sample.
	seen := map[int16]bool{}
	for _, rec := range samples() {
		seen[rec.Type()] = true
	}
	for typ := int16(0); typ < 200; typ++ {
		if newRecord(typ) != nil && !seen[typ] {
			t.Errorf("record type %d has no sample", typ)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	whole, err := Append(nil, samples()[2], Level)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := Decode(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
	topic := func(tail ...byte) []byte {
		b := kbin.AppendInt16(nil, TypeTopic)
		b = kbin.AppendInt16(b, 0)
		b = append(b, make([]byte, 16)...)
		b = append(b, 2, 'a')
		return append(b, tail...)
	}
	for _, c := range []struct {
		name string
		in   []byte
		want error
	}{
		{"type", []byte{0x7f, 0xff, 0, 0}, ErrUnknown},
		{"type 0", []byte{0, 0, 0, 0}, ErrUnknown},
		{"version", []byte{0, 6, 0, 1}, ErrUnknown},
		{"negative version", []byte{0, 6, 0xff, 0xff}, ErrUnknown},
		{"tag", topic(1, 9, 1, 0), ErrUnknown},
		{"tag of a newer version before a bad one", topic(2, 9, 1, 0, 9, 1, 0), ErrUnknown},
		{"tail", topic(0, 0), ErrMalformed},
		{"tag count beyond input", topic(0xff, 0xff, 0xff, 0xff, 0x0f), ErrMalformed},
		{"tag size beyond input", topic(1, 9, 0xff, 0xff, 0xff, 0xff, 0x0f), ErrMalformed},
		{"null array", append([]byte{0, 8, 0, 0}, make([]byte, 35)...), ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(c.in)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			if strings.ContainsRune(err.Error(), '\n') {
				t.Fatalf("more than one line: %q", err)
			}
		})
	}
	if _, err := Decode(topic(0)); err != nil {
		t.Fatal(err)
	}
}

// TestHugeCount checks that a count is not believed: an array of 2^28 elements
// in a short record must fail without memory for them.
func TestHugeCount(t *testing.T) {
	b := kbin.AppendInt16(nil, TypePartitionChange)
	b = kbin.AppendInt16(b, 0)
	b = append(b, make([]byte, 20)...)
	b = append(b, 1, 1, 5)                      // one tag: 1, five bytes
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0x07) // 2^31-2 elements
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, err := Decode(b); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	allocs := (after.TotalAlloc - before.TotalAlloc) / 100
	if allocs > 4096 {
		t.Fatalf("%d bytes allocated for a record of %d", allocs, len(b))
	}
}

func TestLevels(t *testing.T) {
	if _, err := Append(nil, NewTopic(), 0); err == nil {
		t.Fatal("a record was written below its feature level")
	}
	if _, err := Append(nil, NewRegisterController(), 1); err == nil {
		t.Fatal("a record of level 2 was written at level 1")
	}
	v2 := leveled{&Topic{Name: "t"}}
	for level, want := range map[int16]int16{1: 0, 2: 0, 3: 1, 9: 1} {
		b, err := Append(nil, v2, level)
		if err != nil {
			t.Fatal(err)
		}
		if got := int16(b[3]); got != want {
			t.Errorf("level %d writes version %d, want %d", level, got, want)
		}
	}
}

// leveled is a topic record that has a second version from level 3.
type leveled struct{ *Topic }

func (leveled) levels() []int16 { return []int16{1, 3} }

// FuzzDecode checks that any input decodes to an error or to a record that
// survives a round trip.
func FuzzDecode(f *testing.F) {
	for _, rec := range samples() {
		b, err := Append(nil, rec, Level)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rec, err := Decode(in)
		if err != nil {
			if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("unclassified error %v", err)
			}
			return
		}
		b, err := Append(nil, rec, Level)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(b)
		if err != nil {
			t.Fatalf("%+v does not decode again: %v", rec, err)
		}
		if c, err := Append(nil, again, Level); err != nil || string(b) != string(c) {
			t.Fatalf("bytes differ after a round trip: %x and %x (%v)", b, c, err)
		}
	})
}
