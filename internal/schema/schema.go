// Package schema holds the records of our own that kmsg lacks: those of the
// metadata log. Types and codecs are generated from definitions/ (go generate).
//
// A record stands in the log as a frame
//
//	type int16 | version int16 | body
//
// with a flexible body: compact lengths and tagged fields, which are written only
// when they differ from their default. Invariants: a type number is never used
// again for another record; a version's bytes never change (golden bytes in
// testdata); a version is written only when the finalised metadata feature level
// allows it; a decoder refuses what it does not know (ErrUnknown) rather than
// skip it, since a skipped record would let images of one log differ; no count
// in the bytes makes it allocate more than a small multiple of the input.
package schema

//go:generate go run ./gen definitions/metadata generated.go

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
)

// FeatureName is the feature whose finalised level decides which record
// versions are written. It is our own and is not shown to clients.
const FeatureName = "leat.metadata.version"

// Level is the newest metadata feature level that this build writes and reads: 2
// brought the records of controllers.
const Level int16 = 2

// Errors of Decode, for errors.Is.
var (
	// ErrUnknown marks a record type, version or tag of a newer build. The log
	// must not be read past it.
	ErrUnknown = errors.New("metadata record is newer than this build")
	// ErrMalformed marks bytes that are no record.
	ErrMalformed = errors.New("malformed metadata record")
)

// Record is one record of the metadata log.
type Record interface {
	// Type is the number in the record's frame.
	Type() int16
	// levels gives for each version the lowest feature level that writes it.
	levels() []int16
	appendBody(dst []byte, version int16) []byte
	readBody(r *reader, version int16)
}

// Append appends the frame of a record in the newest version that a finalised
// metadata feature level allows. A level below the record's first is a broken
// invariant of the caller and is answered by an error.
func Append(dst []byte, rec Record, level int16) ([]byte, error) {
	levels := rec.levels()
	version := int16(len(levels) - 1)
	for version >= 0 && levels[version] > level {
		version--
	}
	if version < 0 {
		return dst, fmt.Errorf("metadata record type %d needs %s %d; %d is finalised", rec.Type(), FeatureName, levels[0], level)
	}
	dst = kbin.AppendInt16(dst, rec.Type())
	dst = kbin.AppendInt16(dst, version)
	return rec.appendBody(dst, version), nil
}

// Decode reads one frame, which must be consumed whole. The record shares no
// memory with src. Errors wrap ErrUnknown or ErrMalformed and fit on one line.
func Decode(src []byte) (Record, error) {
	r := &reader{Reader: kbin.Reader{Src: src}}
	typ, version := r.Int16(), r.Int16()
	if !r.Ok() {
		return nil, fmt.Errorf("%w: %d bytes are too few for a frame", ErrMalformed, len(src))
	}
	rec := newRecord(typ)
	if rec == nil {
		return nil, fmt.Errorf("%w: unknown record type %d version %d", ErrUnknown, typ, version)
	}
	if version < 0 || int(version) >= len(rec.levels()) {
		return nil, fmt.Errorf("%w: record type %d has no version %d here", ErrUnknown, typ, version)
	}
	rec.readBody(r, version)
	switch {
	case r.unknown:
		return nil, fmt.Errorf("%w: record type %d version %d has an unknown tag", ErrUnknown, typ, version)
	case !r.Ok():
		return nil, fmt.Errorf("%w: type %d version %d ends too early", ErrMalformed, typ, version)
	case len(r.Src) > 0:
		return nil, fmt.Errorf("%w: type %d version %d has %d bytes too many", ErrMalformed, typ, version, len(r.Src))
	}
	return rec, nil
}
