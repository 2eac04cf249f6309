package api

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/replica"
	"github.com/leat-stream/leat/internal/wire"
)

// Fetch, key 1: long poll, incremental sessions, topic ids. Records leave as runs of
// segment files; everything around them is encoded here (package wire).
//
// Rooms: the session cache, replica (what there is, and waiting for it), log (where
// the bytes lie). The records are taken when the connection is ready to write.
var _ = register(Handler{
	Key: kmsg.Fetch, Early: true,
	Needs:   []Need{{kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic}},
	NotDone: "followers (replication) and preferred read replicas come with the cluster",
	Handle:  handleFetch,
})

// Versions from which on a request has what it is named for.
const (
	fetchByID         = 13 // topics by id
	fetchReplicaState = 15 // ReplicaState instead of ReplicaID
	fetchLeaders      = 16 // an answer that tells who leads (KIP-951)
)

// noReplica is the replica id of a consumer.
const noReplica = -1

var fetchEncoders = sync.Pool{New: func() any { return new(wire.FetchEncoder[*replica.Run]) }}

func handleFetch(s *Server, r *Request) {
	req := r.Msg.(*kmsg.FetchRequest)
	if r.Version < fetchReplicaState && req.ReplicaState.ID != noReplica {
		s.refuse(r, "fetch: replica state", "a field of a later version")
		return
	}
	list := fetchParts(r.Version, req)
	if req.ReplicaID >= 0 || req.ReplicaState.ID >= 0 {
		s.refuseFollower(r, list)
		return
	}
	fc, err := s.sessions.context(list)
	if err != nil {
		s.answerFetchError(r, err)
		return
	}
	limits := replica.FetchLimits{
		Replica:       replica.Consumer,
		MinBytes:      req.MinBytes,
		MaxBytes:      min(req.MaxBytes, int32(s.Config().Int(config.FetchMaxBytes))),
		MaxWait:       time.Duration(req.MaxWaitMillis) * time.Millisecond,
		ReadCommitted: req.IsolationLevel == 1,
	}
	parts, denied := s.fetchable(r, fc)
	if denied != nil {
		limits.MaxWait = 0 // an error does not wait
	}
	fc.committed = limits.ReadCommitted
	op := s.Replicas.Fetch(parts, limits, func(op *replica.FetchOp) {
		r.ReplyRaw(func() Output { return s.answerFetch(r, fc, withDenied(op.Collect(), denied)) })
	})
	r.OnCancel(op.Cancel)
}

// fetchable lists the partitions that the principal may read; denied, nil when there
// are none, says which of the context's it may not. A topic that nobody knows is no
// secret: its error comes from the replicas.
func (s *Server) fetchable(r *Request, fc *fetchContext) (parts []replica.FetchPart, denied []bool) {
	parts = make([]replica.FetchPart, 0, len(fc.parts))
	img := s.Image()
	for i, p := range fc.parts {
		if s.Authorize != nil {
			name := p.Ref.Topic
			if t := img.TopicByID(p.Ref.TopicID); name == "" && t != nil {
				name = t.Name
			}
			if name != "" && !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, name) {
				if denied == nil {
					denied = make([]bool, len(fc.parts))
				}
				denied[i] = true
				continue
			}
		}
		parts = append(parts, p.FetchPart)
	}
	return parts, denied
}

// withDenied puts what was not even looked at between the results.
func withDenied(got []replica.Fetched, denied []bool) []replica.Fetched {
	if denied == nil {
		return got
	}
	all := make([]replica.Fetched, len(denied))
	for i := range all {
		if denied[i] {
			all[i] = replica.RefusedFetch(kerr.TopicAuthorizationFailed)
			continue
		}
		all[i], got = got[0], got[1:]
	}
	return all
}

// refuseFollower answers a fetch of another broker: none belongs to this cluster, so
// that nobody may fetch as a replica.
func (s *Server) refuseFollower(r *Request, list fetchList) {
	fc := &fetchContext{parts: onceEachPart(list.parts), follower: true}
	r.ReplyRaw(func() Output {
		got := make([]replica.Fetched, len(fc.parts))
		for i, ask := range fc.parts {
			f := &got[i]
			*f = replica.RefusedFetch(nil)
			var p *replica.Partition
			if p, f.Err = s.Replicas.Find(ask.Ref); f.Err == nil {
				f.Err, f.Leadership = kerr.NotLeaderForPartition, p.Leadership()
			}
		}
		return s.answerFetch(r, fc, got)
	})
}

// fetchParts reads a request as a list of partitions.
func fetchParts(version int16, req *kmsg.FetchRequest) fetchList {
	l := fetchList{sessionID: req.SessionID, epoch: req.SessionEpoch, usesIDs: version >= fetchByID}
	if version < 7 {
		l.sessionID, l.epoch = 0, finalEpoch
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			l.parts = append(l.parts, &sessionPart{FetchPart: replica.FetchPart{
				Ref:    fetchRef(version, t.Topic, t.TopicID, p.Partition),
				Offset: p.FetchOffset, MaxBytes: p.PartitionMaxBytes,
				LeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
			}})
		}
	}
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, index := range t.Partitions {
			l.forgotten = append(l.forgotten, fetchRef(version, t.Topic, t.TopicID, index))
		}
	}
	return l
}

func fetchRef(version int16, topic string, id [16]byte, index int32) replica.Ref {
	if version >= fetchByID {
		return replica.Ref{TopicID: id, Index: index}
	}
	return replica.Ref{Topic: topic, Index: index}
}

// answerFetchError answers with an error of the whole request.
func (s *Server) answerFetchError(r *Request, code *kerr.Error) {
	resp := kmsg.NewPtrFetchResponse()
	resp.ErrorCode = code.Code
	r.Reply(resp)
}

// answerFetch encodes what was read. The runs are released once they are written.
func (s *Server) answerFetch(r *Request, fc *fetchContext, got []replica.Fetched) Output {
	carry := fc.news(got)
	e := fetchEncoders.Get().(*wire.FetchEncoder[*replica.Run])
	// Neighbours of one topic share an entry, as the request had them.
	var groups [][]int
	for i := range got {
		if !carry[i] {
			got[i].Release()
			continue
		}
		if n := len(groups); n > 0 && sameTopic(fc.parts[groups[n-1][0]], fc.parts[i]) {
			groups[n-1] = append(groups[n-1], i)
			continue
		}
		groups = append(groups, []int{i})
	}
	e.Begin(r.Version, r.CorrelationID, 0, 0, fc.id(), len(groups))
	var moved []int32
	for _, g := range groups {
		ref := fc.parts[g[0]].Ref
		e.Topic(ref.Topic, ref.TopicID, len(g))
		for _, i := range g {
			f := &got[i]
			meta := fetchPartition(r.Version, fc, fc.parts[i].Ref.Index, f)
			size := 0
			if f.Run != nil {
				size = f.Run.Len()
			}
			if meta.LeaderID >= 0 && !fc.follower {
				moved = append(moved, meta.LeaderID)
			}
			e.Partition(&meta, f.Run, size)
		}
	}
	pieces := e.End(s.fetchBrokers(r, moved))
	out := Output{Pieces: make([]Piece, len(pieces)), Release: func() {
		for i := range got {
			got[i].Release()
		}
		e.Release()
		fetchEncoders.Put(e)
	}}
	for i, p := range pieces {
		out.Pieces[i].Bytes = p.Bytes
		if p.Len > 0 {
			out.Pieces[i].Run = p.Run
		}
	}
	return out
}

// noneAborted is a list of aborted transactions that is there, and empty.
var noneAborted = []wire.AbortedTxn{}

func sameTopic(a, b *sessionPart) bool {
	return a.Ref.Topic == b.Ref.Topic && a.Ref.TopicID == b.Ref.TopicID
}

func (s *Server) fetchBrokers(r *Request, ids []int32) []kmsg.FetchResponseBroker {
	var all []kmsg.FetchResponseBroker
	for _, e := range s.endpoints(r, ids) {
		b := kmsg.NewFetchResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = e.id, e.host, e.port, e.rack
		all = append(all, b)
	}
	return all
}

func fetchPartition(version int16, fc *fetchContext, index int32, f *replica.Fetched) wire.FetchPartition {
	p := wire.NewFetchPartition(index)
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = f.HighWatermark, f.LastStable, f.LogStart
	if fc.committed && f.Err == nil {
		p.Aborted = noneAborted
	}
	if f.Err != nil {
		p.Code = f.Err.Code
		switch f.Err {
		case kerr.UnknownTopicOrPartition, kerr.UnknownTopicID:
			p.Aborted = noneAborted // as with Kafka, where no partition was asked
			if version < fetchByID {
				p.Code = kerr.UnknownTopicOrPartition.Code // also of an empty name
			}
		}
		if version >= fetchLeaders && (f.Err == kerr.NotLeaderForPartition || f.Err == kerr.FencedLeaderEpoch) {
			p.LeaderID, p.LeaderEpoch = f.Leadership.Leader, f.Leadership.LeaderEpoch
		}
	}
	if f.Diverging {
		p.DivergingEpoch, p.DivergingEndOffset = f.DivergingEpoch, f.DivergingEnd
	}
	for _, t := range f.Aborted {
		p.Aborted = append(p.Aborted, wire.AbortedTxn{ProducerID: t.ProducerID, FirstOffset: t.FirstOffset})
	}
	return p
}
