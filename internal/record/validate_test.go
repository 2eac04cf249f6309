package record

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
)

// wide accepts any timestamp.
var wide = Rules{BeforeMax: math.MaxInt64, AfterMax: math.MaxInt64}

// raw is a client's batch around a plain records section, compressed by c, with the
// header changed by edits and a checksum that fits.
func raw(c Codec, section []byte, count int32, edits ...func(Batch)) Batch {
	b := Batch(make([]byte, HeaderSize))
	copy(b, batch(CodecNone, "")[:HeaderSize])
	out, err := appendCompressed(b, section, Compression{Codec: c})
	if err != nil {
		panic(err)
	}
	b = out
	binary.BigEndian.PutUint32(b[OffCount:], uint32(count))
	binary.BigEndian.PutUint32(b[OffLastOffsetDelta:], uint32(count-1))
	b.setFrame(int16(c))
	for _, f := range edits {
		f(b)
		b.SetCRC()
	}
	return b
}

func put16(at int, v int16) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint16(b[at:], uint16(v)) }
}
func put32(at int, v int32) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}
func put64(at int, v int64) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }
}
func setAttr(bit int16) func(Batch) {
	return func(b Batch) { put16(OffAttributes, b.Attributes()|bit)(b) }
}

func section(recs ...Record) (p []byte) {
	for i := range recs {
		p = appendRecord(p, &recs[i], recs[i].OffsetDelta, recs[i].Timestamp)
	}
	return p
}

var two = section(Record{Key: []byte("a"), Value: []byte("1")}, Record{OffsetDelta: 1, Timestamp: 5, Value: []byte("2")})

func TestValidateHeader(t *testing.T) {
	control := setAttr(AttrControl)
	for name, c := range map[string]struct {
		b     Batch
		rules func(*Rules)
		want  error
	}{
		"good":                           {raw(0, two, 2), nil, nil},
		"base offset":                    {raw(0, two, 2, put64(OffBaseOffset, 1)), nil, ErrInvalid},
		"base offset of a coordinator":   {raw(0, two, 2, put64(OffBaseOffset, 1)), func(r *Rules) { r.Origin = Coordinator }, nil},
		"checksum":                       {edit(raw(0, two, 2), func(b Batch) { b[len(b)-1]++ }), nil, ErrCorrupt},
		"checksum on a follower":         {edit(raw(0, two, 2), func(b Batch) { b[len(b)-1]++ }), func(r *Rules) { r.Origin = Replica }, ErrCorrupt},
		"length field":                   {raw(0, two, 2, setLength(60)), nil, ErrCorrupt},
		"magic":                          {raw(0, two, 2, func(b Batch) { b[OffMagic] = 1 }), nil, ErrCorrupt},
		"cut header":                     {raw(0, two, 2)[:50], nil, ErrCorrupt},
		"largest size":                   {raw(0, two, 2), func(r *Rules) { r.MaxBytes = HeaderSize + len(two) }, nil},
		"too large":                      {raw(0, two, 2), func(r *Rules) { r.MaxBytes = HeaderSize + len(two) - 1 }, ErrTooLarge},
		"too large on a follower":        {raw(0, two, 2), func(r *Rules) { r.MaxBytes, r.Origin = 1, Replica }, nil},
		"no records":                     {raw(0, nil, 0), nil, ErrInvalid},
		"negative count":                 {raw(0, two, 2, put32(OffCount, -1)), nil, ErrInvalid},
		"negative count, coordinator":    {raw(0, two, 2, put32(OffCount, -1)), func(r *Rules) { r.Origin = Coordinator }, ErrInvalid},
		"negative count in gzip":         {raw(1, two, 2, put32(OffCount, -1)), func(r *Rules) { r.Origin = Coordinator }, ErrInvalid},
		"last offset delta":              {raw(0, two, 2, put32(OffLastOffsetDelta, 2)), nil, ErrInvalid},
		"negative last offset delta":     {raw(0, two, 2, put32(OffLastOffsetDelta, -3)), nil, ErrInvalid},
		"control batch":                  {raw(0, two, 2, control), nil, ErrInvalid},
		"control batch of ours":          {raw(0, two, 2, control), func(r *Rules) { r.Origin = Coordinator }, nil},
		"producer without sequence":      {raw(0, two, 2, put64(OffProducerID, 5)), nil, ErrInvalid},
		"producer with sequence":         {raw(0, two, 2, put64(OffProducerID, 5), put32(OffBaseSequence, 0)), nil, nil},
		"codec 5":                        {raw(0, two, 2, put16(OffAttributes, 5)), nil, ErrCodec},
		"codec 7 on a follower":          {raw(0, two, 2, put16(OffAttributes, 7)), func(r *Rules) { r.Origin = Replica }, ErrCodec},
		"zstd in an old request":         {raw(CodecZstd, two, 2), func(r *Rules) { r.NoZstd = true }, ErrCodec},
		"lz4 in an old request":          {raw(CodecLZ4, two, 2), func(r *Rules) { r.NoZstd = true }, nil},
		"bad records, shallow":           {raw(0, []byte{1, 2, 3}, 2), func(r *Rules) { r.Shallow = true }, nil},
		"bad records on a follower":      {raw(0, []byte{1, 2, 3}, 2), func(r *Rules) { r.Origin = Replica }, nil},
		"append time claimed":            {raw(0, two, 2, setAttr(AttrAppendTime)), func(r *Rules) { r.TimestampType = LogAppendTime }, ErrTimestamp},
		"append time, shallow":           {raw(0, two, 2, setAttr(AttrAppendTime)), func(r *Rules) { r.TimestampType, r.Shallow = LogAppendTime, true }, ErrTimestamp},
		"append time in the bounds":      {raw(0, two, 2, setAttr(AttrAppendTime)), nil, nil},
		"append time of none":            {raw(0, two, 2, setAttr(AttrAppendTime), put64(OffMaxTimestamp, -1)), nil, ErrTimestamp},
		"header time in bounds, shallow": {raw(0, two, 2), func(r *Rules) { r.Shallow, r.Now, r.AfterMax = true, 900, 100 }, nil},
		"header time too late, shallow":  {raw(0, two, 2), func(r *Rules) { r.Shallow, r.Now, r.AfterMax = true, 900, 99 }, ErrTimestamp},
	} {
		r := wide
		if c.rules != nil {
			c.rules(&r)
		}
		if _, err := Validate(c.b, r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Sections that are wrong whatever they are compressed with.
func TestValidateSection(t *testing.T) {
	long := section(Record{Value: make([]byte, 100_000)})
	for name, c := range map[string]struct {
		section []byte
		count   int32
		want    error
	}{
		"good":                     {two, 2, nil},
		"longer than the window":   {long, 1, nil},
		"record missing":           {two, 3, ErrInvalid},
		"record too many":          {two, 1, ErrInvalid},
		"byte too many":            {append(two[:len(two):len(two)], 0), 2, ErrInvalid},
		"byte missing":             {two[:len(two)-1], 2, ErrInvalid},
		"ends in a long record":    {long[:70_000], 1, ErrInvalid},
		"empty":                    {nil, 1, ErrInvalid},
		"negative size":            {[]byte{1}, 1, ErrInvalid},
		"size zero":                {[]byte{0}, 1, ErrInvalid},
		"size beyond":              {[]byte{100, 0, 0, 0, 1, 1, 0}, 1, ErrInvalid},
		"size too small":           {[]byte{10, 0, 0, 0, 1, 1, 0}, 1, ErrInvalid},
		"fields shorter than size": {[]byte{14, 0, 0, 0, 1, 1, 0, 0}, 1, ErrInvalid},
		"key beyond":               {[]byte{12, 0, 0, 0, 20, 1, 0}, 1, ErrInvalid},
		"value beyond":             {[]byte{12, 0, 0, 0, 1, 20, 0}, 1, ErrInvalid},
		"negative header count":    {[]byte{12, 0, 0, 0, 1, 1, 1}, 1, ErrInvalid},
		"headers beyond":           {[]byte{12, 0, 0, 0, 1, 1, 4}, 1, ErrInvalid},
		"null header key":          {[]byte{16, 0, 0, 0, 1, 1, 2, 1, 1}, 1, ErrInvalid},
		"header":                   {[]byte{16, 0, 0, 0, 1, 1, 2, 0, 1}, 1, nil},
		"header value beyond":      {[]byte{16, 0, 0, 0, 1, 1, 2, 0, 8}, 1, ErrInvalid},
		"varint without end":       {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1, ErrInvalid},
		"offset delta overflows":   {[]byte{20, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 1, 0}, 1, ErrInvalid},
	} {
		for _, codec := range codecs {
			b := raw(codec, c.section, c.count)
			_, err := Validate(b, wide)
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v", name, codec, err)
			}
			var rerr error
			for _, rerr = range b.Records(1 << 20) {
			}
			if (rerr == nil) != (err == nil) {
				t.Errorf("%s, %s: reading says %v", name, codec, rerr)
			}
		}
	}
}

func TestValidateFindsOut(t *testing.T) {
	gaps := section(Record{OffsetDelta: 0, Timestamp: -5}, Record{OffsetDelta: 5, Timestamp: 3})
	for _, codec := range codecs {
		info, err := Validate(raw(codec, two, 2), wide)
		if err != nil || info != (Info{MaxTimestamp: 1005, Plain: int64(len(two))}) {
			t.Errorf("%s: %+v %v", codec, info, err)
		}
		info, err = Validate(raw(codec, gaps, 2), wide)
		if err != nil || !info.Renumber || info.MaxTimestamp != 1003 {
			t.Errorf("%s: %+v %v", codec, info, err)
		}
	}
}

func TestValidateRecords(t *testing.T) {
	for _, codec := range codecs {
		b := raw(codec, section(Record{Key: []byte{}}, Record{OffsetDelta: 1, Timestamp: 50}, Record{OffsetDelta: 2, Timestamp: -50}), 3)
		keyed := wide
		keyed.KeyRequired = true
		_, err := Validate(b, keyed)
		wantErrors(t, codec, err, ErrInvalid, 1, 2)

		bounds := Rules{Now: 1000, BeforeMax: 49, AfterMax: 49}
		_, err = Validate(b, bounds)
		wantErrors(t, codec, err, ErrTimestamp, 1, 2)
		bounds.TimestampType = LogAppendTime
		if _, err = Validate(b, bounds); err != nil {
			t.Errorf("%s: bounds hold for create time only: %v", codec, err)
		}
		both := Rules{Now: 1000, BeforeMax: 49, AfterMax: 50, KeyRequired: true}
		_, err = Validate(raw(codec, section(Record{}, Record{OffsetDelta: 1, Timestamp: -50, Key: []byte("k")}), 2), both)
		wantErrors(t, codec, err, ErrTimestamp, 0, 1)

		small := wide
		small.MaxRecordBytes = 5
		_, err = Validate(b, small)
		if codec == CodecNone {
			if err != nil {
				t.Errorf("the limit is for compressed batches: %v", err)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: record above the limit: %v", codec, err)
		}
		if small.MaxRecordBytes = 6; codec != CodecNone {
			if _, err = Validate(b, small); err != nil {
				t.Errorf("%s: record at the limit: %v", codec, err)
			}
		}
	}
}

func wantErrors(t *testing.T, c Codec, err, kind error, at ...int32) {
	t.Helper()
	var list *RecordErrors
	if !errors.As(err, &list) || !errors.Is(err, kind) || len(list.List) != len(at) || list.Total != len(at) {
		t.Errorf("%s: %v", c, err)
		return
	}
	for i, e := range list.List {
		if e.Index != at[i] || e.Msg == "" || !strings.Contains(e.Error(), e.Msg) {
			t.Errorf("%s: %v", c, e)
		}
	}
}

func TestRecordErrorsAreBounded(t *testing.T) {
	var recs []Record
	for i := range int32(3 * MaxRecordErrors) {
		recs = append(recs, Record{OffsetDelta: i})
	}
	r := wide
	r.KeyRequired = true
	_, err := Validate(raw(CodecNone, section(recs...), int32(len(recs))), r)
	var list *RecordErrors
	if !errors.As(err, &list) || len(list.List) != MaxRecordErrors || list.Total != len(recs) {
		t.Errorf("%v", err)
	}
}

// A batch that validation accepts is read without an error, and holds what was found out.
func FuzzValidate(f *testing.F) {
	for _, c := range codecs {
		f.Add([]byte(raw(c, two, 2)), true)
		f.Add([]byte(raw(c, section(Record{Value: make([]byte, 300)}), 1)), false)
	}
	f.Fuzz(func(t *testing.T, p []byte, keyed bool) {
		if len(p) < HeaderSize || len(p) > 1<<20 {
			return
		}
		b := Batch(append([]byte(nil), p...))
		b.setFrame(b.Attributes()) // reach what lies behind the checksum
		r := wide
		r.KeyRequired, r.Now = keyed, 1000
		info, err := Validate(b, r)
		if err != nil || info.Plain > 8<<20 {
			return
		}
		n, top, renumber := int32(0), NoTimestamp, false
		for rec, err := range b.Records(8 << 20) {
			if err != nil {
				t.Fatal("accepted, but:", err)
			}
			renumber = renumber || rec.OffsetDelta != n
			n, top = n+1, max(top, rec.Timestamp)
			if keyed && rec.Key == nil {
				t.Fatal("no key")
			}
		}
		if n != b.Count() || top != info.MaxTimestamp || renumber != info.Renumber {
			t.Fatalf("%d records, %+v", n, info)
		}
		out, err := Recompress(nil, b, Compression{Codec: CodecLZ4}, 8<<20)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Validate(out, r); err != nil || again.Renumber || again.MaxTimestamp != info.MaxTimestamp {
			t.Fatalf("recompressed: %+v %v", again, err)
		}
	})
}

func benchBatch(c Codec) Batch {
	var b Builder
	b.Reset(NewHeader(0), Compression{Codec: c})
	value := []byte(strings.Repeat("0123456789abcdef", 64))
	for b.Size() < 64<<10 {
		b.Append(1000, []byte("key"), value)
	}
	p, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return p
}

func BenchmarkValidate64K(b *testing.B) {
	for _, c := range codecs {
		b.Run(c.String(), func(b *testing.B) {
			p := benchBatch(c)
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(p, wide); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkValidate64KOf100Bytes(b *testing.B) {
	var bl Builder
	bl.Reset(NewHeader(0), Compression{})
	for bl.Size() < 64<<10 {
		bl.Append(1000, []byte("key"), make([]byte, 100))
	}
	p, err := bl.Build(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Validate(p, wide); err != nil {
			b.Fatal(err)
		}
	}
}

func TestValidateAllocatesNothing(t *testing.T) {
	p := benchBatch(CodecNone)
	if n := testing.AllocsPerRun(100, func() { _, _ = Validate(p, wide) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
