package log

import (
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/record"
)

// AppendOptions say on whose behalf batches are appended.
type AppendOptions struct {
	// LeaderEpoch is stamped into the batches, unless they are replicated: those
	// keep their epoch as they keep their offsets.
	LeaderEpoch int32
	Origin      Origin
	Now         time.Time // wall clock
	// FromZero refuses a client's batch with ErrUnknownProducer when the log knows nothing of
	// its producer and it does not begin at sequence 0.
	FromZero bool
	// NoZstd refuses zstd (Produce below v7).
	NoZstd bool
	// TxnVersion is the transaction version of a marker (KIP-1228): from 2 on a marker
	// has a larger epoch than the transaction that it ends.
	TxnVersion int16
}

// AppendInfo says what an append did.
type AppendInfo struct {
	FirstOffset, LastOffset int64
	MaxTimestamp            int64 // -1: none
	AppendTime              int64 // ms, of a LogAppendTime topic; otherwise -1
	LogStartOffset          int64
	Bytes                   int
	Batches                 int
	Records                 int64
	// Duplicate: nothing was appended, because the producer had already written the
	// batch; offsets and time are those of then.
	Duplicate bool
}

// maxRebuild bounds what one batch may decompress to when the log must build it
// again (compression.type, offsets to be renumbered), since that is held in memory.
const maxRebuild = 128 << 20

// Append validates batches, gives them offsets, and writes them behind the log's end
// with one write. It patches the given bytes. Either all of them are in the log when
// it returns, or an error says why none is; only a replicated run that is larger
// than a segment may leave its first part behind with an error.
//
// A replicated run is what a fetch answered: its last batch may be cut short and is left
// out then. Every checksum is checked. Offsets may leave gaps, as the leader's compaction
// does, but neither they nor the leader epochs may fall: ErrNotInOrder, and the caller finds
// out by epochs where to truncate.
//
// Errors: those of package record, ErrRecordListTooLarge, the producer errors,
// ErrNotInOrder, ErrStorage, ErrClosed, ErrDeleted.
func (l *Log) Append(run []byte, o AppendOptions) (AppendInfo, error) {
	if err := l.usable(); err != nil {
		return AppendInfo{FirstOffset: -1, LastOffset: -1}, err
	}
	cfg := l.cfg.Load()
	run, info, err := prepare(run, cfg, &o)
	if err != nil {
		return info, err
	}
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.writable(); err != nil {
		return info, err
	}
	if int64(len(run)) > cfg.SegmentBytes {
		if o.Origin != OriginReplication {
			return info, fmt.Errorf("%w: %d bytes, segment.bytes is %d", ErrRecordListTooLarge, len(run), cfg.SegmentBytes)
		}
		return l.appendParts(run, cfg, &o, info)
	}
	return l.append(run, cfg, &o, info)
}

// prepare validates the batches, without any lock, and sets their timestamps. It
// returns them as they are to be written: the same bytes, unless one had to be built
// again.
func prepare(run []byte, cfg *Config, o *AppendOptions) ([]byte, AppendInfo, error) {
	info := AppendInfo{FirstOffset: -1, LastOffset: -1, MaxTimestamp: -1, AppendTime: -1, LogStartOffset: -1}
	now := o.Now.UnixMilli()
	rules := record.Rules{
		Origin: o.Origin, NoZstd: o.NoZstd, KeyRequired: cfg.Compact, TimestampType: cfg.TimestampType,
		Now: now, BeforeMax: cfg.TimestampBeforeMaxMs, AfterMax: cfg.TimestampAfterMaxMs,
		MaxBytes: cfg.MaxMessageBytes, MaxRecordBytes: cfg.MaxDecompressedBytes,
	}
	appendTime := cfg.TimestampType == record.LogAppendTime && o.Origin != OriginReplication
	if appendTime {
		info.AppendTime = now
	}
	var rebuilt []byte
	at := 0
	for b, err := range record.Split(run) {
		if errors.Is(err, record.ErrTruncated) && o.Origin == OriginReplication && at > 0 {
			run = run[:at]
			break
		}
		if err != nil {
			if errors.Is(err, record.ErrTruncated) {
				err = damaged("%d bytes behind the last whole batch", len(run)-at)
			}
			return nil, info, err
		}
		found, err := record.Validate(b, rules)
		if o.Origin == OriginReplication && errors.Is(err, record.ErrCorrupt) && mutant.On("log/replica-takes-damage") {
			err = nil
		}
		if err != nil {
			return nil, info, err
		}
		out, err := rebuild(b, found, cfg, o)
		if err != nil {
			return nil, info, err
		}
		switch {
		case o.Origin == OriginReplication:
		case appendTime:
			out.SetMaxTimestamp(record.LogAppendTime, now)
		default:
			out.SetMaxTimestamp(record.CreateTime, found.MaxTimestamp)
		}
		if rebuilt == nil && &out[0] != &b[0] {
			rebuilt = append(rebuilt, run[:at]...)
		}
		if rebuilt != nil || &out[0] != &b[0] {
			rebuilt = append(rebuilt, out...)
		}
		at += len(b)
		info.Batches++
		info.Records += int64(out.Count())
		info.MaxTimestamp = max(info.MaxTimestamp, out.MaxTimestamp())
	}
	if info.Batches == 0 {
		return nil, info, fmt.Errorf("%w: no record batch", record.ErrInvalid)
	}
	if rebuilt != nil {
		run = rebuilt
	}
	info.Bytes = len(run)
	return run, info, nil
}

// rebuild returns the batch with the topic's compression and consecutive offsets; b
// itself if it has them.
func rebuild(b record.Batch, found record.Info, cfg *Config, o *AppendOptions) (record.Batch, error) {
	if o.Origin != OriginClient {
		return b, nil
	}
	c := record.Compression{Codec: b.Codec()}
	other := cfg.CompressionSet && cfg.Compression.Codec != b.Codec()
	if other {
		c = cfg.Compression
	}
	if !other && (!found.Renumber || b.Codec() == record.CodecNone) {
		return b, nil
	}
	out, err := record.Recompress(nil, b, c, maxRebuild)
	if err != nil {
		return nil, err
	}
	if cfg.MaxMessageBytes > 0 && len(out) > cfg.MaxMessageBytes {
		return nil, fmt.Errorf("%w: %d bytes after recompression, the maximum is %d", record.ErrTooLarge, len(out), cfg.MaxMessageBytes)
	}
	return out, nil
}

// appendParts appends a replicated run in parts that each fit into a segment.
func (l *Log) appendParts(run []byte, cfg *Config, o *AppendOptions, all AppendInfo) (AppendInfo, error) {
	done := all
	done.Bytes, done.Batches, done.Records = 0, 0, 0
	part := AppendInfo{AppendTime: -1}
	from, to := 0, 0
	flush := func() error {
		part.Bytes = to - from
		got, err := l.append(run[from:to], cfg, o, part)
		if err != nil {
			return err
		}
		if done.FirstOffset < 0 {
			done.FirstOffset = got.FirstOffset
		}
		done.LastOffset, done.LogStartOffset = got.LastOffset, got.LogStartOffset
		done.Bytes += got.Bytes
		done.Batches += got.Batches
		done.Records += got.Records
		from, part = to, AppendInfo{AppendTime: -1}
		return nil
	}
	for b, err := range record.Split(run) {
		if err != nil {
			return done, err
		}
		if to > from && int64(to-from+len(b)) > cfg.SegmentBytes {
			if err := flush(); err != nil {
				return done, err
			}
		}
		to += len(b)
		part.Batches++
		part.Records += int64(b.Count())
	}
	return done, flush()
}

// append does the work of Append for validated batches; w is held.
func (l *Log) append(run []byte, cfg *Config, o *AppendOptions, info AppendInfo) (AppendInfo, error) {
	end := l.end.Load()
	next, err := l.assignOffsets(run, end, o)
	if err != nil {
		return info, err
	}
	info.LogStartOffset = l.start.Load()
	dup, err := l.judge(run, o, info.Batches)
	if err != nil {
		return info, err
	}
	if dup != nil {
		return duplicateInfo(info, *dup), nil
	}
	seg, err := l.segmentFor(run, next, cfg, o.Now)
	if err != nil {
		return info, err
	}
	pos := seg.size.Load()
	if err := l.write(seg, run, pos); err != nil {
		return info, err
	}
	if err := l.publish(seg, run, pos, cfg, o, info.Records); err != nil {
		return info, err
	}
	info.FirstOffset, info.LastOffset = record.Batch(run).BaseOffset(), next-1
	l.d.appended(info.Bytes, info.Records)
	return info, nil
}

// assignOffsets gives the batches their offsets and leader epoch, or checks those
// of replicated ones. It returns the log's next end.
func (l *Log) assignOffsets(run []byte, end int64, o *AppendOptions) (next int64, err error) {
	next = end
	epoch := int32(-1)
	if o.Origin == OriginReplication {
		l.mu.Lock()
		epoch = l.epochs.latest()
		l.mu.Unlock()
	}
	for b, err := range record.Split(run) {
		if err != nil {
			return 0, err
		}
		if o.Origin != OriginReplication {
			b.SetBaseOffset(next)
			b.SetLeaderEpoch(o.LeaderEpoch)
		} else if b.BaseOffset() < next || b.LastOffset() < b.BaseOffset() {
			return 0, fmt.Errorf("%w: batch %d to %d, the log ends at %d", ErrNotInOrder, b.BaseOffset(), b.LastOffset(), next)
		} else if b.LeaderEpoch() < epoch {
			return 0, fmt.Errorf("%w: batch %d to %d of leader epoch %d behind epoch %d", ErrNotInOrder, b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), epoch)
		} else {
			epoch = b.LeaderEpoch()
		}
		next = b.NextOffset()
		if next <= end {
			return 0, fmt.Errorf("%w: offsets overflow", record.ErrInvalid)
		}
	}
	return next, nil
}

// judge holds the batches against the state of their producers, which it does not
// change. A duplicate within the window is returned.
func (l *Log) judge(run []byte, o *AppendOptions, batches int) (dup *wrote, err error) {
	if o.Origin == OriginReplication {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if latest := l.epochs.latest(); o.LeaderEpoch < latest {
		return nil, fmt.Errorf("%w: leader epoch %d, the log has %d", ErrNotInOrder, o.LeaderEpoch, latest)
	}
	var seen map[int64]*producer // changed copies, when there are several batches
	for b, err := range record.Split(run) {
		if err != nil {
			return nil, err
		}
		if !b.HasProducerID() {
			continue
		}
		p := seen[b.ProducerID()]
		if p == nil {
			p = l.producers.get(b.ProducerID())
		}
		if p != nil && o.Origin == OriginClient && batches == 1 {
			if w, ok := p.duplicate(b); ok && !mutant.On("log/duplicate-out-of-order") && !mutant.On("log/duplicate-appended") {
				return &w, nil
			}
		}
		if p == nil {
			p = newProducer(b.ProducerID())
		}
		if err := p.judge(b, o); err != nil {
			return nil, err
		}
		if batches > 1 {
			if seen == nil {
				seen = map[int64]*producer{}
			}
			seen[b.ProducerID()] = p.after(b)
		}
	}
	return nil, nil
}

func duplicateInfo(info AppendInfo, w wrote) AppendInfo {
	info.Duplicate = true
	if mutant.On("log/duplicate-new-offset") {
		w.lastOffset++
	}
	info.FirstOffset, info.LastOffset = w.firstOffset(), w.lastOffset
	info.MaxTimestamp = w.timestamp
	if info.AppendTime >= 0 {
		info.AppendTime = w.timestamp
	}
	return info
}

// write puts the bytes at the segment's end. After a failure the file is cut back,
// so that nothing half-written stays; ErrStorage.
func (l *Log) write(seg *segment, run []byte, pos int64) error {
	f, err := seg.file.acquire()
	if err != nil {
		return storageError("append", err)
	}
	defer seg.file.release()
	if _, err := f.WriteAt(run, pos); err != nil {
		l.d.opt.Metrics.writeFailed()
		l.d.event(WriteFailed{Log: l.ID(), Segment: seg.base, Position: pos, Err: err})
		failure := storageError("append", err)
		if terr := f.Truncate(pos); terr != nil {
			l.broken = terr
		} else if serr := f.Sync(); serr != nil { // a refused batch must not come back after a power cut
			return l.d.fatal(storageError("append", errors.Join(err, syncError{serr})))
		}
		if !IsFull(err) {
			l.failed = failure
		}
		return failure
	}
	return nil
}

// repair cuts off what a failed write left and could not cut off; w is held.
func (l *Log) repair() error {
	if l.broken == nil {
		return nil
	}
	seg := l.active()
	if seg != nil {
		f, err := seg.file.acquire()
		if err == nil {
			if err = f.Truncate(seg.size.Load()); err == nil {
				if err = f.Sync(); err != nil { // as in write
					err = syncError{err}
				}
			}
			seg.file.release()
		}
		if err != nil {
			return storageError("cut off a failed append", l.d.fatal(err))
		}
	}
	l.broken = nil
	return nil
}

// publish takes written batches into the log's state; w is held.
func (l *Log) publish(seg *segment, run []byte, pos int64, cfg *Config, o *AppendOptions, records int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	gen := l.gen.Load()
	hw := l.hw.Load()
	var end int64
	for b, err := range record.Split(run) {
		if err != nil {
			return err // cannot be: the run was split before
		}
		seg.appended(headerOf(b, pos), cfg.IndexIntervalBytes)
		if e := b.LeaderEpoch(); e > l.epochs.latest() {
			l.epochs.assign(e, b.BaseOffset())
		}
		if o.Origin == OriginReplication && mutant.On("log/followers-forget-producers") {
			l.producers.end = b.NextOffset()
		} else if done, ended := l.producers.apply(b, hw >= 0); ended && done.aborted {
			seg.addAborted(l.producers.abortedTxn(done))
		}
		l.know(b.BaseOffset(), seg, pos, gen)
		pos += int64(len(b))
		end = b.NextOffset()
	}
	l.know(end, seg, pos, gen)
	l.unstable.Store(l.producers.firstUnstable())
	seg.size.Store(pos)
	l.end.Store(end)
	l.dirty.messages += records
	l.dirty.snapshotBytes += int64(len(run))
	if l.dirty.since == 0 {
		l.dirty.since = o.Now.UnixMilli()
	}
	l.touch()
	if cfg.Durable || l.dirty.messages >= cfg.FlushMessages {
		l.queue()
	}
	return nil
}
