package record

import (
	"errors"
	"fmt"
)

// Kinds of failure, for errors.Is. Each stands for one error code of the protocol.
var (
	// ErrTruncated: a run ends before its last batch does. Every file that was
	// being written when the process died ends so; it says nothing about the bytes
	// that are there.
	ErrTruncated = errors.New("record batch is truncated")
	// ErrCorrupt: checksum, length or magic cannot be right (CORRUPT_MESSAGE).
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrInvalid: intact bytes that break a rule (INVALID_RECORD).
	ErrInvalid = errors.New("record batch is invalid")
	// ErrTimestamp: a record's timestamp is out of the topic's bounds (INVALID_TIMESTAMP).
	ErrTimestamp = errors.New("record timestamp is out of bounds")
	// ErrTooLarge: a batch or what it decompresses to exceeds a limit (MESSAGE_TOO_LARGE).
	ErrTooLarge = errors.New("record batch is too large")
	// ErrCodec: an unknown codec, or one that the request's version may not use
	// (UNSUPPORTED_COMPRESSION_TYPE).
	ErrCodec = errors.New("unsupported compression type")
)

// MaxRecordErrors bounds the list of a RecordErrors; further offenders are counted only.
const MaxRecordErrors = 1000

// RecordError says what is wrong with one record of a batch, as Produce v8 and
// above report it (KIP-467).
type RecordError struct {
	Index int32 // of the record in its batch, from 0
	Msg   string
	kind  error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %s", e.Index, e.Msg) }

// Unwrap is the kind of failure.
func (e *RecordError) Unwrap() error { return e.kind }

// RecordErrors rejects a batch for its records. It is an ErrTimestamp if any
// record has a bad timestamp and an ErrInvalid otherwise.
type RecordErrors struct {
	Kind  error
	List  []*RecordError // at most MaxRecordErrors, ascending by Index
	Total int            // how many records were at fault
}

func (e *RecordErrors) Error() string {
	if errors.Is(e.Kind, ErrTimestamp) {
		return "One or more records have been rejected due to invalid timestamp"
	}
	return fmt.Sprintf("One or more records have been rejected due to %d record errors in total, first: %s", e.Total, e.List[0].Error())
}

// Unwrap is the kind of failure.
func (e *RecordErrors) Unwrap() error { return e.Kind }

func (e *RecordErrors) add(index int32, kind error, msg string) *RecordErrors {
	if e == nil {
		e = &RecordErrors{Kind: kind}
	}
	if kind == ErrTimestamp {
		e.Kind = kind
	}
	e.Total++
	if len(e.List) < MaxRecordErrors {
		e.List = append(e.List, &RecordError{Index: index, Msg: msg, kind: kind})
	}
	return e
}

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, a...))
}
func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, a...))
}
func tooLarge(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, a...))
}
