package inspect

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/record"
)

// decode reads a record of an internal topic, or a control record; nil when it is
// neither, or cannot be read and is better shown as it is.
func decode(b record.Batch, r record.Record, topic string) fmt.Stringer {
	switch {
	case b.IsControl():
		return decodeControl(r)
	case topic == "__consumer_offsets":
		return decodeGroup(r)
	case topic == "__transaction_state":
		return decodeTransaction(r)
	}
	return nil
}

// fields is a decoded record: its kind, and what it says.
type fields struct {
	Kind      string `json:"kind"`
	Key       any    `json:"key"`
	Value     any    `json:"value"`
	Tombstone bool   `json:"tombstone,omitempty"`
	text      string
}

func (f fields) String() string {
	if f.Tombstone {
		return f.Kind + " " + f.text + ": gone"
	}
	return f.Kind + " " + f.text
}

func decodeControl(r record.Record) fmt.Stringer {
	kind, err := record.ControlKey(r.Key)
	if err != nil {
		return nil
	}
	name := map[record.ControlType]string{record.ControlAbort: "abort", record.ControlCommit: "commit"}[kind]
	if name == "" {
		return fields{Kind: "control", text: fmt.Sprintf("of type %d", kind)}
	}
	epoch, err := record.EndTxnMarker(r.Value)
	if err != nil {
		return nil
	}
	return fields{Kind: name, Value: map[string]int32{"coordinator_epoch": epoch}, text: fmt.Sprintf("marker, coordinator epoch %d", epoch)}
}

// keyVersion is the type of an internal topic's record.
func keyVersion(r record.Record) int16 {
	if len(r.Key) < 2 {
		return -1
	}
	return int16(binary.BigEndian.Uint16(r.Key))
}

func decodeGroup(r record.Record) fmt.Stringer {
	switch v := keyVersion(r); v {
	case 0, 1:
		return decodeOffset(r)
	case 2:
		return decodeGroupMetadata(r)
	default:
		return nil
	}
}

func decodeOffset(r record.Record) fmt.Stringer {
	var k kmsg.OffsetCommitKey
	if k.ReadFrom(r.Key) != nil {
		return nil
	}
	key := map[string]any{"group": k.Group, "topic": k.Topic, "partition": k.Partition}
	text := fmt.Sprintf("group %s topic %s partition %d", k.Group, k.Topic, k.Partition)
	if r.Value == nil {
		return fields{Kind: "offset", Key: key, Tombstone: true, text: text}
	}
	var v kmsg.OffsetCommitValue
	if v.ReadFrom(r.Value) != nil {
		return nil
	}
	value := map[string]any{"version": v.Version, "offset": v.Offset, "leader_epoch": v.LeaderEpoch, "metadata": v.Metadata,
		"commit_timestamp": v.CommitTimestamp, "expire_timestamp": v.ExpireTimestamp}
	text += fmt.Sprintf(": offset %d epoch %d at %s", v.Offset, v.LeaderEpoch, stamp(v.CommitTimestamp))
	if v.Metadata != "" {
		text += fmt.Sprintf(" %q", v.Metadata)
	}
	return fields{Kind: "offset", Key: key, Value: value, text: text}
}

func decodeGroupMetadata(r record.Record) fmt.Stringer {
	var k kmsg.GroupMetadataKey
	if k.ReadFrom(r.Key) != nil {
		return nil
	}
	key := map[string]any{"group": k.Group}
	if r.Value == nil {
		return fields{Kind: "group", Key: key, Tombstone: true, text: k.Group}
	}
	var v kmsg.GroupMetadataValue
	if v.ReadFrom(r.Value) != nil {
		return nil
	}
	var members []map[string]any
	var ids []string
	for _, m := range v.Members {
		members = append(members, map[string]any{"id": m.MemberID, "instance_id": m.InstanceID, "client": m.ClientID, "host": m.ClientHost,
			"session_timeout_ms": m.SessionTimeoutMillis, "rebalance_timeout_ms": m.RebalanceTimeoutMillis})
		ids = append(ids, m.MemberID)
	}
	value := map[string]any{"version": v.Version, "protocol_type": v.ProtocolType, "generation": v.Generation, "protocol": v.Protocol,
		"leader": v.Leader, "state_timestamp": v.CurrentStateTimestamp, "members": members}
	text := fmt.Sprintf("%s: generation %d, %d members", k.Group, v.Generation, len(v.Members))
	if v.Protocol != nil {
		text += ", " + *v.Protocol
	}
	if len(ids) > 0 {
		text += ": " + strings.Join(ids, " ")
	}
	return fields{Kind: "group", Key: key, Value: value, text: text}
}

func decodeTransaction(r record.Record) fmt.Stringer {
	var k kmsg.TxnMetadataKey
	if keyVersion(r) != 0 || k.ReadFrom(r.Key) != nil {
		return nil
	}
	key := map[string]any{"transactional_id": k.TransactionalID}
	if r.Value == nil {
		return fields{Kind: "transaction", Key: key, Tombstone: true, text: k.TransactionalID}
	}
	var v kmsg.TxnMetadataValue
	if v.ReadFrom(r.Value) != nil {
		return nil
	}
	var partitions []string
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			partitions = append(partitions, fmt.Sprintf("%s-%d", t.Topic, p))
		}
	}
	value := map[string]any{"version": v.Version, "producer_id": v.ProducerID, "producer_epoch": v.ProducerEpoch, "state": v.State.String(),
		"timeout_ms": v.TimeoutMillis, "partitions": partitions, "updated": v.LastUpdateTimestamp, "started": v.StartTimestamp}
	return fields{Kind: "transaction", Key: key, Value: value,
		text: fmt.Sprintf("%s: %s, producer %d epoch %d, %d partitions", k.TransactionalID, v.State, v.ProducerID, v.ProducerEpoch, len(partitions))}
}
