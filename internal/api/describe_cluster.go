package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster, key 60: the brokers, fenced ones on request, or the controllers
// (KIP-919).
var _ = register(Handler{
	Key:    kmsg.DescribeCluster,
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
	switch req.EndpointType {
	case brokerEndpoints:
	case controllerEndpoints:
		// Controllers are asked at their own listeners, which are no client doors.
		resp.ErrorCode = kerr.MismatchedEndpointType.Code
		resp.ErrorMessage = kmsg.StringPtr("The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
		r.Reply(resp)
		return
	default:
		resp.ErrorCode = kerr.UnsupportedEndpointType.Code
		resp.ErrorMessage = kmsg.StringPtr("Unsupported endpoint type")
		r.Reply(resp)
		return
	}
	img := s.Image()
	resp.ClusterID, resp.ControllerID = img.ClusterID(), s.NodeID
	for _, b := range img.Brokers() {
		if b.Fenced && !req.IncludeFencedBrokers {
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
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = s.clusterOperations(r)
	}
	r.Reply(resp)
}

// clusterOperations are the operations on the cluster, for those who may describe it.
func (s *Server) clusterOperations(r *Request) int32 {
	if !s.onCluster(r, kmsg.ACLOperationDescribe) {
		return 0
	}
	return s.operations(r, kmsg.ACLResourceTypeCluster, clusterName, clusterOperations)
}
