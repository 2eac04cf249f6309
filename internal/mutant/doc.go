// Package mutant names deliberate bugs. Each stands where the production code keeps a
// promise, and takes one guard away while it is switched on:
//
//	if end < least || mutant.On("replica/expand-at-once") {
//
// They exist in builds with the tag "mutants" alone, for the tests of internal/sim that
// every one of them is noticed: by a seed of the simulation, or by a test that is named
// there. Without the tag On is constant and costs nothing.
package mutant
