package log

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/record"
)

// Outcomes that callers tell apart with errors.Is. The number is the protocol's
// error code that each stands for. Besides these, Append returns the errors of
// package record (corrupt, invalid, too large, codec, timestamp).
var (
	// ErrOffsetOutOfRange (1): the offset is below the start or above the end.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrRecordListTooLarge (18): the batches do not fit into one segment.
	ErrRecordListTooLarge = errors.New("record batches exceed the segment size")
	// ErrOutOfOrderSequence (45): a sequence number is missing before the batch.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrUnknownProducer: batches before this one are missing, or were written so long ago
	// that they are forgotten; see AppendOptions.FromZero.
	ErrUnknownProducer = errors.New("unknown producer")
	// ErrDuplicateSequence (46) is for callers that map codes: a duplicate is answered with
	// its original offset (AppendInfo.Duplicate), unless the log does not have it any more.
	ErrDuplicateSequence = errors.New("duplicate sequence number")
	// ErrInvalidProducerEpoch (47): a newer epoch of the producer has written.
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
	// ErrInvalidTxnState (48): a write outside a transaction by a producer that has one open.
	ErrInvalidTxnState = errors.New("invalid transaction state")
	// ErrCoordinatorFenced (52): a marker of an older transaction coordinator.
	ErrCoordinatorFenced = errors.New("transaction coordinator fenced")
	// ErrInconsistentTopicID (103): the directory belongs to another topic of this name.
	ErrInconsistentTopicID = errors.New("inconsistent topic id")
	// ErrStorage (56): the disk failed or is full. Reads may go on.
	ErrStorage = errors.New("storage error")
	// ErrNotInOrder: replicated batches do not continue the log.
	ErrNotInOrder = errors.New("replicated batches do not continue the log")
	// ErrClosed and ErrDeleted answer calls on a log that is no longer there.
	ErrClosed  = errors.New("log directory is closed")
	ErrDeleted = errors.New("log is deleted")
	// ErrCorrupt marks damaged stored data.
	ErrCorrupt = record.ErrCorrupt
)

// storageError wraps a file system error as ErrStorage, keeping the cause.
func storageError(op string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrStorage, op, err)
}

// unreadable tells of bytes that the disk does not give any more: as good as damaged.
func unreadable(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EBADMSG)
}

// IsFull tells whether the error goes away when somebody frees space.
func IsFull(err error) bool {
	return env.IsFull(err)
}

// fileDamage is damage of a file that holds no batches.
type fileDamage string

func (e fileDamage) Error() string        { return "damaged: " + string(e) }
func (e fileDamage) Is(target error) bool { return target == ErrCorrupt }

// damagedFile is ErrCorrupt of a file that the caller names.
func damagedFile(format string, a ...any) error { return fileDamage(fmt.Sprintf(format, a...)) }

func damaged(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, a...))
}
