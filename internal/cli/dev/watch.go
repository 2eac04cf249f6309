package dev

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/cluster"
)

// health is what the line of state tells.
type health struct {
	nodes      []nodeHealth
	controller int32 // -1 unknown
	partitions int
	offline    int
	under      int
	moving     int   // partitions whose replicas are being moved
	err        error // why the cluster did not answer
}

type nodeHealth struct {
	id    int
	ready bool // serves clients, by its own word
	known bool // is up, by the cluster's word
	leads int
	// removed: the cluster had it, and has it no more ('leat cluster remove').
	removed bool
}

// ok tells whether nothing is wrong.
func (h health) ok() bool { return h.err == nil && len(h.wrong()) == 0 }

func (h health) wrong() []string {
	var all []string
	for _, n := range h.nodes {
		switch {
		case n.removed && !n.ready: // as it should be
		case !n.ready && !n.known:
			all = append(all, fmt.Sprintf("node %d down", n.id))
		case !n.ready:
			all = append(all, fmt.Sprintf("node %d silent", n.id))
		case !n.known && h.err == nil:
			all = append(all, fmt.Sprintf("node %d fenced", n.id))
		}
	}
	if h.offline > 0 {
		all = append(all, fmt.Sprintf("%d partitions offline", h.offline))
	}
	if h.under > 0 {
		all = append(all, fmt.Sprintf("%d under-replicated", h.under))
	}
	return all
}

// String is the line of state.
func (h health) String() string {
	var b strings.Builder
	if h.ok() {
		fmt.Fprintf(&b, "healthy: %d nodes", len(h.nodes)-len(h.removed()))
	} else {
		b.WriteString("NOT HEALTHY: " + strings.Join(h.wrong(), ", "))
	}
	if h.err != nil {
		if len(h.wrong()) > 0 {
			b.WriteString("; ")
		}
		b.WriteString("the cluster does not answer")
		return b.String()
	}
	if h.controller >= 0 {
		fmt.Fprintf(&b, " | controller %d", h.controller)
	}
	fmt.Fprintf(&b, " | %d partitions, leaders", h.partitions)
	for _, n := range h.nodes {
		if !n.removed {
			fmt.Fprintf(&b, " %d:%d", n.id, n.leads)
		}
	}
	if h.moving > 0 {
		fmt.Fprintf(&b, " | %d moving", h.moving)
	}
	for _, id := range h.removed() {
		fmt.Fprintf(&b, " | node %d removed", id)
	}
	return b.String()
}

// removed are the nodes that the cluster no longer has.
func (h health) removed() (ids []int) {
	for _, n := range h.nodes {
		if n.removed && !n.ready {
			ids = append(ids, n.id)
		}
	}
	return ids
}

// starting is the line of state before all was well once.
func (h health) starting() string {
	n := 0
	for _, s := range h.nodes {
		if s.ready {
			n++
		}
	}
	return fmt.Sprintf("starting: %d of %d nodes serve", n, len(h.nodes))
}

const (
	watchEvery  = time.Second
	askPatience = 2 * time.Second
)

// watch asks the nodes and the cluster how they are, again and again, until ctx ends.
func watch(ctx context.Context, nodes []spec, tell func(health)) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafkaAddresses(nodes)...), kgo.ClientID("leat-dev"), kgo.MetadataMinAge(watchEvery/2),
		kgo.DialTimeout(askPatience), kgo.RequestRetries(1))
	if err != nil {
		return err
	}
	defer cl.Close()
	web := &http.Client{Timeout: askPatience}
	defer web.CloseIdleConnections()
	had := map[int]bool{}
	for every := time.NewTicker(watchEvery); ; {
		h := look(ctx, nodes, cl, web, had)
		if ctx.Err() == nil {
			tell(h)
		}
		select {
		case <-ctx.Done():
			every.Stop()
			return nil
		case <-every.C:
		}
	}
}

// look asks once. had are the nodes that the cluster was seen to have, registered though they may be down.
func look(ctx context.Context, nodes []spec, cl *kgo.Client, web *http.Client, had map[int]bool) health {
	h := health{controller: -1, nodes: make([]nodeHealth, len(nodes))}
	anyReady := false
	for i, s := range nodes {
		h.nodes[i] = nodeHealth{id: s.id, ready: ready(ctx, web, s)}
		anyReady = anyReady || h.nodes[i].ready
	}
	if !anyReady {
		h.err = fmt.Errorf("no node serves")
		return h
	}
	ask, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	soon, end := context.WithTimeout(ask, askPatience/2) // one that hangs leaves time for the metadata
	defer end()
	moves, err := cluster.Reassignments(soon, cl) // before the metadata: those that are over by then are seen to be
	if err == nil {
		h.moving = len(moves.Sorted())
	}
	meta, err := kadm.NewClient(cl).Metadata(ask)
	if err != nil {
		h.err = err
		return h
	}
	if quorum, err := cluster.DescribeQuorum(ask, cl); err == nil {
		h.controller = quorum.LeaderID // the metadata name any node, since each forwards
	}
	if registered, err := cluster.DescribeBrokers(ask, cl); err == nil {
		h.registered(registered, had)
	}
	for _, b := range meta.Brokers {
		for i := range h.nodes {
			if h.nodes[i].id == int(b.NodeID) {
				h.nodes[i].known = true
			}
		}
	}
	meta.Topics.EachPartition(func(p kadm.PartitionDetail) {
		h.partitions++
		if p.Leader < 0 {
			h.offline++
		} else if len(p.ISR) < cluster.ReplicationFactor(p.Replicas, moves[p.Topic][p.Partition]) {
			h.under++
		}
		for i := range h.nodes {
			if h.nodes[i].id == int(p.Leader) {
				h.nodes[i].leads++
			}
		}
	})
	return h
}

// registered notes which nodes the cluster has, and finds those that it had.
func (h *health) registered(brokers []kmsg.DescribeClusterResponseBroker, had map[int]bool) {
	for i := range h.nodes {
		n := &h.nodes[i]
		has := slices.ContainsFunc(brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return int(b.NodeID) == n.id })
		n.removed = had[n.id] && !has
		had[n.id] = had[n.id] || has
	}
}

func ready(ctx context.Context, web *http.Client, s spec) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(s.http)+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := web.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
