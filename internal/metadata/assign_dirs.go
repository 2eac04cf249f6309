package metadata

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/schema"
)

// maxAssignments bounds the replicas of one AssignReplicasToDirs (Kafka's limit).
const maxAssignments = 2250

// assignDirs answers AssignReplicasToDirs (version 0; KIP-858): a broker with
// several log directories says where its replicas are.
func (c *Controller) assignDirs(req *kmsg.AssignReplicasToDirsRequest) outcome {
	resp := req.ResponseKind().(*kmsg.AssignReplicasToDirsResponse)
	b, err := c.checkEpoch(req.BrokerID, req.BrokerEpoch)
	total := 0
	for _, d := range req.Directories {
		for _, t := range d.Topics {
			total += len(t.Partitions)
		}
	}
	if err == nil && total > maxAssignments {
		err = refuse(kerr.InvalidRequest, "%d assignments; at most %d are allowed.", total, maxAssignments)
	}
	if err != nil {
		resp.ErrorCode, _ = code(err)
		return outcome{body: resp}
	}
	var recs []schema.Record
	seen := map[TopicPartition]bool{}
	for _, d := range req.Directories {
		outDir := kmsg.NewAssignReplicasToDirsResponseDirectory()
		outDir.ID = d.ID
		for _, t := range d.Topics {
			outTopic := kmsg.NewAssignReplicasToDirsResponseDirectoryTopic()
			outTopic.TopicID = t.TopicID
			for _, ask := range t.Partitions {
				out := kmsg.NewAssignReplicasToDirsResponseDirectoryTopicPartition()
				out.Partition = ask.Partition
				tp := TopicPartition{t.TopicID, ask.Partition}
				rec, err := c.assignDir(b, d.ID, tp)
				if seen[tp] {
					rec, err = nil, refuse(kerr.InvalidRequest, "The partition appears twice.")
				}
				seen[tp] = true
				if rec != nil {
					recs = append(recs, rec)
				}
				out.ErrorCode, _ = code(err)
				outTopic.Partitions = append(outTopic.Partitions, out)
			}
			outDir.Topics = append(outDir.Topics, outTopic)
		}
		resp.Directories = append(resp.Directories, outDir)
	}
	return outcome{body: resp, recs: recs}
}

func (c *Controller) assignDir(b *Broker, dir [16]byte, tp TopicPartition) (schema.Record, error) {
	t := c.View().TopicByID(tp.TopicID)
	p := t.Partition(tp.Partition)
	switch {
	case t == nil:
		return nil, refuse(kerr.UnknownTopicID, "")
	case p == nil:
		return nil, refuse(kerr.UnknownTopicOrPartition, "")
	case !slices.Contains(p.Replicas, b.ID):
		return nil, refuse(kerr.NotLeaderForPartition, "")
	case !slices.Contains(b.Directories, dir):
		return nil, refuse(kerr.InvalidRequest, "The directory %s is not online.", UUIDString(dir))
	case p.Directory(b.ID) == dir:
		return nil, nil
	case !b.HasDirectory(p.Directory(b.ID)) && p.counted(b.ID):
		// What it is trusted with was in the directory that is not there.
		return nil, refuse(kerr.InvalidRequest, "The directory %s that the replica counts in is not online.", UUIDString(p.Directory(b.ID)))
	}
	r := schema.NewPartitionChange()
	r.TopicID, r.Index, r.Directories = tp.TopicID, tp.Partition, make([][16]byte, len(p.Replicas))
	copy(r.Directories, p.Directories)
	r.Directories[slices.Index(p.Replicas, b.ID)] = dir
	return r, nil
}
