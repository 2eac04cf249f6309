package nodewire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"
)

// Reasons why bytes are no message, for errors.Is.
var (
	// ErrShort: a length or count states more than the bytes that are there.
	ErrShort = errors.New("not enough bytes")
	// ErrInvalid: bytes that have no meaning where they stand.
	ErrInvalid = errors.New("invalid")
	// ErrLimit: more entries than a message may have.
	ErrLimit = errors.New("over the limit")
	// ErrVersion: a version that is not spoken.
	ErrVersion = errors.New("unknown version")
	// ErrUnknown: no such key.
	ErrUnknown = errors.New("unknown api key")
)

// coder walks the fields of a message, to write or to read them. One walk serves both,
// so that the two cannot differ.
type coder struct {
	reading bool
	dst     []byte
	src     []byte
	err     error // while reading; the first one

	cut    int      // while writing: fields of so many bytes become pieces; 0: none
	pieces [][]byte // before dst
}

func (c *coder) fail(err error, what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%d bytes before the end: %s: %w", len(c.src), what, err)
	}
	c.src = nil // so that everything that follows is short, and nothing is allocated
}

// take is the next n bytes that are read; nil when there are fewer.
func (c *coder) take(n int, what string) []byte {
	if n < 0 || n > len(c.src) {
		c.fail(ErrShort, what)
		return nil
	}
	b := c.src[:n:n]
	c.src = c.src[n:]
	return b
}

// number is an integer of the size of its type.
func number[T int8 | int16 | int32 | int64 | uint64](c *coder, v *T) {
	size := int(unsafe.Sizeof(*v))
	if !c.reading {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(*v))
		c.dst = append(c.dst, b[8-size:]...)
		return
	}
	var u uint64
	for _, b := range c.take(size, "number") {
		u = u<<8 | uint64(b)
	}
	*v = T(u)
}

func (c *coder) boolean(v *bool) {
	if !c.reading {
		b := byte(0)
		if *v {
			b = 1
		}
		c.dst = append(c.dst, b)
		return
	}
	b := c.take(1, "boolean")
	if len(b) == 1 && b[0] > 1 {
		c.fail(ErrInvalid, "boolean")
		return
	}
	*v = len(b) == 1 && b[0] == 1
}

func (c *coder) id(v *[16]byte) {
	if !c.reading {
		c.dst = append(c.dst, v[:]...)
		return
	}
	*v = [16]byte{}
	copy(v[:], c.take(len(v), "id"))
}

// MaxString is the most bytes of a string. A longer one is cut when it is written: an
// error message is the only one without a limit of its own.
const MaxString = math.MaxInt16

func (c *coder) str(v *string) {
	if !c.reading {
		s := (*v)[:min(len(*v), MaxString)]
		c.dst = binary.BigEndian.AppendUint16(c.dst, uint16(len(s)))
		c.dst = append(c.dst, s...)
		return
	}
	var n int16
	number(c, &n)
	if n < 0 {
		c.fail(ErrInvalid, "string length")
	}
	*v = string(c.take(int(max(n, 0)), "string"))
}

func (c *coder) nullable(v **string) {
	switch {
	case !c.reading && *v == nil:
		c.dst = append(c.dst, 0xff, 0xff)
		return
	case !c.reading:
		c.str(*v)
		return
	}
	*v = nil
	if len(c.src) >= 2 && c.src[0] == 0xff && c.src[1] == 0xff {
		c.src = c.src[2:]
		return
	}
	var s string
	if c.str(&s); c.err == nil {
		*v = &s
	}
}

// bytes reads a view; an empty field is nil.
func (c *coder) bytes(v *[]byte) {
	if !c.reading {
		c.dst = binary.BigEndian.AppendUint32(c.dst, uint32(len(*v)))
		if c.cut > 0 && len(*v) >= c.cut {
			c.pieces = append(c.pieces, c.dst, *v)
			c.dst = nil
			return
		}
		c.dst = append(c.dst, *v...)
		return
	}
	*v = nil
	var n int32
	number(c, &n)
	if b := c.take(int(n), "bytes"); len(b) > 0 {
		*v = b
	}
}

// array is a count and so many entries of at least minimal bytes each; an empty one is nil.
func array[T any](c *coder, v *[]T, limit, minimal int, walk func(*T, *coder)) {
	n := int32(len(*v))
	number(c, &n)
	if c.reading {
		*v = nil
		switch {
		case n < 0:
			c.fail(ErrInvalid, "count")
		case int(n) > limit:
			c.fail(ErrLimit, "count")
		case int(n) > len(c.src)/minimal:
			c.fail(ErrShort, "count")
		}
		if n == 0 || c.err != nil {
			return
		}
		*v = make([]T, n)
	}
	for i := range *v {
		walk(&(*v)[i], c)
	}
}

func optional[T any](c *coder, v **T, walk func(*T, *coder)) {
	there := *v != nil
	c.boolean(&there)
	if c.reading {
		*v = nil
		if !there {
			return
		}
		*v = new(T)
	}
	if there {
		walk(*v, c)
	}
}
