//go:build mutants

package mutant

// Mutant is one deliberate bug.
type Mutant struct {
	Name string
	// Guard is what it takes away.
	Guard string
	// Defect is the number of the defect that the guard prevents, in the list of
	// docs/verification.md; 0 for one that is not in it.
	Defect int
}

// All lists the mutants; each name is used in exactly the places that make up its bug.
var All = []Mutant{
	{"replica/hw-counts-written", "the leader counts what it has synced towards the high watermark", 2},
	{"replica/states-unsynced", "a follower asks for more only when it has synced what it states", 2},
	{"replica/hw-without-proposed", "the high watermark runs over the proposed in-sync set too", 2},
	{"replica/shrink-counts-early", "the high watermark runs over the old in-sync set until the change is settled", 2},
	{"replica/hw-below-min-isr", "the high watermark stands still below min.insync.replicas", 2},
	{"replica/expand-behind", "a follower joins the in-sync set only at the high watermark", 2},
	{"replica/expand-below-epoch-start", "a follower joins the in-sync set only where the leader's epoch began", 2},
	{"replica/expand-below-start", "a follower joins the in-sync set only when it has deleted what the leader has", 0},
	{"replica/deletes-alone", "a deletion is answered when every replica that counts has carried it out", 0},
	{"replica/stale-incarnation-fetches", "fetches of an earlier incarnation count for nothing (KIP-903)", 2},
	{"replica/forget-doubt", "a change of the in-sync set without an answer may yet be carried out", 2},
	{"replica/wishes-twice", "one request wishes once for a partition", 2},
	{"replica/unknown-starts-anywhere", "a producer that is not known yet begins at sequence 0", 1},
	{"replica/truncate-to-hw", "a follower truncates by epoch, not to its high watermark", 2},
	{"replica/no-divergence", "a leader tells a follower where their logs part", 2},
	{"replica/reads-above-hw", "readers see nothing above the high watermark", 2},
	{"replica/follower-raises-alone", "a follower's high watermark is not above the leader's", 2},
	{"replica/latest-goes-back", "a new leader tells no end before it knows what is committed (KIP-207)", 10},
	{"replica/follower-appends", "only the leader takes records", 2},
	{"replica/acks-at-append", "acks=all waits for the high watermark", 2},
	{"replica/acks-duplicate-at-once", "a duplicate waits for its original's commit", 1},
	{"node/leads-as-before", "a broker leads only as the incarnation that was elected", 2},
	{"replica/deposed-acknowledges", "a leader that is one no more acknowledges nothing", 2},
	{"replica/deposed-leaves-waiting", "a leader that is one no more answers those who wait", 12},
	{"replica/watermark-wakes-nobody", "the high watermark wakes those who wait for it", 12},
	{"node/deletes-unknown", "data that the metadata does not know is left alone", 7},
	{"node/starts-without-metadata", "a node whose metadata log is gone does not start on its data", 7},
	{"metadata/unclean-unasked", "who may lack records is elected only when asked", 2},
	{"metadata/elr-never-ends", "eligible replicas are forgotten when the high watermark moves again", 2},
	{"metadata/reassigned-early", "a reassignment ends when all that stay are in sync", 12},
	{"metadata/prefers-out-of-sync", "the preferred leader is elected only in sync", 2},
	{"metadata/same-epoch-for-next-leader", "each election makes a leader epoch", 2},
	{"metadata/restart-keeps-epoch", "a restarted broker's partitions get new leader epochs", 2},
	{"metadata/late-registration", "a registration that was under way for long replaces nobody", 12},
	{"metadata/stale-partition-epoch", "a change of the in-sync set follows the newest state", 2},
	{"metadata/stale-broker-epoch", "a broker joins the in-sync set only as the incarnation that caught up (KIP-903)", 2},
	{"metadata/lost-stays-eligible", "a replica that lost records is not eligible", 6},
	{"metadata/unregistered-stays-eligible", "an unregistered broker counts for no partition", 0},
	{"log/duplicate-out-of-order", "a duplicate is answered with its original's offset", 1},
	{"log/duplicate-appended", "a duplicate is not appended again", 1},
	{"log/duplicate-new-offset", "a duplicate is answered with the original's offset, no other", 1},
	{"log/old-duplicate-out-of-order", "a duplicate is told from a gap behind any number of later batches", 1},
	{"replica/earlier-is-written", "a batch that was never written is not acknowledged", 1},
	{"log/any-sequence", "a producer's batches are taken in its order", 1},
	{"log/followers-forget-producers", "a follower knows what producers wrote", 1},
	{"log/truncation-keeps-epochs", "a truncation takes epochs with it", 2},
	{"log/truncation-keeps-producers", "a truncation takes producers' batches with it", 1},
	{"log/replica-takes-damage", "a follower checks what the leader sent", 6},
	{"log/recovery-takes-damage", "recovery checks what it reads", 6},
	{"log/compaction-takes-damage", "compaction checks what it copies", 6},
	{"log/scrub-takes-damage", "the scrub checks what it reads", 6},
	{"replica/damage-untold", "a damaged replica is cut back only when nobody counts on it", 6},
	{"replica/damaged-leader-drops", "a damaged leader hands over before it drops anything", 6},
	{"replica/full-stays-in-sync", "a follower without room leaves the in-sync set at once", 0},
	{"replica/stuck-believes-all", "a follower that cannot sync its log believes no high watermark behind what it has synced", 2},
	{"replica/unknown-error", "Produce never answers UNKNOWN_SERVER_ERROR", 4},
	{"log/synced-without-sync", "synced means synced", 2},
	{"node/loss-not-reported", "a broker that lost records says so when it registers", 6},
	{"node/promise-forgotten", "a promise to found a cluster outlives a restart", 5},
	{"quorum/starts-without-end", "a voter whose log has lost what was synced does not start", 5},
	{"quorum/doubts-and-votes", "a voter that may have lost the end of its log takes part in nothing", 5},
	{"quorum/forgets-votes", "a vote outlives a restart", 5},
	{"quorum/leads-unconfirmed", "a refusal of a controller is told once it is known to lead", 8},
	{"quorum/answers-before-sync", "votes and entries are synced before they are answered for", 5},
	{"quorum/wiped-is-old", "an empty disk under an old node id is a new member of the quorum", 8},
	{"quorum/no-sync", "the metadata log is synced", 5},
	{"machine/replies-before-commit", "a coordinator answers what is committed", 0},
	{"machine/failed-append-counts", "what was not appended leaves no trace in the state", 0},
	{"machine/deposed-goes-on", "a coordinator ends with its leadership", 0},
	{"machine/deposed-leaves-waiting", "a coordinator that is one no more answers those who wait", 12},
	{"group/any-generation", "members of earlier generations commit nothing", 0},
}
