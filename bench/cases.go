//go:build linux

package main

import (
	"github.com/leat-stream/leat/bench/load"
	"github.com/leat-stream/leat/conformance/harness"
)

// variant is a broker with its settings, and the cases it is measured in.
type variant struct {
	name  string
	kind  harness.Kind
	nodes int // of a cluster; 0 is a single node
	set   map[string]string
	cases []benchCase
}

// benchCase is one load. Cases of one name are compared with each other.
type benchCase struct {
	name string
	load load.Load
}

// consumed is how much a topic holds that is read again and again: more than the
// processor's caches, and less than any page cache drops.
const consumed = 1 << 30

// The loads of the figures that the project sets itself.
var (
	acks1p1   = load.Load{Mode: "produce", Topic: "p1", Partitions: 1, Size: 1024, Acks: 1}
	acks1p12  = load.Load{Mode: "produce", Topic: "p12", Partitions: 12, Size: 1024, Acks: 1}
	allp12    = load.Load{Mode: "produce", Topic: "a12", Partitions: 12, Size: 1024, Acks: -1}
	small1    = load.Load{Mode: "small", Topic: "s1", Partitions: 100, Producers: 50, Size: 100, Acks: 1}
	smallAll  = load.Load{Mode: "small", Topic: "sa", Partitions: 100, Producers: 50, Size: 100, Acks: -1}
	consume1  = load.Load{Mode: "consume", Topic: "c1", Partitions: 1, Size: 1024}
	consume12 = load.Load{Mode: "consume", Topic: "c12", Partitions: 12, Size: 1024}
	steady    = load.Load{Mode: "e2e", Topic: "e2e", Partitions: 6, Size: 1000, Acks: -1, Rate: 10_000}

	three        = load.Load{Mode: "produce", Topic: "r3", Partitions: 12, Replicas: 3, MinISR: 2, Size: 1024, Acks: -1}
	threeConsume = load.Load{Mode: "consume", Topic: "c3", Partitions: 12, Replicas: 3, MinISR: 2, Size: 1024}
	threeSteady  = load.Load{Mode: "e2e", Topic: "e3", Partitions: 12, Replicas: 3, MinISR: 2, Size: 1000, Acks: -1, Rate: 5_000}
)

// variants in the order of an odd round; an even round goes backwards.
var variants = []variant{
	{leat, harness.Leat, 0, nil, []benchCase{
		{"acks1-1p", acks1p1}, {"acks1-12p", acks1p12}, {"durable-12p", allp12},
		{"small-acks1", small1}, {"small-durable", smallAll},
		{"consume-1p", consume1}, {"consume-12p", consume12}, {"e2e-durable", steady},
	}},
	{kafka, harness.Kafka, 0, nil, []benchCase{
		{"acks1-1p", acks1p1}, {"acks1-12p", acks1p12}, {"durable-12p", allp12},
		{"small-acks1", small1},
		{"consume-1p", consume1}, {"consume-12p", consume12}, {"e2e-relaxed", steady},
	}},
	{relaxed, harness.Leat, 0, map[string]string{"leat.durability": "relaxed"}, []benchCase{
		{"e2e-relaxed", steady},
	}},
	{flushed, harness.Kafka, 0, map[string]string{"log.flush.interval.messages": "1"}, []benchCase{
		{"small-durable", smallAll}, {"e2e-durable", steady},
	}},
	{leat3, harness.Leat, 3, nil, clusterCases},
	{kafka3, harness.Kafka, 3, nil, clusterCases},
	{relaxed3, harness.Leat, 3, map[string]string{"leat.durability": "relaxed"}, clusterCases},
}

// clusterCases are the same for all: three nodes, three replicas.
var clusterCases = []benchCase{{"cluster", three}, {"cluster-consume", threeConsume}, {"cluster-e2e", threeSteady}}

// rawCase is a row of its own: the disk without a broker.
const rawCase = "raw-sync"
