package group

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/machine"
)

// Versions of keys (which tell the record's type) and of values, as Kafka 4.4 writes
// them. Older ones, and version 4 group metadata, are read.
const (
	keyOffset = 1 // 0 too
	keyGroup  = 2

	valueOffset       = 4
	valueOffsetExpire = 1 // with an expiry of its own; it has no leader epoch and no topic id
	valueGroup        = 3
)

// batchOverhead is what a record batch takes beside its records; recordOverhead, at
// most, what a record takes beside key and value.
const (
	batchOverhead  = 61
	recordOverhead = 24
)

func recordSize(r machine.Record) int { return len(r.Key) + len(r.Value) + recordOverhead }

// ErrCorrupt marks a record that says what it is and cannot be read as that.
var ErrCorrupt = errors.New("corrupt group record")

// saved is what a group's metadata record says.
type saved struct {
	protocolType string
	generation   int32
	protocol     *string
	leader       string
	since        int64
	members      []savedMember
}

type savedMember struct {
	id                               string
	instance                         *string
	clientID, clientHost             string
	rebalanceTimeout, sessionTimeout int32
	subscription, assignment         []byte
}

func groupKey(id string) []byte {
	return (&kmsg.GroupMetadataKey{Version: keyGroup, Group: id}).AppendTo(nil)
}

func offsetKey(id, topic string, partition int32) []byte {
	return (&kmsg.OffsetCommitKey{Version: keyOffset, Group: id, Topic: topic, Partition: partition}).AppendTo(nil)
}

func groupTombstone(id string) machine.Record { return machine.Record{Key: groupKey(id)} }

func offsetTombstone(id, topic string, partition int32) machine.Record {
	return machine.Record{Key: offsetKey(id, topic, partition)}
}

// newGroupRecord says that a group exists.
func newGroupRecord(g *group) machine.Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.CurrentStateTimestamp = valueGroup, g.since
	return machine.Record{Key: groupKey(g.id), Value: v.AppendTo(nil)}
}

// groupRecord says how the group stands: Empty or Stable.
func groupRecord(g *group) machine.Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = valueGroup
	v.ProtocolType, v.Generation, v.Protocol = g.protocolType, g.generation, g.protocol
	if g.leader != "" {
		v.Leader = &g.leader
	}
	v.CurrentStateTimestamp = g.since
	for _, m := range g.members.all() {
		vm := kmsg.NewGroupMetadataValueMember()
		vm.MemberID, vm.InstanceID, vm.ClientID, vm.ClientHost = m.id, m.instance, m.clientID, m.clientHost
		vm.RebalanceTimeoutMillis, vm.SessionTimeoutMillis = m.rebalanceTimeout, m.sessionTimeout
		vm.Subscription, vm.Assignment = m.metadata(*g.protocol), m.assignment
		v.Members = append(v.Members, vm)
	}
	return machine.Record{Key: groupKey(g.id), Value: v.AppendTo(nil)}
}

// save writes how the group stands; false, and nothing, when that is too large.
func (t *turn) save(g *group) bool {
	rec := groupRecord(g)
	if !t.fits(recordSize(rec)) {
		return false
	}
	t.write(rec)
	return true
}

func offsetRecord(id, topic string, partition int32, c committed) machine.Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version = valueOffset
	if c.expireTime != -1 {
		v.Version = valueOffsetExpire
	}
	v.Offset, v.LeaderEpoch, v.Metadata = c.offset, c.leaderEpoch, c.metadata
	v.CommitTimestamp, v.ExpireTimestamp, v.TopicID = c.commitTime, c.expireTime, c.topicID
	return machine.Record{Key: offsetKey(id, topic, partition), Value: v.AppendTo(nil)}
}

// Values are read by hand: kmsg believes the number of tagged fields that a damaged
// value states, and the load of millions of offsets should not go through its maps.

func readOffset(value []byte) (committed, error) {
	b := kbin.Reader{Src: value}
	version := b.Int16()
	if b.Ok() && (version < 0 || version > 4) {
		return committed{}, fmt.Errorf("%w: offset value of version %d", ErrCorrupt, version)
	}
	c := committed{offset: b.Int64(), leaderEpoch: -1, expireTime: -1}
	if version >= 3 {
		c.leaderEpoch = b.Int32()
	}
	if version >= 4 {
		c.metadata = strings.Clone(b.UnsafeCompactString())
	} else {
		c.metadata = b.String()
	}
	c.commitTime = b.Int64()
	if version == 1 {
		c.expireTime = b.Int64()
	}
	if version >= 4 {
		readTags(&b, func(tag uint32, field kbin.Reader) {
			if tag == 0 {
				c.topicID = field.Uuid()
			}
		})
	}
	if err := b.Complete(); err != nil {
		return committed{}, fmt.Errorf("%w: offset value: %w", ErrCorrupt, err)
	}
	return c, nil
}

// readTags calls fn for every tagged field and stops at the first damage.
func readTags(b *kbin.Reader, fn func(tag uint32, field kbin.Reader)) {
	for n := b.Uvarint(); n > 0 && b.Ok(); n-- {
		tag, size := b.Uvarint(), b.Uvarint()
		if field := b.Span(int(size)); b.Ok() {
			fn(tag, kbin.Reader{Src: field})
		}
	}
}

func readGroup(value []byte) (*saved, error) {
	r := groupReader{Reader: kbin.Reader{Src: value}}
	version := r.Int16()
	if r.Ok() && (version < 0 || version > 4) {
		return nil, fmt.Errorf("%w: group value of version %d", ErrCorrupt, version)
	}
	r.flexible = version >= 4
	s := &saved{protocolType: r.str(), generation: r.Int32(), protocol: r.nullable(), since: -1}
	if leader := r.nullable(); leader != nil {
		s.leader = *leader
	}
	if version >= 2 {
		s.since = r.Int64()
	}
	for n := r.array(); n > 0 && r.Ok(); n-- {
		m := savedMember{id: r.str()}
		if version >= 3 {
			m.instance = r.nullable()
		}
		m.clientID, m.clientHost, m.rebalanceTimeout = r.str(), r.str(), -1
		if version >= 1 {
			m.rebalanceTimeout = r.Int32()
		}
		m.sessionTimeout = r.Int32()
		if m.rebalanceTimeout == -1 {
			m.rebalanceTimeout = m.sessionTimeout
		}
		m.subscription, m.assignment = r.bytes(), r.bytes()
		r.tags()
		s.members = append(s.members, m)
	}
	r.tags()
	if err := r.Complete(); err != nil {
		return nil, fmt.Errorf("%w: group value: %w", ErrCorrupt, err)
	}
	return s, nil
}

// groupReader reads the plain or the flexible form. What it returns is the caller's own.
type groupReader struct {
	kbin.Reader
	flexible bool
}

func (r *groupReader) str() string {
	if r.flexible {
		return r.CompactString()
	}
	return r.String()
}

func (r *groupReader) nullable() *string {
	if r.flexible {
		return r.CompactNullableString()
	}
	return r.NullableString()
}

func (r *groupReader) bytes() []byte {
	b := r.Reader.Bytes
	if r.flexible {
		b = r.CompactBytes
	}
	return append([]byte(nil), b()...)
}

func (r *groupReader) array() int32 {
	if r.flexible {
		return r.CompactArrayLen()
	}
	return r.ArrayLen()
}

func (r *groupReader) tags() {
	if r.flexible {
		readTags(&r.Reader, func(uint32, kbin.Reader) {})
	}
}
