package nodewire

import "github.com/twmb/franz-go/pkg/kmsg"

// Requests to the metadata controller that Kafka has no message for.

// AutoCreateRequest asks for topics that a client named and that are not there.
type AutoCreateRequest struct {
	Version int16

	ClusterID string
	NodeID    int32 // of the broker that was asked
	Principal string
	ClientID  string
	Address   string // of the client
	Topics    []string
}

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

// AutoCreateResponse answers an AutoCreateRequest. Body is a CreateTopicsResponse of
// version BodyVersion, empty after an error.
type AutoCreateResponse struct {
	Version int16

	ErrorCode   int16
	BodyVersion int16
	Body        []byte
}

// LostResponse answers a LostRequest.
type LostResponse struct {
	Version int16

	ErrorCode int16
}

func (m *LostReplica) walk(c *coder) {
	c.id(&m.TopicID)
	number(c, &m.Partition)
}

func (m *AutoCreateRequest) walk(c *coder) {
	c.str(&m.ClusterID)
	number(c, &m.NodeID)
	c.str(&m.Principal)
	c.str(&m.ClientID)
	c.str(&m.Address)
	array(c, &m.Topics, MaxTopics, 2, func(s *string, c *coder) { c.str(s) })
}

func (m *LostRequest) walk(c *coder) {
	c.str(&m.ClusterID)
	number(c, &m.NodeID)
	number(c, &m.BrokerEpoch)
	array(c, &m.Replicas, MaxReplicas, 16+4, (*LostReplica).walk)
}

func (m *AutoCreateResponse) walk(c *coder) {
	number(c, &m.ErrorCode)
	number(c, &m.BodyVersion)
	c.bytes(&m.Body)
}

func (m *LostResponse) walk(c *coder) { number(c, &m.ErrorCode) }

func (*AutoCreateRequest) Key() int16                   { return KeyAutoCreate }
func (*AutoCreateRequest) MaxVersion() int16            { return maxVersion }
func (m *AutoCreateRequest) SetVersion(v int16)         { m.Version = v }
func (m *AutoCreateRequest) GetVersion() int16          { return m.Version }
func (*AutoCreateRequest) IsFlexible() bool             { return false }
func (m *AutoCreateRequest) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *AutoCreateRequest) ReadFrom(src []byte) error {
	return read("AutoCreateRequest", m.Version, src, m.walk)
}
func (m *AutoCreateRequest) ResponseKind() kmsg.Response {
	return &AutoCreateResponse{Version: m.Version}
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

func (*AutoCreateResponse) Key() int16                   { return KeyAutoCreate }
func (*AutoCreateResponse) MaxVersion() int16            { return maxVersion }
func (m *AutoCreateResponse) SetVersion(v int16)         { m.Version = v }
func (m *AutoCreateResponse) GetVersion() int16          { return m.Version }
func (*AutoCreateResponse) IsFlexible() bool             { return false }
func (m *AutoCreateResponse) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *AutoCreateResponse) ReadFrom(src []byte) error {
	return read("AutoCreateResponse", m.Version, src, m.walk)
}
func (m *AutoCreateResponse) RequestKind() kmsg.Request {
	return &AutoCreateRequest{Version: m.Version}
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
