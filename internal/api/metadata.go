package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/metadata"
)

// Metadata, key 3: brokers, and topics by name or id. A named topic that does not
// exist is created when both the client and auto.create.topics.enable allow it; the
// answer then waits for the creation, so that first use needs no retry.
var _ = register(Handler{
	Key:   kmsg.Metadata,
	Early: true,
	Needs: []Need{
		{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic},
		{kmsg.ACLOperationCreate, kmsg.ACLResourceTypeCluster}, {kmsg.ACLOperationCreate, kmsg.ACLResourceTypeTopic},
		{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster}, // its operations, not its brokers
	},
	Handle: handleMetadata,
})

const (
	// metadataListeners is the first version that tells a leader without the listener
	// from none.
	metadataListeners = 6
	// metadataByID is the first version that finds topics by id. (Versions 10 and 11 have
	// the field, and Kafka refuses it.)
	metadataByID = 12
)

func handleMetadata(s *Server, r *Request) {
	req := r.Msg.(*kmsg.MetadataRequest)
	for i := range req.Topics {
		t := &req.Topics[i]
		if byID := t.TopicID != [16]byte{}; (byID && r.Version < metadataByID) || (!byID && t.Topic == nil) {
			r.Reply(metadataRefused(req, kerr.InvalidRequest))
			return
		}
	}
	req.Topics = onceEach(req.Topics)
	missing, failed := s.toCreate(r, req)
	if len(missing) == 0 {
		r.ReplyLater(func() kmsg.Response { return s.metadata(r, req, failed) })
		return
	}
	if !s.grow(r, int64(len(missing))*newTopicMemory) {
		s.tooLarge(r)
		return
	}
	s.submit(r, &metadata.AutoCreateTopics{Context: s.context(r), Names: missing}, func(body any, err error) {
		if err != nil { // the client is told that there is no such topic, and asks again
			s.Complaints.Warn("topics by first use", "topics not created by their first use", "topics", len(missing), "why", err)
		}
		if created, ok := body.(*kmsg.CreateTopicsResponse); ok && err == nil {
			for _, t := range created.Topics {
				if e := kerr.TypedErrorForCode(t.ErrorCode); e != nil && e != kerr.TopicAlreadyExists {
					failed[t.Topic] = e
				}
			}
		}
		r.ReplyLater(func() kmsg.Response { return s.metadata(r, req, failed) })
	})
}

// toCreate lists the topics that the request brings into being, and says why others
// are not made.
func (s *Server) toCreate(r *Request, req *kmsg.MetadataRequest) (missing []string, failed map[string]*kerr.Error) {
	failed = map[string]*kerr.Error{}
	if !s.Config().Bool(config.AutoCreateTopicsEnable) || (r.Version >= 4 && !req.AllowAutoTopicCreation) {
		return nil, failed
	}
	img := s.Image()
	for i := range req.Topics {
		name := req.Topics[i].Topic
		if name == nil || img.Topic(*name) != nil || metadata.CheckTopicName(*name) != nil {
			continue
		}
		switch {
		case !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, *name): // is not even told that it is missing
		case s.mayCreate(r, *name):
			missing = append(missing, *name)
		default:
			failed[*name] = kerr.TopicAuthorizationFailed
		}
	}
	return missing, failed
}

// onceEach drops topics that are asked for a second time.
func onceEach(asked []kmsg.MetadataRequestTopic) []kmsg.MetadataRequestTopic {
	if len(asked) < 2 {
		return asked
	}
	type topic struct {
		id   [16]byte
		name string
	}
	seen := make(map[topic]bool, len(asked))
	return slices.DeleteFunc(asked, func(t kmsg.MetadataRequestTopic) bool {
		key := topic{id: t.TopicID}
		if t.Topic != nil {
			key.name = *t.Topic
		}
		again := seen[key]
		seen[key] = true
		return again
	})
}

// metadataRefused answers a request as a whole with one error: its topics, and
// nothing of the cluster.
func metadataRefused(req *kmsg.MetadataRequest, code *kerr.Error) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ErrorCode = code.Code
	for i := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.Topic, t.TopicID = code.Code, req.Topics[i].Topic, req.Topics[i].TopicID
		if t.Topic == nil {
			t.Topic = kmsg.StringPtr("")
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// metadataBase is an answer without topics.
func (s *Server) metadataBase(r *Request) *kmsg.MetadataResponse {
	img := s.Image()
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID = kmsg.StringPtr(img.ClusterID())
	resp.ControllerID = s.controllerID(img)
	for _, b := range img.Brokers() {
		host, port, ok := s.Endpoint(r.Conn, b)
		if !ok || b.Fenced {
			continue
		}
		mb := kmsg.NewMetadataResponseBroker()
		mb.NodeID, mb.Host, mb.Port, mb.Rack = b.ID, host, port, b.Rack
		resp.Brokers = append(resp.Brokers, mb)
	}
	return resp
}

// metadata answers from the committed image; failed holds topics whose creation failed.
func (s *Server) metadata(r *Request, req *kmsg.MetadataRequest, failed map[string]*kerr.Error) *kmsg.MetadataResponse {
	resp := s.metadataBase(r)
	img := s.Image()
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = s.clusterOperations(r)
	}
	if req.Topics == nil || (r.Version == 0 && len(req.Topics) == 0) {
		for t := range img.Topics() {
			if s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Name) {
				resp.Topics = append(resp.Topics, s.metadataTopic(r, img, t, req.IncludeTopicAuthorizedOperations))
			}
		}
		return resp
	}
	for i := range req.Topics {
		resp.Topics = append(resp.Topics, s.metadataAsked(r, img, &req.Topics[i], failed, req.IncludeTopicAuthorizedOperations))
	}
	return resp
}

// metadataAsked answers one topic of the request.
func (s *Server) metadataAsked(r *Request, img *metadata.Image, ask *kmsg.MetadataRequestTopic, failed map[string]*kerr.Error, ops bool) kmsg.MetadataResponseTopic {
	none := kmsg.NewMetadataResponseTopic()
	none.Topic, none.TopicID = ask.Topic, ask.TopicID
	var t *metadata.Topic
	if ask.TopicID != [16]byte{} || ask.Topic == nil {
		none.Topic = nil
		if t = img.TopicByID(ask.TopicID); t == nil {
			none.ErrorCode = kerr.UnknownTopicID.Code
			return none
		}
	} else if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, *ask.Topic) {
		none.ErrorCode = kerr.TopicAuthorizationFailed.Code // whether it exists or not
		return none
	} else if t = img.Topic(*ask.Topic); t == nil {
		switch e := failed[*ask.Topic]; {
		case e != nil:
			none.ErrorCode = e.Code
		case metadata.CheckTopicName(*ask.Topic) != nil:
			none.ErrorCode = kerr.InvalidTopicException.Code
		default:
			none.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		return none
	}
	if !s.Allowed(r, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, t.Name) {
		none.ErrorCode = kerr.TopicAuthorizationFailed.Code
		return none
	}
	return s.metadataTopic(r, img, t, ops)
}

func (s *Server) metadataTopic(r *Request, img *metadata.Image, t *metadata.Topic, ops bool) kmsg.MetadataResponseTopic {
	mt := kmsg.NewMetadataResponseTopic()
	mt.Topic, mt.TopicID, mt.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Internal()
	if ops {
		mt.AuthorizedOperations = s.operations(r, kmsg.ACLResourceTypeTopic, t.Name, topicOperations)
	}
	mt.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, len(t.Partitions))
	for _, p := range t.Partitions {
		mp := kmsg.NewMetadataResponseTopicPartition()
		mp.Partition, mp.LeaderEpoch, mp.Replicas, mp.ISR = p.Index, p.LeaderEpoch, p.Replicas, p.ISR
		var err *kerr.Error
		if mp.Leader, err = s.visibleLeader(r, img, p); err != nil {
			mp.ErrorCode = err.Code
			if r.Version < metadataListeners {
				mp.ErrorCode = kerr.LeaderNotAvailable.Code
			}
		}
		mp.OfflineReplicas = offlineReplicas(img, p)
		mt.Partitions = append(mt.Partitions, mp)
	}
	return mt
}

// visibleLeader is the leader that a client may be sent to; -1 and why, when there is
// none, or it has no listener of the name that the client came by.
func (s *Server) visibleLeader(r *Request, img *metadata.Image, p *metadata.Partition) (int32, *kerr.Error) {
	if p.Leader < 0 || !alive(img, p.Leader) {
		return metadata.NoLeader, kerr.LeaderNotAvailable
	}
	if p.Leader != s.NodeID {
		if _, _, ok := s.Endpoint(r.Conn, img.Broker(p.Leader)); !ok {
			return metadata.NoLeader, kerr.ListenerNotFound
		}
	}
	return p.Leader, nil
}

// alive says whether a broker serves. One that is shutting down still does.
func alive(img *metadata.Image, id int32) bool {
	b := img.Broker(id)
	return b != nil && !b.Fenced
}

// offlineReplicas are the replicas whose broker, or whose log directory, is gone.
func offlineReplicas(img *metadata.Image, p *metadata.Partition) (ids []int32) {
	for _, id := range p.Replicas {
		if !alive(img, id) || !img.Broker(id).HasDirectory(p.Directory(id)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// The operations that exist for a resource (KIP-430).
var (
	clusterOperations = []kmsg.ACLOperation{kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe,
		kmsg.ACLOperationClusterAction, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite}
	topicOperations = []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
		kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs}
)
