package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sameProduce holds Parse against Check and kmsg on any bytes.
func sameProduce(t *testing.T, version int16, body []byte) {
	t.Helper()
	var p Produce
	err := p.Parse(version, body)
	_, cerr := Check(0, version, body, Limits{})
	if (err == nil) != (cerr == nil) {
		t.Fatalf("version %d %x: parse says %v, check says %v", version, body, err, cerr)
	}
	if err != nil {
		return
	}
	want := kmsg.NewPtrProduceRequest()
	want.Version = version
	if err := want.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	same := p.Acks == want.Acks && p.TimeoutMillis == want.TimeoutMillis && len(p.Topics) == len(want.Topics) &&
		(p.TransactionalID == nil) == (want.TransactionID == nil) &&
		(want.TransactionID == nil || string(p.TransactionalID) == *want.TransactionID)
	n := 0
	for i := 0; same && i < len(p.Topics); i++ {
		topic, wt := &p.Topics[i], &want.Topics[i]
		parts := p.Partitions(topic)
		same = string(topic.Name) == wt.Topic && topic.ID == wt.TopicID && len(parts) == len(wt.Partitions)
		for j := 0; same && j < len(parts); j++ {
			n++
			same = parts[j].Index == wt.Partitions[j].Partition && bytes.Equal(parts[j].Records, wt.Partitions[j].Records) &&
				(parts[j].Records == nil) == (wt.Partitions[j].Records == nil)
		}
	}
	if !same || n != p.Count() {
		t.Fatalf("version %d %x: %+v, kmsg reads %+v", version, body, p, want)
	}
}

func TestParseProduce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for v := range int16(14) {
		for range 50 {
			body := randomRequest(0, v, r)
			sameProduce(t, v, body)
			sameProduce(t, v, body[:r.IntN(len(body))])
		}
	}
	var p Produce
	if err := p.Parse(14, nil); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

// A second request sees nothing of the first.
func TestParseProduceReuse(t *testing.T) {
	var p Produce
	for _, n := range []int{5, 0, keepProduce * 2, 1} {
		if err := p.Parse(9, produceBody(9, n, 10)); err != nil {
			t.Fatal(err)
		}
		if got := len(p.Partitions(&p.Topics[0])); got != n || p.Count() != n {
			t.Errorf("%d partitions, want %d", got, n)
		}
	}
	if cap(p.partitions) > keepProduce {
		t.Errorf("keeps %d", cap(p.partitions))
	}
}

func FuzzParseProduce(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for v := range int16(14) {
		f.Add(v, randomRequest(0, v, r))
	}
	f.Fuzz(sameProduce)
}

func BenchmarkParseProduce(b *testing.B) {
	body := produceBody(9, 12, 5461)
	var p Produce
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Parse(9, body); err != nil {
			b.Fatal(err)
		}
	}
}

func TestParseProduceAllocatesNothing(t *testing.T) {
	body := produceBody(9, 12, 5461)
	var p Produce
	if n := testing.AllocsPerRun(100, func() { _ = p.Parse(9, body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
