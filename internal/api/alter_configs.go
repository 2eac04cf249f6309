package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs, key 33, replaces all configs of a resource; IncrementalAlterConfigs,
// key 44, changes single ones (KIP-339). Both are decided by the controller.
var (
	_ = register(Handler{
		Key:   kmsg.AlterConfigs,
		Doors: ClientDoor | ControllerDoor, Forward: true,
		Needs: []Need{
			{kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeTopic},
			{kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeGroup},
			{kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeCluster},
		},
		Handle: handleAlterConfigs,
	})
	_ = register(Handler{
		Key:   kmsg.IncrementalAlterConfigs,
		Doors: ClientDoor | ControllerDoor, Forward: true,
		Needs: []Need{
			{kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeTopic},
			{kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeGroup},
			{kmsg.ACLOperationAlterConfigs, kmsg.ACLResourceTypeCluster},
		},
		NotDone: "broker loggers",
		Handle:  handleIncrementalAlterConfigs,
	})
)

// mayConfig says whether the principal may do op on a config resource; nil is yes.
func (s *Server) mayConfig(r *Request, op kmsg.ACLOperation, t kmsg.ConfigResourceType, name string) *kerr.Error {
	switch t {
	case kmsg.ConfigResourceTypeTopic:
		if !s.Allowed(r, op, kmsg.ACLResourceTypeTopic, name) {
			return kerr.TopicAuthorizationFailed
		}
	case kmsg.ConfigResourceTypeGroupConfig:
		if !s.Allowed(r, op, kmsg.ACLResourceTypeGroup, name) {
			return kerr.GroupAuthorizationFailed
		}
	default:
		if !s.onCluster(r, op) {
			return kerr.ClusterAuthorizationFailed
		}
	}
	return nil
}

func handleAlterConfigs(s *Server, r *Request) {
	req := r.Msg.(*kmsg.AlterConfigsRequest)
	failed := func(res *kmsg.AlterConfigsRequestResource, code *kerr.Error) kmsg.AlterConfigsResponseResource {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = res.ResourceType, res.ResourceName
		out.ErrorCode, out.ErrorMessage = code.Code, kmsg.StringPtr(code.Description)
		return out
	}
	var denied []kmsg.AlterConfigsResponseResource
	allowed, asked := req.Resources[:0:0], req.Resources
	for i := range req.Resources {
		res := &req.Resources[i]
		if code := s.mayConfig(r, kmsg.ACLOperationAlterConfigs, res.ResourceType, res.ResourceName); code != nil {
			denied = append(denied, failed(res, code))
			continue
		}
		allowed = append(allowed, *res)
	}
	req.Resources = allowed
	s.forwardThen(r, req, func(resp kmsg.Response) kmsg.Response {
		done := resp.(*kmsg.AlterConfigsResponse)
		done.Resources = append(done.Resources, denied...)
		return done
	}, func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrAlterConfigsResponse()
		for i := range asked {
			resp.Resources = append(resp.Resources, failed(&asked[i], code))
		}
		return resp
	})
}

func handleIncrementalAlterConfigs(s *Server, r *Request) {
	req := r.Msg.(*kmsg.IncrementalAlterConfigsRequest)
	failed := func(res *kmsg.IncrementalAlterConfigsRequestResource, code *kerr.Error) kmsg.IncrementalAlterConfigsResponseResource {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = res.ResourceType, res.ResourceName
		out.ErrorCode, out.ErrorMessage = code.Code, kmsg.StringPtr(code.Description)
		return out
	}
	var denied []kmsg.IncrementalAlterConfigsResponseResource
	allowed, asked := req.Resources[:0:0], req.Resources
	for i := range req.Resources {
		res := &req.Resources[i]
		if code := s.mayConfig(r, kmsg.ACLOperationAlterConfigs, res.ResourceType, res.ResourceName); code != nil {
			denied = append(denied, failed(res, code))
			continue
		}
		allowed = append(allowed, *res)
	}
	req.Resources = allowed
	s.forwardThen(r, req, func(resp kmsg.Response) kmsg.Response {
		done := resp.(*kmsg.IncrementalAlterConfigsResponse)
		done.Resources = append(done.Resources, denied...)
		return done
	}, func(code *kerr.Error) kmsg.Response {
		resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
		for i := range asked {
			resp.Resources = append(resp.Resources, failed(&asked[i], code))
		}
		return resp
	})
}
