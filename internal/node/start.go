package node

import (
	"cmp"
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/api"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
)

// Start begins the node's work. done is told once: nil when the node serves, or why it
// never will.
func (n *Node) Start(done func(error)) {
	n.started.Store(true)
	n.dir.Start(n.opt.Exec)
	n.jobs.every(complaintsEvery, n.complaints.Flush)
	n.tasks.post(func() {
		n.meta.started = done
		n.vet(func(err error) {
			if err != nil {
				n.meta.fail(err)
				return
			}
			if l := n.meta.log.Load(); l != nil {
				l.Start()
			}
			n.former.tick()
			n.attend()
		})
	})
}

// serving begins what needs open partitions.
func (n *Node) serving() {
	n.jobs.every(config.Millis(n.Config(), config.LogRetentionCheckIntervalMs), n.retain)
	n.jobs.every(retryEvery, n.meta.retry)
	n.jobs.after(0, n.clean)
	n.scrubs.start()
	if every := config.Millis(n.Config(), config.MetadataLogMaxSnapshotIntervalMs); every > 0 {
		n.jobs.every(every, func() { n.meta.snapshotDue(0) })
	}
}

// complaintsEvery is how often what clients cause again and again is summed up.
const complaintsEvery = 10 * time.Second

// retryEvery is how often partitions that could not be opened, and deletions that
// could not be carried out, are tried again.
const retryEvery = time.Second

// joinRetry is the pause before the controller is asked again while a broker joins.
const joinRetry = 50 * time.Millisecond

// phase is how far a broker has come on its way into the cluster.
type phase int8

const (
	phaseWaiting     phase = iota // for an image of the cluster
	phaseRegistering              // the controller is asked
	phaseRegistered               // until the own image has the registration
	phaseServing                  // partitions are open; heartbeats
	phaseControlling              // a controller that is no broker follows the metadata
	phaseLeft                     // others lead what this broker led
	phaseFailed
)

// joining is the way of a broker into the cluster. Everything here belongs to the
// node's tasks.
type joining struct {
	phase     phase
	created   bool                             // the leader of the metadata has seen to the cluster's being there
	seen      map[metadata.TopicPartition]bool // replicas of which it was looked what they lost
	said      map[string]bool                  // losses that were logged
	late      []metadata.TopicPartition        // lost, and not told at the registration
	reporting bool                             // late is under way
	asked     int                              // registrations that were sent
	refusals  refusals
	returned  bool      // it was said that the broker had been removed
	cluster   string    // its id, known before there is an image of it; "" where the image tells
	heartbeat bool      // one is under way
	left      func()    // told when others lead; nil while the broker is to stay
	leaving   time.Time // since when it is not
	started   func(error)

	unnoted    bool      // the lives note is to be written
	asking     bool      // the voters are asked about a doubt
	lostLeader time.Time // since when a voter has no leader
	waits      saidAt    // for one
	greeted    time.Time // when a node last answered a hello with something of use
}

// fail ends a start that cannot succeed.
func (m *metadataLog) fail(err error) {
	m.phase = phaseFailed
	if done := m.started; done != nil {
		m.started = nil
		done(err)
	}
}

// bootstrap creates the cluster in an empty log, on the node that leads it.
func (m *metadataLog) bootstrap() {
	levels := map[string]int16{}
	for _, f := range api.Features {
		levels[f.Name] = f.Max
	}
	m.runtime.Submit(controllerShard, &metadata.Bootstrap{ClusterID: m.n.dir.ClusterID(), Features: levels}, func(body any, err error) {
		m.n.tasks.post(func() { m.bootstrapped(body, err) })
	})
}

func (m *metadataLog) bootstrapped(body any, err error) {
	if why, bad := body.(error); bad && err == nil {
		m.fail(fmt.Errorf("creating the cluster: %w", why))
		return
	}
	if err != nil { // who leads sees to it, which may still be this node: its commit was slow
		m.n.jobs.after(joinRetry, func() {
			m.n.tasks.post(func() {
				if m.leads() && !m.created {
					m.bootstrap()
				}
			})
		})
		return
	}
	if reply := body.(*metadata.BootstrapReply); reply.Created {
		m.n.log.Info("cluster created", "cluster", reply.ClusterID)
	}
	m.created = true
	m.progress()
}

// mayRegister tells whether the cluster is there: this node leads it and has seen to
// that, or another does.
func (m *metadataLog) mayRegister() bool {
	leader, known := m.leader()
	return m.created || known && leader != m.n.id
}

// progress goes as far as the image allows.
func (m *metadataLog) progress() {
	img := m.image()
	m.tellReturn()
	switch m.phase {
	case phaseWaiting:
		if _, known := m.leader(); !m.n.Config().Broker() && img.ClusterID() != "" && known && (m.following() || m.observed() != nil) {
			m.phase = phaseControlling
			m.serve()
			m.begun()
			return
		}
		if m.n.Config().Broker() && cmp.Or(img.ClusterID(), m.cluster) != "" && m.mayRegister() {
			m.register()
		}
	case phaseServing:
		if b := img.Broker(m.n.id); b == nil || b.IncarnationID != m.incarnation && !mutant.On("node/leads-as-before") {
			m.replaced(b != nil)
		}
	case phaseRegistered:
		if b := img.Broker(m.n.id); b != nil && (b.IncarnationID == m.incarnation || mutant.On("node/leads-as-before")) {
			m.registered()
		}
	}
}

// begun tells that the node serves.
func (m *metadataLog) begun() {
	done := m.started
	m.started = nil
	if err := m.n.rememberPlace(); err != nil {
		m.n.log.Warn("where this node joined is not recorded: the next start has to be told again", "why", err)
	}
	m.n.serving()
	done(nil)
}

// retain applies retention to every partition.
func (n *Node) retain() {
	now := n.clock.Now()
	n.replicas.Retain(now, func(id log.LogID, err error) {
		n.log.Error("retention failed", "partition", id.String(), "why", err)
	})
}

// dirFailed is told when the log directory can no longer be written, from below
// whatever was being done. Producers are turned away; reads go on.
func (n *Node) dirFailed(error) {
	n.tasks.post(n.replicas.Fail) // it fails once
}
