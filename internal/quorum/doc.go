// Package quorum is the log of the cluster's metadata: a Raft group (decision D4)
// that offers itself to package machine as a committed log. etcd's raft library
// decides; the files (format.md) and the transport are ours.
//
// What happens on Append:
//
//	Log.Append      packs one decision's records into one entry (batch.go)
//	Node.Append     steps the core under the node's lock (node.go)
//	core.propose    steps the library (core.go); the entry has its index now
//	store.write     the disk's loop writes and syncs what has piled up (disk.go, store.go)
//	core.persisted  counts our own copy; the transport brings the others'
//	Hooks.Commit    the hooks' loop hands out what is committed, in order (hooks.go)
//
// Invariants:
//
//   - Nothing is acknowledged, to a caller or to another voter, before it is synced.
//   - A failed write or sync is never retried: the node fails for good (Failed).
//   - Ticks and heartbeats never wait for the disk nor for hooks.
//   - A disk that has lost what it once synced does not start (ErrLostLog,
//     ErrCorrupt): such a voter could vote twice. That an old copy of the folder was put
//     back, a note beside the folder tells; where that went back as well, only a leader
//     can tell that has heard from the member since, by its first heartbeat. Anybody could
//     send that: the leader is asked at its address, and until it has answered a member that
//     has not followed anybody for a while takes part in nothing (doubt.go). Where it is true
//     the member fails with ErrLostLog, and does not start again.
//   - A leader whose disk hangs for two election timeouts hands over: until then
//     heartbeats and the other members' commits go on without its disk.
//   - Nothing here owns a goroutine: the loops are turns of an env.Exec and the ticks
//     come from an env.Clock, so a simulator drives a Node from one seed. The library
//     draws its election timeouts from crypto/rand, which testing/cryptotest's
//     SetGlobalRandom makes repeatable, once for each run of a seed.
package quorum
