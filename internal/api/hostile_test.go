package api_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/conformance/raw"
	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/leattest"
)

// unfindable gives a node an id that no made-up request names: UnregisterBroker would do
// as it is told.
var unfindable = leattest.Set("node.id", "912345")

// filler makes requests up: sound ones, and some whose fields are out of every range.
type filler struct {
	rng     *rand.Rand
	victims []topic
}

var words = []string{"", "victim", "victim-2", "nobody", "cleanup.policy", "compact", "1", "__consumer_offsets", "a/b"}

// request makes a request of an API up, at a version.
func (f *filler) request(key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	f.fill(reflect.ValueOf(req).Elem(), "")
	req.SetVersion(version)
	switch req := req.(type) {
	case *kmsg.FetchRequest:
		req.MinBytes, req.MaxWaitMillis = 0, 0 // nobody writes to what is polled
	case *kmsg.JoinGroupRequest:
		req.Group = fmt.Sprint("group-", f.rng.Uint64()) // one member has nobody to wait for
	}
	return req
}

func (f *filler) fill(v reflect.Value, field string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if t := v.Type().Field(i); t.IsExported() && t.Name != "Version" && t.Name != "UnknownTags" {
				f.fill(v.Field(i), t.Name)
			}
		}
	case reflect.Pointer:
		if f.rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), field)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(f.bytes(field))
			return
		}
		if f.rng.IntN(8) == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), f.rng.IntN(3), 4))
		for i := range v.Len() {
			f.fill(v.Index(i), field)
		}
	case reflect.Array:
		if v.Type() == reflect.TypeFor[[16]byte]() && f.rng.IntN(2) == 0 {
			v.Set(reflect.ValueOf(f.victims[f.rng.IntN(len(f.victims))].id))
		}
	case reflect.String:
		v.SetString(words[f.rng.IntN(len(words))])
	case reflect.Bool:
		v.SetBool(f.rng.IntN(2) == 0)
	case reflect.Uint16:
		v.SetUint(uint64(uint16(f.number(16))))
	default:
		v.SetInt(f.number(v.Type().Bits()))
	}
}

func (f *filler) number(bits int) int64 {
	switch n := f.rng.IntN(10); {
	case n < 7:
		return int64(f.rng.IntN(4))
	case n < 8:
		return -1
	case n < 9:
		return math.MaxInt64 >> (64 - bits)
	}
	return math.MinInt64 >> (64 - bits)
}

func (f *filler) bytes(field string) []byte {
	if field != "Records" {
		return []byte(words[f.rng.IntN(len(words))])
	}
	var b record.Builder
	b.Reset(record.NewHeader(0), record.Compression{Codec: record.Codec(f.rng.IntN(5))})
	for range f.rng.IntN(4) {
		b.Append(1000, []byte("k"), bytes.Repeat([]byte("v"), f.rng.IntN(100)))
	}
	out, err := b.Build(nil)
	if err != nil {
		return nil // a batch without records
	}
	return out
}

// mutate damages a frame behind its size, which it sets anew. One in four stays as it is:
// what the filler put into it is wrong enough.
func mutate(rng *rand.Rand, frame []byte) []byte {
	f := bytes.Clone(frame[4:])
	for range rng.IntN(4) {
		if len(f) < 12 {
			break
		}
		at := 8 + rng.IntN(len(f)-8) // key, version and correlation id are for other tests
		switch rng.IntN(6) {
		case 0:
			f[at] ^= 1 << rng.IntN(8)
		case 1:
			f[at] = []byte{0, 1, 0x7f, 0x80, 0xfe, 0xff}[rng.IntN(6)]
		case 2:
			copy(f[at:], [][]byte{{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}, {0x80, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff, 0x0f}}[rng.IntN(4)])
		case 3:
			f = f[:at]
		case 4:
			end := min(len(f), at+rng.IntN(16))
			f = append(f[:at:at], f[end:]...)
		case 5:
			f = append(append(f[:at:at], f[at:min(len(f), at+8)]...), f[at:]...)
		}
	}
	return sized(f)
}

// TestLongestStrings: no answer holds a string that is too long for the protocol, for
// the longest that a request can hold.
func TestLongestStrings(t *testing.T) {
	node := leattest.Start(t)
	long := strings.Repeat("é", wire.MaxString/2)
	for _, h := range api.Handlers(api.ClientDoor) {
		for v := h.Min; v <= h.Max; v++ {
			for _, kind := range []int8{2, 4} { // of resource
				req := kmsg.RequestForKey(h.Key.Int16())
				req.SetVersion(v)
				stretch(reflect.ValueOf(req).Elem(), long, kind)
				switch req := req.(type) {
				case *kmsg.FetchRequest:
					req.MaxWaitMillis = 0
				case *kmsg.JoinGroupRequest:
					req.Group = fmt.Sprint("group-", kind, v) // one member has nobody to wait for
				}
				req.SetVersion(v)
				p := dialAs(t, node, long)
				if err := p.Send(p.Frame(req)); err != nil {
					t.Fatal(err)
				}
				answer, err := p.ReceiveBytes(patience)
				if err == nil {
					checkAnswer(t, req, answer)
				} else if !errors.Is(err, raw.ErrClosed) {
					t.Errorf("%s version %d: %v", h.Key.Name(), v, err)
				}
				_ = p.Close()
			}
		}
	}
}

// stretch fills a request with one long string wherever it has one.
func stretch(v reflect.Value, long string, kind int8) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if t := v.Type().Field(i); t.IsExported() && t.Name != "Version" && t.Name != "UnknownTags" && t.Name != "MemberID" && t.Name != "TransactionID" {
				stretch(v.Field(i), long, kind)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		stretch(v.Elem(), long, kind)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			stretch(v.Index(0), long, kind)
		}
	case reflect.String:
		v.SetString(long)
	case reflect.Int8:
		v.SetInt(int64(kind))
	case reflect.Int16:
		v.SetInt(-1) // acks
	case reflect.Int32, reflect.Int64:
		v.SetInt(10_000)
	}
}

// tooMuch says whether a frame rightly makes so many partitions that the test's disk
// would be busy with nothing else.
func tooMuch(frame []byte) bool {
	h, body, err := wire.ParseHeader(frame[4:])
	if err != nil {
		return false
	}
	if _, err := wire.Check(h.Key, h.Version, body, wire.Limits{}); err != nil {
		return false
	}
	req := kmsg.RequestForKey(h.Key)
	req.SetVersion(h.Version)
	if req.ReadFrom(body) != nil {
		return false
	}
	n := int32(0)
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		for _, t := range req.Topics {
			n = max(n, t.NumPartitions)
		}
	case *kmsg.CreatePartitionsRequest:
		for _, t := range req.Topics {
			n = max(n, t.Count)
		}
	}
	return n > 100
}

// attacker sends frames and goes on as soon as each is done with.
type attacker struct {
	t    testing.TB
	node *leattest.Node
	*peer
	answered int // frames after which the connection lived on
}

// probeID is the correlation id of the request behind each frame.
const probeID = 0x70726f62

// attack sends one frame and waits until the server has dealt with it: by an answer, or
// by closing the connection. Only what may wait for somebody else is left to itself.
func (a *attacker) attack(frame []byte) {
	a.t.Helper()
	if a.peer == nil {
		c, err := raw.Dial(a.node.Addr(), "attacker")
		if err != nil {
			a.t.Fatalf("the node is gone: %v", err)
		}
		a.peer = &peer{a.t, c}
	}
	limit := patience
	switch kmsg.Key(binary.BigEndian.Uint16(frame[4:])) {
	case kmsg.Fetch, kmsg.JoinGroup, kmsg.SyncGroup:
		limit = time.Second
	}
	probe := binary.BigEndian.AppendUint32([]byte{0, 18, 0, 0}, probeID)
	err := a.Send(append(bytes.Clone(frame), sized(append(probe, 0xff, 0xff))...))
	for err == nil {
		var answer []byte
		answer, err = a.ReceiveBytes(limit)
		if err == nil && binary.BigEndian.Uint32(answer) == probeID {
			a.answered++
			return
		}
	}
	var ne net.Error
	if limit == patience && errors.As(err, &ne) && ne.Timeout() {
		a.t.Fatalf("neither an answer nor an end after %x", frame)
	}
	_ = a.Close() // the server has done so, or is left with what waits
	a.peer = nil
}

// TestMutatedRequests: a thousand damaged requests of every API never end the node,
// nor another client's data, and leave no memory behind.
func TestMutatedRequests(t *testing.T) {
	node := leattest.Start(t, unfindable)
	c := newCanary(t, node)
	f := &filler{rng: rand.New(rand.NewPCG(2, 3))}
	for _, name := range []string{"victim", "victim-2"} {
		f.victims = append(f.victims, c.create(name, 2))
	}
	a := &attacker{t: t, node: node}
	before := heap()
	for _, h := range api.Handlers(api.ClientDoor) {
		for i := range mutations {
			version := h.Min + int16(f.rng.IntN(int(h.Max-h.Min)+1))
			req := f.request(h.Key.Int16(), version)
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("attacker")).AppendRequest(nil, req, int32(i))
			if frame = mutate(f.rng, frame); !tooMuch(frame) {
				a.attack(frame)
			}
		}
		c.sing()
		t.Logf("%s: %d of %d frames were answered", h.Key.Name(), a.answered, mutations)
		if a.answered < mutations/4 {
			t.Errorf("%s: most frames were refused before they came to the handler", h.Key.Name())
		}
		a.answered = 0
	}
	c.check()
	if after := heap(); after > before+200<<20 {
		t.Errorf("%d MiB are left in use", (after-before)>>20)
	}
}
