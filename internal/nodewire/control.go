package nodewire

import "github.com/twmb/franz-go/pkg/kmsg"

// Requests to the metadata controller that Kafka has no message for.

// LostRequest says that replicas of a broker can no longer be believed to hold all
// that they once acknowledged.
type LostRequest struct {
	Version int16

	ClusterID   string
	NodeID      int32
	BrokerEpoch int64
	Replicas    []LostReplica
}

// LostReplica names a partition.
type LostReplica struct {
	TopicID   [16]byte
	Partition int32
}

// LostResponse answers a LostRequest.
type LostResponse struct {
	Version int16

	ErrorCode int16
	Kept      []LostReplica // that the broker leads on, since nobody else has their records
}

func (m *LostReplica) walk(c *coder) {
	c.id(&m.TopicID)
	number(c, &m.Partition)
}

func (m *LostRequest) walk(c *coder) {
	c.str(&m.ClusterID)
	number(c, &m.NodeID)
	number(c, &m.BrokerEpoch)
	array(c, &m.Replicas, MaxReplicas, 16+4, (*LostReplica).walk)
}

func (m *LostResponse) walk(c *coder) {
	number(c, &m.ErrorCode)
	array(c, &m.Kept, MaxReplicas, 16+4, (*LostReplica).walk)
}

func (*LostRequest) Key() int16                   { return KeyLost }
func (*LostRequest) MaxVersion() int16            { return maxVersion }
func (m *LostRequest) SetVersion(v int16)         { m.Version = v }
func (m *LostRequest) GetVersion() int16          { return m.Version }
func (*LostRequest) IsFlexible() bool             { return false }
func (m *LostRequest) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *LostRequest) ReadFrom(src []byte) error  { return read("LostRequest", m.Version, src, m.walk) }
func (m *LostRequest) ResponseKind() kmsg.Response {
	return &LostResponse{Version: m.Version}
}

func (*LostResponse) Key() int16                   { return KeyLost }
func (*LostResponse) MaxVersion() int16            { return maxVersion }
func (m *LostResponse) SetVersion(v int16)         { m.Version = v }
func (m *LostResponse) GetVersion() int16          { return m.Version }
func (*LostResponse) IsFlexible() bool             { return false }
func (m *LostResponse) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *LostResponse) ReadFrom(src []byte) error {
	return read("LostResponse", m.Version, src, m.walk)
}
func (m *LostResponse) RequestKind() kmsg.Request { return &LostRequest{Version: m.Version} }
