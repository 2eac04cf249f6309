package wire

import (
	"encoding/binary"
	"fmt"
)

// MaxProducePartitions bounds the partitions of one Produce request, over all topics.
const MaxProducePartitions = MaxArray

// keepProduce bounds the entries whose memory a Produce keeps between requests.
const keepProduce = 4096

// Produce is a Produce request, versions 0 to 13, as views of its frame: it is valid
// as long as the frame's bytes are. Its slices are reused by the next Parse.
type Produce struct {
	// TransactionalID is nil when null (always below v3).
	TransactionalID []byte
	Acks            int16 // -1, 0, 1 or an error
	TimeoutMillis   int32
	Topics          []ProduceTopic
	partitions      []ProducePartition
}

// ProduceTopic is one topic's part of the request.
type ProduceTopic struct {
	Name        []byte   // up to v12, else nil
	ID          [16]byte // from v13, else zero
	first, next int32    // of its partitions
}

// ProducePartition is what one partition shall append.
type ProducePartition struct {
	Index   int32
	Records []byte // nil when null
}

// Partitions are those of one of p's topics, in the request's order. They may be
// changed in place; the slice may not be appended to.
func (p *Produce) Partitions(t *ProduceTopic) []ProducePartition {
	return p.partitions[t.first:t.next:t.next]
}

// Count is the number of partitions over all topics.
func (p *Produce) Count() int { return len(p.partitions) }

// Parse reads a request's body into p. It fails where Check fails, for the same
// reasons, and refuses more than MaxProducePartitions partitions; it needs no Check
// before. Memory grows with the partitions that were really there. After an error p
// holds nothing of use.
func (p *Produce) Parse(version int16, body []byte) error {
	r, err := lookup(0, version)
	if err != nil {
		return err
	}
	p.reset()
	c := checker{rest: body, version: version, flexible: version >= r.flexible, lim: Limits{Array: MaxArray, Tags: MaxTags}}
	if !p.parse(&c) {
		return fmt.Errorf("produce request, version %d: at byte %d of %d: %s: %w", version, len(body)-c.left(), len(body), c.what, c.err)
	}
	return nil
}

func (p *Produce) reset() {
	if cap(p.partitions) > keepProduce {
		p.partitions = nil
	}
	if cap(p.Topics) > keepProduce {
		p.Topics = nil
	}
	*p = Produce{Topics: p.Topics[:0], partitions: p.partitions[:0]}
}

func (p *Produce) parse(c *checker) (ok bool) {
	if c.version >= 3 {
		if p.TransactionalID, ok = c.takeString(true); !ok {
			return false
		}
	}
	head := c.rest
	if !c.skip(6, "acks and timeout") {
		return false
	}
	p.Acks = int16(binary.BigEndian.Uint16(head))
	p.TimeoutMillis = int32(binary.BigEndian.Uint32(head[2:]))
	n, ok := c.count()
	if !ok {
		return false
	}
	for range n {
		if !p.parseTopic(c) {
			return false
		}
	}
	return !c.flexible || c.tags(nil)
}

func (p *Produce) parseTopic(c *checker) (ok bool) {
	var t ProduceTopic
	if c.version >= 13 {
		id := c.rest
		if !c.skip(16, "topic id") {
			return false
		}
		t.ID = [16]byte(id)
	} else if t.Name, ok = c.takeString(false); !ok {
		return false
	}
	n, ok := c.count()
	if !ok {
		return false
	}
	if n > MaxProducePartitions-len(p.partitions) {
		return c.fail(ErrLimit, "partitions")
	}
	t.first = int32(len(p.partitions))
	for range n {
		var q ProducePartition
		index := c.rest
		if !c.skip(4, "partition index") {
			return false
		}
		q.Index = int32(binary.BigEndian.Uint32(index))
		if q.Records, ok = c.takeBytes(); !ok || c.flexible && !c.tags(nil) {
			return false
		}
		p.partitions = append(p.partitions, q)
	}
	t.next = int32(len(p.partitions))
	p.Topics = append(p.Topics, t)
	return !c.flexible || c.tags(nil)
}

// count reads the count of an array that is not nullable.
func (c *checker) count() (int, bool) {
	n, ok := c.length(4, "array length")
	switch {
	case !ok:
		return 0, false
	case n < 0:
		return 0, c.fail(ErrNull, "array")
	case n > len(c.rest):
		return 0, c.fail(ErrShort, "array length")
	case n > c.lim.Array:
		return 0, c.fail(ErrLimit, "array length")
	}
	return n, true
}

func (c *checker) takeString(nullable bool) ([]byte, bool) {
	n, ok := c.length(2, "string length")
	switch {
	case !ok:
		return nil, false
	case n < 0 && !nullable:
		return nil, c.fail(ErrNull, "string")
	case n > MaxString:
		return nil, c.fail(ErrLimit, "string length")
	}
	return c.take(n, "string")
}

// takeBytes takes nullable bytes.
func (c *checker) takeBytes() ([]byte, bool) {
	n, ok := c.length(4, "bytes length")
	if !ok {
		return nil, false
	}
	return c.take(n, "bytes")
}

// take is a view of the next n bytes, nil when n is negative.
func (c *checker) take(n int, what string) ([]byte, bool) {
	if n < 0 {
		return nil, true
	}
	p := c.rest
	if !c.skip(n, what) {
		return nil, false
	}
	return p[:n:n], true
}
