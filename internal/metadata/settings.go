package metadata

import (
	"strconv"

	"github.com/leat-stream/leat/internal/config"
)

// featureELR is the feature that turns eligible leader replicas on (KIP-966).
const featureELR = "eligible.leader.replicas.version"

// MinISR is the number of in-sync replicas below which a topic takes no acks=all
// write, and below which its high watermark stands still (KIP-966): the topic's
// own min.insync.replicas, else that of all brokers, else 1. Leaders and the
// controller must use the same number, hence no broker's static setting counts
// here; Bootstrap copies one that is given to the default of all brokers, and
// CreateTopics gives 2 to topics of three and more replicas.
func (img *Image) MinISR(topic string) int {
	name := string(config.MinInsyncReplicas)
	for _, m := range []map[string]string{img.Config(ResourceTopic, topic), img.Config(ResourceBroker, "")} {
		if n, err := strconv.Atoi(m[name]); err == nil && n > 0 {
			return n
		}
	}
	return 1
}

// settings are this node's static settings under the dynamic ones of all brokers.
func (c *Controller) settings() *config.Config {
	if c.dynamic == nil {
		// Values that are no longer valid are left out; who loads the image reports them.
		c.dynamic, _ = c.opts.Config.WithDynamic(nil, c.View().Config(ResourceBroker, ""))
	}
	return c.dynamic
}

// unclean tells whether a topic may elect a leader that is known to lack records.
func (c *Controller) unclean(topic string) bool {
	if v, err := strconv.ParseBool(c.View().Config(ResourceTopic, topic)[string(config.UncleanLeaderElectionEnable)]); err == nil {
		return v
	}
	return c.settings().Bool(config.UncleanLeaderElectionEnable)
}

// elrEnabled tells whether eligible leader replicas are kept (KIP-966).
func (c *Controller) elrEnabled() bool { return c.View().Feature(featureELR) > 0 }

// defaultReplicas is the replication factor of topics that ask for none: the
// given setting, else three, or all live brokers where there are fewer.
func (c *Controller) defaultReplicas(setting config.IntName) int {
	s := c.settings()
	if n := s.Int(setting); s.IsSet(string(setting)) && n > 0 {
		return n
	}
	live := 0
	for _, b := range c.View().Brokers() {
		if b.Active() {
			live++
		}
	}
	return max(1, min(3, live))
}

// safeMinISR is the min.insync.replicas that a new topic gets as its own: 2 from
// three replicas on, unless all brokers have a setting; 0 is none.
func (c *Controller) safeMinISR(replicas int) int {
	if replicas < 3 || c.settings().IsSet(string(config.MinInsyncReplicas)) {
		return 0
	}
	return 2
}
