// Package log keeps partitions on disk in Apache Kafka's format: segments, their
// indexes, producer state, leader epochs, recovery, retention, compaction; and it
// makes what was appended durable, by one sync round for all logs of a directory.
// The bytes are described in FORMAT.md beside this file.
//
// A Dir is one log directory, a Log one partition in it. Everything is synchronous
// over env.FS and env's clock, so that a simulator can drive it on one goroutine;
// Dir.Start runs it on an
// env.Exec, and with one thread each (SyncParallel, RecoveryThreads) nothing else starts
// goroutines. There is no goroutine and no buffer
// per partition, and a log that nobody uses has no file open: files are opened on
// demand and at most DirOptions.MaxOpenFiles stay open, however many runs were read and
// are not sent yet.
//
// # What is durable when
//
//   - Append writes to the page cache with one write and changes memory only after
//     it succeeded. Nothing half-written stays behind a failure.
//   - SyncRound makes whatever was appended before it durable and then advances
//     SyncedOffset: the bytes, the leader epoch file if a new epoch began, and the
//     names of new files and directories.
//   - A failed sync is never retried: the directory goes offline for writing
//     (Dir.Failed) and serves reads only.
//   - Checkpoint writes indexes, producer snapshots and the recovery point. All of
//     these but the recovery point can be built again from the log, and are, from
//     the recovery point on, after an unclean stop.
//
// # Locks, in the order in which they are taken
//
//	Dir.admin  one creation or deletion of a log at a time
//	Log.w      one writer: append, roll, truncate, retain, swap, load
//	Dir.round  one sync round at a time; truncation keeps rounds away
//	Log.sweep  removal of the files of segments that left the log
//	Dir.ckptMu one checkpoint at a time
//	segment.mending  one look at a segment's indexes, or building of them, at a time
//	Log.mu     producers, epochs, what is unsynced: held for moments
//	segment.mu indexes
//	Dir.mu, fileCache.mu, pageCache.mu
//
// Readers take none of the writer's locks: the list of segments, their sizes and the
// offsets are published atomically. Hooks run without any lock of this package.
package log
