package metadata

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/schema"
)

// Bootstrap creates the cluster in an empty log; the server sends it after each
// start. In a log that has one it only copies settings that all leaders must
// share (Image.MinISR). The reply's body is a *BootstrapReply, or an error that is
// kerr.InconsistentClusterID when another id was asked for.
type Bootstrap struct {
	// ClusterID is the id to have; one is drawn when it is empty.
	ClusterID string
	// Features are the levels to finalise in a new cluster; Options.Features must
	// have them. schema.FeatureName is added.
	Features map[string]int16
}

// BootstrapReply tells the cluster's id.
type BootstrapReply struct {
	ClusterID string
	Created   bool
}

func (c *Controller) bootstrap(b *Bootstrap, r *rand.Rand) outcome {
	id := c.View().ClusterID()
	if id != "" && b.ClusterID != "" && b.ClusterID != id {
		return outcome{body: refuse(kerr.InconsistentClusterID, "The metadata log is of cluster %s, not of %s.", id, b.ClusterID)}
	}
	created := id == ""
	var recs []schema.Record
	if created {
		if id = b.ClusterID; id == "" {
			id = UUIDString(newUUID(r))
		}
		recs = append(recs, &schema.ClusterCreated{ClusterID: id}, &schema.FeatureLevel{Name: schema.FeatureName, Level: schema.Level})
		for _, name := range slices.Sorted(maps.Keys(b.Features)) {
			level := b.Features[name]
			if f, ok := c.supported(name); !ok || level < f.Min || level > f.Max {
				return outcome{body: refuse(kerr.InvalidUpdateVersion, "This build cannot run %s at level %d.", name, level)}
			}
			if level > 0 {
				recs = append(recs, &schema.FeatureLevel{Name: name, Level: level})
			}
		}
	}
	name := string(config.MinInsyncReplicas)
	if _, set := c.View().Config(ResourceBroker, "")[name]; !set && c.opts.Config.IsSet(name) {
		value := strconv.Itoa(c.opts.Config.Int(config.MinInsyncReplicas))
		recs = append(recs, &schema.Config{ResourceType: ResourceBroker, Key: name, Value: &value})
	}
	return outcome{body: &BootstrapReply{ClusterID: id, Created: created}, recs: recs}
}

// supported is the range of levels of a feature that this build can run.
func (c *Controller) supported(name string) (FeatureRange, bool) {
	if name == schema.FeatureName {
		return FeatureRange{schema.FeatureName, 1, schema.Level}, true
	}
	i := slices.IndexFunc(c.opts.Features, func(f FeatureRange) bool { return f.Name == name })
	if i < 0 {
		return FeatureRange{}, false
	}
	return c.opts.Features[i], true
}

// Upgrade types of UpdateFeatures (KIP-778).
const (
	upgradeOnly     int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

// updateFeatures answers UpdateFeatures (versions 0 to 2): all updates or none.
func (c *Controller) updateFeatures(req *kmsg.UpdateFeaturesRequest) outcome {
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	var recs []schema.Record
	var err error
	seen := map[string]bool{}
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		switch {
		case err != nil:
		case seen[u.Feature]:
			err = refuse(kerr.InvalidRequest, "The feature %s appears twice.", u.Feature)
		default:
			if err = c.checkFeature(req.Version, u); err == nil && u.MaxVersionLevel != c.View().Feature(u.Feature) {
				recs = append(recs, &schema.FeatureLevel{Name: u.Feature, Level: u.MaxVersionLevel})
			}
		}
		seen[u.Feature] = true
	}
	if err != nil || req.ValidateOnly {
		recs = nil
	}
	resp.ErrorCode, resp.ErrorMessage = code(err)
	if req.Version <= 1 {
		for i := range req.FeatureUpdates {
			r := kmsg.NewUpdateFeaturesResponseResult()
			r.Feature = req.FeatureUpdates[i].Feature
			r.ErrorCode, r.ErrorMessage = code(err)
			resp.Results = append(resp.Results, r)
		}
	}
	return outcome{body: resp, recs: recs}
}

func (c *Controller) checkFeature(version int16, u *kmsg.UpdateFeaturesRequestFeatureUpdate) error {
	upgrade := u.UpgradeType
	if version == 0 {
		if upgrade = upgradeOnly; u.AllowDowngrade {
			upgrade = safeDowngrade
		}
	}
	f, ok := c.supported(u.Feature)
	current := c.View().Feature(u.Feature)
	bad := func(format string, args ...any) error {
		return refuse(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %.64s. %s", u.MaxVersionLevel, u.Feature, fmt.Sprintf(format, args...))
	}
	switch {
	case upgrade < upgradeOnly || upgrade > unsafeDowngrade:
		return bad("The upgrade type %d is unknown.", upgrade)
	case !ok:
		return bad("The controller does not support it.")
	case u.MaxVersionLevel != 0 && (u.MaxVersionLevel < f.Min || u.MaxVersionLevel > f.Max), u.MaxVersionLevel == 0 && f.Min > 0:
		return bad("The controller supports %d to %d.", f.Min, f.Max)
	case u.MaxVersionLevel < current && upgrade == upgradeOnly:
		return bad("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	}
	for _, b := range c.View().Brokers() {
		if !b.supports(u.Feature, u.MaxVersionLevel) {
			return bad("Broker %d does not support it.", b.ID)
		}
	}
	return nil
}

// supports tells whether a broker can run a feature at a level; one that does not
// name the feature can only be without it.
func (b *Broker) supports(name string, level int16) bool {
	i := slices.IndexFunc(b.Features, func(f FeatureRange) bool { return f.Name == name })
	if i < 0 {
		return level == 0
	}
	return b.Features[i].Min <= level && level <= b.Features[i].Max
}
