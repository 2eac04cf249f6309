package node

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
)

// register makes this incarnation the broker of its id. Every partition that it led
// gets a new leader epoch, and what it lost leaves the in-sync sets.
func (m *metadataLog) register() {
	m.phase = phaseRegistering
	switch noted, err := m.tryLife(); {
	case err != nil:
		m.fail(err)
		return
	case !noted:
		m.n.jobs.after(joinRetry, func() { m.n.tasks.post(m.registerAgain) })
		return
	}
	m.seen = map[metadata.TopicPartition]bool{}
	m.asked++
	lost := m.lost()
	if mutant.On("node/loss-not-reported") {
		lost = nil
	}
	m.submit(&metadata.RegisterBroker{Req: m.registration(), Lost: lost}, func(body any, err error) {
		m.n.tasks.post(func() { m.registerAnswered(body, err) })
	})
}

// tellReturn says, once, that the broker was removed from the cluster since it registered last:
// it comes back as a new one, and whoever starts it may not know.
func (m *metadataLog) tellReturn() {
	if m.returned || m.phase >= phaseServing || !m.image().Unregistered(m.n.id, m.n.opening.lives.epoch) {
		return
	}
	m.returned = true
	m.n.log.Warn(fmt.Sprintf("broker %d was removed from the cluster after this data directory had been in use, and registers again, as a new broker: "+
		"nothing that it held counts any more; if it was to stay away, stop it, and 'leat cluster remove %d' once more", m.n.id, m.n.id))
}

// registration is the request.
func (m *metadataLog) registration() *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = req.MaxVersion()
	req.BrokerID, req.ClusterID, req.IncarnationID = m.n.id, cmp.Or(m.image().ClusterID(), m.cluster), m.incarnation
	req.LogDirs = [][16]byte{m.n.dir.DirectoryID()}
	req.PreviousBrokerEpoch = m.previousEpoch()
	req.Features = metadata.RegistrationFeatures(featureRanges())
	if rack := m.n.Config().String(config.BrokerRack); rack != "" {
		req.Rack = &rack
	}
	for _, d := range m.n.opt.Doors() {
		out := kmsg.NewBrokerRegistrationRequestListener()
		out.Name, out.Host, out.Port = d.Name, d.Host, d.Port
		req.Listeners = append(req.Listeners, out)
	}
	return req
}

func (m *metadataLog) registerAnswered(body any, err error) {
	if m.phase != phaseRegistering {
		return
	}
	if why, bad := body.(error); bad && err == nil {
		err = why
	}
	resp, ok := body.(*kmsg.BrokerRegistrationResponse)
	if ok && err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	switch {
	case err == nil:
	case again(err):
		m.tellRefused(err)
		m.n.jobs.after(joinRetry, func() { m.n.tasks.post(m.registerAgain) })
		return
	default:
		m.fail(fmt.Errorf("registering broker %d: %w", m.n.id, err))
		return
	}
	m.epoch.Store(resp.BrokerEpoch)
	if m.asked > 1 {
		// Any of the requests may have been the one that was carried out, and this node knew
		// less of what it has to hold when it sent the first: lateLosses looks at all of it.
		m.seen = map[metadata.TopicPartition]bool{}
	}
	m.refusals = refusals{}
	m.phase = phaseRegistered
	m.progress()
}

// refusals are what registrations met that are tried again.
type refusals struct {
	since time.Time
	said  string // so that each reason is said once
}

// tellRefused says why a broker is not in the cluster yet. Another broker with its id is
// said as soon as it is known who that is; that no controller answers passes within moments as a rule, and is said
// when it does not.
func (m *metadataLog) tellRefused(err error) {
	now := m.n.clock.Now()
	if m.refusals.since.IsZero() {
		m.refusals.since = now
	}
	text, other := fmt.Sprintf("broker %d is not registered yet: %s", m.n.id, plainly(err)), m.image().Broker(m.n.id)
	taken := errors.Is(err, kerr.DuplicateBrokerRegistration)
	if taken {
		text = duplicate(m.n.id, other, m.n.dir.DirectoryID())
	}
	if now.Sub(m.refusals.since) < idQuiet && (!taken || other == nil) {
		return
	}
	if text != m.refusals.said {
		m.refusals.said = text
		m.n.log.Warn(text)
	}
}

// plainly says why the controller has not done what a broker asked of it.
func plainly(err error) string {
	switch {
	case errors.Is(err, machine.ErrNotLeader), errors.Is(err, machine.ErrLoading), errors.Is(err, kerr.NotController):
		return "the metadata quorum has no leader, or this node does not reach it"
	case errors.Is(err, machine.ErrTimeout), errors.Is(err, kerr.RequestTimedOut):
		return "the controller does not get it committed; most voters of the metadata quorum do not answer"
	case errors.Is(err, metadata.ErrNotBootstrapped):
		return "the metadata quorum has no leader yet"
	}
	return err.Error()
}

// duplicate tells of the broker that has this one's id; old is what is known of it, if
// anything is.
func duplicate(id int32, old *metadata.Broker, directory [16]byte) string {
	switch {
	case old == nil:
		return fmt.Sprintf("node.id %d is in use by another broker; waiting until that one's session has ended", id)
	case old.HasDirectory(directory):
		return fmt.Sprintf("broker %d was registered before this process began, with this data directory; waiting until that session has ended", id)
	}
	at := ""
	if len(old.Listeners) > 0 {
		at = " at " + net.JoinHostPort(old.Listeners[0].Host, strconv.Itoa(int(old.Listeners[0].Port)))
	}
	return fmt.Sprintf("node.id %d is in use by another broker%s, with another data directory; waiting until that one's session has ended", id, at)
}

// registerAgain ends the pause after a registration that did not succeed.
func (m *metadataLog) registerAgain() {
	if m.phase == phaseRegistering {
		m.phase = phaseWaiting
		m.progress()
	}
}

// again tells of an error of the controller that passes by itself.
func again(err error) bool {
	for _, e := range []error{
		machine.ErrLoading, machine.ErrNotLeader, machine.ErrTimeout, machine.ErrOverloaded, metadata.ErrNotBootstrapped,
		kerr.NotController, kerr.RequestTimedOut, kerr.CoordinatorLoadInProgress, kerr.DuplicateBrokerRegistration,
		kerr.StaleBrokerEpoch, // there is a registration that the image lacks
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// registered goes on once the registration is in the image: partitions open, and the
// heartbeats begin.
func (m *metadataLog) registered() {
	if !m.lateLosses() {
		return // it comes again
	}
	m.seen = nil
	m.forgetMissing()
	if err := m.rememberLife(); err != nil {
		m.fail(err)
		return
	}
	m.phase = phaseServing
	m.serve()
	m.beat()
	m.n.jobs.every(config.Millis(m.n.Config(), config.BrokerHeartbeatIntervalMs), func() {
		m.n.tasks.post(m.beat)
		m.n.tasks.post(m.noteAgain)
	})
}

// beat tells the controller that the broker is alive and how far it has followed.
func (m *metadataLog) beat() {
	if m.heartbeat || m.phase != phaseServing {
		return
	}
	m.heartbeat = true
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = req.MaxVersion()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = m.n.id, m.epoch.Load(), m.image().Index()
	req.WantShutdown = m.left != nil
	m.submitFor(config.Millis(m.n.Config(), config.BrokerSessionTimeoutMs)/2, &metadata.Request{Req: req}, func(body any, err error) {
		m.n.tasks.post(func() { m.beaten(body, err) })
	})
}

func (m *metadataLog) beaten(body any, err error) {
	m.heartbeat = false
	if why, bad := body.(error); bad && err == nil {
		err = why
	}
	resp, ok := body.(*kmsg.BrokerHeartbeatResponse)
	if ok && err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil && m.n.ctx.Err() == nil {
		m.n.log.Warn("heartbeat failed", "why", plainly(err))
	}
	if err == nil {
		m.contact.beaten(m.n.clock.Now(), resp.IsFenced)
	}
	if done := m.left; done != nil {
		if err == nil && resp.ShouldShutdown {
			m.left, m.phase = nil, phaseLeft
			done()
			return
		}
		if err != nil && m.inVain() {
			m.n.log.Warn("stopping without a hand-over, since no controller is to be found")
			m.left = nil
			done()
			return
		}
		m.n.jobs.after(joinRetry, func() { m.n.tasks.post(m.beat) })
		return
	}
	if m.started == nil {
		return
	}
	if err != nil || resp.IsFenced {
		m.n.jobs.after(joinRetry, func() { m.n.tasks.post(m.beat) })
		return
	}
	m.begun()
}

// ErrReplaced ends a node under whose id another process has registered. It is no earlier
// one of its own: that one's request names an epoch that is over.
var ErrReplaced = errors.New("another process has registered")

// ErrRemoved ends a node that was removed from the cluster while it was up.
var ErrRemoved = errors.New("removed from the cluster")

// replaced ends a broker that the committed metadata no longer knows: it was removed
// from the cluster, or another process has registered under its id. What a controller
// answers to a heartbeat says less, since it may be one that was deposed.
func (m *metadataLog) replaced(byAnother bool) {
	err := fmt.Errorf("broker %d was %w", m.n.id, ErrRemoved)
	if byAnother {
		err = fmt.Errorf("%w as broker %d", ErrReplaced, m.n.id)
	}
	m.phase = phaseFailed
	m.fail(err)
	m.n.opt.Failed(err)
}
