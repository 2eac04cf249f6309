package log

import "fmt"

// Event is something notable that happened in a log directory. Its String is a line
// for the operator.
type Event interface{ String() string }

// Opened tells that a directory is open, and what that took.
type Opened struct {
	Path  string
	Logs  int
	Clean bool // the last stop was clean
	// SameBoot: the machine has not restarted since, so the page cache is intact.
	SameBoot     bool
	ScannedBytes int64
}

func (e Opened) String() string {
	how := "after a clean stop"
	if !e.Clean {
		how = fmt.Sprintf("after an unclean stop, %d bytes scanned", e.ScannedBytes)
	}
	return fmt.Sprintf("log directory %s open with %d logs %s", e.Path, e.Logs, how)
}

// LogRecovered tells what recovery did to one log. It is sent when there was something to do.
type LogRecovered struct {
	Log LogID
	Recovered
}

func (e LogRecovered) String() string {
	return fmt.Sprintf("log %v recovered: end %d, recovery point %d, %d bytes scanned, %d bytes cut off",
		e.Log, e.End, e.Point, e.ScannedBytes, e.CutBytes)
}

// LogMissing tells that a log of which records were recorded as synced has no directory.
// It may have been deleted just before the stop: whoever knows the topics can tell.
type LogMissing struct {
	Log   LogID
	Point int64 // below it everything was recorded as synced
}

func (e LogMissing) String() string {
	return fmt.Sprintf("log %v is not there, it was synced up to offset %d", e.Log, e.Point)
}

// Truncated tells that recovery cut off a log behind its last good batch. What was cut off was
// not recorded as synced. Kept names the file that has the bytes, if good batches
// came behind the bad one.
type Truncated struct {
	Log      LogID
	Offset   int64
	Segment  int64
	Position int64
	Bytes    int64
	Kept     string
	Err      error
}

func (e Truncated) String() string {
	s := fmt.Sprintf("log %v cut off at offset %d (segment %d position %d), %d bytes dropped: %v",
		e.Log, e.Offset, e.Segment, e.Position, e.Bytes, e.Err)
	if e.Kept != "" {
		s += "; good batches followed, the bytes are in " + e.Kept
	}
	return s
}

// Quarantined tells that data which was recorded as synced is damaged. Reads of the
// offsets From to To-1 fail; the bytes are in File, if there were any, or stay where they
// are. It is told by recovery, also that of a log that is opened only when it is used, and
// by the scrubber: at any time, then, the replica must not lead until it is mended.
type Quarantined struct {
	Log      LogID
	From, To int64
	File     string
	Err      error
}

func (e Quarantined) String() string {
	s := fmt.Sprintf("log %v is damaged: offsets %d to %d cannot be read: %v", e.Log, e.From, e.To-1, e.Err)
	if e.File != "" {
		s += "; the bytes are in " + e.File
	}
	return s
}

// DamageMet tells that a read or a compaction met damaged bytes, or ones that the disk does
// not give, or that the scrubber could not read. The scrubber's next Step looks there first, and sets aside what is
// damaged.
type DamageMet struct {
	Log             LogID
	Segment, Offset int64
	Err             error
}

func (e DamageMet) String() string {
	return fmt.Sprintf("log %v segment %d is damaged at offset %d: %v", e.Log, e.Segment, e.Offset, e.Err)
}

// Suspected tells that a segment is to be checked (Log.Suspect), as after DamageMet.
type Suspected struct {
	Log             LogID
	Segment, Offset int64
}

func (e Suspected) String() string {
	return fmt.Sprintf("log %v segment %d is checked: a follower asks again and again for offset %d", e.Log, e.Segment, e.Offset)
}

// IndexRebuilt tells that an index or another file that is derived from the log was
// missing or damaged and was built again, from the log or from what else is known.
type IndexRebuilt struct {
	Log  LogID
	File string
	Err  error
}

func (e IndexRebuilt) String() string {
	if e.Log == (LogID{}) { // of the whole directory
		return fmt.Sprintf("%s is built again: %v", e.File, e.Err)
	}
	return fmt.Sprintf("log %v: %s is built again: %v", e.Log, e.File, e.Err)
}

// ProducersForgotten tells that the only file is damaged that tells what producers wrote
// before the log's first batch: one that sends such a batch again is unknown, or out of order.
type ProducersForgotten struct {
	Log   LogID
	Below int64
	File  string
	Err   error
}

func (e ProducersForgotten) String() string {
	return fmt.Sprintf("log %v: %s is damaged, and what producers wrote below offset %d is not known any more: %v", e.Log, e.File, e.Below, e.Err)
}

// JournalReplayed tells that the journal's bytes were written back into their segments.
type JournalReplayed struct {
	Entries int
	Bytes   int64
	Skipped int // of segments or logs that are gone
}

func (e JournalReplayed) String() string {
	return fmt.Sprintf("journal replayed: %d entries, %d bytes, %d of removed segments", e.Entries, e.Bytes, e.Skipped)
}

// JournalDamaged tells that synced bytes of the journal cannot be read. What they held
// may still be in the segments.
type JournalDamaged struct {
	File     string
	From, To int64
}

func (e JournalDamaged) String() string {
	return fmt.Sprintf("journal file %s is damaged from %d to %d", e.File, e.From, e.To)
}

// Rolled tells that a new segment was started.
type Rolled struct {
	Log    LogID
	Base   int64
	Sealed int64 // base of the segment before
	Bytes  int64 // of the segment before
}

func (e Rolled) String() string {
	return fmt.Sprintf("log %v rolled at offset %d, segment %d has %d bytes", e.Log, e.Base, e.Sealed, e.Bytes)
}

// SegmentDeleted tells that a segment left its log.
type SegmentDeleted struct {
	Log    LogID
	Base   int64
	Bytes  int64
	Reason string
}

func (e SegmentDeleted) String() string {
	return fmt.Sprintf("log %v: segment %d with %d bytes deleted: %s", e.Log, e.Base, e.Bytes, e.Reason)
}

// SwapCompleted tells that recovery ended the replacement of segments by a compacted one.
type SwapCompleted struct {
	Log      LogID
	Base     int64
	Replaced int // segments
}

func (e SwapCompleted) String() string {
	return fmt.Sprintf("log %v: compacted segment %d takes the place of %d", e.Log, e.Base, e.Replaced)
}

// CompactionDone tells what a compaction did.
type CompactionDone struct{ Compacted }

func (e CompactionDone) String() string {
	return fmt.Sprintf("log %v compacted: offsets %d to %d, %d keys, %d of %d bytes remain of %d segments, %d records removed",
		e.Log, e.From, e.To, e.Keys, e.WrittenBytes, e.ReadBytes, e.Segments, e.Removed)
}

// CompactionFailed tells that a log could not be compacted.
type CompactionFailed struct {
	Log LogID
	Err error
}

func (e CompactionFailed) String() string {
	return fmt.Sprintf("compaction of log %v failed: %v", e.Log, e.Err)
}

// WriteFailed tells that an append could not be written. The log is as before it.
type WriteFailed struct {
	Log      LogID
	Segment  int64
	Position int64
	Err      error
}

func (e WriteFailed) String() string {
	return fmt.Sprintf("log %v: write to segment %d at %d failed: %v", e.Log, e.Segment, e.Position, e.Err)
}

// CheckpointFailed tells that a checkpoint could not be written; it is tried again.
type CheckpointFailed struct {
	Path string
	Err  error
}

func (e CheckpointFailed) String() string {
	return fmt.Sprintf("checkpoint of log directory %s failed, recovery would read more: %v", e.Path, e.Err)
}

// DirFailed tells that a log directory is offline for writing.
type DirFailed struct {
	Path string
	Err  error
}

func (e DirFailed) String() string {
	return fmt.Sprintf("log directory %s is offline: %v", e.Path, e.Err)
}

func (d *Dir) event(e Event) {
	if d.opt.Events != nil {
		d.opt.Events(e)
	}
}
