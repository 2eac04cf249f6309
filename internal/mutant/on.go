//go:build mutants

package mutant

// active is the mutant that is switched on; "" for none. A test of another package begins
// with one by the linker's flag -X.
var active string

// On tells whether a mutant is switched on.
func On(name string) bool { return name == active }

// Switch switches one mutant on, and every other off; "" leaves none. The simulation runs
// on one goroutine and calls it between two runs.
func Switch(name string) { active = name }
