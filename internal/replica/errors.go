package replica

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/record"
)

// appendErrors maps what the log says of an append to what a producer is told. An
// error that is not in the table is a storage error: Produce never answers
// UNKNOWN_SERVER_ERROR, which clients take for a sign that nothing was written.
var appendErrors = []struct {
	err  error
	code *kerr.Error
}{
	{log.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{log.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{log.ErrInvalidTxnState, kerr.InvalidTxnState},
	{log.ErrDuplicateSequence, kerr.DuplicateSequenceNumber},
	{log.ErrRecordListTooLarge, kerr.RecordListTooLarge},
	{record.ErrTooLarge, kerr.MessageTooLarge},
	{record.ErrTimestamp, kerr.InvalidTimestamp},
	{record.ErrCodec, kerr.UnsupportedCompressionType},
	{record.ErrInvalid, kerr.InvalidRecord},
	{record.ErrCorrupt, kerr.CorruptMessage},
}

func appendError(err error) *kerr.Error {
	for _, e := range appendErrors {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	return kerr.KafkaStorageError
}

// readError maps what the log says of a read to what a consumer is told.
func readError(err error) *kerr.Error {
	switch {
	case errors.Is(err, log.ErrOffsetOutOfRange):
		return kerr.OffsetOutOfRange
	case errors.Is(err, record.ErrCorrupt):
		return kerr.CorruptMessage
	}
	return kerr.KafkaStorageError
}
