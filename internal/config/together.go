package config

import (
	"slices"
	"strconv"
	"strings"
)

// checkTogether sees that the settings agree with each other, and finds the
// data directory and the voters.
func (c *Config) checkTogether() error {
	for _, check := range []func() error{c.checkTimes, c.checkGroups, c.checkDirs, c.checkQuorum} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) refuseValue(name, reason, allowed string) error {
	return c.refuse(name, c.values[name].Text(), reason, allowed)
}

func (c *Config) checkTimes() error {
	for _, name := range brokerGroup("log.retention.ms") {
		if v := c.values[name]; !v.Null && v.i == 0 {
			return c.refuseValue(name, "nothing would be kept", "-1 (keep for ever) or 1 or more")
		}
	}
	if v := c.values["log.roll.ms"]; !v.Null && v.i < 1 {
		return c.refuseValue("log.roll.ms", "a segment would never take a record", "1 or more")
	}
	if v := c.values["log.roll.jitter.ms"]; !v.Null && v.i < 0 {
		return c.refuseValue("log.roll.jitter.ms", "it is negative", "0 or more")
	}
	if c.Long(LogCleanerMinCompactionLagMs) > c.Long(LogCleanerMaxCompactionLagMs) {
		return c.refuseValue("log.cleaner.min.compaction.lag.ms",
			"it is above log.cleaner.max.compaction.lag.ms", "at most "+c.values["log.cleaner.max.compaction.lag.ms"].Text())
	}
	if int64(c.Int(ReplicaFetchWaitMaxMs)) > c.Long(ReplicaLagTimeMaxMs) {
		return c.refuseValue("replica.fetch.wait.max.ms", "followers would fall out of the in-sync set while they wait",
			"at most replica.lag.time.max.ms, "+c.values["replica.lag.time.max.ms"].Text())
	}
	return nil
}

// checkGroups sees that lower limits are below upper ones and that defaults are
// between the two.
func (c *Config) checkGroups() error {
	if lo, hi := c.Int(GroupMinSessionTimeoutMs), c.Int(GroupMaxSessionTimeoutMs); lo > hi {
		return c.refuseValue("group.min.session.timeout.ms", "it is above group.max.session.timeout.ms",
			"at most "+strconv.Itoa(hi))
	}
	for _, kind := range []string{"consumer", "share", "streams"} {
		for _, what := range []string{"heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"} {
			name, lo, hi := "group."+kind+"."+what, "group."+kind+".min."+what, "group."+kind+".max."+what
			if c.values[lo].i > c.values[hi].i {
				return c.refuseValue(lo, "it is above "+hi, "at most "+c.values[hi].Text())
			}
			if v := c.values[name].i; v < c.values[lo].i || v > c.values[hi].i {
				return c.refuseValue(name, "it is outside its own limits",
					c.values[lo].Text()+" ("+lo+") to "+c.values[hi].Text()+" ("+hi+")")
			}
		}
		if beat, session := c.values["group."+kind+".heartbeat.interval.ms"], c.values["group."+kind+".session.timeout.ms"]; beat.i >= session.i {
			return c.refuseValue("group."+kind+".heartbeat.interval.ms", "a member could never heartbeat in time",
				"less than group."+kind+".session.timeout.ms, "+session.Text())
		}
	}
	return nil
}

func (c *Config) checkDirs() error {
	name := "log.dirs"
	dirs := c.List(LogDirs)
	if len(dirs) == 0 {
		name, dirs = "log.dir", c.List(LogDir)
	}
	if len(dirs) != 1 {
		return c.refuseValue(name, "several log directories are not built", "one directory")
	}
	c.dataDir = dirs[0]
	return nil
}

// checkQuorum reads who the controllers are, and sees that the node has its place.
func (c *Config) checkQuorum() error {
	for _, text := range c.List(ControllerQuorumVoters) {
		v, ok := parseVoter(text)
		if !ok {
			return c.refuse("controller.quorum.voters", text, "this is no voter", "ID@HOST:PORT, comma separated")
		}
		if slices.ContainsFunc(c.voters, func(o Voter) bool { return o.ID == v.ID }) {
			return c.refuse("controller.quorum.voters", text, "node "+strconv.Itoa(int(v.ID))+" comes twice", "each node once")
		}
		c.voters, c.setting = append(c.voters, v), string(ControllerQuorumVoters)
	}
	if len(c.voters) == 0 {
		for _, text := range c.List(ControllerQuorumBootstrapServers) {
			host, port, err := splitHostPort(text)
			if err != nil {
				return c.refuse("controller.quorum.bootstrap.servers", text, err.Error(), "HOST:PORT, comma separated")
			}
			c.voters, c.setting = append(c.voters, Voter{-1, Endpoint{host, port}}), string(ControllerQuorumBootstrapServers)
		}
	}
	for i, v := range c.voters {
		c.voters[i].Host = strings.ToLower(v.Host)
		if slices.ContainsFunc(c.voters[:i], func(o Voter) bool { return o.Endpoint == c.voters[i].Endpoint }) {
			return c.refuseValue(c.setting, c.voters[i].Endpoint.String()+" comes twice", "each address once")
		}
	}
	return c.checkPlace()
}

// checkPlace sees that the node can find a cluster, and has an id in it.
func (c *Config) checkPlace() error {
	self := int32(c.Int(NodeId))
	switch join := c.String(LeatJoin); {
	case join != "" && len(c.voters) > 0:
		return c.refuseValue("leat.join", "the node is to join a cluster, and "+c.setting+" says how to found one", "one of the two")
	case !c.Controller() && join == "" && len(c.voters) == 0:
		return c.refuseValue("process.roles", "a broker that is no controller needs to be told where its controllers are",
			"broker,controller; or controller.quorum.bootstrap.servers, or leat.join (leat serve --join)")
	case c.Controller() && c.setting == string(ControllerQuorumVoters) && !slices.ContainsFunc(c.voters, func(v Voter) bool { return v.ID == self }):
		return c.refuseValue("controller.quorum.voters", "it does not name this node, whose node.id is "+c.values["node.id"].Text(), "a list with this node")
	case len(c.voters) > 1 && c.Controller() && !c.IsSet("node.id"):
		return c.refuse("node.id", "", "it is not given, and "+c.setting+" names several nodes", "an id of its own for every node")
	}
	return nil
}

func parseVoter(text string) (Voter, bool) {
	id, address, ok := strings.Cut(text, "@")
	n, err := strconv.ParseInt(id, 10, 32)
	if !ok || err != nil || n < 0 {
		return Voter{}, false
	}
	host, port, err := splitHostPort(address)
	return Voter{ID: int32(n), Endpoint: Endpoint{Host: host, Port: port}}, err == nil
}
