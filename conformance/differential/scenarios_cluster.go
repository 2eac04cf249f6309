package differential

import "github.com/twmb/franz-go/pkg/kmsg"

// clusterRequests: what administers a cluster, asked of one that is a single broker.
func clusterRequests(s *Session) {
	s.Topic("moves", 2)
	s.Each(kmsg.ListPartitionReassignments, func(v int16) {
		s.Do("all", v, kmsg.NewPtrListPartitionReassignmentsRequest())
		asked := kmsg.NewPtrListPartitionReassignmentsRequest()
		asked.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "moves", Partitions: []int32{0, 0, 9}}, {Topic: "nobody", Partitions: []int32{0}}}
		s.Do("some", v, asked)
	})
	s.Each(kmsg.AlterPartitionAssignments, func(v int16) {
		for _, c := range []struct {
			what     string
			replicas []int32
		}{{"back", nil}, {"to a broker that is not there", []int32{77}}, {"twice to one", []int32{1, 1}}, {"to none", []int32{}}} {
			req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "moves", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: c.replicas}}}}
			s.Do(c.what, v, req)
		}
	})
	s.Each(kmsg.ElectLeaders, func(v int16) {
		req := kmsg.NewPtrElectLeadersRequest()
		req.TimeoutMillis = 10_000
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "moves", Partitions: []int32{0, 9}}, {Topic: "nobody", Partitions: []int32{0}}}
		s.Do("preferred", v, req)
	})
	s.Each(kmsg.UnregisterBroker, func(v int16) {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = 77
		s.Do("a broker that is not there", v, req)
	})
	s.Each(kmsg.DescribeQuorum, func(v int16) {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "moves", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		s.Do("of another topic", v, req)
	})
}
