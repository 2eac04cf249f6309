package nodewire

import "github.com/twmb/franz-go/pkg/kmsg"

// What kmsg asks of every message.

func (*HelloRequest) Key() int16                   { return KeyHello }
func (*HelloRequest) MaxVersion() int16            { return maxVersion }
func (m *HelloRequest) SetVersion(v int16)         { m.Version = v }
func (m *HelloRequest) GetVersion() int16          { return m.Version }
func (*HelloRequest) IsFlexible() bool             { return false }
func (m *HelloRequest) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *HelloRequest) ReadFrom(src []byte) error {
	return read("HelloRequest", m.Version, src, m.walk)
}
func (m *HelloRequest) ResponseKind() kmsg.Response { return &HelloResponse{Version: m.Version} }

func (*HelloResponse) Key() int16                   { return KeyHello }
func (*HelloResponse) MaxVersion() int16            { return maxVersion }
func (m *HelloResponse) SetVersion(v int16)         { m.Version = v }
func (m *HelloResponse) GetVersion() int16          { return m.Version }
func (*HelloResponse) IsFlexible() bool             { return false }
func (m *HelloResponse) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *HelloResponse) ReadFrom(src []byte) error {
	return read("HelloResponse", m.Version, src, m.walk)
}
func (m *HelloResponse) RequestKind() kmsg.Request { return &HelloRequest{Version: m.Version} }

func (*RaftRequest) Key() int16                   { return KeyRaft }
func (*RaftRequest) MaxVersion() int16            { return maxVersion }
func (m *RaftRequest) SetVersion(v int16)         { m.Version = v }
func (m *RaftRequest) GetVersion() int16          { return m.Version }
func (*RaftRequest) IsFlexible() bool             { return false }
func (m *RaftRequest) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *RaftRequest) ReadFrom(src []byte) error  { return read("RaftRequest", m.Version, src, m.walk) }

// ResponseKind is nil: a RaftRequest has no response.
func (m *RaftRequest) ResponseKind() kmsg.Response { return nil }

func (*PullRequest) Key() int16                    { return KeyPull }
func (*PullRequest) MaxVersion() int16             { return maxVersion }
func (m *PullRequest) SetVersion(v int16)          { m.Version = v }
func (m *PullRequest) GetVersion() int16           { return m.Version }
func (*PullRequest) IsFlexible() bool              { return false }
func (m *PullRequest) AppendTo(dst []byte) []byte  { return write(dst, m.walk) }
func (m *PullRequest) ReadFrom(src []byte) error   { return read("PullRequest", m.Version, src, m.walk) }
func (m *PullRequest) ResponseKind() kmsg.Response { return &PullResponse{Version: m.Version} }

func (*PullResponse) Key() int16                   { return KeyPull }
func (*PullResponse) MaxVersion() int16            { return maxVersion }
func (m *PullResponse) SetVersion(v int16)         { m.Version = v }
func (m *PullResponse) GetVersion() int16          { return m.Version }
func (*PullResponse) IsFlexible() bool             { return false }
func (m *PullResponse) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *PullResponse) ReadFrom(src []byte) error {
	return read("PullResponse", m.Version, src, m.walk)
}
func (m *PullResponse) RequestKind() kmsg.Request { return &PullRequest{Version: m.Version} }

func (*SnapshotRequest) Key() int16                   { return KeySnapshot }
func (*SnapshotRequest) MaxVersion() int16            { return maxVersion }
func (m *SnapshotRequest) SetVersion(v int16)         { m.Version = v }
func (m *SnapshotRequest) GetVersion() int16          { return m.Version }
func (*SnapshotRequest) IsFlexible() bool             { return false }
func (m *SnapshotRequest) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *SnapshotRequest) ReadFrom(src []byte) error {
	return read("SnapshotRequest", m.Version, src, m.walk)
}
func (m *SnapshotRequest) ResponseKind() kmsg.Response { return &SnapshotResponse{Version: m.Version} }

func (*SnapshotResponse) Key() int16                   { return KeySnapshot }
func (*SnapshotResponse) MaxVersion() int16            { return maxVersion }
func (m *SnapshotResponse) SetVersion(v int16)         { m.Version = v }
func (m *SnapshotResponse) GetVersion() int16          { return m.Version }
func (*SnapshotResponse) IsFlexible() bool             { return false }
func (m *SnapshotResponse) AppendTo(dst []byte) []byte { return write(dst, m.walk) }
func (m *SnapshotResponse) ReadFrom(src []byte) error {
	return read("SnapshotResponse", m.Version, src, m.walk)
}
func (m *SnapshotResponse) RequestKind() kmsg.Request { return &SnapshotRequest{Version: m.Version} }
