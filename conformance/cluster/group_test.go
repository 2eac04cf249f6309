//go:build conformance

package cluster

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/sim/history"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is a member of a group, and how it came to its partitions.
type member struct {
	l     *load
	group string
	name  string
	cl    *kgo.Client

	mu    sync.Mutex
	next  map[int32]int64 // of each partition that it owns; none: as fetched
	since history.Time    // of the assignment
}

// member starts a member of a group that commits what it has read.
func (l *load) member(t *testing.T, ctx context.Context, seeds []string, group string, i int) {
	t.Helper()
	m := &member{l: l, group: group, name: fmt.Sprintf("%s-%d", group, i), next: map[int32]int64{}}
	gone := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { m.forget(lost[loadTopic]) }
	m.cl = l.client(t, kgo.SeedBrokers(seeds...), kgo.ConsumerGroup(group), kgo.ConsumeTopics(loadTopic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.RebalanceTimeout(6*time.Second), kgo.Balancers(kgo.RangeBalancer()), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { m.forget(got[loadTopic]) }),
		kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone), kgo.OnOffsetsFetched(m.fetched))
	l.reading.Go(func() { m.run(ctx) })
}

// forget forgets where the member stood in partitions.
func (m *member) forget(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range partitions {
		delete(m.next, p)
	}
	m.since = now()
}

// fetched keeps the committed offsets that the group's coordinator told.
func (m *member) fetched(_ context.Context, cl *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	_, generation := cl.GroupMetadata()
	m.mu.Lock()
	begin := m.since
	m.mu.Unlock()
	m.l.mu.Lock()
	defer m.l.mu.Unlock()
	see := func(topic string, p int32, offset int64, metadata *string, code int16) {
		if err := kerr.ErrorForCode(code); err != nil {
			m.l.saw("franz "+m.name, "fetch of offsets", fmt.Sprintf("%s-%d: %v", topic, p, err))
			return
		}
		f := history.Fetched{Group: m.group, Generation: generation, Partition: history.Partition{Topic: topic, Number: p}, Offset: offset, Begin: begin, End: now()}
		if metadata != nil {
			f.ID = *metadata
		}
		m.l.h.Fetches = append(m.l.h.Fetches, f)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			see(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				see(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode)
			}
		}
	}
	return nil
}

// run reads and commits until ctx ends.
func (m *member) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		begin := now()
		fetches := m.cl.PollFetches(ctx)
		id, generation := m.cl.GroupMetadata()
		m.mu.Lock()
		m.l.keep(ctx, fetches, m.next, history.Read{
			Consumer: fmt.Sprintf("%s %s %d", m.name, id, generation), Group: m.group, Member: id, Generation: generation, Begin: begin, End: now(),
		})
		m.mu.Unlock()
		if fetches.NumRecords() > 0 {
			m.commit(ctx, n, generation)
		}
		m.cl.AllowRebalance()
	}
}

// commit commits how far the member has read.
func (m *member) commit(reading context.Context, n int, generation int32) {
	head := m.cl.UncommittedOffsets()
	id := fmt.Sprintf("%s/%d", m.name, n)
	ctx, cancel := context.WithTimeout(reading, 3*time.Second) // less than the rebalance timeout
	defer cancel()
	m.l.mu.Lock()
	first := len(m.l.h.Commits)
	at := map[int32]int{}
	for p, o := range head[loadTopic] {
		at[p] = len(m.l.h.Commits)
		m.l.h.Commits = append(m.l.h.Commits, history.Commit{
			Group: m.group, Generation: generation, Partition: history.Partition{Topic: loadTopic, Number: p}, Offset: o.Offset,
			ID: id, Begin: now(), End: history.Never,
		})
	}
	m.l.mu.Unlock()
	if len(m.l.h.Commits) == first {
		return
	}
	done := make(chan struct{})
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				req.Topics[i].Partitions[j].Metadata = &id
			}
		}
		return nil
	})
	m.cl.CommitOffsets(ctx, head, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		defer close(done)
		m.l.mu.Lock()
		defer m.l.mu.Unlock()
		if err != nil { // whether it is committed is not known
			if reading.Err() == nil {
				m.l.saw("franz "+m.name, "commit", err.Error())
			}
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					m.l.saw("franz "+m.name, "commit", fmt.Sprintf("%s-%d: %v", t.Topic, p.Partition, err))
				} else if i, ok := at[p.Partition]; ok {
					m.l.h.Commits[i].End, m.l.h.Commits[i].Outcome = now(), history.OK
				}
			}
		}
	})
	<-done
}
