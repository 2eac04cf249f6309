package record

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// testdata/java holds one batch per codec as the Java client 4.4.0 writes it: 50
// records from offset 42, producer 7, epoch 3, sequence 11, transactional, leader
// epoch 5.
func TestBatchesOfTheJavaClient(t *testing.T) {
	for _, c := range codecs {
		raw, err := os.ReadFile("testdata/java/" + c.String() + ".bin")
		if err != nil {
			t.Fatal(err)
		}
		b, err := Sole(raw)
		if err != nil || b.Codec() != c {
			t.Fatalf("%s: %v", c, err)
		}
		want := NewHeader(42)
		want.ProducerID, want.ProducerEpoch, want.BaseSequence, want.Transactional, want.LeaderEpoch = 7, 3, 11, true, 5
		if b.Header() != want || b.LastOffset() != 91 || b.LastSequence() != 60 || b.MaxTimestamp() != 1700000000049 {
			t.Errorf("%s: %+v", c, b.Header())
		}
		r := wide
		r.Origin = Coordinator // for the base offset
		if info, err := Validate(b, r); err != nil || info.Renumber || info.MaxTimestamp != b.MaxTimestamp() {
			t.Errorf("%s: %+v %v", c, info, err)
		}
		var recs []Record
		for i := range 50 {
			x := Record{Offset: 42 + int64(i), OffsetDelta: int32(i), Timestamp: 1700000000000 + int64(i)}
			if i%3 != 0 {
				x.Key = fmt.Appendf(nil, "key%d", i)
			}
			if i%5 != 0 {
				x.Value = []byte(strings.Repeat("value ", i))
			}
			if i%7 == 0 {
				x.HeaderCount, x.RawHeaders = 2, AppendHeaders(nil, Header{"h", fmt.Appendf(nil, "x%d", i)}, Header{"null", nil})
			}
			recs = append(recs, x)
		}
		sameRecords(t, b, recs)
		if c != CodecNone {
			continue
		}
		// Without compression the builder writes the very same bytes.
		var bl Builder
		bl.Reset(want, Compression{})
		for i := range recs {
			if err := bl.Add(&recs[i]); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := bl.Build(nil); err != nil || string(got) != string(raw) {
			t.Errorf("built %x, %v", got, err)
		}
	}
}
