package api

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/replica"
)

// DescribeLogDirs, key 35: sizes of the log directory and of the partitions in it
// (KIP-113, KIP-827).
var _ = register(Handler{
	Key:    kmsg.DescribeLogDirs,
	Needs:  []Need{{kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeCluster}},
	Handle: handleDescribeLogDirs,
})

func handleDescribeLogDirs(s *Server, r *Request) {
	req := r.Msg.(*kmsg.DescribeLogDirsRequest)
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	if !s.onCluster(r, kmsg.ACLOperationDescribe) {
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		r.Reply(resp)
		return
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	usage, err := s.Replicas.Usage()
	dir.Dir = s.Replicas.Path()
	if err != nil || s.Replicas.Failed() != nil {
		dir.ErrorCode = kerr.KafkaStorageError.Code
	} else {
		dir.TotalBytes, dir.UsableBytes = clamp(usage.Total), clamp(usage.Free)
	}
	var names []string
	topics := map[string]*kmsg.DescribeLogDirsResponseDirTopic{}
	asked := s.askedPartitions(req)
	s.Replicas.Each(func(p *replica.Partition) {
		id := p.ID()
		if _, wanted := asked[p]; !wanted && req.Topics != nil {
			return
		}
		t := topics[id.Topic]
		if t == nil {
			fresh := kmsg.NewDescribeLogDirsResponseDirTopic()
			fresh.Topic = id.Topic
			t = &fresh
			topics[id.Topic] = t
			names = append(names, id.Topic)
		}
		out := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		out.Partition, out.Size = id.Partition, p.Log().Size()
		out.OffsetLag = max(0, p.HighWatermark()-p.Log().EndOffset())
		t.Partitions = append(t.Partitions, out)
	})
	slices.Sort(names)
	for _, name := range names {
		t := topics[name]
		slices.SortFunc(t.Partitions, func(a, b kmsg.DescribeLogDirsResponseDirTopicPartition) int {
			return int(a.Partition - b.Partition)
		})
		dir.Topics = append(dir.Topics, *t)
	}
	resp.Dirs = append(resp.Dirs, dir)
	r.Reply(resp)
}

// askedPartitions are those partitions of the request that are here.
func (s *Server) askedPartitions(req *kmsg.DescribeLogDirsRequest) map[*replica.Partition]struct{} {
	asked := map[*replica.Partition]struct{}{}
	for i := range req.Topics {
		for _, index := range req.Topics[i].Partitions {
			if p, err := s.Replicas.Find(replica.Ref{Topic: req.Topics[i].Topic, Index: index}); err == nil {
				asked[p] = struct{}{}
			}
		}
	}
	return asked
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
