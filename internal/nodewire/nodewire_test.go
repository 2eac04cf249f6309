package nodewire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// body is what requests and responses have in common.
type body interface {
	Message
	Key() int16
	MaxVersion() int16
	AppendTo([]byte) []byte
	ReadFrom([]byte) error
	SetVersion(int16)
	GetVersion() int16
	IsFlexible() bool
}

func ref[T any](v T) *T { return &v }

var (
	one   = Identity{NodeID: 1, DirectoryID: [16]byte{1, 2, 3, 15: 0xff}, Address: "one:9093"}
	two   = Identity{NodeID: 2, DirectoryID: [16]byte{9, 8, 7, 15: 0xfe}, Address: "two:9093"}
	begun = &Founding{ClusterID: "5L6g3nShT-eMCtK--X86sw", Voters: []Identity{one, two}}
)

// examples are a full and an empty one of each message, by name.
func examples() map[string]body {
	return map[string]body{
		"hello-request-empty": &HelloRequest{},
		"hello-request": &HelloRequest{
			From: one, ClusterID: begun.ClusterID, Voter: true, Applied: 77, Listed: []string{"one:9093", ""},
			Ballot: Ballot{Round: 4, By: one.DirectoryID}, Found: begun,
		},
		"hello-response-empty": &HelloResponse{},
		"hello-response": &HelloResponse{
			ErrorCode: 104, ErrorMessage: ref("another cluster"), From: two, ClusterID: begun.ClusterID, HasLog: true, Founding: begun,
			Accepted: true, Promised: Ballot{Round: 5, By: two.DirectoryID}, AcceptedAt: Ballot{Round: 4, By: one.DirectoryID}, Leader: one, Voters: []Identity{one, two}, FreeNodeID: 3, Software: "leat 0.1",
		},
		"raft-request-empty": &RaftRequest{},
		"raft-request": &RaftRequest{
			ClusterID: begun.ClusterID, From: one, To: 1<<63 + 5, Messages: [][]byte{{8, 1}, {8, 2, 16, 3}, nil},
		},
		"pull-request-empty": &PullRequest{},
		"pull-request":       &PullRequest{ClusterID: begun.ClusterID, NodeID: 4, From: 1 << 40, MaxBytes: 1 << 20, MaxWaitMs: 500},
		"pull-response-empty": &PullResponse{
			Leader: Identity{NodeID: -1},
		},
		"pull-response": &PullResponse{
			ErrorCode: 6, Leader: one, Term: 7, SnapshotIndex: 100, Commit: 200,
			Entries: []PullEntry{{Index: 101, Term: 6, Type: 0, Data: []byte("one")}, {Index: 102, Term: 7, Type: 2}},
		},
		"snapshot-request-empty":  &SnapshotRequest{},
		"snapshot-request":        &SnapshotRequest{ClusterID: begun.ClusterID, Index: 100, Position: 1 << 33, MaxBytes: 1 << 20},
		"snapshot-response-empty": &SnapshotResponse{},
		"snapshot-response":       &SnapshotResponse{ErrorCode: -1, Index: 100, Size: 1 << 34, Data: []byte("some of it")},

		"lost-request-empty":  &LostRequest{},
		"lost-request":        &LostRequest{ClusterID: begun.ClusterID, NodeID: 3, BrokerEpoch: 1 << 40, Replicas: []LostReplica{{TopicID: [16]byte{1}, Partition: 2}}},
		"lost-response-empty": &LostResponse{},
		"lost-response":       &LostResponse{ErrorCode: 77, Kept: []LostReplica{{TopicID: [16]byte{1}, Partition: 2}}},
	}
}

// empty is a new message of the type of m.
func empty(m body) body { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(body) }

var update = flag.Bool("update", false, "write the golden bytes anew")

// The bytes of version 0 never change: nodes of different releases talk to one another.
func TestGoldenBytes(t *testing.T) {
	const file = "testdata/v0.txt"
	all := examples()
	if *update {
		var b strings.Builder
		for _, name := range sortedNames(all) {
			fmt.Fprintf(&b, "%s %x\n", name, all[name].AppendTo(nil))
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		m := all[name]
		want, err := hex.DecodeString(digits)
		if err != nil || m == nil {
			t.Fatalf("%s: %v", name, err)
		}
		seen++
		if got := m.AppendTo([]byte("before")); !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("%s is written as\n%x, was\n%x", name, got[6:], want)
		}
		got := empty(m)
		if err := got.ReadFrom(want); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s is read as %+v, %v", name, got, err)
		}
	}
	if seen != len(all) {
		t.Errorf("%d of %d messages are in %s", seen, len(all), file)
	}
}

func sortedNames(m map[string]body) []string { return slices.Sorted(maps.Keys(m)) }

// Every message that Go can hold within the limits comes back as it was.
func TestRoundTrip(t *testing.T) {
	for name, m := range examples() {
		if strings.HasSuffix(name, "empty") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				want := empty(m)
				fill(t, reflect.ValueOf(want).Elem())
				b := want.AppendTo(nil)
				got := empty(m)
				if err := got.ReadFrom(b); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%+v came back as %+v, %v", want, got, err)
				}
				if cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut"); empty(m).ReadFrom(b[:cut]) == nil {
					t.Fatalf("%d of %d bytes are enough", cut, len(b))
				}
				if err := empty(m).ReadFrom(append(b, 0)); !errors.Is(err, ErrInvalid) {
					t.Fatalf("a byte more: %v", err)
				}
				if p := bytes.Join(Pieces(want), nil); !bytes.Equal(p, b) {
					t.Fatalf("in pieces %x, in one %x", p, b)
				}
			})
		})
	}
}

// fill draws a value; empty slices are nil, as they are read.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(t, v.Field(i))
			}
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 3).Draw(t, "n"); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				fill(t, v.Index(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "s"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "b"))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(rapid.Uint64Range(0, 1<<v.Type().Bits()-1).Draw(t, "u"))
	default:
		n := rapid.Int64().Draw(t, "i")
		v.SetInt(n >> (64 - v.Type().Bits()))
	}
}

func TestRegistry(t *testing.T) {
	for key := FirstKey; key <= KeyLost; key++ {
		req := RequestForKey(key)
		if req.Key() != key || NameForKey(key) == "" || kmsg.RequestForKey(key) != nil {
			t.Fatalf("key %d: %+v", key, req)
		}
		req.SetVersion(req.MaxVersion())
		resp := req.ResponseKind()
		if (resp == nil) != (key == KeyRaft) {
			t.Fatalf("key %d: response %+v", key, resp)
		}
		if resp != nil && (resp.Key() != key || resp.GetVersion() != req.GetVersion() || resp.IsFlexible() || resp.RequestKind().Key() != key) {
			t.Errorf("key %d: response %+v", key, resp)
		}
	}
	for _, key := range []int16{0, FirstKey - 1, KeyLost + 1, -1} {
		if RequestForKey(key) != nil || NameForKey(key) != "" {
			t.Errorf("key %d is known", key)
		}
		if _, err := Check(key, 0, nil); !errors.Is(err, ErrUnknown) {
			t.Errorf("key %d: %v", key, err)
		}
	}
	for _, v := range []int16{-1, maxVersion + 1} {
		if _, err := Check(KeyHello, v, nil); !errors.Is(err, ErrVersion) {
			t.Errorf("version %d: %v", v, err)
		}
		m := &HelloRequest{Version: v}
		if err := m.ReadFrom((&HelloRequest{}).AppendTo(nil)); !errors.Is(err, ErrVersion) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// Bytes of a decoded message are views with no room behind them; strings are copies.
func TestBytesAreViews(t *testing.T) {
	b := (&RaftRequest{ClusterID: "c", Messages: [][]byte{{1}, {2}}}).AppendTo(nil)
	var m RaftRequest
	if err := m.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if cap(m.Messages[0]) != 1 {
		t.Error("an append would write into the next field")
	}
	for i := range b {
		b[i] = 7
	}
	if m.ClusterID != "c" || m.Messages[0][0] != 7 {
		t.Errorf("%+v", m)
	}
}

func TestHostileCounts(t *testing.T) {
	head := (&RaftRequest{}).AppendTo(nil)
	head = head[:len(head)-4]
	for _, c := range []struct {
		count, rest int
		want        error
	}{
		{-1, 0, ErrInvalid}, {1, 0, ErrShort}, {MaxMessages, 4*MaxMessages - 1, ErrShort}, {MaxMessages + 1, 4 * (MaxMessages + 1), ErrLimit},
		{1<<31 - 1, 0, ErrLimit}, {MaxMessages, 4 * MaxMessages, nil},
	} {
		b := append(bytes.Clone(head), byte(c.count>>24), byte(c.count>>16), byte(c.count>>8), byte(c.count))
		b = append(b, make([]byte, c.rest)...)
		if err := new(RaftRequest).ReadFrom(b); !errors.Is(err, c.want) {
			t.Errorf("count %d before %d bytes: %v, want %v", c.count, c.rest, err, c.want)
		}
	}
}

func TestLongErrorMessageIsCut(t *testing.T) {
	long := strings.Repeat("x", MaxString+1)
	b := (&HelloResponse{ErrorMessage: &long, Software: "s"}).AppendTo(nil)
	var m HelloResponse
	if err := m.ReadFrom(b); err != nil || *m.ErrorMessage != long[1:] || m.Software != "s" {
		t.Errorf("%v, %d bytes", err, len(*m.ErrorMessage))
	}
}

func TestLargeFieldsAreNotCopied(t *testing.T) {
	large := make([]byte, pieceSize)
	m := &RaftRequest{ClusterID: "c", Messages: [][]byte{{1}, large, {2}, large}}
	pieces := Pieces(m)
	if len(pieces) != 4 || &pieces[1][0] != &large[0] || &pieces[3][0] != &large[0] {
		t.Errorf("%d pieces", len(pieces))
	}
	if !bytes.Equal(bytes.Join(pieces, nil), m.AppendTo(nil)) {
		t.Error("pieces differ from the whole")
	}
}

// within holds f to alloc bytes of memory. The runtime allocates in between; the least
// of several runs is f's own.
func within(t *testing.T, alloc int64, f func()) {
	t.Helper()
	const slack = 1024
	for try := 0; ; try++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		got := int64(after.TotalAlloc - before.TotalAlloc)
		if got <= alloc+slack {
			return
		}
		if try == 20 {
			t.Fatalf("%d bytes allocated, %d announced", got, alloc)
		}
	}
}

// The dearest messages for their size: entries of no bytes.
func TestCheckAnnouncesTheMemory(t *testing.T) {
	voters := make([]Identity, MaxVoters)
	for _, m := range []body{
		&HelloRequest{Listed: make([]string, MaxListed), Found: &Founding{Voters: voters}},
		&HelloRequest{ClusterID: strings.Repeat("c", MaxString), Found: &Founding{Voters: voters[:1]}},
		&RaftRequest{Messages: make([][]byte, MaxMessages), ClusterID: strings.Repeat("c", MaxString)},
		&RaftRequest{Messages: make([][]byte, 3)},
		&PullRequest{},
		&SnapshotRequest{ClusterID: strings.Repeat("c", 100)},
	} {
		b := m.AppendTo(nil)
		alloc, err := Check(m.Key(), 0, b)
		if err != nil {
			t.Fatal(err)
		}
		within(t, alloc, func() {
			if err := empty(m).ReadFrom(b); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// FuzzDecode: any bytes are refused or are a message, within the memory that was
// announced; and a message has one encoding.
func FuzzDecode(f *testing.F) {
	all := examples()
	for _, name := range sortedNames(all) {
		m := all[name]
		f.Add(m.Key(), strings.Contains(name, "response"), m.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, key int16, response bool, b []byte) {
		alloc, err := Check(key, 0, b)
		if err != nil {
			return
		}
		req := RequestForKey(key)
		m := req.(body)
		if response {
			resp := req.ResponseKind()
			if resp == nil {
				return
			}
			m = resp.(body)
		}
		err = m.ReadFrom(b)
		if !response {
			within(t, alloc, func() { empty(m).ReadFrom(b) })
		}
		if err != nil {
			return
		}
		if again := m.AppendTo(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x is written as %x", b, again)
		}
	})
}
