// Package crashtest proves on the simulated disk that nothing acknowledged is lost,
// nothing is invented and the order is kept when the power is cut, or the process
// killed, at any operation of a log directory. It has tests only.
//
// A case is a seed. It drives a log.Dir at random (appends of idempotent and
// transactional producers, replicated runs, rolls, sync rounds, checkpoints,
// truncation, retention, compaction, creation and deletion) beside a model of what
// must be there, ends at a random operation, opens what the disk is left with,
// compares, and goes on from there, some lives long; of every power cut it looks at
// other disks, too, that it may leave. Stories are cases told step by step, for what
// chance brings too seldom.
//
// TestEveryMissingSyncIsNoticed takes out the syncs of one place in the code at a time
// and requires that some case or story fails without them.
package crashtest
