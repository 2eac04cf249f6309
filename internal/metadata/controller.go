package metadata

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/machine"
	"github.com/leat-stream/leat/internal/schema"
)

// maxRecords bounds the records of one client's request, and so the partitions
// that one request may create (Kafka's limit).
const maxRecords = 10_000

// Errors that a reply's body may be, beside kerr's.
var (
	// ErrNotBootstrapped answers every request before the cluster is created.
	ErrNotBootstrapped = errors.New("the cluster has not been created yet")
	// ErrUnsupported answers a request that the controller has no code for.
	ErrUnsupported = errors.New("not a request of the metadata controller")
)

// Options of a Controller.
type Options struct {
	// Config are the static settings of this node; its dynamic ones are in the image.
	Config *config.Config
	// Features are the ranges of feature levels that this build can run, without
	// schema.FeatureName, which is added.
	Features []FeatureRange
	// NodeID is the broker in this process, of which no earlier incarnation can
	// be alive. Negative when there is none.
	NodeID int32
}

// Context is who asks.
type Context struct {
	Principal string
	ClientID  string
	// Address is the client's host, empty when it is not known.
	Address string
	// NodeID is the broker that the client asked; 0 when it is not known.
	NodeID int32
}

// Request is a client's or a broker's request with its context. The reply's body
// is the kmsg response in the request's version.
//
// Built are CreateTopics, DeleteTopics, CreatePartitions, AlterConfigs,
// IncrementalAlterConfigs, BrokerRegistration, BrokerHeartbeat, UnregisterBroker,
// AllocateProducerIDs, AlterPartition, AssignReplicasToDirs, UpdateFeatures,
// AlterPartitionReassignments (which kmsg calls AlterPartitionAssignments) and
// ElectLeaders.
// Whether the principal may do it has been decided before.
type Request struct {
	Context
	Req kmsg.Request
	// Creation tells one CreateTopics from others: a request that is asked again, as its
	// answer was lost, has the same. nil tells nothing.
	Creation []byte
	// Incarnation is the epoch of the registration that an UnregisterBroker ends; nil: any.
	Incarnation *int64
}

// Controller is the machine (package machine) of the metadata log: its state is
// an image, its requests are *Request, *Bootstrap, *AutoCreateTopics,
// *RegisterBroker, *RegisterController, *AllocateNodeID, *ReplicasLost and *BrokerHint.
// Which brokers are alive is volatile: it is learnt anew by heartbeats after a change of
// controller.
type Controller struct {
	opts     Options
	b        *Builder
	sessions map[int32]*session
	// given are the nodes that were given an id and have not come with it, and since when
	// this controller knows of them; it may lag behind the image.
	given map[int32]time.Time
	watch watch
	// dynamic is opts.Config under the cluster's dynamic values; nil when they changed.
	dynamic *config.Config
}

var _ machine.Machine = (*Controller)(nil)

// NewController starts from an image, which a snapshot gave or which is nil; the
// records after it are applied by Apply.
func NewController(base *Image, opts Options) *Controller {
	return &Controller{opts: opts, b: NewBuilder(base), sessions: map[int32]*session{}}
}

// View is the speculative state, valid until the next Apply. It may be ahead of
// what is committed.
func (c *Controller) View() *Image { return c.b.View() }

// Apply applies one record of the log.
func (c *Controller) Apply(offset, _ int64, rec machine.Record) error {
	r, err := schema.Decode(rec.Value)
	if err != nil {
		return fmt.Errorf("metadata record at %d: %w", offset, err)
	}
	switch r := r.(type) {
	case *schema.Config:
		if r.ResourceType == ResourceBroker {
			c.dynamic = nil
		}
	case *schema.SnapshotHeader:
		c.dynamic = nil
	}
	return c.b.Apply(offset, r)
}

// Resume gives every live broker a session to be heard from again, and begins the
// chores.
func (c *Controller) Resume(now time.Time) machine.Decision {
	c.watch.last = now
	d := machine.Decision{Timers: c.startChores(now)}
	for _, b := range c.View().Brokers() {
		if !b.Fenced {
			d.Timers = append(d.Timers, c.touch(b.ID, now, false))
		}
	}
	return d
}

// outcome is what a request comes to.
type outcome struct {
	body   any
	recs   []schema.Record
	timers []machine.Timer
	tell   machine.Effect // for an operator; nil is nothing
}

// Decide answers a request.
func (c *Controller) Decide(in machine.Input) machine.Decision {
	noticed := c.notice(in.Now)
	o := c.decide(in)
	o.timers = append(noticed, o.timers...) // of two for one key the later counts
	recs, err := c.encode(o.recs)
	if err != nil {
		o = outcome{body: err, timers: o.timers}
	}
	d := machine.Decision{Records: recs, Timers: o.timers}
	if o.tell != nil {
		d.Effects = []machine.Effect{o.tell}
	}
	if in.Token != 0 {
		// A controller that was replaced and does not know it must refuse nobody anything:
		// what a client asks for may be there by now, or not any more.
		r, asked := in.Request.(*Request)
		d.Replies = []machine.Reply{{Token: in.Token, Body: o.body, Confirm: asked && r.Principal != "" && len(recs) == 0}}
	}
	return d
}

func (c *Controller) decide(in machine.Input) outcome {
	if b, ok := in.Request.(*Bootstrap); ok {
		return c.bootstrap(b, in.Rand)
	}
	if t, ok := in.Request.(machine.TimerFired); ok {
		return c.timerFired(t.Key, in.Now)
	}
	if c.View().ClusterID() == "" {
		return outcome{body: ErrNotBootstrapped}
	}
	switch r := in.Request.(type) {
	case *AutoCreateTopics:
		return c.autoCreate(r, in.Rand)
	case *RegisterBroker:
		return c.register(r, in.Now)
	case *RegisterController:
		return c.registerController(r)
	case *AllocateNodeID:
		return c.allocateNodeID(r, in.Now)
	case *ReplicasLost:
		return c.replicasLost(r)
	case *BrokerHint:
		return c.hint(r, in.Now)
	case *Request:
		return c.request(r, in)
	}
	return outcome{body: fmt.Errorf("%w: %T", ErrUnsupported, in.Request)}
}

// request dispatches by API; the order is that of their keys.
func (c *Controller) request(r *Request, in machine.Input) outcome {
	switch req := r.Req.(type) {
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(req, r.Creation, in.Rand)
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(req)
	case *kmsg.AlterConfigsRequest:
		o := c.alterConfigs(r.Context, req)
		o.timers = uncleanAllowed(o.recs, in.Now)
		return o
	case *kmsg.CreatePartitionsRequest:
		return c.createPartitions(req, in.Rand)
	case *kmsg.ElectLeadersRequest:
		return c.electLeaders(req)
	case *kmsg.IncrementalAlterConfigsRequest:
		o := c.incrementalAlterConfigs(r.Context, req)
		o.timers = uncleanAllowed(o.recs, in.Now)
		return o
	case *kmsg.AlterPartitionAssignmentsRequest:
		return c.alterReassignments(req)
	case *kmsg.AlterPartitionRequest:
		return c.alterPartition(req)
	case *kmsg.UpdateFeaturesRequest:
		return c.updateFeatures(req)
	case *kmsg.BrokerRegistrationRequest:
		return c.register(&RegisterBroker{Context: r.Context, Req: req}, in.Now)
	case *kmsg.BrokerHeartbeatRequest:
		return c.heartbeat(req, in.Now)
	case *kmsg.UnregisterBrokerRequest:
		return c.unregister(req, r.Incarnation)
	case *kmsg.AllocateProducerIDsRequest:
		return c.allocateProducerIDs(req)
	case *kmsg.AssignReplicasToDirsRequest:
		return c.assignDirs(req)
	}
	return outcome{body: fmt.Errorf("%w: %T", ErrUnsupported, r.Req)}
}

// encode frames records in the versions that the finalised feature level allows,
// which a record among them may raise for those after it.
func (c *Controller) encode(recs []schema.Record) ([]machine.Record, error) {
	if len(recs) == 0 {
		return nil, nil
	}
	level := c.View().Feature(schema.FeatureName)
	if level == 0 { // the records are those of the bootstrap, which finalise it
		level = schema.Level
	}
	out := make([]machine.Record, len(recs))
	buf := make([]byte, 0, 64*len(recs))
	for i, r := range recs {
		start := len(buf)
		var err error
		if buf, err = schema.Append(buf, r, level); err != nil {
			return nil, err
		}
		out[i].Value = buf[start:len(buf):len(buf)]
		if f, ok := r.(*schema.FeatureLevel); ok && f.Name == schema.FeatureName {
			level = max(level, f.Level)
		}
	}
	return out, nil
}
