package log

import "github.com/leat-stream/leat/internal/record"

// marker is the content of a transaction marker, the one record of a control batch.
type marker struct {
	abort       bool
	coordinator int32 // epoch
}

// maxMarkerBytes bounds the records of a marker's batch.
const maxMarkerBytes = 1 << 10

// parseMarker reads the marker in a control batch; ok is false for control records
// of other types, and for a batch whose record compaction removed.
func parseMarker(b record.Batch) (m marker, ok bool, err error) {
	if b.Count() == 0 {
		return marker{}, false, nil
	}
	for r, err := range b.Records(maxMarkerBytes) {
		if err != nil {
			return marker{}, false, err
		}
		kind, err := record.ControlKey(r.Key)
		if err != nil || (kind != record.ControlAbort && kind != record.ControlCommit) {
			return marker{}, false, err
		}
		m.abort = kind == record.ControlAbort
		m.coordinator, err = record.EndTxnMarker(r.Value)
		return m, err == nil, err
	}
	return marker{}, false, nil
}
