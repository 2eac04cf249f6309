package log

import (
	"sync/atomic"
	"time"
)

// Metrics counts what a directory does since it was opened. The zero value is ready.
type Metrics struct {
	ScrubbedBytes                  atomic.Int64
	AppendedBytes, AppendedRecords atomic.Int64
	WriteFailures                  atomic.Int64
	DamageMet                      atomic.Int64
	SyncRounds, SyncedLogs         atomic.Int64
	SyncNanos                      atomic.Int64
	JournalRounds, JournalFull     atomic.Int64
	Checkpoints                    atomic.Int64
	RecoveredLogs, ScannedBytes    atomic.Int64
	DeletedSegments, DeletedBytes  atomic.Int64
	CompactionReadBytes            atomic.Int64
	CompactionWrittenBytes         atomic.Int64
	Compactions                    atomic.Int64
	// RoundObserved, if set before the directory is opened, is called after each sync
	// round with the number of logs and the time it took.
	RoundObserved func(logs int, took time.Duration)
}

func (m *Metrics) writeFailed() { m.WriteFailures.Add(1) }
func (m *Metrics) damageMet()   { m.DamageMet.Add(1) }

func (m *Metrics) synced(logs int, took time.Duration) {
	m.SyncRounds.Add(1)
	m.SyncedLogs.Add(int64(logs))
	m.SyncNanos.Add(int64(took))
	if m.RoundObserved != nil {
		m.RoundObserved(logs, took)
	}
}
