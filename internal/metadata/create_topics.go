package metadata

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/schema"
)

// createTopics answers CreateTopics (versions 2 to 7). Each topic succeeds or
// fails by itself; all that succeed are one batch of records. A topic that the same
// creation has made before is answered as made.
func (c *Controller) createTopics(req *kmsg.CreateTopicsRequest, creation []byte, r *rand.Rand) outcome {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	count := map[string]int{}
	for i := range req.Topics {
		count[req.Topics[i].Topic]++
	}
	if c.tooMany(req, count) {
		for name := range ordered(req, count) {
			resp.Topics = append(resp.Topics, topicFailed(name, refuse(kerr.PolicyViolation, "Excessively large number of partitions per request.")))
		}
		return outcome{body: resp}
	}
	if req.ValidateOnly {
		creation = nil
	}
	var recs []schema.Record
	var refused []kmsg.CreateTopicsResponseTopic // duplicates and the like come last
	made := map[string]string{}                  // collision name -> topic of this request
	for name, t := range ordered(req, count) {
		switch {
		case count[name] > 1:
			refused = append(refused, topicFailed(name, refuse(kerr.InvalidRequest, "Duplicate topic name.")))
			continue
		case name == clusterMetadataTopic:
			refused = append(refused, topicFailed(name, refuse(kerr.InvalidRequest, "Creation of internal topic %s is prohibited.", name)))
			continue
		}
		if ours := c.View().Topic(name); ours != nil && createdBy(ours.ID, creation, name) {
			resp.Topics = append(resp.Topics, c.topicMade(ours))
			continue
		}
		out, topicRecs, err := c.createTopic(t, creation, made, r)
		if err != nil {
			out, topicRecs = topicFailed(name, err), nil
		}
		resp.Topics = append(resp.Topics, out)
		recs = append(recs, topicRecs...)
	}
	resp.Topics = append(resp.Topics, refused...)
	if req.ValidateOnly {
		recs = nil
	}
	return outcome{body: resp, recs: recs}
}

// ordered iterates over the distinct names of a request in its order.
func ordered(req *kmsg.CreateTopicsRequest, count map[string]int) func(func(string, *kmsg.CreateTopicsRequestTopic) bool) {
	return func(yield func(string, *kmsg.CreateTopicsRequestTopic) bool) {
		seen := make(map[string]bool, len(count))
		for i := range req.Topics {
			t := &req.Topics[i]
			if !seen[t.Topic] && !yield(t.Topic, t) {
				return
			}
			seen[t.Topic] = true
		}
	}
}

// tooMany tells whether the request asks for more partitions than one may.
func (c *Controller) tooMany(req *kmsg.CreateTopicsRequest, count map[string]int) bool {
	total := int64(0)
	for i := range req.Topics {
		t := &req.Topics[i]
		switch {
		case count[t.Topic] > 1:
		case len(t.ReplicaAssignment) > 0:
			total += int64(len(t.ReplicaAssignment))
		case t.NumPartitions == -1:
			total += int64(c.settings().Int(config.NumPartitions))
		case t.NumPartitions > 0:
			total += int64(t.NumPartitions)
		}
	}
	return total > maxRecords
}

func topicFailed(name string, err error) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic = name
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // empty, not null
	t.ErrorCode, t.ErrorMessage = code(err)
	return t
}

// createTopic decides one topic. made holds the collision names of those before
// it in the request.
func (c *Controller) createTopic(t *kmsg.CreateTopicsRequestTopic, creation []byte, made map[string]string, r *rand.Rand) (kmsg.CreateTopicsResponseTopic, []schema.Record, error) {
	out := kmsg.NewCreateTopicsResponseTopic()
	collision, err := c.checkNewName(t.Topic, made)
	if err != nil {
		return out, nil, err
	}
	configs, err := c.newTopicConfigs(t)
	if err != nil {
		return out, nil, err
	}
	lists, err := c.newTopicReplicas(t, r)
	if err != nil {
		return out, nil, err
	}
	if n := c.safeMinISR(len(lists[0])); n > 0 {
		if _, given := configs[string(config.MinInsyncReplicas)]; !given {
			configs[string(config.MinInsyncReplicas)] = strconv.Itoa(n)
		}
	}
	if collision != "" {
		made[collision] = t.Topic
	}
	id := newTopicID(creation, t.Topic, r)
	for c.View().TopicByID(id) != nil { // a seed may be used twice
		id = newTopicID(creation, t.Topic, r)
	}
	recs := make([]schema.Record, 0, 1+len(configs)+len(lists))
	recs = append(recs, &schema.Topic{TopicID: id, Name: t.Topic})
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		value := configs[key]
		recs = append(recs, &schema.Config{ResourceType: ResourceTopic, ResourceName: t.Topic, Key: key, Value: &value})
	}
	for i, replicas := range lists {
		recs = append(recs, c.newPartition(id, int32(i), replicas))
	}
	out.Topic, out.TopicID = t.Topic, id
	out.NumPartitions, out.ReplicationFactor = int32(len(lists)), int16(len(lists[0]))
	out.Configs = c.describeNew(configs)
	return out, recs, nil
}

// topicMade describes a topic as the answer to its creation does.
func (c *Controller) topicMade(t *Topic) kmsg.CreateTopicsResponseTopic {
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic, out.TopicID = t.Name, t.ID
	out.NumPartitions, out.ReplicationFactor = int32(len(t.Partitions)), int16(t.ReplicationFactor())
	out.Configs = c.describeNew(c.View().Config(ResourceTopic, t.Name))
	return out
}

// checkNewName returns the name under which metrics know the topic, if others could share it.
func (c *Controller) checkNewName(name string, made map[string]string) (string, error) {
	if c.View().Topic(name) != nil {
		return "", refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if err := CheckTopicName(name); err != nil {
		return "", refuse(kerr.InvalidTopicException, "%s", err)
	}
	collision, ok := collisionName(name)
	if !ok {
		return "", nil
	}
	other, exists := c.View().collisions.Get(collision)
	if !exists {
		other, exists = made[collision]
	}
	if exists {
		return "", refuse(kerr.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return collision, nil
}

// newTopicConfigs are the checked configs that a topic asks for.
func (c *Controller) newTopicConfigs(t *kmsg.CreateTopicsRequestTopic) (map[string]string, error) {
	configs := make(map[string]string, len(t.Configs))
	var null []string
	for i := range t.Configs {
		if v := t.Configs[i].Value; v != nil {
			configs[t.Configs[i].Name] = *v
		} else {
			null = append(null, t.Configs[i].Name)
		}
	}
	if len(null) > 0 {
		return nil, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %s", joined(null))
	}
	if err := checkSizes(configs); err != nil {
		return nil, err
	}
	return configs, c.settings().ValidateTopic(configs)
}

// newTopicReplicas are the replicas of each partition: as assigned, or placed.
func (c *Controller) newTopicReplicas(t *kmsg.CreateTopicsRequestTopic, r *rand.Rand) ([][]int32, error) {
	if len(t.ReplicaAssignment) > 0 {
		return c.assignedReplicas(t)
	}
	partitions, replicas := int(t.NumPartitions), int(t.ReplicationFactor)
	switch {
	case replicas < -1 || replicas == 0:
		return nil, refuse(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case partitions < -1 || partitions == 0:
		return nil, refuse(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	if partitions == -1 {
		partitions = c.settings().Int(config.NumPartitions)
	}
	if replicas == -1 {
		replicas = c.defaultReplicas(config.DefaultReplicationFactor)
	}
	return c.placed(partitions, replicas, r)
}

// placed chooses replicas such that each partition has a leader.
func (c *Controller) placed(partitions, replicas int, r *rand.Rand) ([][]int32, error) {
	lists, err := place(r, c.View().Brokers(), partitions, replicas)
	if err != nil {
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): %s", replicas, err)
	}
	return lists, nil
}

// assignedReplicas checks a manual assignment.
func (c *Controller) assignedReplicas(t *kmsg.CreateTopicsRequestTopic) ([][]int32, error) {
	if t.ReplicationFactor != -1 {
		return nil, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.NumPartitions != -1 {
		return nil, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	lists := make([][]int32, len(t.ReplicaAssignment))
	factor := 0
	gap := false
	for i := range t.ReplicaAssignment {
		a := &t.ReplicaAssignment[i]
		inRange := a.Partition >= 0 && int(a.Partition) < len(lists)
		if inRange && lists[a.Partition] != nil {
			return nil, refuse(kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if err := c.checkAssignment(a.Partition, a.Replicas, factor); err != nil {
			return nil, err
		}
		factor = len(a.Replicas)
		if gap = gap || !inRange; inRange {
			lists[a.Partition] = a.Replicas
		}
	}
	if gap {
		return nil, refuse(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
	}
	return lists, nil
}

// checkAssignment checks the replicas that a client chose for a new partition, of
// which one must be able to lead; factor is the number that it must have, 0 for any.
func (c *Controller) checkAssignment(partition int32, replicas []int32, factor int) error {
	if err := c.checkReplicas(replicas); err != nil {
		return err
	}
	if factor != 0 && len(replicas) != factor {
		return refuse(kerr.InvalidReplicaAssignment,
			"The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(replicas), factor)
	}
	if !slices.ContainsFunc(replicas, c.View().Active) {
		return refuse(kerr.InvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return nil
}

// checkReplicas checks that replicas are registered brokers, each of them once.
func (c *Controller) checkReplicas(replicas []int32) error {
	if len(replicas) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	for _, id := range replicas {
		if c.View().Broker(id) == nil {
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
	}
	if id, twice := repeated(replicas); twice {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
	}
	return nil
}

// repeated is a member that a list has more than once.
func repeated(list []int32) (int32, bool) {
	sorted := slices.Sorted(slices.Values(list))
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return sorted[i], true
		}
	}
	return 0, false
}

// newPartition is the record of a new partition: in sync are the live replicas,
// the first of which leads; at least one is live.
func (c *Controller) newPartition(topic [16]byte, index int32, replicas []int32) *schema.Partition {
	p := schema.NewPartition()
	p.TopicID, p.Index, p.Replicas = topic, index, replicas
	known := false
	dirs := make([][16]byte, len(replicas))
	for i, id := range replicas {
		b := c.View().Broker(id)
		if b.Active() {
			p.ISR = append(p.ISR, id)
		}
		dirs[i] = c.directoryOfNew(id)
		known = known || dirs[i] != [16]byte{}
	}
	p.Leader = p.ISR[0]
	if known {
		p.Directories = dirs
	}
	return p
}

// directoryOfNew is the log directory that a broker puts a new replica in; zero
// with several, of which the broker chooses one and says so (KIP-858).
func (c *Controller) directoryOfNew(broker int32) [16]byte {
	if b := c.View().Broker(broker); b != nil && len(b.Directories) == 1 {
		return b.Directories[0]
	}
	return [16]byte{}
}

// describeNew lists the effective configs of a new topic, by name (KIP-525).
func (c *Controller) describeNew(overrides map[string]string) []kmsg.CreateTopicsResponseTopicConfig {
	entries := c.settings().DescribeTopic(overrides)
	out := make([]kmsg.CreateTopicsResponseTopicConfig, 0, len(entries))
	for _, e := range entries {
		k := kmsg.NewCreateTopicsResponseTopicConfig()
		k.Name, k.Value, k.ReadOnly, k.Source, k.IsSensitive = e.Name, e.Value, e.ReadOnly, int8(e.Source), e.Sensitive
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b kmsg.CreateTopicsResponseTopicConfig) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
