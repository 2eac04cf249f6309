package group

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// show tells an answer in one line.
func show(body any) string {
	switch r := body.(type) {
	case *kmsg.JoinGroupResponse:
		if r.ErrorCode != 0 {
			return fmt.Sprintf("join %s member=%q", errorName(r.ErrorCode), r.MemberID)
		}
		s := fmt.Sprintf("join generation=%d member=%s leader=%s type=%s protocol=%s", r.Generation, r.MemberID, r.LeaderID, opt(r.ProtocolType), opt(r.Protocol))
		if r.SkipAssignment {
			s += " skip-assignment"
		}
		for _, m := range r.Members {
			s += fmt.Sprintf(" {%s%s %s}", m.MemberID, instance(m.InstanceID), topicsOf(m.ProtocolMetadata))
		}
		return s
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode != 0 {
			return "sync " + errorName(r.ErrorCode)
		}
		return fmt.Sprintf("sync type=%s protocol=%s assignment=%q", opt(r.ProtocolType), opt(r.Protocol), r.MemberAssignment)
	case *kmsg.HeartbeatResponse:
		return "heartbeat " + errorName(r.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		s := "leave " + errorName(r.ErrorCode)
		for _, m := range r.Members {
			s += fmt.Sprintf(" {%s%s %s}", m.MemberID, instance(m.InstanceID), errorName(m.ErrorCode))
		}
		return s
	case *kmsg.OffsetCommitResponse:
		s := "commit"
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s += fmt.Sprintf(" %s/%d:%s", t.Topic, p.Partition, errorName(p.ErrorCode))
			}
		}
		return s
	case *kmsg.OffsetFetchResponseGroup:
		s := "fetch " + errorName(r.ErrorCode)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s += fmt.Sprintf(" %s/%d:%d@%d", t.Topic, p.Partition, p.Offset, p.LeaderEpoch)
				if p.Metadata != nil && *p.Metadata != "" {
					s += fmt.Sprintf("%q", *p.Metadata)
				}
				if p.ErrorCode != 0 {
					s += errorName(p.ErrorCode)
				}
			}
		}
		return s
	case *kmsg.DescribeGroupsResponseGroup:
		s := fmt.Sprintf("describe %s %s type=%q protocol=%q", errorName(r.ErrorCode), r.State, r.ProtocolType, r.Protocol)
		for _, m := range r.Members {
			s += fmt.Sprintf(" {%s%s client=%s%s %s assignment=%q}", m.MemberID, instance(m.InstanceID), m.ClientID, m.ClientHost, topicsOf(m.ProtocolMetadata), m.MemberAssignment)
		}
		return s
	case []kmsg.ListGroupsResponseGroup:
		s := "list"
		for _, g := range r {
			s += fmt.Sprintf(" {%s %s %s %q}", g.Group, g.GroupState, g.GroupType, g.ProtocolType)
		}
		return s
	case *kmsg.DeleteGroupsResponseGroup:
		return "delete-group " + errorName(r.ErrorCode)
	case *kmsg.OffsetDeleteResponse:
		s := "delete-offsets " + errorName(r.ErrorCode)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s += fmt.Sprintf(" %s/%d:%s", t.Topic, p.Partition, errorName(p.ErrorCode))
			}
		}
		return s
	}
	return fmt.Sprintf("%T", body)
}

func instance(s *string) string {
	if s == nil {
		return ""
	}
	return "/" + *s
}

func topicsOf(metadata []byte) string {
	if metadata == nil {
		return "-"
	}
	m := kmsg.NewConsumerMemberMetadata()
	if err := m.ReadFrom(metadata); err != nil {
		return err.Error()
	}
	return strings.Join(m.Topics, "+")
}

// showRecord tells a record in one line, by kmsg's decoders and not by ours.
func showRecord(rec machine.Record) string {
	version := int16(rec.Key[0])<<8 | int16(rec.Key[1])
	if version == 2 {
		k, v := kmsg.NewGroupMetadataKey(), kmsg.NewGroupMetadataValue()
		if err := k.ReadFrom(rec.Key); err != nil {
			return err.Error()
		}
		if rec.Value == nil {
			return "group " + k.Group + " is gone"
		}
		if err := v.ReadFrom(rec.Value); err != nil {
			return err.Error()
		}
		s := fmt.Sprintf("group %s v%d type=%q generation=%d protocol=%s leader=%s since=%v", k.Group, v.Version, v.ProtocolType,
			v.Generation, opt(v.Protocol), opt(v.Leader), (v.CurrentStateTimestamp-epoch.UnixMilli())/1000)
		for _, m := range v.Members {
			s += fmt.Sprintf(" {%s%s client=%s%s rebalance=%d session=%d %s assignment=%q}", m.MemberID, instance(m.InstanceID),
				m.ClientID, m.ClientHost, m.RebalanceTimeoutMillis, m.SessionTimeoutMillis, topicsOf(m.Subscription), m.Assignment)
		}
		return s
	}
	k, v := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	if err := k.ReadFrom(rec.Key); err != nil {
		return err.Error()
	}
	if rec.Value == nil {
		return fmt.Sprintf("offset of %s on %s/%d is gone", k.Group, k.Topic, k.Partition)
	}
	if err := v.ReadFrom(rec.Value); err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("offset of %s on %s/%d v%d is %d@%d", k.Group, k.Topic, k.Partition, v.Version, v.Offset, v.LeaderEpoch)
	if v.Metadata != "" {
		s += fmt.Sprintf(" metadata=%q", v.Metadata)
	}
	if v.Version == 1 {
		s += fmt.Sprintf(" expires=%d", (v.ExpireTimestamp-epoch.UnixMilli())/1000)
	}
	if v.TopicID != [16]byte{} {
		s += " id=" + strings.TrimRight(string(v.TopicID[:]), "\x00")
	}
	return s
}
