package record

import (
	"bytes"
	"testing"
)

func TestBuildParse(t *testing.T) {
	for c := CodecNone; c <= CodecZstd; c++ {
		var b Builder
		b.Reset(NewHeader(7), Compression{Codec: c})
		b.Append(100, []byte("k"), []byte("v"), Header{"h", nil}, Header{"i", []byte("x")})
		b.Append(90, nil, bytes.Repeat([]byte("w"), 100_000))
		raw, err := b.Build(nil)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := Sole(raw)
		if err != nil || !batch.CheckCRC() || batch.Count() != 2 || batch.LastOffset() != 8 || batch.MaxTimestamp() != 100 {
			t.Fatalf("%s: %v %v", c, err, batch[:HeaderSize])
		}
		batch.SetBaseOffset(0)
		info, err := Validate(batch, Rules{Now: 100, BeforeMax: 10, AfterMax: 0, MaxRecordBytes: 100_100})
		if err != nil || info.MaxTimestamp != 100 || info.Renumber || info.Plain < 100_000 {
			t.Fatalf("%s: %+v %v", c, info, err)
		}
		n := 0
		for r, err := range batch.Records(1 << 20) {
			if err != nil {
				t.Fatalf("%s: %v", c, err)
			}
			n += len(r.Value) + r.HeaderCount
		}
		if n != 100_003 {
			t.Fatalf("%s: %d", c, n)
		}
	}
}
