package group

import (
	"math"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/mutant"
)

// commitGroupNotFound is the version from which a commit by a member to a group that
// does not exist is answered with GROUP_ID_NOT_FOUND (KIP-848).
const commitGroupNotFound = 9

// commitOffsets writes the offsets of a member, or of somebody without membership to
// a group without members.
func (t *turn) commitOffsets(r CommitOffsets) {
	req := r.Req
	g := t.groups[req.Group]
	code := t.validateCommit(g, r)
	if code == 0 && g != nil {
		if m := g.members.get(req.MemberID); m != nil {
			t.arm(g, m)
		}
	}
	resp := t.commitAll(r, code)
	if code == 0 && t.bytes+batchOverhead > t.opts.MaxBatchBytes {
		t.out.Records, t.bytes = nil, 0
		resp = t.commitAll(r, codeInvalidCommitSize)
	}
	t.reply(t.token, resp)
}

// commitAll writes every offset and makes the answer; with a code it writes nothing
// and answers that throughout.
func (t *turn) commitAll(r CommitOffsets, code int16) *kmsg.OffsetCommitResponse {
	resp := kmsg.NewPtrOffsetCommitResponse()
	for _, topic := range r.Req.Topics {
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic, out.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			outp := kmsg.NewOffsetCommitResponseTopicPartition()
			outp.Partition, outp.ErrorCode = p.Partition, code
			metadata := ""
			if p.Metadata != nil {
				metadata = *p.Metadata
			}
			switch {
			case code != 0:
			case longer(metadata, t.opts.OffsetMetadataMax):
				outp.ErrorCode = codeMetadataTooLarge
			default:
				c := committed{
					offset: p.Offset, leaderEpoch: max(p.LeaderEpoch, -1), metadata: metadata,
					commitTime: t.ms(), expireTime: -1, topicID: topic.TopicID,
				}
				if keep := r.Req.RetentionTimeMillis; keep != -1 {
					c.expireTime = c.commitTime + min(max(keep, 0), math.MaxInt64-c.commitTime)
				}
				t.write(offsetRecord(r.Req.Group, topic.Topic, p.Partition, c))
			}
			out.Partitions = append(out.Partitions, outp)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// validateCommit says whether the request may commit to the group.
func (t *turn) validateCommit(g *group, r CommitOffsets) int16 {
	req := r.Req
	if g == nil {
		switch {
		case req.Generation < 0:
			return 0 // it makes a group of offsets only
		case r.Version >= commitGroupNotFound:
			return codeGroupNotFound
		default:
			return codeIllegalGeneration
		}
	}
	if req.Generation < 0 && g.state == empty {
		return 0
	}
	if req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil {
		return codeUnknownMember
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != 0 {
		return code
	}
	if req.Generation != g.generation && !mutant.On("group/any-generation") {
		return codeIllegalGeneration
	}
	if g.state == completing {
		return codeRebalanceInProgress
	}
	return 0
}

// longer says whether s has more than limit UTF-16 units.
func longer(s string, limit int) bool {
	if len(s) <= limit {
		return false // a unit takes at least a byte
	}
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n > limit
}
