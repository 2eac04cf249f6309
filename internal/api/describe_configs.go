package api

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
)

// DescribeConfigs, key 32: the settings of topics, of this broker, of all brokers, of
// groups and of client metrics, with where each value comes from (KIP-226).
var _ = register(Handler{
	Key:   kmsg.DescribeConfigs,
	Doors: ClientDoor | ControllerDoor,
	Needs: []Need{
		{kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeTopic},
		{kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeGroup},
		{kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeCluster},
	},
	NotDone: "broker loggers",
	Handle:  handleDescribeConfigs,
})

func handleDescribeConfigs(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for i := range req.Resources {
		ask := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = ask.ResourceType, ask.ResourceName
		entries, code, why := s.describeResource(r, ask)
		out.ErrorMessage = metadata.Message(why) // empty where nothing is wrong, as with Kafka
		if code != nil {
			out.ErrorCode = code.Code
			resp.Resources = append(resp.Resources, out)
			continue
		}
		names := make(map[string]bool, len(ask.ConfigNames))
		for _, name := range ask.ConfigNames {
			names[name] = true
		}
		for j := range entries {
			e := &entries[j]
			if len(names) > 0 && !names[e.Name] {
				continue
			}
			out.Configs = append(out.Configs, describedConfig(e, req))
		}
		resp.Resources = append(resp.Resources, out)
		if !s.grow(r, configsMemory(&out)) {
			s.tooLarge(r)
			return
		}
	}
	r.Reply(resp)
}

// configsMemory is about how many bytes one resource of an answer takes, encoded ones
// included.
func configsMemory(out *kmsg.DescribeConfigsResponseResource) int64 {
	n := 256
	for i := range out.Configs {
		c := &out.Configs[i]
		n += 256 + 2*len(c.Name)
		if c.Value != nil {
			n += 2 * len(*c.Value)
		}
		if c.Documentation != nil {
			n += 2 * len(*c.Documentation)
		}
		for j := range c.ConfigSynonyms {
			n += 128 + 2*len(c.ConfigSynonyms[j].Name)
		}
	}
	return int64(n)
}

// describeResource gives the entries of one resource, or the error and its reason.
func (s *Server) describeResource(r *Request, ask *kmsg.DescribeConfigsRequestResource) ([]config.Entry, *kerr.Error, string) {
	name := ask.ResourceName
	if code := s.mayConfig(r, kmsg.ACLOperationDescribeConfigs, ask.ResourceType, name); code != nil {
		return nil, code, code.Description
	}
	img, cfg := s.Image(), s.Config()
	invalid := func(format string, args ...any) ([]config.Entry, *kerr.Error, string) {
		return nil, kerr.InvalidRequest, fmt.Sprintf(format, args...)
	}
	switch ask.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := metadata.CheckTopicName(name); err != nil {
			return nil, kerr.InvalidTopicException, err.Error()
		}
		if img.Topic(name) == nil {
			return nil, kerr.UnknownTopicOrPartition, ""
		}
		return cfg.DescribeTopic(img.Config(metadata.ResourceTopic, name)), nil, ""
	case kmsg.ConfigResourceTypeBroker:
		if name == "" {
			return cfg.DescribeBrokerDefaults(), nil, ""
		}
		if id, err := strconv.ParseInt(name, 10, 32); err != nil || int32(id) != s.NodeID {
			return invalid("broker %q was asked for; this is broker %d, and an empty name stands for all", name, s.NodeID)
		}
		return cfg.DescribeBroker(), nil, ""
	case kmsg.ConfigResourceTypeGroupConfig:
		if name == "" {
			return invalid("the group name is empty")
		}
		return cfg.DescribeGroup(img.Config(metadata.ResourceGroup, name)), nil, ""
	case kmsg.ConfigResourceTypeClientMetrics:
		if name == "" {
			return invalid("the name of the client metrics subscription is empty")
		}
		return cfg.DescribeClientMetrics(img.Config(metadata.ResourceClientMetrics, name)), nil, ""
	case kmsg.ConfigResourceTypeBrokerLogger:
		return invalid("the levels of broker loggers cannot be asked for or changed yet; leat.log.level sets the one there is, at the start")
	}
	return invalid("resource type %d cannot be described", ask.ResourceType)
}

func describedConfig(e *config.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly, out.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	out.Source, out.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	if req.IncludeSynonyms {
		for _, syn := range e.Synonyms {
			o := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			o.Name, o.Value, o.Source = syn.Name, syn.Value, kmsg.ConfigSource(syn.Source)
			out.ConfigSynonyms = append(out.ConfigSynonyms, o)
		}
	}
	if req.IncludeDocumentation {
		out.Documentation = kmsg.StringPtr(e.Doc)
	}
	return out
}
