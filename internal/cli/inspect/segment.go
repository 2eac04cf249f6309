package inspect

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/record"
)

// batch is a record batch's header.
type batch struct {
	BaseOffset    int64  `json:"base_offset"`
	LastOffset    int64  `json:"last_offset"`
	Records       int32  `json:"records"`
	Bytes         int    `json:"bytes"`
	LeaderEpoch   int32  `json:"leader_epoch"`
	Codec         string `json:"codec"`
	Timestamp     string `json:"timestamp_type"`
	FirstTime     int64  `json:"first_timestamp"`
	MaxTime       int64  `json:"max_timestamp"`
	ProducerID    int64  `json:"producer_id"`
	ProducerEpoch int16  `json:"producer_epoch"`
	FirstSequence int32  `json:"first_sequence"`
	LastSequence  int32  `json:"last_sequence"`
	Transactional bool   `json:"transactional,omitempty"`
	Control       bool   `json:"control,omitempty"`
	DeleteHorizon int64  `json:"delete_horizon,omitempty"`
	CRC           uint32 `json:"crc"`
}

func describeBatch(b record.Batch) batch {
	h := batch{BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), Records: b.Count(), Bytes: len(b), LeaderEpoch: b.LeaderEpoch(),
		Codec: b.Codec().String(), Timestamp: b.TimestampType().String(), FirstTime: b.FirstTimestamp(), MaxTime: b.MaxTimestamp(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), FirstSequence: b.BaseSequence(), LastSequence: -1,
		Transactional: b.IsTransactional(), Control: b.IsControl(), CRC: b.CRC()}
	if b.HasProducerID() {
		h.LastSequence = b.LastSequence()
	}
	if ms, ok := b.DeleteHorizon(); ok {
		h.DeleteHorizon = ms
	}
	return h
}

func (h batch) String() string {
	s := fmt.Sprintf("batch %d-%d, %d records, %d bytes, epoch %d, %s, %s", h.BaseOffset, h.LastOffset, h.Records, h.Bytes, h.LeaderEpoch, h.Codec, stamp(h.MaxTime))
	if h.ProducerID >= 0 {
		s += fmt.Sprintf(", producer %d epoch %d", h.ProducerID, h.ProducerEpoch)
		if h.FirstSequence >= 0 {
			s += fmt.Sprintf(" sequence %d-%d", h.FirstSequence, h.LastSequence)
		}
	}
	switch {
	case h.Control:
		s += ", control"
	case h.Transactional:
		s += ", transactional"
	}
	if h.DeleteHorizon > 0 {
		s += ", tombstones until " + stamp(h.DeleteHorizon)
	}
	return s
}

func stamp(ms int64) string {
	if ms < 0 {
		return "no time"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// maxBatch bounds one batch that is read, in bytes; larger ones are damage.
const maxBatch = 1 << 30

// segment reads a .log file, batch by batch.
func (d *dumper) segment(f *os.File, size int64) error {
	topic := topicOf(d.file)
	var buf []byte
	for pos := int64(0); pos < size; {
		b, why, err := readBatch(f, pos, size, &buf)
		if err != nil {
			return err
		}
		if why != "" {
			next, err := resync(f, pos+1, size)
			if err != nil {
				return err
			}
			if zeros, err := allZero(f, pos, next); err != nil {
				return err
			} else if zeros && next == size {
				text := fmt.Sprintf("%d zeros to the end, %d bytes", pos, size-pos)
				return d.emit(item{Position: pos, Kind: "zeros", Skipped: size - pos}, text)
			}
			if err := d.damage(pos, next-pos, why); err != nil {
				return err
			}
			d.bar.Add(next - pos)
			pos = next
			continue
		}
		if err := d.batch(pos, b, topic); err != nil {
			return err
		}
		d.bar.Add(int64(len(b)))
		pos += int64(len(b))
	}
	return nil
}

// topicOf is the topic of a segment, by the name of its directory.
func topicOf(path string) string {
	dir := filepath.Base(filepath.Dir(path))
	if i := strings.LastIndexByte(dir, '-'); i > 0 {
		return dir[:i]
	}
	return ""
}

// readBatch reads the batch at pos. why says what is wrong with it; "" is nothing.
func readBatch(f io.ReaderAt, pos, size int64, buf *[]byte) (b record.Batch, why string, err error) {
	var head [record.HeaderSize]byte
	n, err := f.ReadAt(head[:min(int64(len(head)), size-pos)], pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if n < record.HeaderSize {
		return nil, fmt.Sprintf("%d bytes are no batch", n), nil
	}
	h := record.Batch(head[:])
	length := int64(h.Length()) + record.Overhead
	switch {
	case length < record.HeaderSize || length > maxBatch:
		return nil, fmt.Sprintf("a batch of %d bytes", length), nil
	case length > size-pos:
		return nil, fmt.Sprintf("a batch of %d bytes, of which %d are there", length, size-pos), nil
	case h.Magic() != record.Magic:
		return nil, fmt.Sprintf("a batch of format %d", h.Magic()), nil
	}
	if int64(cap(*buf)) < length {
		*buf = make([]byte, length)
	}
	b = record.Batch((*buf)[:length])
	if _, err := f.ReadAt(b, pos); err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	if !b.CheckCRC() {
		return nil, fmt.Sprintf("the checksum of batch %d is %08x, the bytes give %08x", b.BaseOffset(), b.CRC(), b.ComputeCRC()), nil
	}
	return b, "", nil
}

// maxResync bounds a batch that is looked for behind damage, in bytes: bytes that
// only look like a header must not make the search slow.
const maxResync = 1<<28 - 1

// maxPlain bounds what a batch decompresses to, in bytes.
const maxPlain = 1 << 28

// window is how much is searched at once for the next batch, in bytes.
const window = 1 << 20

// resync finds the next batch with a right checksum at or behind pos; size when
// there is none.
func resync(f io.ReaderAt, pos, size int64) (int64, error) {
	buf := make([]byte, window)
	var batchBuf []byte
	for pos < size {
		n, err := f.ReadAt(buf[:min(window, size-pos)], pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if n <= record.OffMagic {
			return size, nil
		}
		for i := 0; i+record.OffMagic < n; i++ {
			if buf[i+record.OffMagic] != record.Magic || buf[i+record.OffBaseOffset]&0x80 != 0 || buf[i+record.OffLength] > maxResync>>24 {
				continue
			}
			_, why, err := readBatch(f, pos+int64(i), size, &batchBuf)
			if err != nil || why == "" {
				return pos + int64(i), err
			}
		}
		pos += int64(n - record.OffMagic)
	}
	return size, nil
}

func allZero(f io.ReaderAt, from, to int64) (bool, error) {
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for from < to {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if n == 0 || !bytes.Equal(buf[:n], zero[:n]) {
			return n == 0, nil
		}
		from += int64(n)
	}
	return true, nil
}

func (d *dumper) batch(pos int64, b record.Batch, topic string) error {
	if b.LastOffset() < d.opt.from || d.opt.until >= 0 && b.BaseOffset() >= d.opt.until {
		return nil
	}
	h := describeBatch(b)
	if err := d.emit(item{Position: pos, Kind: "batch", Data: h}, fmt.Sprintf("%d %s", pos, h)); err != nil || !d.opt.records {
		return err
	}
	for r, err := range b.Records(maxPlain) {
		if err != nil {
			return d.damage(pos, 0, "records of batch "+fmt.Sprint(b.BaseOffset())+": "+err.Error())
		}
		i, text := d.record(b, r, topic)
		i.Position = pos
		if err := d.emit(i, text); err != nil {
			return err
		}
	}
	return nil
}

// rec is a record. Text that is not UTF-8 is in the *_base64 field instead.
type rec struct {
	Offset      int64    `json:"offset"`
	Timestamp   int64    `json:"timestamp"`
	Key         *string  `json:"key"`
	KeyBase64   []byte   `json:"key_base64,omitempty"`
	Value       *string  `json:"value"`
	ValueBase64 []byte   `json:"value_base64,omitempty"`
	Headers     []string `json:"headers,omitempty"`
	Decoded     any      `json:"decoded,omitempty"`
}

func (d *dumper) record(b record.Batch, r record.Record, topic string) (item, string) {
	j := rec{Offset: r.Offset, Timestamp: r.Timestamp}
	line := fmt.Sprintf("  %d %s", r.Offset, stamp(r.Timestamp))
	var decoded fmt.Stringer
	if !d.opt.raw {
		decoded = decode(b, r, topic)
	}
	if decoded != nil {
		j.Decoded = decoded
		return item{Kind: "record", Data: j}, line + " " + out.Printable(decoded.String())
	}
	j.Key, j.KeyBase64 = textOrBytes(r.Key)
	j.Value, j.ValueBase64 = textOrBytes(r.Value)
	line += " key " + show(r.Key) + " value " + show(r.Value)
	for h := range r.Headers() {
		j.Headers = append(j.Headers, string(h.Key)+"="+show(h.Value))
		line += " header " + show([]byte(h.Key)) + "=" + show(h.Value)
	}
	return item{Kind: "record", Data: j}, line
}

func textOrBytes(b []byte) (*string, []byte) {
	switch {
	case b == nil:
		return nil, nil
	case !utf8.Valid(b):
		return nil, b
	}
	s := string(b)
	return &s, nil
}

// show is bytes for people: text as it is, other bytes in base64, "-" for none.
func show(b []byte) string {
	switch {
	case b == nil:
		return "-"
	case !utf8.Valid(b):
		return "base64:" + base64.StdEncoding.EncodeToString(b)
	}
	return out.Printable(string(b))
}
