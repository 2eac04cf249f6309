package metadata

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/mutant"
	"github.com/leat-stream/leat/internal/schema"
)

// RegisterBroker is a broker's registration. The reply's body is a
// *kmsg.BrokerRegistrationResponse.
type RegisterBroker struct {
	Context
	Req *kmsg.BrokerRegistrationRequest
	// Lost are the replicas of which the broker no longer has everything that it
	// once acknowledged: they leave ISR and ELR.
	Lost []TopicPartition
}

// TopicPartition names a partition by its topic's id.
type TopicPartition struct {
	TopicID   [16]byte
	Partition int32
}

// RegistrationFeatures is what a broker that can run the given levels sends at its registration.
func RegistrationFeatures(ranges []FeatureRange) []kmsg.BrokerRegistrationRequestFeature {
	var out []kmsg.BrokerRegistrationRequestFeature
	for _, r := range append(slices.Clone(ranges), FeatureRange{schema.FeatureName, 1, schema.Level}) {
		f := kmsg.NewBrokerRegistrationRequestFeature()
		f.Name, f.MinSupportedVersion, f.MaxSupportedVersion = r.Name, r.Min, r.Max
		out = append(out, f)
	}
	return out
}

// maxDirectories bounds the log directories of one broker.
const maxDirectories = 1000

// register answers BrokerRegistration (versions 0 to 4). A new incarnation is
// fenced, gets a new broker epoch, and every partition that the earlier one led
// gets a new leader epoch, so that nothing of the earlier one is taken for it.
func (c *Controller) register(r *RegisterBroker, now time.Time) outcome {
	resp := r.Req.ResponseKind().(*kmsg.BrokerRegistrationResponse)
	if err := c.checkRegistration(r.Req, now); err != nil {
		resp.ErrorCode, _ = code(err)
		return outcome{body: resp}
	}
	old := c.View().Broker(r.Req.BrokerID)
	rec := registration(r.Req)
	var recs []schema.Record
	if old != nil && old.IncarnationID == r.Req.IncarnationID {
		rec.Epoch, rec.Fenced, rec.InControlledShutdown = old.Epoch, old.Fenced, old.InControlledShutdown
	} else {
		rec.Epoch, rec.Fenced = c.View().lastBrokerEpoch+1, true
		delete(c.sessions, r.Req.BrokerID)
		lost := make(map[TopicPartition]bool, len(r.Lost))
		for _, tp := range r.Lost {
			lost[tp] = true
		}
		if recs = c.restarted(rec, lost); mutant.On("metadata/restart-keeps-epoch") {
			recs = nil
		}
	}
	resp.BrokerEpoch = rec.Epoch
	o := outcome{body: resp, recs: append([]schema.Record{rec}, recs...), timers: []machine.Timer{c.touch(r.Req.BrokerID, now, true)}}
	if c.View().Unregistered(r.Req.BrokerID, r.Req.PreviousBrokerEpoch) {
		o.tell = BrokerReturned{r.Req.BrokerID, r.Req.PreviousBrokerEpoch, rec.Epoch}
	}
	return o
}

// BrokerReturned is the effect of the registration of a broker that was unregistered
// before, and that has the data directory of then.
type BrokerReturned struct {
	Broker          int32
	Previous, Epoch int64
}

func (e BrokerReturned) String() string {
	return fmt.Sprintf("broker %d was removed from the cluster, and has registered again, with the data directory that it had: epoch %d, %d before; "+
		"nothing that it held counts any more", e.Broker, e.Epoch, e.Previous)
}

// Unregistered tells whether a broker that once had an epoch was unregistered since. An
// image from before that epoch cannot tell; 0 is none.
func (img *Image) Unregistered(broker int32, epoch int64) bool {
	return epoch > 0 && epoch <= img.lastBrokerEpoch && img.Broker(broker) == nil
}

// registration is the record of a request, without what depends on the state.
func registration(req *kmsg.BrokerRegistrationRequest) *schema.RegisterBroker {
	rec := schema.NewRegisterBroker()
	rec.BrokerID, rec.IncarnationID, rec.Rack = req.BrokerID, req.IncarnationID, req.Rack
	rec.Directories = slices.Clone(req.LogDirs)
	slices.SortFunc(rec.Directories, func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
	for _, l := range req.Listeners {
		rec.Listeners = append(rec.Listeners, schema.RegisterBrokerListener{
			Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: l.SecurityProtocol})
	}
	for _, f := range req.Features {
		rec.Features = append(rec.Features, schema.RegisterBrokerFeature{
			Name: f.Name, MinSupported: f.MinSupportedVersion, MaxSupported: f.MaxSupportedVersion})
	}
	return rec
}

func (c *Controller) checkRegistration(req *kmsg.BrokerRegistrationRequest, now time.Time) error {
	img := c.View()
	if req.ClusterID != img.ClusterID() {
		return refuse(kerr.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %.64s", img.ClusterID(), req.ClusterID)
	}
	if req.BrokerID < 0 {
		return refuse(kerr.InvalidRegistration, "The broker id %d is negative.", req.BrokerID)
	}
	old := img.Broker(req.BrokerID)
	if old != nil && old.IncarnationID != req.IncarnationID && req.BrokerID != c.opts.NodeID && c.alive(req.BrokerID, now) && !c.restart(old, req) {
		return refuse(kerr.DuplicateBrokerRegistration, "Another broker is registered with that broker id.")
	}
	if late(old, req) && !mutant.On("metadata/late-registration") {
		return refuse(kerr.StaleBrokerEpoch, "Broker %d has epoch %d, the registration is to follow epoch %d.", old.ID, old.Epoch, req.PreviousBrokerEpoch)
	}
	if req.IsMigratingZkBroker {
		return refuse(kerr.BrokerIDNotRegistered, "Brokers that migrate from ZooKeeper cannot register.")
	}
	if err := c.checkDirectories(req); err != nil {
		return err
	}
	for name, level := range img.Features() {
		b := Broker{}
		for _, f := range req.Features {
			b.Features = append(b.Features, FeatureRange{f.Name, f.MinSupportedVersion, f.MaxSupportedVersion})
		}
		if !b.supports(name, level) {
			return refuse(kerr.UnsupportedVersion, "The broker does not support level %d of %s, which is finalised.", level, name)
		}
	}
	return nil
}

// late tells whether a registration was asked for without knowledge of the one that it
// would replace: it was under way for long, and who asked may be dead, or who asks has yet
// to see whether its data is from before that one. Who is alive looks, and asks again.
// A broker that states no epoch is of another build.
func late(old *Broker, req *kmsg.BrokerRegistrationRequest) bool {
	return old != nil && old.IncarnationID != req.IncarnationID && req.PreviousBrokerEpoch >= 0 && req.PreviousBrokerEpoch < old.Epoch
}

// restart tells whether a registration can only be that of a broker that was started
// again within its session: its connections broke, and who asks holds its data
// directory, which one process at a time can lock. The directory alone would not do: it
// may have been copied to another machine.
func (c *Controller) restart(old *Broker, req *kmsg.BrokerRegistrationRequest) bool {
	s := c.sessions[old.ID]
	return s != nil && s.doubted && slices.ContainsFunc(req.LogDirs, old.HasDirectory)
}

// checkDirectories holds log directory ids to be unique in the cluster (KIP-858).
func (c *Controller) checkDirectories(req *kmsg.BrokerRegistrationRequest) error {
	if req.Version >= 2 && len(req.LogDirs) == 0 {
		return refuse(kerr.InvalidRegistration, "No directories specified in request")
	}
	if len(req.LogDirs) > maxDirectories {
		return refuse(kerr.InvalidRegistration, "%d directories; at most %d are allowed.", len(req.LogDirs), maxDirectories)
	}
	for i, id := range req.LogDirs {
		if reservedUUID(id) {
			return refuse(kerr.InvalidRegistration, "Reserved directory ID in request")
		}
		if slices.Contains(req.LogDirs[:i], id) {
			return refuse(kerr.InvalidRegistration, "Duplicate directory ID in request")
		}
		for _, b := range c.View().Brokers() {
			if b.ID != req.BrokerID && slices.Contains(b.Directories, id) {
				return refuse(kerr.InvalidRegistration, "Broker %d is already registered with directory %s", b.ID, UUIDString(id))
			}
		}
	}
	return nil
}

// unregister answers UnregisterBroker (version 0), which takes a live broker too, as
// Kafka's does: whether it holds replicas that others lack is for who asks to see.
// The broker's replicas stay assigned, and count as lost; if the process runs on, its
// requests are answered by STALE_BROKER_EPOCH until it has registered anew. With it
// goes the registration of a controller of that id, also where there is no broker. A request
// that names a registration which is over is refused: it may be a copy that comes late.
func (c *Controller) unregister(req *kmsg.UnregisterBrokerRequest, epoch *int64) outcome {
	resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
	var recs []schema.Record
	b := c.View().Broker(req.BrokerID)
	if epoch != nil && b != nil && b.Epoch != *epoch {
		resp.ErrorCode, resp.ErrorMessage = code(refuse(kerr.StaleBrokerEpoch, "Broker ID %d has registered anew since it was to be removed", req.BrokerID))
		return outcome{body: resp}
	}
	if c.View().ControllerNode(req.BrokerID) != nil {
		recs = append(recs, &schema.UnregisterController{NodeID: req.BrokerID})
	}
	if b == nil && len(recs) > 0 {
		return outcome{body: resp, recs: append(recs, c.unwish(req.BrokerID)...)}
	}
	if b == nil {
		resp.ErrorCode, resp.ErrorMessage = code(refuse(kerr.BrokerIDNotRegistered, "Broker ID %d is not currently registered", req.BrokerID))
		return outcome{body: resp}
	}
	if !mutant.On("metadata/unregistered-stays-eligible") {
		recs = append(recs, c.leave(leaving{broker: b.ID, lost: true})...)
	}
	delete(c.sessions, b.ID)
	if b.Fenced {
		recs = append(recs, c.unwish(b.ID)...)
	}
	return outcome{body: resp, recs: append(recs, &schema.UnregisterBroker{BrokerID: b.ID, Epoch: b.Epoch}),
		timers: []machine.Timer{{Key: sessionKey(b.ID)}}}
}

// unwish takes back what an operator said of the vote of a node that is gone for good:
// RemoveRaftVoter keeps the vote from the node, and neither is a cluster that has lost a
// node to rest at two voters for that, nor is a new node of that id to have none. A broker
// that is up would be given its vote again, before it has heard that it is to stop.
func (c *Controller) unwish(node int32) []schema.Record {
	name := strconv.Itoa(int(node))
	if _, wished := c.View().Config(ResourceBroker, name)[string(config.LeatQuorumVoter)]; !wished {
		return nil
	}
	return []schema.Record{&schema.Config{ResourceType: ResourceBroker, ResourceName: name, Key: string(config.LeatQuorumVoter)}}
}

// checkEpoch checks that a request comes from a broker's current incarnation.
func (c *Controller) checkEpoch(id int32, epoch int64) (*Broker, error) {
	b := c.View().Broker(id)
	if b == nil {
		return nil, refuse(kerr.StaleBrokerEpoch, "Broker %d is not registered.", id)
	}
	if b.Epoch != epoch {
		return nil, refuse(kerr.StaleBrokerEpoch, "Broker %d has epoch %d, not %d.", id, b.Epoch, epoch)
	}
	return b, nil
}
