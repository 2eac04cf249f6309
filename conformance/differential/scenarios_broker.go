package differential

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// versions: the handshake itself.
func versions(s *Session) {
	s.Each(kmsg.ApiVersions, func(v int16) {
		s.Do("named software", v, apiVersions("differential", "1.0"))
		s.Do("no software name", v, apiVersions("", "1.0"))
		s.Do("no software version", v, apiVersions("differential", ""))
		s.Do("a software name with a space", v, apiVersions("a b", "1.0"))
		s.Do("a software name that starts with a dash", v, apiVersions("-a", "1.0"))
	})
	other := apiVersions("differential", "1.0")
	other.ClusterID = ptr("another-cluster")
	s.Do("another cluster", s.Latest(kmsg.ApiVersions), other)
	node := apiVersions("differential", "1.0")
	node.NodeID = 77
	s.Do("another node", s.Latest(kmsg.ApiVersions), node)

	// A version that the broker does not know is answered in version 0.
	for _, v := range []int16{s.Latest(kmsg.ApiVersions) + 1, 100, -1} {
		req := apiVersions("differential", "1.0")
		frame := rawFrame(int16(kmsg.ApiVersions), v, 3, 1, apiVersionsBody)
		req.Version = 0
		s.Bytes(fmtVersion("unknown version", v), req, frame)
	}
}

// apiVersionsBody is the body of an ApiVersions v3 request, with the header's tags.
var apiVersionsBody = []byte{0, 2, 'a', 2, '1', 0}

func apiVersions(name, version string) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = name, version
	req.NodeID = -1
	return req
}

// rawFrame is a request frame of any key and version: header version 1 (client
// id, no tags) followed by rest.
func rawFrame(key, version int16, correlation int32, clientLen int16, rest []byte) []byte {
	f := make([]byte, 4)
	f = binary.BigEndian.AppendUint16(f, uint16(key))
	f = binary.BigEndian.AppendUint16(f, uint16(version))
	f = binary.BigEndian.AppendUint32(f, uint32(correlation))
	f = binary.BigEndian.AppendUint16(f, uint16(clientLen))
	for range clientLen {
		f = append(f, 'c')
	}
	f = append(f, rest...)
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	return f
}

// framing: requests that are no requests. Kafka closes the connection.
func framing(s *Session) {
	for _, key := range slices.Sorted(maps.Keys(s.ranges)) {
		if !built[kmsg.Key(key)] || kmsg.Key(key) == kmsg.ApiVersions {
			continue
		}
		r := s.ranges[key]
		for _, v := range []int16{r.Min - 1, r.Max + 1} {
			req := kmsg.RequestForKey(key)
			req.SetVersion(max(v, 0))
			s.Bytes(fmtVersion("a version outside of the range", v), req, rawFrame(key, v, 1, 1, make([]byte, 64)))
		}
		// The body ends before it is whole.
		req := kmsg.RequestForKey(key)
		req.SetVersion(r.Max)
		f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 1)
		f = f[:len(f)-1]
		binary.BigEndian.PutUint32(f, uint32(len(f)-4))
		s.Bytes("cut short by a byte", req, f)
	}
	probe := apiVersions("differential", "1.0")
	s.Bytes("an API key that nobody knows", probe, rawFrame(9999, 0, 1, 1, nil))
	s.Bytes("a negative API key", probe, rawFrame(-1, 0, 1, 1, nil))
	s.Bytes("a negative size", probe, []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	s.Bytes("a size beyond the limit", probe, []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	s.Bytes("no header", probe, []byte{0, 0, 0, 2, 0, 18})
	long := rawFrame(18, 0, 1, 100, nil)[:20]
	binary.BigEndian.PutUint32(long, uint32(len(long)-4))
	s.Bytes("a client id longer than the request", probe, long)
}

// cluster: what describes the broker itself.
func cluster(s *Session) {
	s.Each(kmsg.DescribeCluster, func(v int16) {
		req := kmsg.NewPtrDescribeClusterRequest()
		s.Do("brokers", v, req)
		req.IncludeClusterAuthorizedOperations = true
		s.Do("with authorized operations", v, req)
		if v >= 1 {
			req.EndpointType = 2
			s.Do("controllers, asked of a broker", v, req)
			req.EndpointType = 3
			s.Do("an unknown endpoint type", v, req)
		}
		if v >= 2 {
			req.EndpointType, req.IncludeFencedBrokers = 1, true
			s.Do("with fenced brokers", v, req)
		}
	})
}

// built are the APIs that Leat has so far; the corpus sends each of them.
var built = map[kmsg.Key]bool{
	kmsg.Produce: true, kmsg.Fetch: true, kmsg.ListOffsets: true, kmsg.Metadata: true,
	kmsg.OffsetCommit: true, kmsg.OffsetFetch: true, kmsg.FindCoordinator: true,
	kmsg.JoinGroup: true, kmsg.Heartbeat: true, kmsg.LeaveGroup: true, kmsg.SyncGroup: true,
	kmsg.DescribeGroups: true, kmsg.ListGroups: true, kmsg.ApiVersions: true,
	kmsg.CreateTopics: true, kmsg.DeleteTopics: true, kmsg.DeleteRecords: true,
	kmsg.InitProducerID: true, kmsg.OffsetForLeaderEpoch: true, kmsg.DescribeConfigs: true,
	kmsg.AlterConfigs: true, kmsg.DescribeLogDirs: true, kmsg.CreatePartitions: true,
	kmsg.DeleteGroups: true, kmsg.IncrementalAlterConfigs: true, kmsg.OffsetDelete: true,
	kmsg.DescribeCluster: true, kmsg.DescribeProducers: true,
	kmsg.DescribeTopicPartitions: true, kmsg.ListConfigResources: true,
	kmsg.ListPartitionReassignments: true, kmsg.AlterPartitionAssignments: true, kmsg.ElectLeaders: true,
	kmsg.UnregisterBroker: true, kmsg.DescribeQuorum: true,
}
