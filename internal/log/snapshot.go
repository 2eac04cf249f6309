package log

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// A producer snapshot, version 1, as Kafka writes it: version int16, CRC-32C uint32
// of all that follows, then an array (int32 count) of entries: producer id int64,
// epoch int16, last sequence int32, last offset int64, offset delta int32, timestamp
// int64, coordinator epoch int32, first offset of the open transaction int64.
//
// Kafka keeps one batch per producer there and stops reading behind the entries. We
// put what else the state has behind them, covered by the same checksum: the magic
// "LEA2", how many sequence numbers in a row are known to have been written, the older
// batches of the window, and the transactions whose markers the high watermark had not
// passed. Without them a restart would shorten the window. "LEAT" is the same without the
// sequence numbers, as it was written before.
const (
	snapshotVersion   = 1
	snapshotCRC       = 2
	snapshotEntries   = 6
	snapshotEntrySize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8
	snapshotMagic     = "LEA2"
	snapshotMagic1    = "LEAT"
	olderSize         = 4 + 4 + 8 + 8
	doneSize          = 8 + 8
	// maxSnapshotBytes bounds what is read of one snapshot.
	maxSnapshotBytes = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeSnapshot is the state as a snapshot's bytes, producers by id.
func (s *producers) encodeSnapshot() []byte {
	be := binary.BigEndian
	list := make([]*producer, 0, len(s.m))
	for _, p := range s.m {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *producer) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	b := make([]byte, snapshotEntries, snapshotEntries+4+len(list)*(snapshotEntrySize+4+1+4*olderSize)+16)
	be.PutUint16(b, snapshotVersion)
	b = be.AppendUint32(b, uint32(len(list)))
	for _, p := range list {
		last := wrote{lastSeq: -1, lastOffset: -1, timestamp: p.timestamp}
		if p.n > 0 {
			last = p.batches[p.n-1]
		}
		b = be.AppendUint64(b, uint64(p.id))
		b = be.AppendUint16(b, uint16(p.epoch))
		b = be.AppendUint32(b, uint32(last.lastSeq))
		b = be.AppendUint64(b, uint64(last.lastOffset))
		b = be.AppendUint32(b, uint32(last.delta))
		b = be.AppendUint64(b, uint64(p.timestamp))
		b = be.AppendUint32(b, uint32(p.coordinator))
		b = be.AppendUint64(b, uint64(p.txnFirst))
	}
	b = s.appendOurs(append(b, snapshotMagic...), list)
	return sealSnapshot(b)
}

func sealSnapshot(b []byte) []byte {
	binary.BigEndian.PutUint32(b[snapshotCRC:], crc32.Checksum(b[snapshotEntries:], castagnoli))
	return b
}

// appendOurs appends, per producer, the sequence numbers in a row as an int32, the count
// of older batches as a byte and the batches (last sequence int32, delta int32, last offset int64, timestamp int64), then
// the ended transactions (count int32; first and last offset int64).
func (s *producers) appendOurs(b []byte, list []*producer) []byte {
	be := binary.BigEndian
	for _, p := range list {
		older := p.batches[:max(int(p.n)-1, 0)]
		b = be.AppendUint32(b, p.run)
		b = append(b, byte(len(older)))
		for _, w := range older {
			b = be.AppendUint32(b, uint32(w.lastSeq))
			b = be.AppendUint32(b, uint32(w.delta))
			b = be.AppendUint64(b, uint64(w.lastOffset))
			b = be.AppendUint64(b, uint64(w.timestamp))
		}
	}
	b = be.AppendUint32(b, uint32(len(s.done)))
	for _, t := range s.done {
		b = be.AppendUint64(b, uint64(t.first))
		b = be.AppendUint64(b, uint64(t.last))
	}
	return b
}

// decodeSnapshot reads a snapshot taken at offset end into an empty state.
func decodeSnapshot(b []byte, end int64) (producers, error) {
	s := producers{m: map[int64]*producer{}, end: end}
	be := binary.BigEndian
	if len(b) < snapshotEntries+4 {
		return s, damagedFile("producer snapshot of %d bytes", len(b))
	}
	if v := be.Uint16(b); v != snapshotVersion {
		return s, damagedFile("producer snapshot of version %d", v)
	}
	if crc := crc32.Checksum(b[snapshotEntries:], castagnoli); crc != be.Uint32(b[snapshotCRC:]) {
		return s, damagedFile("producer snapshot: checksum")
	}
	n := int(be.Uint32(b[snapshotEntries:]))
	rest := b[snapshotEntries+4:]
	if n < 0 || n > len(rest)/snapshotEntrySize {
		return s, damagedFile("producer snapshot with %d entries in %d bytes", n, len(rest))
	}
	list := make([]*producer, n)
	for i := range list {
		p := decodeProducer(rest[i*snapshotEntrySize:])
		if s.m[p.id] != nil {
			return s, damagedFile("producer snapshot has producer %d twice", p.id)
		}
		s.m[p.id], list[i] = p, p
		if p.txnFirst >= 0 {
			s.insertOpen(openTxn{p.id, p.txnFirst})
		}
	}
	rest = rest[n*snapshotEntrySize:]
	if len(rest) < len(snapshotMagic) {
		return s, nil // Kafka's own
	}
	switch magic, ours := string(rest[:len(snapshotMagic)]), rest[len(snapshotMagic):]; magic {
	case snapshotMagic:
		return s, s.decodeOurs(ours, list, true)
	case snapshotMagic1:
		return s, s.decodeOurs(ours, list, false)
	}
	return s, nil
}

func decodeProducer(e []byte) *producer {
	be := binary.BigEndian
	p := &producer{
		id: int64(be.Uint64(e)), epoch: int16(be.Uint16(e[8:])), timestamp: int64(be.Uint64(e[26:])),
		coordinator: int32(be.Uint32(e[34:])), txnFirst: int64(be.Uint64(e[38:])),
	}
	last := wrote{int32(be.Uint32(e[10:])), int32(be.Uint32(e[22:])), int64(be.Uint64(e[14:])), p.timestamp}
	if last.lastSeq >= 0 && last.lastOffset >= 0 && last.delta >= 0 {
		p.remember(last)
	}
	if p.txnFirst < -1 {
		p.txnFirst = -1
	}
	return p
}

func (s *producers) decodeOurs(b []byte, list []*producer, runs bool) error {
	be := binary.BigEndian
	for _, p := range list {
		run := uint32(0)
		if runs && len(b) >= 4 {
			run, b = min(be.Uint32(b), maxRun), b[4:]
		}
		if len(b) < 1 || int(b[0]) >= dedupeWindow || len(b) < 1+int(b[0])*olderSize {
			return damagedFile("producer snapshot: older batches of producer %d", p.id)
		}
		n := int(b[0])
		b = b[1:]
		last := p.batches[:p.n:p.n]
		if n > 0 && len(last) == 1 {
			newest := last[0]
			p.n = 0
			for i := range n {
				e := b[i*olderSize:]
				w := wrote{int32(be.Uint32(e)), int32(be.Uint32(e[4:])), int64(be.Uint64(e[8:])), int64(be.Uint64(e[16:]))}
				if w.delta < 0 {
					return damagedFile("producer snapshot: a batch of producer %d ends before it begins", p.id)
				}
				p.remember(w)
			}
			p.remember(newest)
		}
		b = b[n*olderSize:]
		if p.n > 0 {
			p.run = max(p.run, run)
		}
	}
	if len(b) < 4 || len(b)-4 != int(be.Uint32(b))*doneSize {
		return damagedFile("producer snapshot: ended transactions")
	}
	for b = b[4:]; len(b) > 0; b = b[doneSize:] {
		s.done = append(s.done, doneTxn{int64(be.Uint64(b)), int64(be.Uint64(b[8:]))})
	}
	return nil
}

// writeSnapshot writes the state as it is at offset at, the log's end, under that
// name, without a sync; w is held. Of the snapshots that no segment begins with, the
// latest two are kept.
func (l *Log) writeSnapshot(at int64) error {
	if slices.Contains(l.snapshots, at) {
		return nil // the same, and perhaps durable
	}
	l.mu.Lock()
	b := l.producers.encodeSnapshot()
	l.mu.Unlock()
	if err := createSmall(l.d.fs, *l.path.Load()+"/"+segmentName(at, snapshotSuffix), b); err != nil {
		return err
	}
	if n := len(l.snapshots); n == 0 || l.snapshots[n-1] < at {
		l.snapshots = append(l.snapshots, at)
	}
	l.mu.Lock()
	l.dirty.snapshotAt, l.dirty.snapshotBytes = at, 0
	l.mu.Unlock()
	return l.thinSnapshots(2)
}

// thinSnapshots removes snapshots at offsets where no segment begins, but the latest keep.
func (l *Log) thinSnapshots(keep int) error {
	list := *l.segs.Load()
	kept := l.snapshots[:0]
	free := 0
	for _, at := range l.snapshots {
		if i := find(list, at); i < 0 || list[i].base != at {
			free++
		}
	}
	var err error
	for _, at := range l.snapshots {
		i := find(list, at)
		isFree := i < 0 || list[i].base != at
		if isFree && free > keep && err == nil {
			free--
			if err = removeIfThere(l.d.fs, *l.path.Load()+"/"+segmentName(at, snapshotSuffix)); err == nil {
				continue
			}
		}
		kept = append(kept, at)
	}
	l.snapshots = kept
	return err
}
