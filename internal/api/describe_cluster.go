package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/metadata"
)

// DescribeCluster, key 60: the brokers, fenced ones on request, or the controllers
// (KIP-919).
var _ = register(Handler{
	Key:    kmsg.DescribeCluster,
	Doors:  ClientDoor | ControllerDoor,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster}},
	Handle: handleDescribeCluster,
})

// Endpoint types of DescribeCluster.
const (
	brokerEndpoints     int8 = 1
	controllerEndpoints int8 = 2
)

func handleDescribeCluster(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	mine, name := brokerEndpoints, "BROKER"
	if r.Conn.Controller {
		mine, name = controllerEndpoints, "CONTROLLER"
	}
	refused := func(code *kerr.Error, why string) {
		resp.ErrorCode, resp.ErrorMessage = code.Code, kmsg.StringPtr(why)
		r.Reply(resp)
	}
	switch {
	case req.EndpointType != brokerEndpoints && req.EndpointType != controllerEndpoints:
		refused(kerr.UnsupportedEndpointType, "Unsupported endpoint type")
		return
	case req.EndpointType != mine:
		other := map[int8]string{brokerEndpoints: "BROKER", controllerEndpoints: "CONTROLLER"}[req.EndpointType]
		refused(kerr.MismatchedEndpointType, "The request was sent to an endpoint of type "+name+", but we wanted an endpoint of type "+other)
		return
	}
	img := s.Image()
	resp.ClusterID = img.ClusterID()
	if r.Conn.Controller {
		s.describeControllers(resp)
	} else {
		s.describeBrokers(r, img, req.IncludeFencedBrokers, resp)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = s.clusterOperations(r)
	}
	r.Reply(resp)
}

func (s *Server) describeBrokers(r *Request, img *metadata.Image, fenced bool, resp *kmsg.DescribeClusterResponse) {
	resp.ControllerID = s.controllerID(img)
	for _, b := range img.Brokers() {
		if b.Fenced && !fenced {
			continue
		}
		host, port, ok := s.Endpoint(r.Conn, b)
		if !ok {
			continue
		}
		out := kmsg.NewDescribeClusterResponseBroker()
		out.NodeID, out.Host, out.Port, out.Rack, out.IsFenced = b.ID, host, port, b.Rack, b.Fenced
		resp.Brokers = append(resp.Brokers, out)
	}
}

// describeControllers lists the voters of the metadata quorum, and its leader.
func (s *Server) describeControllers(resp *kmsg.DescribeClusterResponse) {
	resp.EndpointType, resp.ControllerID = controllerEndpoints, -1
	if s.Quorum == nil {
		return
	}
	state, _ := s.Quorum.Describe()
	resp.ControllerID = state.Leader
	for _, m := range state.Voters {
		host, port, ok := splitAddress(m.Address)
		if !ok {
			continue
		}
		out := kmsg.NewDescribeClusterResponseBroker()
		out.NodeID, out.Host, out.Port = m.NodeID, host, int32(port)
		resp.Brokers = append(resp.Brokers, out)
	}
}

// controllerID is the broker that clients are to send requests for the controller to.
// Every broker takes them: it is this one, unless that is fenced and so no broker that
// clients know of.
func (s *Server) controllerID(img *metadata.Image) int32 {
	if alive(img, s.NodeID) {
		return s.NodeID
	}
	for _, b := range img.Brokers() {
		if !b.Fenced {
			return b.ID
		}
	}
	return -1
}

// clusterOperations are the operations on the cluster, for those who may describe it.
func (s *Server) clusterOperations(r *Request) int32 {
	if !s.onCluster(r, kmsg.ACLOperationDescribe) {
		return 0
	}
	return s.operations(r, kmsg.ACLResourceTypeCluster, clusterName, clusterOperations)
}
