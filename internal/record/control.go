package record

import "encoding/binary"

// ControlType is what a control record's key says (KIP-98; KIP-595 for those of Raft).
type ControlType int16

// The control types that appear in partitions.
const (
	ControlAbort  ControlType = 0
	ControlCommit ControlType = 1
)

// ControlKey reads a control record's key: an int16 version and the type. An
// unknown type is not an error; readers skip it.
func ControlKey(key []byte) (ControlType, error) {
	if len(key) < 4 {
		return 0, invalid("control record key of %d bytes", len(key))
	}
	if v := int16(binary.BigEndian.Uint16(key)); v < 0 {
		return 0, invalid("control record key of version %d", v)
	}
	return ControlType(binary.BigEndian.Uint16(key[2:])), nil
}

// EndTxnMarker reads the value of a commit or abort marker: an int16 version and
// the transaction coordinator's epoch. What newer versions add is ignored.
func EndTxnMarker(value []byte) (coordinatorEpoch int32, err error) {
	if len(value) < 6 {
		return 0, invalid("transaction marker of %d bytes", len(value))
	}
	if v := int16(binary.BigEndian.Uint16(value)); v < 0 {
		return 0, invalid("transaction marker of version %d", v)
	}
	return int32(binary.BigEndian.Uint32(value[2:])), nil
}

// AppendEndTxn appends to dst the control batch of one marker that ends a
// producer's transaction. h gives offset, leader epoch, producer id and epoch.
func AppendEndTxn(dst []byte, h BatchHeader, t ControlType, coordinatorEpoch int32, ts int64) ([]byte, error) {
	h.Control, h.Transactional, h.BaseSequence = true, true, NoSequence
	key := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(t))
	value := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(coordinatorEpoch))
	var b Builder
	b.Reset(h, Compression{})
	b.Append(ts, key, value)
	return b.Build(dst)
}
