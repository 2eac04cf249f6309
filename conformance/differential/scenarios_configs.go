package differential

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func describe(kind kmsg.ConfigResourceType, name string, keys ...string) *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, keys
	req.Resources = append(req.Resources, r)
	return req
}

func describeConfigs(s *Session) {
	s.Topic("configs", 1, "retention.ms", "12345678", "cleanup.policy", "compact,delete")
	s.Each(kmsg.DescribeConfigs, func(v int16) {
		s.Do("a topic", v, describe(kmsg.ConfigResourceTypeTopic, "configs"))
		s.Do("two settings of a topic", v, describe(kmsg.ConfigResourceTypeTopic, "configs", "retention.ms", "segment.bytes"))
		s.Do("an unknown setting of a topic", v, describe(kmsg.ConfigResourceTypeTopic, "configs", "no.such.config"))
		none := describe(kmsg.ConfigResourceTypeTopic, "configs")
		none.Resources[0].ConfigNames = []string{}
		s.Do("no settings of a topic", v, none)
		s.Do("an unknown topic", v, describe(kmsg.ConfigResourceTypeTopic, "configs-unknown"))
		s.Do("a bad topic name", v, describe(kmsg.ConfigResourceTypeTopic, "a/b"))
		s.Do("an unknown broker", v, describe(kmsg.ConfigResourceTypeBroker, "77"))
		s.Do("a broker that is no number", v, describe(kmsg.ConfigResourceTypeBroker, "one"))
		s.Do("an unknown kind", v, describe(99, "configs"))
		s.Do("nothing", v, kmsg.NewPtrDescribeConfigsRequest())
		s.Do("the cluster's brokers", v, describe(kmsg.ConfigResourceTypeBroker, ""))
		s.Do("settings of the broker", v, describe(kmsg.ConfigResourceTypeBroker, "1",
			"log.retention.hours", "log.segment.bytes", "num.partitions", "message.max.bytes", "auto.create.topics.enable"))
		synonyms := describe(kmsg.ConfigResourceTypeTopic, "configs", "retention.ms", "segment.bytes", "cleanup.policy")
		synonyms.IncludeSynonyms = true
		s.Do("with synonyms", v, synonyms)
		if v >= 3 {
			docs := describe(kmsg.ConfigResourceTypeTopic, "configs", "retention.ms")
			docs.IncludeDocumentation = true
			s.Do("with documentation", v, docs)
		}
		s.Do("a group", v, describe(kmsg.ConfigResourceTypeGroupConfig, "configs-group"))
		s.Do("client metrics", v, describe(kmsg.ConfigResourceTypeClientMetrics, "configs-metrics"))
	})
	s.Do("a broker's logger", s.Latest(kmsg.DescribeConfigs), describe(kmsg.ConfigResourceTypeBrokerLogger, "1", "root"))
	all := describe(kmsg.ConfigResourceTypeBroker, "1")
	all.IncludeSynonyms = true
	s.Do("every setting of the broker", s.Latest(kmsg.DescribeConfigs), all)
}

// alterConfigs replaces all settings of a resource.
func alterConfigs(s *Session) {
	s.Each(kmsg.AlterConfigs, func(v int16) {
		topic := fmt.Sprintf("alter-v%d", v)
		s.Topic(topic, 1, "retention.ms", "1000000")
		alter := func(label string, kind kmsg.ConfigResourceType, name string, validate bool, kv ...string) {
			req := kmsg.NewPtrAlterConfigsRequest()
			req.ValidateOnly = validate
			r := kmsg.AlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
			for i := 0; i+1 < len(kv); i += 2 {
				r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: kv[i], Value: ptr(kv[i+1])})
			}
			req.Resources = append(req.Resources, r)
			s.Do(label, v, req)
		}
		alter("replace", kmsg.ConfigResourceTypeTopic, topic, false, "segment.ms", "700000")
		s.awaitConfig(topic, "segment.ms", "700000")
		s.Do("after it "+topic, 4, describe(kmsg.ConfigResourceTypeTopic, topic, "segment.ms", "retention.ms"))
		alter("only validated", kmsg.ConfigResourceTypeTopic, topic, true, "segment.ms", "800000")
		alter("a bad value", kmsg.ConfigResourceTypeTopic, topic, false, "segment.ms", "never")
		alter("a value out of range", kmsg.ConfigResourceTypeTopic, topic, false, "segment.bytes", "1")
		alter("an unknown setting", kmsg.ConfigResourceTypeTopic, topic, false, "no.such.config", "1")
		alter("an unknown topic", kmsg.ConfigResourceTypeTopic, "alter-unknown", false, "segment.ms", "700000")
		alter("no name", kmsg.ConfigResourceTypeTopic, "", false, "segment.ms", "700000")
		alter("a bad topic name", kmsg.ConfigResourceTypeTopic, "a/b", false, "segment.ms", "700000")
		alter("an unknown kind", 99, topic, false, "segment.ms", "700000")
		alter("an unknown broker", kmsg.ConfigResourceTypeBroker, "77", false, "log.retention.ms", "700000")
		null := kmsg.NewPtrAlterConfigsRequest()
		null.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic,
			Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "segment.ms"}}}}
		s.Do("a null value", v, null)
		twice := kmsg.NewPtrAlterConfigsRequest()
		one := kmsg.AlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic}
		twice.Resources = []kmsg.AlterConfigsRequestResource{one, one}
		if v == s.Latest(kmsg.AlterConfigs) {
			s.DoWithin(time.Second, "one topic twice", v, twice)
		}
		s.Do("nothing", v, kmsg.NewPtrAlterConfigsRequest())
		alter("nothing of a topic: all go", kmsg.ConfigResourceTypeTopic, topic, false)
		s.awaitConfig(topic, "segment.ms", "604800000")
	})
}

// awaitConfig waits until a topic's setting shows.
func (s *Session) awaitConfig(topic, name, value string) {
	s.Until(topic+"'s "+name, func() error {
		req := describe(kmsg.ConfigResourceTypeTopic, topic, name)
		req.Version = 4
		resp, err := s.Ask(req)
		if err != nil {
			return err
		}
		r := resp.(*kmsg.DescribeConfigsResponse)
		if len(r.Resources) != 1 || len(r.Resources[0].Configs) != 1 {
			return fmt.Errorf("it is not described")
		}
		if got := r.Resources[0].Configs[0].Value; got == nil || *got != value {
			return fmt.Errorf("it is not %s yet", value)
		}
		return nil
	})
}

// change is one operation of IncrementalAlterConfigs.
type change struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

func incremental(kind kmsg.ConfigResourceType, name string, changes ...change) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
	for _, c := range changes {
		r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: c.name, Op: c.op, Value: c.value})
	}
	req.Resources = append(req.Resources, r)
	return req
}

func incrementalAlterConfigs(s *Session) {
	const (
		set      = kmsg.IncrementalAlterConfigOpSet
		unset    = kmsg.IncrementalAlterConfigOpDelete
		add      = kmsg.IncrementalAlterConfigOpAppend
		subtract = kmsg.IncrementalAlterConfigOpSubtract
		topics   = kmsg.ConfigResourceTypeTopic
	)
	s.Each(kmsg.IncrementalAlterConfigs, func(v int16) {
		topic := fmt.Sprintf("incremental-v%d", v)
		s.Topic(topic, 1, "retention.ms", "1000000")
		do := func(label string, kind kmsg.ConfigResourceType, name string, changes ...change) {
			s.Do(label, v, incremental(kind, name, changes...))
		}
		do("set", topics, topic, change{"segment.ms", set, ptr("700000")})
		s.awaitConfig(topic, "segment.ms", "700000")
		s.Do("after the set "+topic, 4, describe(topics, topic, "segment.ms", "retention.ms"))
		do("delete", topics, topic, change{"retention.ms", unset, nil})
		s.awaitConfig(topic, "retention.ms", "604800000")
		do("delete what is not set", topics, topic, change{"retention.ms", unset, nil})
		do("append to a list", topics, topic, change{"cleanup.policy", add, ptr("compact")})
		s.awaitConfig(topic, "cleanup.policy", "delete,compact")
		do("append what is there", topics, topic, change{"cleanup.policy", add, ptr("compact")})
		do("subtract from a list", topics, topic, change{"cleanup.policy", subtract, ptr("delete")})
		s.awaitConfig(topic, "cleanup.policy", "compact")
		do("subtract what is not there", topics, topic, change{"cleanup.policy", subtract, ptr("delete")})
		do("append to what is no list", topics, topic, change{"segment.ms", add, ptr("1")})
		do("subtract from what is no list", topics, topic, change{"segment.ms", subtract, ptr("1")})
		do("an unknown operation", topics, topic, change{"segment.ms", 9, ptr("1")})
		do("set to null", topics, topic, change{"segment.ms", set, nil})
		do("one setting twice", topics, topic, change{"segment.ms", set, ptr("1000")}, change{"segment.ms", unset, nil})
		do("a bad value", topics, topic, change{"segment.ms", set, ptr("never")})
		do("a value out of range", topics, topic, change{"segment.bytes", set, ptr("1")})
		do("an unknown setting", topics, topic, change{"no.such.config", set, ptr("1")})
		do("delete an unknown setting", topics, topic, change{"no.such.config", unset, nil})
		do("an unknown topic", topics, "incremental-unknown", change{"segment.ms", set, ptr("700000")})
		do("no name", topics, "", change{"segment.ms", set, ptr("700000")})
		do("an unknown kind", 99, topic, change{"segment.ms", set, ptr("700000")})
		do("no changes", topics, topic)
		dry := incremental(topics, topic, change{"segment.ms", set, ptr("900000")})
		dry.ValidateOnly = true
		s.Do("only validated", v, dry)
		twice := incremental(topics, topic, change{"segment.ms", set, ptr("900000")})
		twice.Resources = append(twice.Resources, twice.Resources[0])
		s.Do("one topic twice", v, twice)
		s.Do("nothing", v, kmsg.NewPtrIncrementalAlterConfigsRequest())
		s.Do("at last "+topic, 4, describe(topics, topic, "segment.ms", "retention.ms", "cleanup.policy"))
	})
}

// brokerConfigs: settings that change while the broker runs, and those that do not.
func brokerConfigs(s *Session) {
	const (
		set    = kmsg.IncrementalAlterConfigOpSet
		unset  = kmsg.IncrementalAlterConfigOpDelete
		broker = kmsg.ConfigResourceTypeBroker
	)
	v := s.Latest(kmsg.IncrementalAlterConfigs)
	s.Do("a broker's logger", v, incremental(kmsg.ConfigResourceTypeBrokerLogger, "1", change{"root", set, ptr("INFO")}))
	s.Do("a setting of this broker", v, incremental(broker, "1", change{"log.cleaner.threads", set, ptr("2")}))
	s.Do("a setting of the whole cluster", v, incremental(broker, "", change{"log.retention.ms", set, ptr("86400000")}))
	s.Until("the cluster's setting", func() error {
		req := describe(broker, "1", "log.retention.ms")
		req.Version = 4
		resp, err := s.Ask(req)
		if err != nil {
			return err
		}
		r := resp.(*kmsg.DescribeConfigsResponse)
		if c := r.Resources[0].Configs; len(c) == 0 || c[0].Value == nil || *c[0].Value != "86400000" {
			return fmt.Errorf("it is not there yet")
		}
		return nil
	})
	described := describe(broker, "1", "log.retention.ms", "log.cleaner.threads")
	described.IncludeSynonyms = true
	s.Do("both settings", 4, described)
	// Only where they are given are the limits of the rate of moves described.
	const leaders, followers = "leader.replication.throttled.rate", "follower.replication.throttled.rate"
	rates := describe(broker, "1", leaders, followers)
	rates.IncludeSynonyms = true
	s.Do("no limits of rate", 4, rates)
	s.Do("a limit of rate", v, incremental(broker, "1", change{leaders, set, ptr("1000")}))
	s.Until("the limit", func() error {
		rates.Version = 4
		resp, err := s.Ask(rates)
		if err != nil {
			return err
		}
		if r := resp.(*kmsg.DescribeConfigsResponse); len(r.Resources[0].Configs) == 0 {
			return fmt.Errorf("it is not there yet")
		}
		return nil
	})
	s.Do("the limits of rate", 4, rates)
	s.Do("back again, the limit", v, incremental(broker, "1", change{leaders, unset, nil}))
	s.PlainTopic("broker-configs", 1)
	inherited := describe(kmsg.ConfigResourceTypeTopic, "broker-configs", "retention.ms")
	inherited.IncludeSynonyms = true
	s.Do("a topic inherits", 4, inherited)
	s.Do("a setting that only a start can change", v, incremental(broker, "1", change{"log.dirs", set, ptr("/tmp/x")}))
	s.Do("the cluster's log folders", v, incremental(broker, "", change{"log.dirs", set, ptr("/tmp/x")}))
	s.Do("a bad value", v, incremental(broker, "1", change{"log.cleaner.threads", set, ptr("many")}))
	s.Do("a value out of range", v, incremental(broker, "", change{"log.cleaner.threads", set, ptr("-4")}))
	s.Do("an unknown setting", v, incremental(broker, "1", change{"no.such.config", set, ptr("1")}))
	s.Do("an unknown broker", v, incremental(broker, "77", change{"log.retention.ms", set, ptr("1000")}))
	s.Do("a broker that is no number", v, incremental(broker, "one", change{"log.retention.ms", set, ptr("1000")}))
	s.Do("back again", v, incremental(broker, "", change{"log.retention.ms", unset, nil}))
	s.Do("back again, this broker", v, incremental(broker, "1", change{"log.cleaner.threads", unset, nil}))
}

func configResources(s *Session) {
	s.Topic("resources", 1, "retention.ms", "1000000")
	s.Each(kmsg.ListConfigResources, func(v int16) {
		list := func(label string, kinds ...int8) {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.ResourceTypes = kinds
			req.SetVersion(v)
			resp, err := s.Ask(req)
			if r, ok := resp.(*kmsg.ListConfigResourcesResponse); ok {
				// Topics of other scenarios may not be gone yet.
				kept := r.ConfigResources[:0]
				for _, c := range r.ConfigResources {
					if c.Type != int8(kmsg.ConfigResourceTypeTopic) || c.Name == "resources" || c.Name == "__consumer_offsets" {
						kept = append(kept, c)
					}
				}
				r.ConfigResources = kept
			}
			s.record(label, req, resp, err)
		}
		list("all")
		if v >= 1 {
			list("topics", int8(kmsg.ConfigResourceTypeTopic))
			list("brokers", int8(kmsg.ConfigResourceTypeBroker))
			list("loggers", int8(kmsg.ConfigResourceTypeBrokerLogger))
			list("groups", int8(kmsg.ConfigResourceTypeGroupConfig))
			list("client metrics", int8(kmsg.ConfigResourceTypeClientMetrics))
			list("an unknown kind", 99)
			list("topics and an unknown kind", int8(kmsg.ConfigResourceTypeTopic), 99)
		}
	})
}

func logDirs(s *Session) {
	s.Topic("dirs", 2)
	s.Fill("dirs", 0, batch{records: values("a", "b"), timestamp: 1000})
	s.Each(kmsg.DescribeLogDirs, func(v int16) {
		ask := func(label, topic string, partitions ...int32) {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: topic, Partitions: partitions}}
			s.Do(label, v, req)
		}
		ask("two partitions", "dirs", 0, 1)
		ask("one partition and an unknown one", "dirs", 0, 9)
		ask("an unknown topic", "dirs-unknown", 0)
		ask("a topic without partitions", "dirs")
		none := kmsg.NewPtrDescribeLogDirsRequest()
		none.Topics = []kmsg.DescribeLogDirsRequestTopic{}
		s.Do("no topics", v, none)
	})
}
