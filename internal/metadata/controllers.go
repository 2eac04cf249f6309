package metadata

import (
	"math"
	"reflect"
	"slices"
	"time"

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

// FreeNodeID is an id above all that name a node: of brokers, of controllers, of
// replicas, which outlive their broker's registration, and those in taken that follow. If
// there is none above, it is the lowest one that names no node.
func (img *Image) FreeNodeID(taken ...int32) int32 {
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
	for id := last; id < math.MaxInt32; {
		if id++; !slices.Contains(taken, id) {
			return id
		}
	}
	named := map[int32]bool{}
	for _, id := range taken {
		named[id] = true
	}
	for _, b := range img.brokers {
		named[b.ID] = true
	}
	for _, n := range img.controllers {
		named[n.NodeID] = true
	}
	for t := range img.Topics() {
		for _, p := range t.Partitions {
			for _, id := range p.Replicas {
				named[id] = true
			}
		}
	}
	id := int32(1)
	for named[id] {
		id++
	}
	return id
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
	// Taken are ids that are in use, or said to be, though they may not be registered.
	Taken []int32
}

const (
	// maxGiven is how many ids may be given and not in use yet: whoever reaches the leader
	// can ask for one.
	maxGiven = 100
	// givenFor is how long an id is kept for who asked for it, when there are so many.
	givenFor = time.Minute
)

// pending tells whether a node was given an id and has not come with it: who registers
// tells its features.
func (c *Controller) pending(n *ControllerNode) bool {
	return len(n.Features) == 0 && c.View().Broker(n.NodeID) == nil
}

// forgetGiven makes room for one more id that is given: the lowest one goes that nobody came
// with for long, as far as this controller knows. The highest stays, so that it is not given
// again while who got it may still come.
func (c *Controller) forgetGiven(now time.Time) ([]schema.Record, error) {
	given := map[int32]time.Time{}
	oldest := int32(-1)
	for _, n := range c.View().Controllers() {
		if !c.pending(n) {
			continue
		}
		at, ok := c.given[n.NodeID]
		if !ok {
			at = now
		}
		given[n.NodeID] = at
		if oldest < 0 && now.Sub(at) >= givenFor {
			oldest = n.NodeID
		}
	}
	c.given = given
	switch {
	case len(given) < maxGiven:
		return nil, nil
	case oldest < 0:
		return nil, refuse(kerr.ThrottlingQuotaExceeded, "%d nodes were given an id and have not come yet.", len(given))
	}
	return []schema.Record{&schema.UnregisterController{NodeID: oldest}}, nil
}

// NodeIDReply is the id.
type NodeIDReply struct{ NodeID int32 }

func (c *Controller) allocateNodeID(r *AllocateNodeID, now time.Time) outcome {
	if reservedUUID(r.DirectoryID) {
		return outcome{body: refuse(kerr.InvalidRegistration, "A node without an id asks with directory %s", UUIDString(r.DirectoryID))}
	}
	img := c.View()
	for _, n := range img.Controllers() {
		if n.DirectoryID == r.DirectoryID {
			return outcome{body: NodeIDReply{n.NodeID}}
		}
	}
	node := ControllerNode{NodeID: img.FreeNodeID(r.Taken...), DirectoryID: r.DirectoryID, MayVote: r.MayVote}
	recs, err := c.raiseLevel(2)
	if err != nil {
		return outcome{body: err}
	}
	gone, err := c.forgetGiven(now)
	if err != nil {
		return outcome{body: err}
	}
	return outcome{recs: slices.Concat(recs, gone, []schema.Record{node.record()}), body: NodeIDReply{node.NodeID}}
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
