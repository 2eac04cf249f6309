package schema

import "github.com/twmb/franz-go/pkg/kbin"

// reader adds to kbin's the checks of counts and of tags.
type reader struct {
	kbin.Reader
	// unknown is set when a tag was met that the record does not have.
	unknown bool
}

// fail marks the input as bad; every later read returns a zero value.
func (r *reader) fail() { r.Span(-1) }

// arrayLen reads an element count; -1 is null. A count whose elements, of at
// least minSize bytes each, cannot be in the rest of the input is bad.
func (r *reader) arrayLen(minSize int, nullable bool) int {
	n := int64(r.Uvarint()) - 1
	if !r.Ok() || n > int64(len(r.Src)/minSize) || n < 0 && !nullable {
		r.fail()
		return -1
	}
	return int(n)
}

// tags reads a tag section; each calls read with the input narrowed to the
// tag's bytes, which it must consume whole. Tags must ascend.
func (r *reader) tags(read func(tag uint32, r *reader) (known bool)) {
	last := int64(-1)
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		tag, size := r.Uvarint(), r.Uvarint()
		body := r.Span(int(size))
		if int64(tag) <= last {
			r.fail()
		}
		last = int64(tag)
		if !r.Ok() {
			return
		}
		rest := r.Src
		r.Src = body
		if !read(tag, r) {
			r.unknown = true
			r.fail()
		}
		if !r.Ok() || len(r.Src) > 0 {
			r.fail()
			return
		}
		r.Src = rest
	}
}

// noTags reads the tag section of a struct that has none.
func (r *reader) noTags() {
	r.tags(func(uint32, *reader) bool { return false })
}

// appendTagged appends one tagged field: tag, size, bytes.
func appendTagged(dst []byte, tag uint32, body func([]byte) []byte) []byte {
	dst = kbin.AppendUvarint(dst, tag)
	// Nearly every tagged field is shorter than 127 bytes: leave one byte for
	// the size, and move the body when that was not enough.
	start := len(dst)
	dst = body(append(dst, 0))
	size := len(dst) - start - 1
	if size < 0x80 {
		dst[start] = byte(size)
		return dst
	}
	var head [5]byte
	n := len(kbin.AppendUvarint(head[:0], uint32(size)))
	dst = append(dst, head[1:n]...)
	copy(dst[start+n:], dst[start+1:start+1+size])
	copy(dst[start:], head[:n])
	return dst
}
