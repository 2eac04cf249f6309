package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Reasons why a request is refused, for errors.Is. None has an error code in the
// protocol: the connection closes and the log says why, as with Kafka.
var (
	// ErrUnknown: no such API key.
	ErrUnknown = errors.New("unknown api key")
	// ErrVersion: a version of that API that is not known.
	ErrVersion = errors.New("unknown version")
	// ErrShort: a size or count states more than the bytes that are there.
	ErrShort = errors.New("not enough bytes")
	// ErrInvalid: bytes that have no meaning where they stand.
	ErrInvalid = errors.New("invalid")
	// ErrNull: null in a field that cannot be null.
	ErrNull = errors.New("null in a field that is not nullable")
	// ErrLimit: more of something than Limits allow.
	ErrLimit = errors.New("over the limit")
)

// Limits of Kafka 4.4, used where a field of Limits is 0.
const (
	MaxArray  = 1_000_000
	MaxTags   = 10_000
	MaxString = 32_767 // bytes, as for any string of the protocol
)

// Limits bound what one request may hold. The zero value is Kafka's limits and any memory.
type Limits struct {
	Array int   // entries of one array
	Tags  int   // tagged fields of one structure
	Alloc int64 // bytes that decoding may allocate; 0 is any number
}

// kind of a field.
type kind uint8

const (
	k1      kind = iota // fixed sizes, bytes
	k2                  //
	k4                  //
	k8                  //
	k16                 //
	kString             // int16 length, or uvarint length+1 when flexible
	kBytes              // int32 length, likewise
	kArray              // int32 count, likewise; elem is one entry
	kStruct             // int8 presence, then elem
	kInline             // elem
	kTags               // tagged fields at the end of a structure; elem are the known ones
)

var fixed = [...]int{k1: 1, k2: 2, k4: 4, k8: 8, k16: 16}

const (
	last  = 1<<15 - 1 // as a maximal version: no end
	never = 1<<15 - 1 // as a first version: not at all
)

// field of a structure: there in versions min to max, nullable from version null.
type field struct {
	kind           kind
	tag            uint8 // number, of a known tagged field
	min, max, null int16
	size           uint32 // in kmsg's memory, of one entry or of the structure
	elem           []field
}

// request is the layout of a request in all versions.
type request struct {
	known    bool
	max      int16
	flexible int16 // first flexible version
	fields   []field
}

func lookup(key, version int16) (*request, error) {
	if key < 0 || int(key) >= len(requests) || !requests[key].known {
		return nil, fmt.Errorf("%w %d", ErrUnknown, key)
	}
	r := &requests[key]
	if version < 0 || version > r.max {
		return nil, fmt.Errorf("%w %d of api key %d", ErrVersion, version, key)
	}
	return r, nil
}

// Check walks the body of a request (what follows the header) and tells whether
// kmsg may decode it, and about how many bytes that will allocate, never less than
// it does. It allocates nothing unless it fails. Time is proportional to the body.
func Check(key, version int16, body []byte, lim Limits) (alloc int64, err error) {
	r, err := lookup(key, version)
	if err != nil {
		return 0, err
	}
	if lim.Array == 0 {
		lim.Array = MaxArray
	}
	if lim.Tags == 0 {
		lim.Tags = MaxTags
	}
	c := checker{rest: body, version: version, flexible: version >= r.flexible, lim: lim}
	if c.walk(r.fields); c.err != nil {
		return c.alloc, fmt.Errorf("request with api key %d, version %d: at byte %d of %d: %s: %w",
			key, version, len(body)-c.left(), len(body), c.what, c.err)
	}
	return c.alloc, nil
}

// checker walks bytes along a layout until the first error.
type checker struct {
	rest     []byte
	outer    int // bytes behind rest, while inside a tagged field
	version  int16
	flexible bool
	lim      Limits
	alloc    int64
	err      error
	what     string
}

func (c *checker) left() int { return len(c.rest) + c.outer }

func (c *checker) fail(err error, what string) bool {
	if c.err == nil {
		c.err, c.what = err, what
	}
	return false
}

// charge adds an allocation of n bytes, and what the allocator may round it up by.
func (c *checker) charge(n int64) bool {
	if n > 0 {
		c.alloc += n + n/4 + 16
	}
	if c.lim.Alloc > 0 && c.alloc > c.lim.Alloc {
		return c.fail(ErrLimit, "memory to decode")
	}
	return true
}

func (c *checker) walk(fs []field) bool {
	for i := range fs {
		f := &fs[i]
		if c.version >= f.min && c.version <= f.max && !c.field(f) {
			return false
		}
	}
	return true
}

func (c *checker) field(f *field) bool {
	switch f.kind {
	case kString:
		return c.str(f)
	case kBytes:
		return c.bytes(f)
	case kArray:
		return c.array(f)
	case kStruct:
		return c.structure(f)
	case kInline:
		return c.walk(f.elem)
	case kTags:
		return !c.flexible || c.tags(f.elem)
	}
	return c.skip(fixed[f.kind], "value")
}

func (c *checker) skip(n int, what string) bool {
	if n < 0 || n > len(c.rest) {
		return c.fail(ErrShort, what)
	}
	c.rest = c.rest[n:]
	return true
}

func (c *checker) uvarint(what string) (uint32, bool) {
	if len(c.rest) > 0 && c.rest[0] < 0x80 {
		v := uint32(c.rest[0])
		c.rest = c.rest[1:]
		return v, true
	}
	v, n := binary.Uvarint(c.rest)
	switch {
	case n == 0 && len(c.rest) < 5:
		return 0, c.fail(ErrShort, what)
	case n <= 0 || n > 5 || v > 1<<32-1:
		return 0, c.fail(ErrInvalid, what)
	}
	c.rest = c.rest[n:]
	return uint32(v), true
}

// length reads a length or count: a fixed one of width bytes, or a flexible one. Null is -1.
func (c *checker) length(width int, what string) (int, bool) {
	if c.flexible {
		u, ok := c.uvarint(what)
		if u > 1<<31-1 {
			return 0, c.fail(ErrInvalid, what)
		}
		return int(u) - 1, ok
	}
	if len(c.rest) < width {
		return 0, c.fail(ErrShort, what)
	}
	var n int
	if width == 2 {
		n = int(int16(binary.BigEndian.Uint16(c.rest)))
	} else {
		n = int(int32(binary.BigEndian.Uint32(c.rest)))
	}
	c.rest = c.rest[width:]
	return n, true
}

func (c *checker) str(f *field) bool {
	n, ok := c.length(2, "string length")
	switch {
	case !ok:
		return false
	case n < 0 && c.version < f.null:
		return c.fail(ErrNull, "string")
	case n > MaxString:
		return c.fail(ErrLimit, "string length")
	case f.null != never && !c.charge(16): // the pointer's target
		return false
	}
	return c.skip(max(n, 0), "string") && c.charge(int64(n))
}

func (c *checker) bytes(f *field) bool {
	n, ok := c.length(4, "bytes length")
	switch {
	case !ok:
		return false
	case n < 0 && c.version < f.null:
		return c.fail(ErrNull, "bytes")
	}
	return c.skip(max(n, 0), "bytes") // kmsg keeps a view
}

func (c *checker) array(f *field) bool {
	n, ok := c.length(4, "array length")
	switch {
	case !ok:
		return false
	case n < 0 && c.version < f.null:
		return c.fail(ErrNull, "array")
	case n <= 0:
		return true
	case n > len(c.rest):
		return c.fail(ErrShort, "array length")
	case n > c.lim.Array:
		return c.fail(ErrLimit, "array length")
	case !c.charge(int64(n) * int64(f.size)):
		return false
	}
	if len(f.elem) == 1 && f.elem[0].kind <= k16 {
		return c.skip(n*fixed[f.elem[0].kind], "array")
	}
	for range n {
		if !c.walk(f.elem) {
			return false
		}
	}
	return true
}

func (c *checker) structure(f *field) bool {
	if len(c.rest) == 0 {
		return c.fail(ErrShort, "structure")
	}
	present := int8(c.rest[0])
	c.rest = c.rest[1:]
	switch {
	case present == -1:
		return true
	case present < -1:
		return c.fail(ErrInvalid, "structure")
	}
	return c.charge(int64(f.size)) && c.walk(f.elem)
}

// What a map of unknown tagged fields costs: the first eight, and each further one.
const (
	tagsBase = 400
	tagsEach = 160
)

func (c *checker) tags(known []field) bool {
	n, ok := c.uvarint("number of tagged fields")
	switch {
	case !ok:
		return false
	case int64(n) > int64(len(c.rest)):
		return c.fail(ErrShort, "number of tagged fields")
	case int64(n) > int64(c.lim.Tags):
		return c.fail(ErrLimit, "number of tagged fields")
	}
	unknown := int64(0)
	for range n {
		tag, ok := c.uvarint("tag")
		if !ok {
			return false
		}
		size, ok := c.uvarint("size of a tagged field")
		if !ok {
			return false
		}
		if int64(size) > int64(len(c.rest)) {
			return c.fail(ErrShort, "size of a tagged field")
		}
		if f := knownTag(known, tag); f != nil {
			if !c.within(int(size), f) {
				return false
			}
			continue
		}
		c.rest = c.rest[size:]
		if unknown++; unknown == 1 && !c.charge(tagsBase) || unknown > 8 && !c.charge(tagsEach) {
			return false
		}
	}
	return true
}

func knownTag(known []field, tag uint32) *field {
	for i := range known {
		if uint32(known[i].tag) == tag {
			return &known[i]
		}
	}
	return nil
}

// within walks a known tagged field, which must fill its size.
func (c *checker) within(size int, f *field) bool {
	rest, outer := c.rest, c.outer
	c.rest, c.outer = rest[:size], outer+len(rest)-size
	if !c.field(f) {
		return false
	}
	if len(c.rest) != 0 {
		return c.fail(ErrInvalid, "tagged field with bytes left over")
	}
	c.rest, c.outer = rest[size:], outer
	return true
}
