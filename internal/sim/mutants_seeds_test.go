//go:build mutants

package sim

// noticedBy is the seed that noticed each mutant when the table of docs/verification.md was
// made, so that it need not be looked for. A change of the simulation or of the code moves
// it: then it is looked for again, and this list only makes that slower or faster.
var noticedBy = map[string]int{}
