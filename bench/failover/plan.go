//go:build linux

// Package failover measures, on three nodes of Leat on this machine, how long clients
// wait for a node that is killed or stopped, and whether nodes that are merely busy are
// taken for dead.
//
// A writer for each partition writes with acks=all every few milliseconds. A trial is
// over when each of them has been acknowledged a record that it sent after the failure.
// At the end every acknowledged record is read back. The figures assert nothing, but a
// lost record is an error.
package failover

import "time"

// Plan is what one run does.
type Plan struct {
	Do         []string      // of kill, controller, stop, pause, calm
	Rounds     int           // trials of each failure
	Partitions int           // that are written to
	Pace       time.Duration // pause of a writer between its records
	Calm       time.Duration // how long the processors are kept busy in the case calm
	Leat       string        // binary
	Scratch    string        // folder for data

	say func(Figure)
}

// Figure is what was measured.
type Figure struct {
	What, Unit string
	Goal       float64 // to stay below; 0: none
	Values     []float64
}

// Kinds are all that Plan.Do may have, in the order in which they make sense.
var Kinds = []string{"kill", "controller", "stop", "pause", "calm"}

var said = map[string]string{
	"kill":       "three nodes, kill -9 of the leader of most: until every partition takes acks=all writes again",
	"controller": "— kill -9 of the active controller",
	"stop":       "— SIGSTOP of a leader, until the others have taken over",
	"pause":      "— SIGSTOP of a leader for 4 s",
}

// The goals, in ms.
var goals = map[string]float64{"kill": 1000, "controller": 2000, "stop": 5000, "pause": 5000}
