package record

import (
	"encoding/binary"
	"errors"
	"iter"
)

// minLegacyLength is the least length field of any format (v0's, which Kafka
// checks before it looks at the magic).
const minLegacyLength = 14

// First is the batch at the start of run, which must not be empty. It trusts no
// length. ErrTruncated: the run ends inside the batch (of which at least the start
// looks sound); ErrCorrupt: length or magic are impossible; ErrInvalid: a batch of
// the formats v0 or v1, which are not accepted (KIP-724).
func First(run []byte) (Batch, error) {
	if len(run) < Overhead {
		return nil, ErrTruncated
	}
	length := int32(binary.BigEndian.Uint32(run[OffLength:]))
	if length < minLegacyLength {
		return nil, corrupt("length %d is below the least possible %d", length, minLegacyLength)
	}
	if len(run) <= OffMagic {
		return nil, ErrTruncated
	}
	magic := int8(run[OffMagic])
	if magic < 0 || magic > Magic {
		return nil, corrupt("magic %d", magic)
	}
	if int64(len(run)) < int64(length)+Overhead {
		return nil, ErrTruncated
	}
	if magic != Magic {
		return nil, invalid("magic %d, only record batches of format v2 are accepted", magic)
	}
	if length < HeaderSize-Overhead {
		return nil, corrupt("length %d is below the header's %d", length, HeaderSize-Overhead)
	}
	n := int(length) + Overhead
	return Batch(run[:n:n]), nil
}

// Split iterates the batches of a run, in order. It stops at the run's end or
// yields one error of First, after which nothing follows. The position of an error
// is the sum of the lengths of the batches before it.
func Split(run []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(run) > 0 {
			b, err := First(run)
			if !yield(b, err) || err != nil {
				return
			}
			run = run[len(b):]
		}
	}
}

// Sole is the one batch that Produce v3 and above must send to a partition. As
// with Kafka, an incomplete batch behind it is dropped; a second complete one is
// ErrInvalid, and so is a run without one.
func Sole(run []byte) (Batch, error) {
	b, err := First(run)
	switch {
	case err == ErrTruncated:
		return nil, invalid("must have at least one record batch per partition")
	case err != nil:
		return nil, err
	case len(run) == len(b):
		return b, nil
	}
	switch _, err := First(run[len(b):]); {
	case err == ErrTruncated:
		return b, nil
	case errors.Is(err, ErrCorrupt):
		return nil, err
	}
	return nil, invalid("must have exactly one record batch per partition")
}
