package metadata

import (
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/internal/schema"
)

// ControllerNode is what the cluster knows of a node's part in the metadata quorum;
// read-only. Combined nodes are brokers beside it, under the same id.
type ControllerNode struct {
	NodeID        int32
	IncarnationID [16]byte
	// DirectoryID is that of its metadata log: with the node id it names the voter.
	DirectoryID [16]byte
	// MayVote tells whether it has the controller role.
	MayVote bool
	// Listeners are those of the CONTROLLER kind, as other nodes reach them.
	Listeners []Listener
	Features  []FeatureRange
}

// Controllers are all registered controllers by node id.
func (img *Image) Controllers() []*ControllerNode { return img.controllers }

// ControllerNode returns a registered controller, or nil.
func (img *Image) ControllerNode(id int32) *ControllerNode {
	i, ok := img.controllerPos(id)
	if !ok {
		return nil
	}
	return img.controllers[i]
}

func (img *Image) controllerPos(id int32) (int, bool) {
	return slices.BinarySearchFunc(img.controllers, id, func(n *ControllerNode, id int32) int { return int(n.NodeID) - int(id) })
}

// FreeNodeID is an id above all that name a node: of brokers, of controllers, and of
// replicas, which outlive their broker's registration.
func (img *Image) FreeNodeID() int32 {
	last := int32(0)
	for _, b := range img.brokers {
		last = max(last, b.ID)
	}
	for _, n := range img.controllers {
		last = max(last, n.NodeID)
	}
	for t := range img.Topics() {
		for _, p := range t.Partitions {
			last = max(last, slices.Max(p.Replicas))
		}
	}
	return last + 1
}

// RegisterController registers a node as one that can be reached as a controller,
// whether or not it votes. UnregisterBroker ends it. The reply's body is nil, or an
// error of kerr's.
type RegisterController struct {
	ClusterID     string
	NodeID        int32
	IncarnationID [16]byte
	DirectoryID   [16]byte
	MayVote       bool
	Listeners     []Listener
	// Features are the ranges that the node can run, without schema.FeatureName,
	// which is added.
	Features []FeatureRange
}

// maxListeners bounds what one registration puts into every node's memory.
const maxListeners = 100

func (c *Controller) registerController(r *RegisterController) outcome {
	img := c.View()
	switch {
	case r.ClusterID != img.ClusterID():
		return outcome{body: refuse(kerr.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %.64s", img.ClusterID(), r.ClusterID)}
	case r.NodeID < 0 || reservedUUID(r.DirectoryID) || len(r.Listeners) > maxListeners || len(r.Features) > maxListeners:
		return outcome{body: refuse(kerr.InvalidRegistration, "Node %d registers with directory %s, %d listeners and %d features.",
			r.NodeID, UUIDString(r.DirectoryID), len(r.Listeners), len(r.Features))}
	}
	for _, n := range img.Controllers() {
		if n.NodeID != r.NodeID && n.DirectoryID == r.DirectoryID {
			return outcome{body: refuse(kerr.InvalidRegistration, "Node %d is already registered with directory %s", n.NodeID, UUIDString(r.DirectoryID))}
		}
	}
	node := ControllerNode{NodeID: r.NodeID, IncarnationID: r.IncarnationID, DirectoryID: r.DirectoryID, MayVote: r.MayVote,
		Listeners: r.Listeners, Features: append(slices.Clone(r.Features), FeatureRange{schema.FeatureName, 1, schema.Level})}
	rec := node.record()
	if old := img.ControllerNode(r.NodeID); old != nil && reflect.DeepEqual(old.record(), rec) {
		return outcome{}
	}
	recs, err := c.raiseLevel(2)
	if err != nil {
		return outcome{body: err}
	}
	return outcome{recs: append(recs, rec)}
}

// AllocateNodeID gives an id to a node that has none: one that names no other node, also
// not one that was given and is not in use yet. A directory that asks again gets the same
// one. The reply's body is a NodeIDReply, or an error of kerr's.
type AllocateNodeID struct {
	DirectoryID [16]byte
	MayVote     bool
	// Above is the highest id that is in use though it is not registered.
	Above int32
}

// NodeIDReply is the id.
type NodeIDReply struct{ NodeID int32 }

func (c *Controller) allocateNodeID(r *AllocateNodeID) outcome {
	if reservedUUID(r.DirectoryID) {
		return outcome{body: refuse(kerr.InvalidRegistration, "A node without an id asks with directory %s", UUIDString(r.DirectoryID))}
	}
	img := c.View()
	for _, n := range img.Controllers() {
		if n.DirectoryID == r.DirectoryID {
			return outcome{body: NodeIDReply{n.NodeID}}
		}
	}
	node := ControllerNode{NodeID: max(img.FreeNodeID(), r.Above+1), DirectoryID: r.DirectoryID, MayVote: r.MayVote}
	recs, err := c.raiseLevel(2)
	if err != nil {
		return outcome{body: err}
	}
	return outcome{recs: append(recs, node.record()), body: NodeIDReply{node.NodeID}}
}

// raiseLevel finalises the feature level that a record needs, if it is not yet. A
// cluster of an earlier build gets it once all of its brokers run this one.
func (c *Controller) raiseLevel(level int16) ([]schema.Record, error) {
	if c.View().Feature(schema.FeatureName) >= level {
		return nil, nil
	}
	for _, b := range c.View().Brokers() {
		if !b.supports(schema.FeatureName, level) {
			return nil, refuse(kerr.UnsupportedVersion, "Broker %d does not support level %d of %s.", b.ID, level, schema.FeatureName)
		}
	}
	return []schema.Record{&schema.FeatureLevel{Name: schema.FeatureName, Level: level}}, nil
}

// record is the record that registers the node as it is.
func (n *ControllerNode) record() *schema.RegisterController {
	r := &schema.RegisterController{NodeID: n.NodeID, IncarnationID: n.IncarnationID, DirectoryID: n.DirectoryID, MayVote: n.MayVote}
	for _, l := range n.Listeners {
		r.Listeners = append(r.Listeners, schema.RegisterControllerListener(l))
	}
	for _, f := range n.Features {
		r.Features = append(r.Features, schema.RegisterControllerFeature{Name: f.Name, MinSupported: f.Min, MaxSupported: f.Max})
	}
	return r
}

func (b *Builder) registerController(r *schema.RegisterController) {
	n := &ControllerNode{NodeID: r.NodeID, IncarnationID: r.IncarnationID, DirectoryID: r.DirectoryID, MayVote: r.MayVote}
	for _, l := range r.Listeners {
		n.Listeners = append(n.Listeners, Listener(l))
	}
	for _, f := range r.Features {
		n.Features = append(n.Features, FeatureRange{f.Name, f.MinSupported, f.MaxSupported})
	}
	b.setController(r.NodeID, n)
}

// setController replaces or adds a controller; nil removes it.
func (b *Builder) setController(id int32, n *ControllerNode) {
	all := slices.Clone(b.cur.controllers)
	i, found := b.cur.controllerPos(id)
	switch {
	case n == nil:
		all = slices.Delete(all, i, i+1)
	case found:
		all[i] = n
	default:
		all = slices.Insert(all, i, n)
	}
	b.cur.controllers = all
	b.touched.controllers = true
}
