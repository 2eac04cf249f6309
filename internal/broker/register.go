package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
)

// register makes this incarnation the broker of its id. Every partition that it led
// gets a new leader epoch, and what it lost leaves the in-sync sets.
func (m *metadataLog) register(ctx context.Context) error {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = req.MaxVersion()
	req.BrokerID, req.ClusterID, req.IncarnationID = m.b.nodeID, m.image().ClusterID(), m.incarnation
	req.LogDirs = [][16]byte{m.b.dir.DirectoryID()}
	req.Features = metadata.RegistrationFeatures(featureRanges())
	if rack := m.b.config().String(config.BrokerRack); rack != "" {
		req.Rack = &rack
	}
	for _, l := range m.b.config().Listeners() {
		if l.Controller {
			continue
		}
		out := kmsg.NewBrokerRegistrationRequestListener()
		out.Name, out.Host, out.Port = l.Name, l.Host, uint16(m.b.boundPort(l.Name))
		if e, set := m.b.config().Advertised(l.Name); set {
			out.Host = e.Host
			if e.Port != 0 {
				out.Port = uint16(e.Port)
			}
		}
		req.Listeners = append(req.Listeners, out)
	}
	body, err := m.ask(ctx, &metadata.RegisterBroker{Req: req, Lost: m.lost()})
	if err != nil {
		return fmt.Errorf("registering broker %d: %w", m.b.nodeID, err)
	}
	resp := body.(*kmsg.BrokerRegistrationResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("registering broker %d: %w", m.b.nodeID, err)
	}
	m.epoch = resp.BrokerEpoch
	if !m.b.opening.sameBoot {
		err := writeRegistered(m.b.opt.FS, m.b.opt.DataDir, m.b.boot)
		if errors.Is(err, errSync) {
			return err // it is not tried again, nor is anything else in a directory that fails (decision D6)
		}
		if err != nil {
			m.b.log.Warn("boot id not recorded, an unclean stop will look like one of the machine", "why", err)
		}
	}
	return nil
}

// heartbeat tells the controller that the broker is alive and how far it has followed.
func (m *metadataLog) heartbeat(ctx context.Context) error {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = req.MaxVersion()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = m.b.nodeID, m.epoch, m.image().Index()
	body, err := m.ask(ctx, &metadata.Request{Req: req})
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return kerr.ErrorForCode(body.(*kmsg.BrokerHeartbeatResponse).ErrorCode)
}

// allocateIDs asks the controller for a block of producer ids.
func (m *metadataLog) allocateIDs(done func(resp *kmsg.AllocateProducerIDsResponse, err error)) {
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = m.b.nodeID, m.epoch
	m.submit(&metadata.Request{Req: req}, func(body any, err error) {
		if resp, ok := body.(*kmsg.AllocateProducerIDsResponse); ok && err == nil {
			done(resp, nil)
			return
		}
		if why, ok := body.(error); ok && err == nil {
			err = why
		}
		done(nil, err)
	})
}
