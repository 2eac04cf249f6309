package record

import (
	"encoding/binary"
	"errors"
	"testing"
)

// batch is a valid one-record batch.
func batch(c Codec, value string) Batch {
	var b Builder
	b.Reset(NewHeader(0), Compression{Codec: c})
	b.Append(1000, []byte("k"), []byte(value))
	raw, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return raw
}

// edit is a copy of b changed by f.
func edit(b Batch, f func(b Batch)) Batch {
	c := append(Batch(nil), b...)
	f(c)
	return c
}

func setLength(n int32) func(Batch) {
	return func(b Batch) { binary.BigEndian.PutUint32(b[OffLength:], uint32(n)) }
}

func TestFirst(t *testing.T) {
	good := batch(CodecNone, "v")
	for name, c := range map[string]struct {
		run  []byte
		want error
	}{
		"whole":               {good, nil},
		"with more behind":    {append(append([]byte{}, good...), 1, 2), nil},
		"one byte short":      {good[:len(good)-1], ErrTruncated},
		"ends in the length":  {good[:11], ErrTruncated},
		"ends at the magic":   {good[:16], ErrTruncated},
		"negative length":     {edit(good, setLength(-1)), ErrCorrupt},
		"tiny length":         {edit(good, setLength(13)), ErrCorrupt},
		"less than a header":  {edit(good, setLength(48)), ErrCorrupt},
		"length beyond":       {edit(good, setLength(1<<31-1)), ErrTruncated},
		"unknown magic":       {edit(good, func(b Batch) { b[OffMagic] = 3 }), ErrCorrupt},
		"negative magic":      {edit(good, func(b Batch) { b[OffMagic] = 0xff }), ErrCorrupt},
		"format v1":           {edit(good, func(b Batch) { b[OffMagic] = 1 }), ErrInvalid},
		"zeros after a crash": {make([]byte, 4096), ErrCorrupt},
	} {
		b, err := First(c.run)
		if !errors.Is(err, c.want) || (err == nil) != (len(b) == len(good)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSplit(t *testing.T) {
	one, two := batch(CodecNone, "one"), batch(CodecGzip, "two")
	run := append(append([]byte{}, one...), two...)
	for cut := range len(run) + 1 {
		at := 0
		var last error
		for b, err := range Split(run[:cut]) {
			if last = err; err == nil {
				at += len(b)
			}
		}
		whole := cut == 0 || cut == len(one) || cut == len(run)
		if (last == nil) != whole || last != nil && last != ErrTruncated {
			t.Fatalf("cut at %d: %v", cut, last)
		}
		want := 0
		switch {
		case cut == len(run):
			want = len(run)
		case cut >= len(one):
			want = len(one)
		}
		if at != want {
			t.Fatalf("cut at %d: %d bytes of batches, want %d", cut, at, want)
		}
	}
	for range Split(run) {
		break // stopping early is allowed
	}
}

func TestSole(t *testing.T) {
	b := batch(CodecNone, "v")
	twice := append(append([]byte{}, b...), b...)
	for name, c := range map[string]struct {
		run  []byte
		want error
	}{
		"one":                     {b, nil},
		"none":                    {nil, ErrInvalid},
		"part of one":             {b[:30], ErrInvalid},
		"two":                     {twice, ErrInvalid},
		"one and a part":          {twice[:len(twice)-1], nil},
		"one and garbage":         {append(append([]byte{}, b...), make([]byte, 20)...), ErrCorrupt},
		"one and one of format 1": {append(append([]byte{}, b...), edit(b, func(b Batch) { b[OffMagic] = 1 })...), ErrInvalid},
		"corrupt":                 {edit(b, setLength(3)), ErrCorrupt},
	} {
		got, err := Sole(c.run)
		if !errors.Is(err, c.want) || err == nil && len(got) != len(b) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPatchOutsideTheChecksum(t *testing.T) {
	b := edit(batch(CodecNone, "v"), func(b Batch) { b.SetBaseOffset(1 << 40); b.SetLeaderEpoch(9) })
	if !b.CheckCRC() || b.BaseOffset() != 1<<40 || b.LeaderEpoch() != 9 {
		t.Error("patched offset or epoch")
	}
	if b.SetLastOffset(77); b.LastOffset() != 77 || !b.CheckCRC() {
		t.Error("patched last offset")
	}
	crc := b.CRC()
	if b.SetMaxTimestamp(CreateTime, b.MaxTimestamp()); b.CRC() != crc {
		t.Error("same timestamp, other checksum")
	}
	b.SetMaxTimestamp(LogAppendTime, 5)
	if !b.CheckCRC() || b.MaxTimestamp() != 5 || b.TimestampType() != LogAppendTime {
		t.Error("append time")
	}
	for r := range b.Records(0) {
		if r.Timestamp != 5 {
			t.Error("record timestamp", r.Timestamp)
		}
	}
	if b.SetMaxTimestamp(CreateTime, 1000); b.TimestampType() != CreateTime || !b.CheckCRC() {
		t.Error("back to create time")
	}
}

// Kafka rewrites the attributes from those it knows, but only when it rewrites them.
func TestUnknownAttributes(t *testing.T) {
	b := edit(batch(CodecNone, "v"), func(b Batch) { b.setFrame(^AttrCodecMask &^ AttrAppendTime) })
	if b.SetMaxTimestamp(CreateTime, b.MaxTimestamp()); b.Attributes() != ^AttrCodecMask&^AttrAppendTime {
		t.Errorf("%x", b.Attributes())
	}
	if b.SetMaxTimestamp(LogAppendTime, 1); b.Attributes() != 0x78 || !b.CheckCRC() {
		t.Errorf("%x", b.Attributes())
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(append(append([]byte{}, batch(CodecNone, "one")...), batch(CodecLZ4, "two")...)))
	f.Add([]byte(batch(CodecNone, "v")[:40]))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, run []byte) {
		at := 0
		for b, err := range Split(run) {
			if err != nil {
				if b != nil {
					t.Fatal("both a batch and an error")
				}
				return
			}
			if len(b) < HeaderSize || int(b.Length())+Overhead != len(b) {
				t.Fatal("length")
			}
			at += len(b)
		}
		if at != len(run) {
			t.Fatalf("%d of %d bytes without an error", at, len(run))
		}
	})
}
