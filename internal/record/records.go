package record

import (
	"encoding/binary"
	"iter"
)

// Record is one record, as views of its batch's plain section. Nil key or value is null.
type Record struct {
	Attributes  int8  // unused by Kafka so far
	Offset      int64 // base offset + OffsetDelta
	Timestamp   int64 // resolved: the append time in a LogAppendTime batch
	OffsetDelta int32
	Key, Value  []byte
	// HeaderCount and RawHeaders are the headers as stored, behind their count.
	HeaderCount int
	RawHeaders  []byte
}

// Header is one header of a record. Keys are never null, values may be.
type Header struct {
	Key   string
	Value []byte
}

// Headers iterates the headers. Keys are copied, values are views.
func (r *Record) Headers() iter.Seq[Header] {
	return func(yield func(Header) bool) {
		p := r.RawHeaders
		for range r.HeaderCount {
			var key, value []byte
			var ok bool
			if key, p, ok = sized(p); !ok {
				return // cannot happen: parseRecord walked them
			}
			if value, p, ok = sized(p); !ok {
				return
			}
			if !yield(Header{Key: string(key), Value: value}) {
				return
			}
		}
	}
}

// AppendHeaders appends headers in their stored form, for a Record to be built.
func AppendHeaders(dst []byte, hs ...Header) []byte {
	for _, h := range hs {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendSized(dst, h.Value)
	}
	return dst
}

func appendSized(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 1) // varint -1
	}
	return append(binary.AppendVarint(dst, int64(len(p))), p...)
}

// Records iterates a batch's records in order. A compressed section is first
// decompressed into new memory, to at most max bytes; the views stay valid. After
// an error nothing follows. What it yields was walked whole: sizes, headers, and
// that the section ends with its last record. Offset deltas are not judged.
func (b Batch) Records(max int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		section, err := b.Decompress(nil, max)
		if err != nil {
			yield(Record{}, err)
			return
		}
		b.RecordsIn(section)(yield)
	}
}

// RecordsIn is Records over a section that the caller has decompressed.
func (b Batch) RecordsIn(section []byte) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		w := walker{rest: section, left: b.Count()}
		if w.left < 0 {
			yield(Record{}, invalid("record count %d", w.left))
			return
		}
		base, baseTime := b.BaseOffset(), b.BaseTimestamp()
		appended := b.TimestampType() == LogAppendTime
		for w.left > 0 {
			r, delta, err := w.next()
			if err != nil {
				yield(Record{}, err)
				return
			}
			r.Offset = base + int64(r.OffsetDelta)
			r.Timestamp = baseTime + delta
			if appended {
				r.Timestamp = b.MaxTimestamp()
			}
			if !yield(r, nil) {
				return
			}
		}
		if len(w.rest) != 0 {
			yield(Record{}, errRemaining)
		}
	}
}

var (
	errRemaining = invalid("incorrect declared batch size, records still remaining")
	errPremature = invalid("incorrect declared batch size, premature end of records")
	errStructure = invalid("invalid record structure")
)

// walker parses the records of a plain section without allocating.
type walker struct {
	rest []byte
	left int32 // records
}

// next parses one record; it also returns its timestamp delta.
func (w *walker) next() (r Record, delta int64, err error) {
	size, n := binary.Varint(w.rest)
	if n <= 0 || size != int64(int32(size)) {
		return r, 0, errPremature
	}
	if size < 0 || size > int64(len(w.rest)-n) {
		return r, 0, invalid("record size %d with %d bytes remaining", size, len(w.rest)-n)
	}
	body := w.rest[n : n+int(size) : n+int(size)]
	w.rest = w.rest[n+int(size):]
	w.left--
	delta, ok := r.parse(body)
	if !ok {
		return r, 0, errStructure
	}
	return r, delta, nil
}

// parse reads a record's body, all of it.
func (r *Record) parse(p []byte) (delta int64, ok bool) {
	if len(p) == 0 {
		return 0, false
	}
	r.Attributes, p = int8(p[0]), p[1:]
	delta, n := binary.Varint(p)
	if n <= 0 {
		return 0, false
	}
	if r.OffsetDelta, p, ok = varint32(p[n:]); !ok {
		return 0, false
	}
	if r.Key, p, ok = sized(p); !ok {
		return 0, false
	}
	if r.Value, p, ok = sized(p); !ok {
		return 0, false
	}
	count, p, ok := varint32(p)
	if !ok || count < 0 || int(count) > len(p) {
		return 0, false
	}
	r.HeaderCount, r.RawHeaders = int(count), p
	for range count {
		keySize, q, ok := varint32(p)
		if !ok || keySize < 0 || int(keySize) > len(q) {
			return 0, false
		}
		if _, p, ok = sized(q[keySize:]); !ok {
			return 0, false
		}
	}
	return delta, len(p) == 0
}

// varint32 reads a zigzag varint of an int32.
func varint32(p []byte) (int32, []byte, bool) {
	if len(p) > 0 && p[0] < 0x80 {
		return int32(p[0]>>1) ^ -int32(p[0]&1), p[1:], true
	}
	v, n := binary.Varint(p)
	if n <= 0 || v != int64(int32(v)) {
		return 0, nil, false
	}
	return int32(v), p[n:], true
}

// sized reads bytes behind their varint length; a negative length is null.
func sized(p []byte) (v, rest []byte, ok bool) {
	n, p, ok := varint32(p)
	switch {
	case !ok || int(n) > len(p):
		return nil, nil, false
	case n < 0:
		return nil, p, true
	}
	return p[:n:n], p[n:], true
}
