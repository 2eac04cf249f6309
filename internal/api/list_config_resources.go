package api

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// ListConfigResources, key 74: the names of what has configs (KIP-1142); version 0
// knows client metrics only.
var _ = register(Handler{
	Key:    kmsg.ListConfigResources,
	Needs:  []Need{{kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeCluster}},
	Handle: handleListConfigResources,
})

// listedResources are the types that exist, in the order in which they are answered.
var listedResources = []int8{
	metadata.ResourceGroup, metadata.ResourceClientMetrics, metadata.ResourceBrokerLogger,
	metadata.ResourceBroker, metadata.ResourceTopic,
}

func handleListConfigResources(s *Server, r *Request) {
	req := r.Msg.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewPtrListConfigResourcesResponse()
	types := req.ResourceTypes
	switch {
	case r.Version == 0:
		types = []int8{metadata.ResourceClientMetrics}
	case len(types) == 0:
		types = listedResources
	}
	if !s.onCluster(r, kmsg.ACLOperationDescribeConfigs) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		r.Reply(resp)
		return
	}
	for _, t := range types {
		if !slices.Contains(listedResources, t) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			r.Reply(resp)
			return
		}
	}
	for _, t := range listedResources {
		if !slices.Contains(types, t) {
			continue
		}
		for _, name := range s.configured(t) {
			c := kmsg.NewListConfigResourcesResponseConfigResource()
			c.Name, c.Type = name, t
			resp.ConfigResources = append(resp.ConfigResources, c)
		}
	}
	r.Reply(resp)
}

// configured lists the resources of a type: every topic and broker has settings,
// groups and client metrics are named once they were given some.
func (s *Server) configured(t int8) (names []string) {
	img := s.Image()
	switch t {
	case metadata.ResourceTopic:
		for topic := range img.Topics() {
			names = append(names, topic.Name)
		}
	case metadata.ResourceBroker, metadata.ResourceBrokerLogger:
		for _, b := range img.Brokers() {
			names = append(names, strconv.Itoa(int(b.ID)))
		}
	default:
		for name := range img.ConfigResources(t) {
			names = append(names, name)
		}
	}
	return names
}
