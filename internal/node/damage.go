package node

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/replica"
)

// Damage that is found while the broker runs: the log directory tells of it from below
// whatever met it, the replicas mend it (replica/repair.go), the controller has to know.

// damageFound hands on what the log directory tells. It must not wait.
func (n *Node) damageFound(e log.Event) {
	var id log.LogID
	switch e := e.(type) {
	case log.DamageMet, log.Suspected: // the scrubber finds out what it is
		n.scrubs.soon()
		return
	case log.Quarantined:
		id = e.Log
	case log.LogRecovered: // of a log that was opened late
		if e.Kept {
			return
		}
		id = e.Log
	default:
		return
	}
	if n.started.Load() { // before, the directory keeps it in mind
		n.jobs.after(0, func() { n.replicas.Damaged(id) })
	}
}

// reportLost tells the controller that replicas here lack records which they acknowledged.
func (n *Node) reportLost(parts []replica.Ref, done func(kept []replica.Ref, err error)) {
	list := make([]metadata.TopicPartition, len(parts))
	for i, p := range parts {
		list[i] = metadata.TopicPartition{TopicID: p.TopicID, Partition: p.Index}
	}
	n.meta.reportLost(list, func(kept []metadata.TopicPartition, err error) {
		var refs []replica.Ref
		for _, tp := range kept {
			refs = append(refs, replica.Ref{TopicID: tp.TopicID, Index: tp.Partition})
		}
		done(refs, err)
	})
}

func (m *metadataLog) reportLost(list []metadata.TopicPartition, done func(kept []metadata.TopicPartition, err error)) {
	m.submit(&metadata.ReplicasLost{BrokerID: m.n.id, BrokerEpoch: m.epoch.Load(), Partitions: list}, func(body any, err error) {
		if why, bad := body.(error); bad && err == nil {
			err = why
		}
		reply, ok := body.(*metadata.ReplicasLostReply)
		switch {
		case err != nil:
		case !ok:
			err = fmt.Errorf("answered with %T", body)
		default:
			if err = kerr.ErrorForCode(reply.ErrorCode); err == nil {
				done(reply.Kept, nil)
				return
			}
		}
		done(nil, err)
	})
}

// lateLosses reports what was lost of partitions that the image did not have when the
// broker registered, since it was behind. It is true when there is nothing more to report.
func (m *metadataLog) lateLosses() bool {
	if m.reporting {
		return false
	}
	img := m.image()
	for _, tp := range m.lost() {
		if p := img.TopicByID(tp.TopicID).Partition(tp.Partition); p != nil && p.Counts(m.n.id) {
			m.late = append(m.late, tp)
		}
	}
	if len(m.late) == 0 {
		return true
	}
	m.reporting = true
	m.reportLost(m.late, func(_ []metadata.TopicPartition, err error) {
		m.n.tasks.post(func() {
			m.reporting = false
			if err != nil {
				m.n.log.Warn("lost replicas not reported yet", "why", err)
				m.n.jobs.after(joinRetry, func() { m.n.tasks.post(m.progress) })
				return
			}
			m.late = nil
			m.progress()
		})
	})
	return false
}

// forgetMissing ends that vanished logs are reported at each start: their loss is
// committed, or their topics are gone.
func (m *metadataLog) forgetMissing() {
	var ids []log.LogID
	for _, gone := range m.n.dir.Missing() {
		ids = append(ids, gone.Log)
	}
	if len(ids) == 0 {
		return
	}
	if err := m.n.dir.ForgetMissing(ids...); err != nil {
		m.n.log.Warn("missing partitions not forgotten, the next start reports them again", "why", err)
	}
}
