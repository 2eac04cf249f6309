package load

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/record"
	"github.com/leat-stream/leat/leattest"
)

// TestFillIsWhatConsumeReads writes by hand and reads by hand against a node: every
// record that a fill has acknowledged is there once, and the fetcher counts just those.
func TestFillIsWhatConsumeReads(t *testing.T) {
	node := leattest.Start(t)
	l := Load{Mode: "fill", Addr: node.Addr(), Topic: "t", Partitions: 3, Size: 1024, Acks: -1, Bytes: 4 << 20}
	if _, err := Run(t.Context(), l, nil); err != nil {
		t.Fatal(err)
	}
	f, err := produceFrame(l, []int32{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	requests := (l.Bytes + f.records*1024 - 1) / (f.records * 1024)
	want := requests*f.records + 3 // and the first record of each partition
	ends, err := endOffsets(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, end := range ends {
		total += end
	}
	if total != want {
		t.Fatalf("%d records in the topic, want %d", total, want)
	}
	c, err := dial(t.Context(), "tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fetch := newFetcher(l, ends, []int32{0, 1, 2})
	read := int64(0)
	for read < want {
		n, err := fetch.once(c)
		if err != nil {
			t.Fatal(err)
		}
		read += n
	}
	if read != want {
		t.Errorf("%d records read in one pass, want %d", read, want)
	}
	for _, p := range fetch.req.Topics[0].Partitions {
		if p.FetchOffset != 0 {
			t.Errorf("partition %d stands at %d after the pass, want 0: from the start again", p.Partition, p.FetchOffset)
		}
	}
}

// TestThreeNodes writes to and reads from the leaders of a cluster, each on its own
// connection.
func TestThreeNodes(t *testing.T) {
	c := leattest.StartCluster(t, 3)
	l := Load{Mode: "fill", Addr: strings.Join(c.Addrs(), ","), Topic: "t", Partitions: 6, Replicas: 3, MinISR: 2, Size: 1024, Acks: -1, Bytes: 4 << 20}
	if _, err := Run(t.Context(), l, nil); err != nil {
		t.Fatal(err)
	}
	all, _, err := shares(t.Context(), l)
	if err != nil || len(all) < 2 {
		t.Fatalf("%d brokers lead the topic's partitions, %v; want them to share", len(all), err)
	}
	ends, err := endOffsets(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	want, read := int64(0), int64(0)
	for p, end := range ends {
		if end < 2 {
			t.Errorf("partition %d ends at %d", p, end)
		}
		want += end
	}
	for _, s := range all {
		nc, err := dial(t.Context(), "tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		f, mine := newFetcher(l, ends, s.partitions), int64(0)
		for _, p := range s.partitions {
			mine += ends[p]
		}
		for got := int64(0); got < mine; {
			n, err := f.once(nc)
			if err != nil {
				t.Fatal(err)
			}
			got += n
			read += n
		}
	}
	if read != want {
		t.Errorf("%d records read in one pass, want %d", read, want)
	}
	l.Mode, l.Seconds = "consume", 1
	var out bytes.Buffer
	if got, err := Run(t.Context(), l, &out); err != nil || got.Records == 0 {
		t.Errorf("%d records consumed, %v", got.Records, err)
	}
}

// TestModes runs every load for its shortest window: each marks the window's ends, in
// order, and counts something.
func TestModes(t *testing.T) {
	node := leattest.Start(t)
	fill := Load{Mode: "fill", Addr: node.Addr(), Topic: "c", Partitions: 2, Size: 1024, Acks: -1, Bytes: 1 << 20}
	if _, err := Run(t.Context(), fill, nil); err != nil {
		t.Fatal(err)
	}
	for _, l := range []Load{
		{Mode: "produce", Topic: "p", Partitions: 2, Size: 1024, Acks: 1},
		{Mode: "produce", Topic: "pa", Partitions: 2, Size: 1024, Acks: -1},
		{Mode: "consume", Topic: "c", Partitions: 2, Size: 1024},
		{Mode: "small", Topic: "s", Partitions: 4, Producers: 3, Size: 100, Acks: 1},
		{Mode: "e2e", Topic: "e", Partitions: 2, Size: 100, Acks: -1, Rate: 500},
	} {
		l.Addr, l.Seconds = node.Addr(), 1
		var out bytes.Buffer
		got, err := Run(t.Context(), l, &out)
		if err != nil {
			t.Fatalf("%s: %v", l.Mode, err)
		}
		if marks := strings.Fields(out.String()); len(marks) != 2 || marks[0] != Began || marks[1] != Ended {
			t.Errorf("%s marked %q", l.Mode, marks)
		}
		if got.Records == 0 || got.Bytes < got.Records*int64(l.Size) {
			t.Errorf("%s: %d records of %d bytes", l.Mode, got.Records, got.Bytes)
		}
		if l.Mode == "e2e" && (got.P50 <= 0 || got.Max < got.P999 || got.P999 < got.P50) {
			t.Errorf("latencies %v, %v, %v", got.P50, got.P999, got.Max)
		}
	}
}

// TestDialTriesAgain holds that one refused or timed-out connection ends nothing.
func TestDialTriesAgain(t *testing.T) {
	tries := 0
	c, err := tryDial(t.Context(), func(context.Context) (net.Conn, error) {
		if tries++; tries < 3 {
			return nil, errors.New("connection timed out")
		}
		near, far := net.Pipe()
		far.Close()
		return near, nil
	})
	if err != nil || tries != 3 {
		t.Fatalf("%d tries: %v", tries, err)
	}
	c.Close()
}

// TestSequencedBatchesAreValid: what the idempotent producer patches keeps its checksum.
func TestSequencedBatchesAreValid(t *testing.T) {
	f, err := produceFrame(Load{Topic: "t", Partitions: 2, Size: 1024, Acks: -1}, []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	next := make([]int32, 2)
	f.sequence(7, 1, next)
	f.sequence(7, 1, next)
	for _, s := range f.batches {
		b := record.Batch(f.bytes[s.at:s.end])
		if _, err := record.Validate(b, record.Rules{BeforeMax: math.MaxInt64, AfterMax: math.MaxInt64}); err != nil {
			t.Error(err)
		}
		if b.ProducerID() != 7 || b.ProducerEpoch() != 1 || b.BaseSequence() != s.count {
			t.Errorf("producer %d epoch %d sequence %d, want 7, 1, %d", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), s.count)
		}
		if n, end := countBatches(append(append([]byte{}, b...), b[:100]...)); n != int64(s.count) || end != int64(s.count) {
			t.Errorf("counted %d records to offset %d, want %d: a batch that is cut off does not count", n, end, s.count)
		}
	}
}
