package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
)

// Every node is asked over a connection of its own, all at a time, and within one bound: one that hangs
// holds up nothing but what it alone could tell.

// statusPatience is how long status waits for all answers, unless --timeout says.
const statusPatience = 3 * time.Second

// againAfter is the pause before a question that met an error that passes is put again.
const againAfter = 100 * time.Millisecond

// asking puts questions to nodes.
type asking struct {
	e        *conn.Env
	patience time.Duration
	more     []string // nodes to begin with, beside those that are given
}

// ask runs fn within a bound that --timeout may change, and puts its error into plain words.
func ask(e *conn.Env, cmd *cobra.Command, fn func(ctx context.Context, a *asking) error) error {
	a := &asking{e: e, patience: statusPatience}
	if cmd.Flags().Changed(conn.TimeoutFlag) {
		a.patience = e.Timeout()
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), a.patience)
	defer cancel()
	return a.explain(cmd.Context(), fn(ctx, a))
}

// explain puts an error into plain words. One that is not the cluster's word is that no
// node has told of the cluster.
func (a *asking) explain(ctx context.Context, err error) error {
	var kafka *kerr.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &kafka), !lost(err):
		return a.e.Explain(err)
	}
	return a.e.Unreachable(err)
}

// at runs fn with a connection to one address.
func (a *asking) at(address string, fn func(*kgo.Broker) error) error {
	cl, err := a.e.At(address)
	if err != nil {
		return err
	}
	defer cl.Close()
	return fn(cl.SeedBrokers()[0])
}

// why is the reason for which something is not told.
func (a *asking) why(err error) string {
	var kafka *kerr.Error
	switch {
	case errors.As(err, &kafka):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v", a.patience)
	}
	return conn.Reason(err)
}

// home is a node that answers, and what it knows of the cluster.
type home struct {
	address string
	brokers []kmsg.DescribeClusterResponseBroker // by id, fenced ones too
	meta    *kmsg.MetadataResponse
}

// home finds the first of the nodes to begin with that tells of the cluster.
func (a *asking) home(ctx context.Context) (*home, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of the questions to the others
	type answer struct {
		home *home
		err  error
	}
	all := append(a.e.Brokers(), a.more...)
	slices.Sort(all)
	all = slices.Compact(all)
	answers := make(chan answer, len(all))
	for _, address := range all {
		go func() {
			h := &home{address: address}
			err := a.at(address, func(br *kgo.Broker) (err error) {
				if h.meta, err = kmsg.NewPtrMetadataRequest().RequestWith(ctx, br); err != nil {
					return err
				}
				h.brokers, err = describeBrokers(ctx, br)
				var kafka *kerr.Error
				if err != nil && !lost(err) && !errors.As(err, &kafka) { // it knows no such request
					h.brokers, err = brokersOf(h.meta), nil
				}
				return err
			})
			answers <- answer{h, err}
		}()
	}
	var last error
	for range all {
		select {
		case got := <-answers:
			if got.err == nil {
				return got.home, nil
			}
			last = got.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, last
}

// brokersOf are the brokers that are up.
func brokersOf(meta *kmsg.MetadataResponse) (all []kmsg.DescribeClusterResponseBroker) {
	for _, b := range meta.Brokers {
		d := kmsg.NewDescribeClusterResponseBroker()
		d.NodeID, d.Host, d.Port, d.Rack = b.NodeID, b.Host, b.Port, b.Rack
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b kmsg.DescribeClusterResponseBroker) int { return int(a.NodeID) - int(b.NodeID) })
	return all
}

// elsewhere runs fn with a node that answers; when it dies before it has, with another one.
func (a *asking) elsewhere(ctx context.Context, fn func(*home, *kgo.Broker) error) error {
	for {
		one, cancel := context.WithTimeout(ctx, a.patience)
		h, err := a.home(one)
		cancel()
		if err != nil {
			return err
		}
		err = a.at(h.address, func(br *kgo.Broker) error { return fn(h, br) })
		if !lost(err) || ctx.Err() != nil {
			return err
		}
		if err := pause(ctx, againAfter); err != nil {
			return err
		}
	}
}

// holds counts the replicas that a broker is to have.
func (h *home) holds(id int32) (replicas int) {
	for i := range h.meta.Topics {
		for _, p := range h.meta.Topics[i].Partitions {
			if slices.Contains(p.Replicas, id) {
				replicas++
			}
		}
	}
	return replicas
}

func address(b kmsg.DescribeClusterResponseBroker) string {
	return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
}

// nodeAnswer is what a node tells of itself.
type nodeAnswer struct {
	versions *kmsg.ApiVersionsResponse
	dirs     *kmsg.DescribeLogDirsResponse
	part     string // what it did not tell, as it is shown; "" is everything
	// brokers are those of the cluster by its word; none if it did not say.
	brokers []kmsg.DescribeClusterResponseBroker
	err     error
}

func (a *asking) node(ctx context.Context, address string) (got nodeAnswer) {
	got.err = a.at(address, func(br *kgo.Broker) (err error) {
		if got.versions, err = a.versions(ctx, br); err != nil {
			return err
		}
		got.dirs, err = kmsg.NewPtrDescribeLogDirsRequest().RequestWith(ctx, br)
		if err == nil {
			err = kerr.ErrorForCode(got.dirs.ErrorCode)
		}
		if err != nil {
			got.dirs, got.part = nil, ": disks"
			return err
		}
		if all, err := describeBrokers(ctx, br); err == nil { // else the first one's word on addresses is as good
			got.brokers = all
		}
		return nil
	})
	return got
}

// shown is the address of a broker as others know it, if one says. A node may tell of itself
// the address by which it was reached, so that it would be shown by one name or another, as it
// is the first to answer or not.
func (h *home) shown(b kmsg.DescribeClusterResponseBroker, answers []nodeAnswer) string {
	for i, other := range h.brokers {
		if other.NodeID == b.NodeID {
			continue
		}
		for _, told := range answers[i].brokers {
			if told.NodeID == b.NodeID {
				return address(told)
			}
		}
	}
	return address(b)
}

// gone tells whether nobody answers at an address.
func (a *asking) gone(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	return a.at(address, func(br *kgo.Broker) error {
		_, err := a.versions(ctx, br)
		return err
	}) != nil
}

func (a *asking) versions(ctx context.Context, br *kgo.Broker) (*kmsg.ApiVersionsResponse, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "leat", a.e.Software()
	resp, err := req.RequestWith(ctx, br)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	return resp, err
}

// quorumAnswer is the metadata quorum, and the versions of members that are no brokers.
type quorumAnswer struct {
	quorum   *kmsg.DescribeQuorumResponseTopicPartition
	software map[int32]nodeAnswer
	err      error
}

func (a *asking) quorum(ctx context.Context, h *home) (got quorumAnswer) {
	var resp *kmsg.DescribeQuorumResponse
	got.err = a.at(h.address, func(br *kgo.Broker) error {
		return again(ctx, func() (err error) {
			resp, got.quorum, err = describeQuorum(ctx, br)
			return err
		})
	})
	if got.err != nil {
		return got
	}
	var alone []kmsg.DescribeQuorumResponseNode
	for _, n := range resp.Nodes {
		broker := slices.ContainsFunc(h.brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == n.NodeID })
		if !broker && len(n.Listeners) > 0 {
			alone = append(alone, n)
		}
	}
	answers := each(alone, func(n kmsg.DescribeQuorumResponseNode) (got nodeAnswer) {
		got.err = a.at(net.JoinHostPort(n.Listeners[0].Host, strconv.Itoa(int(n.Listeners[0].Port))), func(br *kgo.Broker) (err error) {
			got.versions, err = a.versions(ctx, br)
			return err
		})
		return got
	})
	got.software = map[int32]nodeAnswer{}
	for i, n := range alone {
		got.software[n.NodeID] = answers[i]
	}
	return got
}

// minISR asks for min.insync.replicas of topics.
func (a *asking) minISR(ctx context.Context, h *home, topics []string) (map[string]int, error) {
	least := map[string]int{}
	if len(topics) == 0 {
		return least, nil
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, topic := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{"min.insync.replicas"}
		req.Resources = append(req.Resources, r)
	}
	err := a.at(h.address, func(br *kgo.Broker) error {
		resp, err := req.RequestWith(ctx, br)
		if err != nil {
			return err
		}
		for i := range resp.Resources {
			r := &resp.Resources[i]
			if err := conn.KafkaError(r.ErrorCode, r.ErrorMessage); errors.Is(err, kerr.UnknownTopicOrPartition) {
				continue // it has been deleted since
			} else if err != nil {
				return err
			}
			for _, c := range r.Configs {
				if c.Value == nil {
					continue
				}
				if n, err := strconv.Atoi(*c.Value); c.Name == "min.insync.replicas" && err == nil {
					least[r.ResourceName] = n
				}
			}
		}
		return nil
	})
	return least, err
}

// again puts a question until its answer is no error that passes, or ctx ends.
func again(ctx context.Context, ask func() error) error {
	var last error // that the cluster gave
	for {
		err := ask()
		switch {
		case err != nil && ctx.Err() != nil && last != nil:
			return last
		case !kerr.IsRetriable(err):
			return err
		}
		last = err
		if pause(ctx, againAfter) != nil {
			return last
		}
	}
}

// each runs fn for all at a time, and gives the results in the order of all.
func each[T, R any](all []T, fn func(T) R) []R {
	results := make([]R, len(all))
	var wg sync.WaitGroup
	for i, t := range all {
		wg.Go(func() { results[i] = fn(t) })
	}
	wg.Wait()
	return results
}
