package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/leat-stream/leat/internal/machine"
)

// Batch is the data of one entry of the metadata log: the records of one decision.
// Records are numbered one by one, beginning with 1, over all batches of the log;
// entries without data (a leader's first, changes of membership) number none.
type Batch struct {
	Base      int64 // offset of the first record
	Timestamp int64 // milliseconds since the epoch
	Records   []machine.Record
}

// firstOffset is the offset of the log's first record.
const firstOffset = 1

// End is one past the offset of the last record.
func (b Batch) End() int64 { return b.Base + int64(len(b.Records)) }

const (
	batchVersion    = 1
	batchHead       = 1 + 8 + 8 + 4
	snapshotVersion = 1
	// maxRecordBytes bounds a key or a value.
	maxRecordBytes = MaxEntryBytes
)

var errBatch = errors.New("malformed batch")

func appendBatch(b []byte, base, ts int64, recs []machine.Record) []byte {
	b = append(b, batchVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(base))
	b = binary.BigEndian.AppendUint64(b, uint64(ts))
	b = binary.BigEndian.AppendUint32(b, uint32(len(recs)))
	for _, r := range recs {
		b = appendRecord(b, r)
	}
	return b
}

// appendRecord writes key and value, each as its length i32 (-1: nil) and bytes.
func appendRecord(b []byte, r machine.Record) []byte {
	for _, v := range [][]byte{r.Key, r.Value} {
		if v == nil {
			b = binary.BigEndian.AppendUint32(b, 1<<32-1)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

// batchHeader reads the fixed part: base, timestamp and count.
func batchHeader(data []byte) (b Batch, count int, err error) {
	f := fields{b: data}
	if v := f.u8(); !f.bad && v != batchVersion {
		return b, 0, fmt.Errorf("%w %d of a batch", ErrVersion, v)
	}
	b = Batch{Base: int64(f.u64()), Timestamp: int64(f.u64())}
	n := f.u32()
	// A record is at least its two lengths.
	if f.bad || b.Base < firstOffset || n == 0 || int64(n)*8 > int64(len(f.b)) {
		return b, 0, errBatch
	}
	return b, int(n), nil
}

// DecodeBatch decodes the data of an entry; the records share it.
func DecodeBatch(data []byte) (Batch, error) {
	b, n, err := batchHeader(data)
	if err != nil {
		return b, err
	}
	f := fields{b: data[batchHead:]}
	b.Records = make([]machine.Record, n)
	for i := range b.Records {
		b.Records[i] = machine.Record{Key: f.bytes(), Value: f.bytes()}
		if f.bad {
			return b, errBatch
		}
	}
	if len(f.b) > 0 {
		return b, errBatch
	}
	return b, nil
}

// bytes reads a length and that many bytes; a length of -1 is nil.
func (f *fields) bytes() []byte {
	n := int32(f.u32())
	if f.bad || n < -1 || int64(n) > int64(len(f.b)) {
		f.bad = true
	}
	if f.bad || n == -1 {
		return nil
	}
	return f.take(int(n))
}

// snapshotHead starts a metadata snapshot's data: which records it stands for.
type snapshotHead struct {
	last      int64 // offset of the last record; 0 if none
	timestamp int64 // of that record
}

// writeRecords writes a snapshot's data: the head, and the records that rebuild the state.
func writeRecords(w io.Writer, h snapshotHead, recs iter.Seq[machine.Record]) error {
	b := []byte{snapshotVersion}
	b = binary.BigEndian.AppendUint64(b, uint64(h.last))
	b = binary.BigEndian.AppendUint64(b, uint64(h.timestamp))
	if _, err := w.Write(b); err != nil {
		return err
	}
	for r := range recs {
		if len(r.Key) > maxRecordBytes || len(r.Value) > maxRecordBytes {
			return fmt.Errorf("%w: record of %d bytes", ErrTooLarge, len(r.Key)+len(r.Value))
		}
		b = appendRecord(b[:0], r)
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// readSnapshotHead reads the head; the first snapshot of a log has no data at all.
func readSnapshotHead(r io.Reader) (snapshotHead, error) {
	var b [17]byte
	if _, err := io.ReadFull(r, b[:1]); errors.Is(err, io.EOF) {
		return snapshotHead{}, nil
	} else if err != nil {
		return snapshotHead{}, err
	}
	if b[0] != snapshotVersion {
		return snapshotHead{}, fmt.Errorf("%w %d of a metadata snapshot", ErrVersion, b[0])
	}
	if _, err := io.ReadFull(r, b[1:]); err != nil {
		return snapshotHead{}, early(err)
	}
	h := snapshotHead{int64(binary.BigEndian.Uint64(b[1:])), int64(binary.BigEndian.Uint64(b[9:]))}
	if h.last < 0 {
		return h, fmt.Errorf("%w: metadata snapshot at offset %d", errFrame, h.last)
	}
	return h, nil
}

func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: metadata snapshot ends within a record", errFrame)
	}
	return err
}

// records iterates over the records behind the head; an error is the last pair.
func records(r io.Reader) iter.Seq2[machine.Record, error] {
	return func(yield func(machine.Record, error) bool) {
		for {
			key, err := readBytes(r)
			if errors.Is(err, io.EOF) {
				return
			}
			var value []byte
			if err == nil {
				value, err = readBytes(r)
				if err != nil {
					err = early(err)
				}
			}
			if err != nil {
				yield(machine.Record{}, err)
				return
			}
			if !yield(machine.Record{Key: key, Value: value}, nil) {
				return
			}
		}
	}
}

// readBytes reads a length and that many bytes. io.EOF says that there is no length.
func readBytes(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if err != nil {
		return nil, early(err)
	}
	n := int32(binary.BigEndian.Uint32(head[:]))
	switch {
	case n == -1:
		return nil, nil
	case n < -1 || n > maxRecordBytes:
		return nil, fmt.Errorf("%w: %d bytes in a metadata snapshot", errFrame, n)
	}
	var b []byte
	for len(b) < int(n) { // a damaged length must not allocate by itself
		from := len(b)
		b = append(b, make([]byte, min(int(n)-from, 64<<10))...)
		if _, err := io.ReadFull(r, b[from:]); err != nil {
			return nil, early(err)
		}
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}
