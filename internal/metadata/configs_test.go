package metadata

import (
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/schema"
)

const (
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract
)

type op struct {
	key   string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

func incremental(res Resource, ops ...op) kmsg.IncrementalAlterConfigsRequestResource {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(res.Type), res.Name
	for _, o := range ops {
		k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		k.Name, k.Op, k.Value = o.key, o.op, o.value
		r.Configs = append(r.Configs, k)
	}
	return r
}

// alterOne alters one resource as asked on broker 1, and returns the answer.
func (k *cluster) alterOne(version int16, res Resource, ops ...op) kmsg.IncrementalAlterConfigsResponseResource {
	k.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version = version
	req.Resources = append(req.Resources, incremental(res, ops...))
	resp := k.do(&Request{Context: Context{NodeID: 1}, Req: req}).(*kmsg.IncrementalAlterConfigsResponse)
	if len(resp.Resources) != 1 || resp.Resources[0].ResourceName != res.Name || int8(resp.Resources[0].ResourceType) != res.Type {
		k.t.Fatalf("answer %+v", resp)
	}
	return resp.Resources[0]
}

func TestIncrementalAlterConfigs(t *testing.T) {
	topic, broker, all, group := Resource{ResourceTopic, "t"}, Resource{ResourceBroker, "1"}, Resource{ResourceBroker, ""}, Resource{ResourceGroup, "g"}
	for _, c := range []struct {
		name string
		res  Resource
		ops  []op
		want *kerr.Error
		text string
		now  map[string]string // nil: as before
	}{
		{"set", topic, []op{{"retention.bytes", opSet, str("7")}}, nil, "", map[string]string{"retention.ms": "5", "retention.bytes": "7"}},
		{"set anew", topic, []op{{"retention.ms", opSet, str("6")}}, nil, "", map[string]string{"retention.ms": "6"}},
		{"set the same", topic, []op{{"retention.ms", opSet, str("5")}}, nil, "", nil},
		{"delete", topic, []op{{"retention.ms", opDelete, nil}}, nil, "", map[string]string{}},
		{"delete with value", topic, []op{{"retention.ms", opDelete, str("9")}}, nil, "", map[string]string{}},
		{"delete what is not", topic, []op{{"retention.bytes", opDelete, nil}}, nil, "", nil},
		{"delete unknown", topic, []op{{"no.such", opDelete, nil}}, nil, "", nil},
		{"append to the default", topic, []op{{"cleanup.policy", opAppend, str("compact")}}, nil, "", map[string]string{"retention.ms": "5", "cleanup.policy": "delete,compact"}},
		{"append what is there", topic, []op{{"cleanup.policy", opAppend, str("delete")}}, nil, "", map[string]string{"retention.ms": "5", "cleanup.policy": "delete"}},
		{"append nothing", topic, []op{{"cleanup.policy", opAppend, str("")}}, nil, "", map[string]string{"retention.ms": "5", "cleanup.policy": "delete"}},
		{"subtract", topic, []op{{"cleanup.policy", opSubtract, str("delete")}}, nil, "", map[string]string{"retention.ms": "5", "cleanup.policy": ""}},
		{"append to no list", topic, []op{{"retention.ms", opAppend, str("5")}}, kerr.InvalidConfig, "append", nil},
		{"subtract from no list", topic, []op{{"retention.ms", opSubtract, str("5")}}, kerr.InvalidConfig, "subtract", nil},
		{"append to unknown", topic, []op{{"no.such", opAppend, str("5")}}, kerr.InvalidConfig, "no.such", nil},
		{"nothing", topic, nil, nil, "", nil},
		{"bad value", topic, []op{{"retention.ms", opSet, str("x")}}, kerr.InvalidConfig, "retention.ms", nil},
		{"all or none", topic, []op{{"retention.bytes", opSet, str("7")}, {"retention.ms", opSet, str("x")}}, kerr.InvalidConfig, "", nil},
		{"unknown key", topic, []op{{"no.such", opSet, str("1")}}, kerr.InvalidConfig, "no.such", nil},
		{"null", topic, []op{{"retention.ms", opSet, nil}}, kerr.InvalidRequest, "Null", nil},
		{"null append", topic, []op{{"cleanup.policy", opAppend, nil}}, kerr.InvalidRequest, "Null", nil},
		{"twice", topic, []op{{"retention.ms", opSet, str("1")}, {"retention.ms", opDelete, nil}}, kerr.InvalidRequest, "duplicate", nil},
		{"unknown operation", topic, []op{{"retention.ms", 4, str("1")}}, kerr.InvalidRequest, "", nil},
		{"negative operation", topic, []op{{"retention.ms", -1, str("1")}}, kerr.InvalidRequest, "", nil},
		{"huge", topic, []op{{"retention.ms", opSet, str(strings.Repeat("1", maxConfigValue+1))}}, kerr.InvalidConfig, "", nil},
		{"no such topic", Resource{ResourceTopic, "x"}, []op{{"retention.ms", opSet, str("1")}}, kerr.UnknownTopicOrPartition, "", nil},
		{"bad config before no topic", Resource{ResourceTopic, "x"}, []op{{"no.such", opSet, str("1")}}, kerr.InvalidConfig, "", nil},
		{"bad topic name", Resource{ResourceTopic, "a b"}, []op{{"retention.ms", opSet, str("1")}}, kerr.InvalidTopicException, "", nil},
		{"default topic", Resource{ResourceTopic, ""}, []op{{"retention.ms", opSet, str("1")}}, kerr.InvalidRequest, "", nil},
		{"huge name", Resource{ResourceGroup, strings.Repeat("g", maxResourceName+1)}, nil, kerr.InvalidRequest, "", nil},
		{"broker", broker, []op{{"log.cleaner.threads", opSet, str("2")}}, nil, "", map[string]string{"log.cleaner.threads": "2"}},
		{"all brokers", all, []op{{"log.cleaner.threads", opSet, str("2")}}, nil, "", map[string]string{"log.cleaner.threads": "2"}},
		{"unknown broker key", all, []op{{"no.such", opSet, str("2")}}, nil, "", map[string]string{"no.such": "2"}},
		{"another broker", Resource{ResourceBroker, "2"}, []op{{"log.cleaner.threads", opSet, str("2")}}, kerr.InvalidRequest, "expected 1", nil},
		{"no number", Resource{ResourceBroker, "x"}, nil, kerr.InvalidRequest, "integer", nil},
		{"read-only", all, []op{{"log.dirs", opSet, str("/x")}}, kerr.InvalidRequest, "log.dirs", nil},
		{"bad broker value", all, []op{{"log.cleaner.threads", opSet, str("x")}}, kerr.InvalidRequest, "log.cleaner.threads", nil},
		{"min ISR of one broker", broker, []op{{"min.insync.replicas", opSet, str("2")}}, kerr.InvalidConfig, "ELR", nil},
		{"min ISR of all", all, []op{{"min.insync.replicas", opSet, str("2")}}, nil, "", map[string]string{"min.insync.replicas": "2"}},
		{"group", group, []op{{"consumer.session.timeout.ms", opSet, str("50000")}}, nil, "", map[string]string{"consumer.session.timeout.ms": "50000"}},
		{"bad group value", group, []op{{"consumer.session.timeout.ms", opSet, str("1")}}, kerr.InvalidConfig, "", nil},
		{"unknown group key", group, []op{{"no.such", opSet, str("1")}}, kerr.InvalidConfig, "", nil},
		{"default group", Resource{ResourceGroup, ""}, nil, kerr.InvalidRequest, "", nil},
		{"logger", Resource{ResourceBrokerLogger, "1"}, []op{{"x", opSet, str("INFO")}}, kerr.InvalidRequest, "leat.log.level", nil},
		{"client metrics", Resource{ResourceClientMetrics, "s"}, []op{{"interval.ms", opSet, str("1000")}}, nil, "", map[string]string{"interval.ms": "1000"}},
		{"unknown client metrics", Resource{ResourceClientMetrics, "s"}, []op{{"no.such", opSet, str("1")}}, kerr.InvalidRequest, "", nil},
		{"client metrics without name", Resource{ResourceClientMetrics, ""}, nil, kerr.InvalidRequest, "", nil},
		{"unknown type", Resource{3, "x"}, nil, kerr.InvalidRequest, "resource type 3", nil},
		{"type 0", Resource{0, "x"}, nil, kerr.InvalidRequest, "", nil},
		{"negative type", Resource{-4, "x"}, nil, kerr.InvalidRequest, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for version := int16(0); version <= 1; version++ {
				k := newCluster(t, 2)
				k.mustCreate(topicAsk("t", 1, 1, [2]string{"retention.ms", "5"}))
				before := maps.Clone(k.img().Config(c.res.Type, c.res.Name))
				got := k.alterOne(version, c.res, c.ops...)
				want := int16(0)
				if c.want != nil {
					want = c.want.Code
				}
				if got.ErrorCode != want || c.want != nil && !strings.Contains(deref(got.ErrorMessage), c.text) || c.want == nil && got.ErrorMessage != nil {
					t.Fatalf("got %d %s, want %d with %q", got.ErrorCode, deref(got.ErrorMessage), want, c.text)
				}
				now := c.now
				if now == nil {
					if now = before; len(k.records) != 0 {
						t.Errorf("%d records", len(k.records))
					}
				}
				if !maps.Equal(k.img().Config(c.res.Type, c.res.Name), now) {
					t.Errorf("configs are %v, want %v", k.img().Config(c.res.Type, c.res.Name), now)
				}
				k.checkInvariants()
			}
		})
	}
}

func TestAlterConfigsReplacesAll(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		k := newCluster(t, 1)
		k.mustCreate(topicAsk("t", 1, 1, [2]string{"retention.ms", "5"}, [2]string{"retention.bytes", "6"}))
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Version = version
		add := func(typ int8, name string, sets ...[2]*string) {
			r := kmsg.NewAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceType(typ), name
			for _, s := range sets {
				c := kmsg.NewAlterConfigsRequestResourceConfig()
				c.Name, c.Value = *s[0], s[1]
				r.Configs = append(r.Configs, c)
			}
			req.Resources = append(req.Resources, r)
		}
		add(ResourceTopic, "t", [2]*string{str("retention.ms"), str("5")}, [2]*string{str("segment.bytes"), str("2000000")})
		add(ResourceTopic, "x")
		add(ResourceGroup, "g", [2]*string{str("consumer.session.timeout.ms"), nil})
		add(ResourceBroker, "", [2]*string{str("log.cleaner.threads"), str("2")})
		add(ResourceBrokerLogger, "1")
		add(ResourceTopic, "dup")
		add(ResourceTopic, "dup")
		req.ValidateOnly = true
		want := []int16{0, kerr.UnknownTopicOrPartition.Code, kerr.InvalidRequest.Code, 0, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code}
		check := func() {
			t.Helper()
			got := k.ask(req).(*kmsg.AlterConfigsResponse).Resources
			for i, w := range want {
				if got[i].ErrorCode != w || got[i].ResourceName != req.Resources[i].ResourceName {
					t.Errorf("v%d resource %d: %+v", version, i, got[i])
				}
			}
		}
		check()
		if len(k.records) != 0 {
			t.Errorf("validation wrote %d records", len(k.records))
		}
		req.ValidateOnly = false
		check()
		if got := k.img().Config(ResourceTopic, "t"); !maps.Equal(got, map[string]string{"retention.ms": "5", "segment.bytes": "2000000"}) {
			t.Errorf("configs are %v", got)
		}
		// A broker's value is written again, so that brokers load files anew.
		check()
		if len(k.records) != 1 || k.records[0].(*schema.Config).Key != "log.cleaner.threads" {
			t.Errorf("the second time: %+v", k.records)
		}
		k.checkInvariants()
	}
}

func TestAlterConfigsLimit(t *testing.T) {
	k := newCluster(t, 1)
	var ops []op
	for i := range maxRecords + 1 {
		ops = append(ops, op{"unknown." + UUIDString(id(byte(i))) + strings.Repeat("x", i/256), opSet, str("v")})
	}
	if got := k.alterOne(1, Resource{ResourceBroker, ""}, ops...); got.ErrorCode != kerr.PolicyViolation.Code {
		t.Errorf("got %d", got.ErrorCode)
	}
}

// TestAppendsStayAString: a list grows to what a string of the protocol can hold.
func TestAppendsStayAString(t *testing.T) {
	k := newCluster(t, 1)
	k.mustCreate(topicAsk("t", 1, 1))
	const list = "leader.replication.throttled.replicas"
	topic, half := Resource{ResourceTopic, "t"}, strings.Repeat("1", 20_000)
	if got := k.alterOne(1, topic, op{list, opAppend, str("1:" + half)}); got.ErrorCode != 0 {
		t.Fatalf("got %d %s", got.ErrorCode, deref(got.ErrorMessage))
	}
	if got := k.alterOne(1, topic, op{list, opAppend, str("2:" + half)}); got.ErrorCode != kerr.InvalidConfig.Code {
		t.Errorf("got %d", got.ErrorCode)
	}
	if n := len(k.img().Config(ResourceTopic, "t")[list]); n > 1<<15-1 {
		t.Errorf("%d bytes", n)
	}
}

// TestDynamicSettings: decisions follow the dynamic settings of all brokers.
func TestDynamicSettings(t *testing.T) {
	k := newCluster(t, 3, "unclean.leader.election.enable=false")
	k.mustCreate(topicAsk("t", 1, 1))
	if k.c.unclean("t") || k.img().MinISR("t") != 1 {
		t.Error("the defaults")
	}
	all := Resource{ResourceBroker, ""}
	k.alterOne(1, all, op{"unclean.leader.election.enable", opSet, str("true")}, op{"min.insync.replicas", opSet, str("3")})
	if !k.c.unclean("t") || k.img().MinISR("t") != 3 {
		t.Error("the dynamic default")
	}
	k.mustCreate(topicAsk("u", 1, 3))
	if k.img().Config(ResourceTopic, "u") != nil {
		t.Error("a topic got its own min.insync.replicas though all brokers have one")
	}
	k.alterOne(1, Resource{ResourceTopic, "t"}, op{"unclean.leader.election.enable", opSet, str("false")}, op{"min.insync.replicas", opSet, str("2")})
	if k.c.unclean("t") || k.img().MinISR("t") != 2 {
		t.Error("the topic's own")
	}
	k.alterOne(1, all, op{"unclean.leader.election.enable", opDelete, nil}, op{"min.insync.replicas", opDelete, nil})
	if k.c.unclean("u") || k.img().MinISR("u") != 1 {
		t.Error("the defaults again")
	}
}

// TestMinISRAndELR: a min.insync.replicas that falls to the size of the ISR lets
// the high watermark move, so nobody outside is eligible any more (KIP-966).
func TestMinISRAndELR(t *testing.T) {
	for _, c := range []struct {
		name string
		res  Resource
		own  bool // the topic has its own setting
		op   op
		elr  bool // kept
	}{
		{"topic to 1", Resource{ResourceTopic, "t"}, true, op{"min.insync.replicas", opSet, str("1")}, false},
		{"topic to 2", Resource{ResourceTopic, "t"}, true, op{"min.insync.replicas", opSet, str("2")}, true},
		{"topic falls back", Resource{ResourceTopic, "t"}, true, op{"min.insync.replicas", opDelete, nil}, true},
		{"all to 1", Resource{ResourceBroker, ""}, false, op{"min.insync.replicas", opSet, str("1")}, false},
		{"all to none", Resource{ResourceBroker, ""}, false, op{"min.insync.replicas", opDelete, nil}, false},
		{"all to 1 with its own", Resource{ResourceBroker, ""}, true, op{"min.insync.replicas", opSet, str("1")}, true},
		{"all to 3", Resource{ResourceBroker, ""}, false, op{"min.insync.replicas", opSet, str("3")}, true},
	} {
		k := newCluster(t, 3)
		k.alterOne(1, Resource{ResourceBroker, ""}, op{"min.insync.replicas", opSet, str("2")})
		k.mustCreate(assigned("t", []int32{1, 2, 3}))
		if c.own {
			k.alterOne(1, Resource{ResourceTopic, "t"}, op{"min.insync.replicas", opSet, str("3")})
		}
		k.fence(3)
		k.fence(2)
		if len(k.img().Partition("t", 0).ELR()) == 0 {
			t.Fatalf("%s: no ELR to begin with: %s", c.name, k.state("t", 0))
		}
		if got := k.alterOne(1, c.res, c.op); got.ErrorCode != 0 {
			t.Fatalf("%s: %s", c.name, deref(got.ErrorMessage))
		}
		if kept := len(k.img().Partition("t", 0).ELR()) > 0; kept != c.elr {
			t.Errorf("%s: %s", c.name, k.state("t", 0))
		}
		k.checkInvariants()
	}
}
