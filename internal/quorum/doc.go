// Package quorum is the log of the cluster's metadata: a Raft group (decision D4)
// that offers itself to package machine as a committed log. etcd's raft library
// decides; the files (format.md) and the transport are ours.
//
// What happens on Append:
//
//	Log.Append      packs one decision's records into one entry (batch.go)
//	Node.Append     hands it to the node's goroutine (node.go), which alone
//	core.propose    steps the library (core.go); the entry has its index now
//	store.write     the disk's goroutine writes and syncs what has piled up (store.go)
//	core.persisted  counts our own copy; the transport brings the others'
//	Hooks.Commit    the apply goroutine hands out what is committed, in order
//
// Invariants:
//
//   - Nothing is acknowledged, to a caller or to another voter, before it is synced.
//   - A failed write or sync is never retried: the node fails for good (Failed).
//   - Ticks and heartbeats never wait for the disk nor for hooks.
//   - A disk that has lost what it once synced does not start (ErrLogBehind,
//     ErrCorrupt): such a voter could vote twice.
//   - core, memLog, segment and store are synchronous and own no goroutine, so a
//     simulator drives them from one seed; node.go is the shell.
package quorum
