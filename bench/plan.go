//go:build linux

package main

import (
	"regexp"
	"strings"
	"time"
)

// plan is what one run does.
type plan struct {
	rounds      int
	seconds     int // measured, per case
	warm        int // seconds before that
	cases       *regexp.Regexp
	scratch     string
	gigas       int // of data on disk for the restart case
	trials      int // of each kind of failure of a node
	kafkaTrials int // the same of Kafka's nodes; 0: as many
	calm        time.Duration
	leat        string
	out         string
}

// whole is the plan of a whole run, which is to take an hour at most. See fixed and rest.
var whole = plan{rounds: 3, seconds: 8, warm: 4, gigas: 20, trials: 5, calm: 10 * time.Minute}

// device says that the page goes to a terminal, a pipe or nowhere.
func (p plan) device() bool { return strings.HasPrefix(p.out, "/dev/") }

func (p plan) runs(name string) bool { return p.cases == nil || p.cases.MatchString(name) }

// fixed is how long the parts of a run take that take as long as they are told to: 37
// minutes by default. They are 3 rounds of 18 cases of single nodes (12 s each: 10.8 min)
// and of 3 clusters with 3 cases each and 60 s of warm-up, shared by the three (96 s each: 14.4 min), 10
// minutes of busy processors, and 105 s for 10,000 replicas at rest, empty and written.
func (p plan) fixed() time.Duration {
	seconds := 0
	for _, v := range variants {
		cases := p.chosen(v)
		seconds += len(cases) * (p.warm + p.seconds)
		if v.nodes > 0 && len(cases) > 0 {
			seconds += clusterWarm * p.warm
		}
	}
	all := time.Duration(p.rounds*seconds) * time.Second
	if p.runs("cluster-failover") {
		all += p.calm
	}
	if p.runs("cluster-idle") {
		all += 2*idleSettle + idleEmpty + idleTime
	}
	return all
}

// rests are what the parts of a whole run took that take as long as they need, each when
// it was measured last, on two cores. With three trials of Kafka's nodes they come to 21 minutes.
var rests = []struct {
	what, name string // name: a case that stands for all of them
	took       func(p plan) time.Duration
}{
	// 19m7s for single nodes as a whole, less 10.8 min; starts, 1 GiB to read, writing back.
	{"single nodes", "single-restart", func(p plan) time.Duration { return minutes(8.3) }},
	// 20 min for three nodes, rolling restart and rest at idle, less 15.6 min.
	{"three nodes", "cluster", func(p plan) time.Duration { return minutes(4.5) }},
	{"a large cluster's metadata", "single-metadata", func(p plan) time.Duration { return minutes(1) }},
	// Five kinds, 3 to 7 s a trial.
	{"failovers", "cluster-failover", func(p plan) time.Duration { return time.Duration(p.trials) * 26 * time.Second }},
	// Three kinds, 7 s a trial, and 25 s of Kafka's.
	{"silence", "cluster-cut", func(p plan) time.Duration {
		return time.Duration(p.trials)*21*time.Second + time.Duration(p.trialsOf(kafka))*75*time.Second
	}},
}

func minutes(n float64) time.Duration { return time.Duration(n * float64(time.Minute)) }

// rest is about how long everything else takes in a run of the default plan.
func (p plan) rest() (all time.Duration) {
	for _, r := range rests {
		if p.runs(r.name) {
			all += r.took(p)
		}
	}
	return all.Round(time.Minute)
}

// trialsOf is how often each failure of a node is tried.
func (p plan) trialsOf(whose string) int {
	if whose == kafka && p.kafkaTrials > 0 {
		return p.kafkaTrials
	}
	return p.trials
}

// chosen are a variant's cases that are to be run.
func (p plan) chosen(v variant) (all []benchCase) {
	for _, c := range v.cases {
		if p.runs(c.name) {
			all = append(all, c)
		}
	}
	return all
}
