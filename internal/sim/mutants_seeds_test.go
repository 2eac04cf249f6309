//go:build mutants

package sim

// noticedBy is the seed that noticed each mutant when the table of docs/verification.md was
// made, so that it need not be looked for. A change of the simulation or of the code moves
// it: then it is looked for again, and this list only makes that slower or faster.
var noticedBy = map[string]int{
	"replica/hw-counts-written":        1,
	"replica/hw-without-proposed":      3,
	"replica/hw-below-min-isr":         2,
	"replica/expand-below-epoch-start": 2,
	"replica/expand-below-start":       20,
	"replica/deletes-alone":            1,
	"replica/forget-doubt":             132,
	"replica/wishes-twice":             1,
	"replica/truncate-to-hw":           1,
	"replica/reads-above-hw":           1,
	"replica/latest-goes-back":         22,
	"replica/acks-at-append":           1,
	"node/leads-as-before":             1,
	"node/deletes-unknown":             1,
	"metadata/elr-never-ends":          1,
	"metadata/prefers-out-of-sync":     29,
	"metadata/restart-keeps-epoch":     1,
	"metadata/stale-partition-epoch":   160,
	"metadata/lost-stays-eligible":     46,
	"log/duplicate-appended":           1,
	"log/old-duplicate-out-of-order":   116,
	"log/followers-forget-producers":   3,
	"log/truncation-keeps-producers":   45,
	"replica/damage-untold":            129,
	"log/synced-without-sync":          1,
	"node/loss-not-reported":           2,
	"node/promise-forgotten":           12,
	"quorum/starts-without-end":        2,
	"quorum/forgets-votes":             1,
	"quorum/leads-unconfirmed":         5,
	"quorum/answers-before-sync":       8,
	"quorum/no-sync":                   1,
	"machine/failed-append-counts":     2,
	"group/any-generation":             1,
}
