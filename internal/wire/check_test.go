package wire

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// each calls f for every request that kmsg knows, in every version.
func each(f func(key, version int16)) {
	for key := range int16(200) {
		if r := kmsg.RequestForKey(key); r != nil {
			for v := range r.MaxVersion() + 1 {
				f(key, v)
			}
		}
	}
}

func TestTableKnowsEveryRequest(t *testing.T) {
	n := 0
	each(func(key, version int16) {
		n++
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		if r, err := lookup(key, version); err != nil || r.max != req.MaxVersion() || (version >= r.flexible) != req.IsFlexible() {
			t.Errorf("key %d version %d: %v %+v", key, version, err, r)
		}
	})
	if n < 250 {
		t.Errorf("only %d versions", n)
	}
}

// Every valid request is accepted to its last byte, and each of its prefixes is refused
// unless kmsg takes it too.
func TestCheckAcceptsWhatIsValid(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	each(func(key, version int16) {
		for range 5 {
			body := randomRequest(key, version, r)
			compare(t, key, version, body)
			c := walked(key, version, body)
			if c.err != nil || len(c.rest) != 0 {
				t.Fatalf("key %d version %d: %v %s, %d bytes left", key, version, c.err, c.what, len(c.rest))
			}
			if len(body) > 0 {
				compare(t, key, version, body[:r.IntN(len(body))])
			}
		}
	})
}

// walked is Check with the state at its end.
func walked(key, version int16, body []byte) *checker {
	r, _ := lookup(key, version)
	c := &checker{rest: body, version: version, flexible: version >= r.flexible, lim: Limits{Array: MaxArray, Tags: MaxTags}}
	c.walk(r.fields)
	return c
}

// compare holds Check against kmsg on any bytes: what Check accepts kmsg decodes, in
// the memory that was announced; what is too short for Check is so for kmsg.
func compare(t *testing.T, key, version int16, body []byte) {
	t.Helper()
	alloc, err := Check(key, version, body, Limits{})
	switch {
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrVersion):
		return
	case errors.Is(err, ErrShort):
		if walked(key, version, body).what == "number of tagged fields" {
			return // kmsg would count to it
		}
	case err != nil:
		return // stricter than kmsg
	}
	// The runtime allocates in between; the least of several runs is the decoder's own.
	const slack = 1024
	for try := 0; ; try++ {
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		kerr := req.ReadFrom(body)
		runtime.ReadMemStats(&after)
		if (err == nil) != (kerr == nil) {
			t.Fatalf("key %d version %d %x: check says %v, kmsg says %v", key, version, body, err, kerr)
		}
		got := int64(after.TotalAlloc - before.TotalAlloc)
		if err != nil || got <= alloc+slack {
			return
		}
		if try == 20 {
			t.Fatalf("key %d version %d %x: kmsg allocates %d, announced %d", key, version, body, got, alloc)
		}
	}
}

func TestCheckRefusesHostileCounts(t *testing.T) {
	be := binary.BigEndian
	count := func(n uint32, rest int) []byte { return append(be.AppendUint32(nil, n), make([]byte, rest)...) }
	for name, c := range map[string]struct {
		key, version int16
		body         []byte
		want         error
	}{
		"array beyond the bytes":    {3, 0, count(1000, 10), ErrShort},
		"array beyond the limit":    {3, 0, count(MaxArray+1, MaxArray+10), ErrLimit},
		"null where none may be":    {3, 0, count(1<<32-1, 0), ErrNull},
		"null where it may be":      {3, 1, count(1<<32-1, 0), nil},
		"unknown key":               {999, 0, nil, ErrUnknown},
		"negative key":              {-1, 0, nil, ErrUnknown},
		"unknown version":           {3, 99, nil, ErrVersion},
		"negative version":          {3, -1, nil, ErrVersion},
		"tags beyond the bytes":     {3, 9, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, ErrShort},
		"tags beyond the limit":     {3, 9, append([]byte{0, 0, 0, 0, 0x91, 0x4e}, make([]byte, 30000)...), ErrLimit},
		"uvarint overflow":          {3, 9, []byte{0xff, 0xff, 0xff, 0xff, 0x7f}, ErrInvalid},
		"compact string too long":   {3, 9, append([]byte{2, 0x82, 0x80, 2}, make([]byte, 40000)...), ErrLimit},
		"bytes behind the last":     {3, 1, append(count(1<<32-1, 0), 1, 2, 3), nil},
		"known tag with less in it": {1, 15, append(append(make([]byte, 21), 1, 1, 1), 1, 1, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), nil},
		"known tag with more in it": {1, 15, append(append(make([]byte, 21), 1, 1, 1), 1, 1, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), ErrInvalid},
	} {
		if _, err := Check(c.key, c.version, c.body, Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckStopsAtMemory(t *testing.T) {
	body := append(binary.BigEndian.AppendUint32(nil, 1000), make([]byte, 2000)...)
	full, err := Check(3, 0, body, Limits{})
	if err != nil || full < 1000*40 {
		t.Fatal(full, err)
	}
	if n, err := Check(3, 0, body, Limits{Alloc: full / 2}); !errors.Is(err, ErrLimit) || n > full {
		t.Error(n, err)
	}
}

func FuzzCheck(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	each(func(key, version int16) { f.Add(key, version, randomRequest(key, version, r)) })
	f.Fuzz(compare)
}

func BenchmarkCheckProduce(b *testing.B) {
	body := produceBody(9, 12, 5461)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Check(0, 9, body, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func produceBody(version int16, partitions, size int) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 30000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = "orders"
	for i := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), make([]byte, size)
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req.AppendTo(nil)
}
