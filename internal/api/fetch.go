package api

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/replica"
	"github.com/leat-stream/leat/internal/wire"
)

// Fetch, key 1: long poll, incremental sessions, topic ids, the nearest replica
// (KIP-392). Records leave as runs of segment files; everything around them is encoded
// here (package wire). Followers fetch by it too, with the cluster's own permission.
//
// Rooms: the session cache, replica (what there is, and waiting for it), log (where
// the bytes lie). The records are taken when the connection is ready to write.
var _ = register(Handler{
	Key: kmsg.Fetch, Early: true,
	Needs: []Need{
		{kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic},
		{kmsg.ACLOperationClusterAction, kmsg.ACLResourceTypeCluster}, // followers
	},
	Handle: handleFetch,
})

// Versions from which on a request has what it is named for.
const (
	fetchRack         = 11 // where the client is
	fetchByID         = 13 // topics by id
	fetchReplicaState = 15 // ReplicaState instead of ReplicaID
	fetchLeaders      = 16 // an answer that tells who leads (KIP-951)
)

var fetchEncoders = sync.Pool{New: func() any { return new(wire.FetchEncoder[*replica.Run]) }}

func handleFetch(s *Server, r *Request) {
	req := r.Msg.(*kmsg.FetchRequest)
	if r.Version < fetchReplicaState && req.ReplicaState.ID != replica.Consumer {
		s.refuse(r, "fetch: replica state", "a field of a later version")
		return
	}
	list := fetchParts(r.Version, req)
	limits := s.fetchLimits(r.Version, req)
	if list.follower = limits.Replica >= 0; !list.follower {
		limits.Reader = reader(r)
	}
	fc, err := s.sessions.context(list)
	if err != nil {
		s.answerFetchError(r, err)
		return
	}
	parts, refused := s.fetchable(r, fc)
	if refused != nil {
		limits.MaxWait = 0 // an error does not wait
	}
	fc.committed = limits.ReadCommitted
	op := s.Replicas.Fetch(parts, limits, func(op *replica.FetchOp) {
		r.ReplyRaw(func() Output {
			got := withRefused(op.Collect(), refused)
			s.fetchElsewhere(fc, got)
			return s.answerFetch(r, fc, got)
		})
	})
	r.OnCancel(op.Cancel)
}

// fetchLimits says who fetches and how much. Every negative replica id but a
// consumer's own is one of Kafka's debugging tools, which reads as a consumer.
func (s *Server) fetchLimits(version int16, req *kmsg.FetchRequest) replica.FetchLimits {
	l := replica.FetchLimits{
		Replica: replica.Consumer, ReplicaEpoch: -1,
		MinBytes:      req.MinBytes,
		MaxBytes:      min(req.MaxBytes, int32(s.Config().Int(config.FetchMaxBytes))),
		MaxWait:       time.Duration(req.MaxWaitMillis) * time.Millisecond,
		ReadCommitted: req.IsolationLevel == 1,
	}
	id := req.ReplicaID
	if version >= fetchReplicaState {
		id = req.ReplicaState.ID
	}
	switch {
	case id >= 0:
		l.Replica, l.ReadCommitted = id, false // it copies what there is
		l.Session = replica.FetchSession{ID: req.SessionID, Epoch: req.SessionEpoch}
		if version >= fetchReplicaState {
			l.ReplicaEpoch = req.ReplicaState.Epoch
		}
	case version >= fetchRack:
		l.Rack = req.Rack
	}
	return l
}

// reader tells consumers apart by where they are and what they call themselves.
func reader(r *Request) uint64 {
	return maphash.Comparable(readers, [2]string{hostOf(r.Conn.Remote), r.ClientID})
}

var readers = maphash.MakeSeed()

// fetchElsewhere tells of partitions that are not on this broker who leads them.
func (s *Server) fetchElsewhere(fc *fetchContext, got []replica.Fetched) {
	for i := range got {
		f := &got[i]
		stranger := f.Err == kerr.UnknownLeaderEpoch && fc.parts[i].LeaderEpoch < 0 // a broker that is no replica, and names no epoch
		if f.Err == kerr.UnknownTopicOrPartition || f.Err == kerr.UnknownTopicID || stranger {
			f.Err, f.Leadership = s.elsewhere(fc.parts[i].Ref, f.Err)
		}
	}
}

// fetchable lists the partitions that may be read; refused, nil when there are none,
// says why others may not. A topic that nobody knows is no secret: its error comes from
// the replicas.
func (s *Server) fetchable(r *Request, fc *fetchContext) (parts []replica.FetchPart, refused []*kerr.Error) {
	parts = make([]replica.FetchPart, 0, len(fc.parts))
	img := s.Image()
	member := !fc.follower || s.onCluster(r, kmsg.ACLOperationClusterAction)
	for i, p := range fc.parts {
		var err *kerr.Error
		switch {
		case !member:
			err = kerr.TopicAuthorizationFailed
		case s.Authorize != nil && !fc.follower:
			name := p.Ref.Topic
			if t := img.TopicByID(p.Ref.TopicID); name == "" && t != nil {
				name = t.Name
			}
			if name != "" && !s.Allowed(r, kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, name) {
				err = kerr.TopicAuthorizationFailed
			}
		}
		if err == nil {
			parts = append(parts, p.FetchPart)
			continue
		}
		if refused == nil {
			refused = make([]*kerr.Error, len(fc.parts))
		}
		refused[i] = err
	}
	return parts, refused
}

// withRefused puts what was not even looked at between the results.
func withRefused(got []replica.Fetched, refused []*kerr.Error) []replica.Fetched {
	if refused == nil {
		return got
	}
	all := make([]replica.Fetched, len(refused))
	for i, err := range refused {
		if err != nil {
			all[i] = replica.RefusedFetch(err)
			continue
		}
		all[i], got = got[0], got[1:]
	}
	return all
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
				LeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch, LogStart: p.LogStartOffset,
				NoRoom: replica.SaysNoRoom(p),
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
	if fc.follower {
		p.Own, p.OwnTag = f.Producers, replica.ProducersTag
	}
	if version >= fetchRack {
		p.PreferredReadReplica = f.PreferredReplica
	}
	if f.Diverging {
		p.DivergingEpoch, p.DivergingEndOffset = f.DivergingEpoch, f.DivergingEnd
	}
	for _, t := range f.Aborted {
		p.Aborted = append(p.Aborted, wire.AbortedTxn{ProducerID: t.ProducerID, FirstOffset: t.FirstOffset})
	}
	return p
}
