package dev

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestScreen(t *testing.T) {
	var b strings.Builder
	s := &screen{w: &b, width: func() int { return 0 }}
	s.show("starting")
	s.show("starting")
	s.line("a\x1b[2J")
	s.show("healthy")
	s.end()
	if want := "starting\na\\x1b[2J\nhealthy\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}

	b.Reset()
	s = &screen{w: &b, live: true, width: func() int { return 6 }}
	s.line("first")
	s.show("starting")
	s.show("starting")
	s.line("second")
	s.end()
	if want := clear + "first\n" + clear + "start" + clear + "second\nstart" + clear; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestHealthInWords(t *testing.T) {
	well := []nodeHealth{{id: 1, ready: true, known: true, leads: 4}, {id: 2, ready: true, known: true, leads: 3}}
	for _, c := range []struct {
		health health
		want   string
	}{
		{health{nodes: well, controller: 2, partitions: 7}, "healthy: 2 nodes | controller 2 | 7 partitions, leaders 1:4 2:3"},
		{health{nodes: well, controller: 2, partitions: 7, moving: 3}, "healthy: 2 nodes | controller 2 | 7 partitions, leaders 1:4 2:3 | 3 moving"},
		{health{nodes: well, controller: -1, partitions: 9, offline: 1, under: 2},
			"NOT HEALTHY: 1 partitions offline, 2 under-replicated | 9 partitions, leaders 1:4 2:3"},
		{health{nodes: []nodeHealth{{id: 1, ready: true, known: false, leads: 0}, {id: 2, ready: false, known: true, leads: 1}, {id: 3, ready: false, known: false, leads: 0}}, controller: 2, partitions: 1},
			"NOT HEALTHY: node 1 fenced, node 2 silent, node 3 down | controller 2 | 1 partitions, leaders 1:0 2:1 3:0"},
		{health{nodes: []nodeHealth{{id: 1}}, err: errors.New("x")}, "NOT HEALTHY: node 1 down; the cluster does not answer"},
		{health{nodes: []nodeHealth{{id: 1, ready: true, known: false, leads: 0}}, err: errors.New("x")}, "NOT HEALTHY: the cluster does not answer"},
		{health{nodes: append(well[:2:2], nodeHealth{id: 3, removed: true}), controller: 2, partitions: 7}, "healthy: 2 nodes | controller 2 | 7 partitions, leaders 1:4 2:3 | node 3 removed"},
	} {
		if c.health.String() != c.want {
			t.Errorf("%s\nwant %s", c.health, c.want)
		}
	}
}

func TestStartingInWords(t *testing.T) {
	h := health{nodes: []nodeHealth{{id: 1, ready: true}, {id: 2, known: true}}}
	if got := h.starting(); got != "starting: 1 of 2 nodes serve" {
		t.Error(got)
	}
}

func TestLinesOfAProcess(t *testing.T) {
	var got []string
	p := &prefixed{show: func(line string) { got = append(got, line) }}
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee", strings.Repeat("x", maxLine)} {
		if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	p.flush()
	if len(got) != 4 || got[0] != "one" || got[1] != "two" || got[2] != "" || !strings.HasPrefix(got[3], "threexx") {
		t.Errorf("%.40q", got)
	}
	if _, err := p.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	p.flush()
	if p.lastLine() != "end" || got[len(got)-1] != "end" {
		t.Errorf("%.40q", got)
	}
}

// TestRemovedNodes: a node that the cluster had, and has no more, is no fault; one that has never
// been there, or is only fenced, is.
func TestRemovedNodes(t *testing.T) {
	had := map[int]bool{}
	see := func(ids ...int32) health {
		h := health{nodes: []nodeHealth{{id: 1, ready: true, known: true}, {id: 2}}}
		var brokers []kmsg.DescribeClusterResponseBroker
		for _, id := range ids {
			b := kmsg.NewDescribeClusterResponseBroker()
			b.NodeID = id
			brokers = append(brokers, b)
		}
		h.registered(brokers, had)
		return h
	}
	for i, c := range []struct {
		brokers []int32
		ok      bool
	}{{[]int32{1}, false}, {[]int32{1, 2}, false}, {[]int32{1}, true}, {[]int32{1, 2}, false}} {
		if h := see(c.brokers...); h.ok() != c.ok {
			t.Errorf("step %d: %s", i, h)
		}
	}
}
