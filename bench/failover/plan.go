//go:build linux

// Package failover measures, on three nodes on this machine, how long clients wait for a
// node that is killed, stopped or cut off, and whether nodes that are merely busy are taken
// for dead.
//
// A writer for each partition writes with acks=all every few milliseconds. A trial is
// over when each of them has been acknowledged a record that it sent after the failure.
// At the end every acknowledged record is read back. The figures assert nothing, but a
// lost record is an error.
package failover

import (
	"time"

	"github.com/leat-stream/leat/conformance/harness"
)

// Plan is what one run does.
type Plan struct {
	Kind       harness.Kind  // whose nodes
	Apart      bool          // each node has a network namespace of its own, which needs root
	Do         []string      // of Kinds and ApartKinds
	Rounds     int           // trials of each failure
	Partitions int           // that are written to
	Pace       time.Duration // pause of a writer between its records
	Calm       time.Duration // how long the processors are kept busy in the case calm
	Scratch    string        // folder for data

	say func(Figure)
}

// Figure is what was measured.
type Figure struct {
	What, Unit string
	Goal       float64 // to stay below; 0: none
	Wanted     int     // how many values there should be
	Values     []float64
	Err        error // why there are fewer
}

// Kinds are what Plan.Do may have, in the order in which they make sense; ApartKinds are
// those that need nodes with a network of their own, and those to compare them with.
var (
	Kinds      = []string{"kill", "controller", "stop", "pause", "stop-controller", "calm"}
	ApartKinds = []string{"silent", "silent-controller", "stop-controller"}
)

// failures say of each kind what it is called, whether it is the active controller that
// fails, which leads partitions too, and the goal in ms, which is for
// our nodes alone.
var failures = map[string]struct {
	said       string
	controller bool
	goal       float64
}{
	"kill":              {"kill -9 of the leader of most", false, 1000},
	"controller":        {"kill -9 of the active controller", true, 2000},
	"stop":              {"SIGSTOP of a leader, until the others have taken over", false, 5000},
	"pause":             {"SIGSTOP of a leader for 4 s", false, 5000},
	"stop-controller":   {"SIGSTOP of a leader that is the active controller, too", true, 5000},
	"silent":            {"a leader is cut off without a word: all its packets are lost, also those to clients", false, 5000},
	"silent-controller": {"— of a leader that is the active controller, too", true, 5000},
}

// goal is what a failure of one kind is to stay below, in ms; 0: nothing, as for whom ours
// are compared with.
func (p Plan) goal(kind string) float64 {
	if p.Kind != harness.Leat {
		return 0
	}
	return failures[kind].goal
}
