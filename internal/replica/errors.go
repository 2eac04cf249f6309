package replica

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/mutant"
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
	{log.ErrUnknownProducer, kerr.NotLeaderForPartition},
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
	if mutant.On("replica/unknown-error") {
		return kerr.UnknownServerError
	}
	return kerr.KafkaStorageError
}

// Refused is the outcome for a partition to which nothing was appended.
func Refused(code *kerr.Error, cause error) Produced {
	return Produced{Err: code, Cause: cause, Info: log.AppendInfo{FirstOffset: -1, LastOffset: -1, MaxTimestamp: -1, AppendTime: -1, LogStartOffset: -1}}
}

// startless are the errors that Kafka answers without the log's start offset; all
// others that the log finds come with it.
var startless = []*kerr.Error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.CorruptMessage, kerr.KafkaStorageError}

// notAppended is the outcome of an append that the log refused.
func (p *Partition) notAppended(err error) Produced {
	r := Refused(appendError(err), err)
	if !slices.Contains(startless, r.Err) {
		r.Info.LogStartOffset = p.log.StartOffset()
	}
	return r
}

// readError maps what the log says of a read to what a reader is told. Of damage that
// others can mend it is told that it should come again: another replica will lead soon.
func (r *role) readError(err error) *kerr.Error {
	switch {
	case errors.Is(err, log.ErrOffsetOutOfRange):
		return kerr.OffsetOutOfRange
	case errors.Is(err, record.ErrCorrupt) && len(r.isr) < 2:
		return kerr.CorruptMessage
	}
	return kerr.KafkaStorageError
}
