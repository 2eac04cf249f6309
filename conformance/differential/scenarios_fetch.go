package differential

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func fetchBasics(s *Session) {
	id := s.Topic("fetch", 2)
	s.Fill("fetch", 0, batch{records: values("a", "b"), timestamp: 1000}, batch{records: values("c"), timestamp: 2000},
		batch{records: values("dddd", "dddd"), timestamp: 3000, attrs: 1, compress: codecs[0].compress})
	s.Each(kmsg.Fetch, func(v int16) {
		at := func(label string, offset int64) { s.Do(label, v, fetch("fetch", id, 0, offset)) }
		at("from the start", 0)
		at("from inside a batch", 1)
		at("from the last batch", 3)
		at("from the end", 5)
		at("beyond the end", 6)
		at("a negative offset", -1)
		with := func(label string, change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)) {
			req := fetch("fetch", id, 0, 0)
			change(req, &req.Topics[0].Partitions[0])
			s.Do(label, v, req)
		}
		with("an empty partition", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.Partition = 1 })
		with("an unknown partition", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.Partition = 9 })
		with("an unknown topic", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
			r.Topics[0].Topic, r.Topics[0].TopicID = "fetch-unknown", [16]byte{7}
		})
		with("a topic of neither name nor id", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
			r.Topics[0].Topic, r.Topics[0].TopicID = "", [16]byte{}
		})
		with("read committed", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.IsolationLevel = 1 })
		with("no topics", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.Topics = nil })
		with("a topic without partitions", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.Topics[0].Partitions = nil })
		with("one partition twice", func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, *p)
		})
		if v >= 9 {
			with("the current epoch", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 0 })
			with("an epoch to come", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 5 })
		}
		if v >= 12 {
			with("a last epoch that fits", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
				p.LastFetchedEpoch, p.FetchOffset = 0, 3
			})
			with("a last epoch to come", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
				p.LastFetchedEpoch, p.FetchOffset = 3, 3
			})
			with("a last epoch and an offset beyond the end", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
				p.LastFetchedEpoch, p.FetchOffset = 0, 50
			})
		}
		if v >= 11 {
			with("from a rack", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.Rack = "r1" })
		}
		with("as the broker itself", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.ReplicaID, r.ReplicaState.ID = 1, 1 })
		with("as a broker that is no replica", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.ReplicaID, r.ReplicaState.ID = 5, 5 })
		with("as the debugging replica", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
			r.ReplicaID, r.ReplicaState.ID = -2, -2
		})
	})
}

// fetchLimits: how much comes at once, and when the answer waits.
func fetchLimits(s *Session) {
	id := s.Topic("limits", 3)
	big := make([]byte, 1000)
	for range 4 {
		s.Fill("limits", 0, batch{records: []record{{value: big}}, timestamp: 1000})
		s.Fill("limits", 1, batch{records: []record{{value: big}}, timestamp: 1000})
	}
	s.From(kmsg.Fetch, 4, func(v int16) {
		limited := func(label string, partitionMax, maxBytes int32) {
			req := fetch("limits", id, 0, 0)
			req.MaxBytes = maxBytes
			req.Topics[0].Partitions[0].PartitionMaxBytes = partitionMax
			second := req.Topics[0].Partitions[0]
			second.Partition = 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
			s.Do(label, v, req)
		}
		limited("one byte of each partition", 1, 1<<20)
		limited("one byte of all", 1<<20, 1)
		limited("two batches of each", 2200, 1<<20)
		limited("three batches of all", 1<<20, 3300)
		limited("no bytes", 0, 0)
		limited("negative bytes", -1, -1)
	})
	v := s.Latest(kmsg.Fetch)
	waiting := func(label string, minBytes, wait int32, offset int64) {
		req := fetch("limits", id, 0, offset)
		req.MinBytes, req.MaxWaitMillis = minBytes, wait
		start := time.Now()
		s.Do(label, v, req)
		s.Note(label, fmt.Sprintf("waited: %v", time.Since(start) >= time.Duration(wait)*time.Millisecond))
	}
	waiting("more than there is", 1<<20, 200, 0)
	waiting("at the end", 1, 200, 4)
	waiting("enough", 100, 5000, 0)
	waiting("no minimum at the end", 0, 5000, 4)
	waiting("beyond the end", 1, 5000, 5)
	unknown := fetch("limits", id, 9, 0)
	unknown.MinBytes, unknown.MaxWaitMillis = 1, 5000
	s.Do("an error does not wait", v, unknown)
}

// fetchSessions: KIP-227.
func fetchSessions(s *Session) {
	id := s.Topic("sessions", 3)
	s.Fill("sessions", 0, one())
	s.From(kmsg.Fetch, 7, func(v int16) {
		open := func() *kmsg.FetchResponse {
			req := fetch("sessions", id, 0, 0)
			req.SessionID, req.SessionEpoch = 0, 0
			p := req.Topics[0].Partitions[0]
			p.Partition = 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
			resp, _ := s.Do("open", v, req).(*kmsg.FetchResponse)
			return resp
		}
		next := func(label string, session, epoch int32, topics ...kmsg.FetchRequestTopic) {
			req := fetch("sessions", id, 0, 0)
			req.SessionID, req.SessionEpoch, req.Topics = session, epoch, topics
			s.Do(label, v, req)
		}
		opened := open()
		if opened == nil {
			return
		}
		session := opened.SessionID
		next("nothing new", session, 1)
		next("another offset", session, 2, fetchTopic("sessions", id, 0, 1))
		next("the same epoch again", session, 2)
		next("an epoch too far", session, 9)
		next("a third partition", session, 3, fetchTopic("sessions", id, 2, 0))
		forget := fetch("sessions", id, 0, 0)
		forget.SessionID, forget.SessionEpoch, forget.Topics = session, 4, nil
		forget.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "sessions", TopicID: id, Partitions: []int32{0}}}
		s.Do("forget a partition", v, forget)
		next("an unknown topic joins", session, 5, fetchTopic("sessions-unknown", [16]byte{5}, 0, 0))
		next("it stays unknown", session, 6)
		next("an unknown session", 1<<30, 1)
		next("a session with epoch 0 starts anew", session, 0, fetchTopic("sessions", id, 0, 0))
		next("the closed session", session, 1)
		opened = open()
		if opened == nil {
			return
		}
		next("closed with epoch -1", opened.SessionID, -1, fetchTopic("sessions", id, 0, 0))
		next("after it was closed", opened.SessionID, 1)
		next("an epoch without a session", 0, 5, fetchTopic("sessions", id, 0, 0))
	})
	opened := fetch("sessions", id, 0, 0)
	opened.SessionEpoch = 0
	if resp, ok := s.Do("open by name", 12, opened).(*kmsg.FetchResponse); ok {
		req := fetch("sessions", id, 0, 0)
		req.SessionID, req.SessionEpoch = resp.SessionID, 1
		s.Do("go on by id", 13, req)
	}
}

func listOffsetsScenario(s *Session) {
	s.Topic("list", 2)
	s.Fill("list", 0,
		batch{records: values("a", "b"), timestamp: 1000},
		batch{timestamp: 2000, records: []record{{value: []byte("c")}, {value: []byte("d"), timestamp: 500}, {value: []byte("e"), timestamp: 100}}},
		batch{records: values("f"), timestamp: 1500})
	s.Each(kmsg.ListOffsets, func(v int16) {
		for _, ts := range []int64{-1, -2, -3, -4, -5, -6, -7, -100, 0, 1000, 1001, 1500, 2000, 2001, 2500, 2501, 1 << 60} {
			s.Do(fmt.Sprintf("timestamp %d", ts), v, listOffsets("list", 0, ts))
		}
		s.Do("the end of an empty partition", v, listOffsets("list", 1, -1))
		s.Do("the start of an empty partition", v, listOffsets("list", 1, -2))
		s.Do("the highest timestamp of an empty partition", v, listOffsets("list", 1, -3))
		s.Do("a time in an empty partition", v, listOffsets("list", 1, 0))
		s.Do("an unknown partition", v, listOffsets("list", 9, -1))
		s.Do("an unknown topic", v, listOffsets("list-unknown", 0, -1))
		s.Do("no name", v, listOffsets("", 0, -1))
		twice := listOffsets("list", 0, -1)
		twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, twice.Topics[0].Partitions[0])
		s.Do("one partition twice", v, twice)
		if v >= 2 {
			committed := listOffsets("list", 0, -1)
			committed.IsolationLevel = 1
			s.Do("read committed", v, committed)
		}
		if v >= 4 {
			for _, epoch := range []int32{0, 5} {
				req := listOffsets("list", 0, -1)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				s.Do(fmt.Sprintf("epoch %d", epoch), v, req)
			}
		}
		debug := listOffsets("list", 0, -1)
		debug.ReplicaID = -2
		s.Do("as the debugging replica", v, debug)
		nothing := listOffsets("list", 0, -1)
		nothing.Topics = nil
		s.Do("nothing", v, nothing)
	})
}

func epochs(s *Session) {
	s.Topic("epochs", 1)
	s.Fill("epochs", 0, one(), one())
	s.Each(kmsg.OffsetForLeaderEpoch, func(v int16) {
		ask := func(label, topic string, partition, current, epoch int32) {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.ReplicaID = -1
			t := kmsg.NewOffsetForLeaderEpochRequestTopic()
			t.Topic = topic
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, epoch
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			s.Do(label, v, req)
		}
		ask("epoch 0", "epochs", 0, -1, 0)
		ask("an epoch to come", "epochs", 0, -1, 3)
		ask("a negative epoch", "epochs", 0, -1, -1)
		ask("the current epoch", "epochs", 0, 0, 0)
		ask("a current epoch to come", "epochs", 0, 7, 0)
		ask("an unknown partition", "epochs", 5, -1, 0)
		ask("an unknown topic", "epochs-unknown", 0, -1, 0)
		s.Do("nothing", v, kmsg.NewPtrOffsetForLeaderEpochRequest())
	})
}

func deleteRecords(s *Session) {
	s.Each(kmsg.DeleteRecords, func(v int16) {
		name := fmt.Sprintf("trim-v%d", v)
		id := s.Topic(name, 1)
		s.Fill(name, 0, batch{records: values("a", "b"), timestamp: 1000}, batch{records: values("c", "d"), timestamp: 1000})
		trim := func(label, topic string, partition int32, offset int64) {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.TimeoutMillis = 10_000
			req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
			s.Do(label, v, req)
		}
		trim("to 1", name, 0, 1)
		s.Do("after the trim, from 0 "+name, s.Latest(kmsg.Fetch), fetch(name, id, 0, 0))
		s.Do("after the trim, from 1 "+name, s.Latest(kmsg.Fetch), fetch(name, id, 0, 1))
		s.Do("after the trim, the start "+name, s.Latest(kmsg.ListOffsets), listOffsets(name, 0, -2))
		s.Do("after the trim, a time "+name, s.Latest(kmsg.ListOffsets), listOffsets(name, 0, 0))
		trim("backwards", name, 0, 0)
		trim("beyond the end", name, 0, 9)
		trim("a negative offset", name, 0, -2)
		trim("to the high watermark", name, 0, -1)
		trim("again to the high watermark", name, 0, -1)
		trim("an unknown partition", name, 4, 0)
		trim("an unknown topic", "trim-unknown", 0, 0)
	})
	s.Topic("trim-compact", 1, "cleanup.policy", "compact")
	s.Topic("trim-both", 1, "cleanup.policy", "compact,delete")
	for _, topic := range []string{"trim-compact", "trim-both"} {
		s.Fill(topic, 0, batch{records: []record{{key: []byte("k"), value: []byte("v")}}, timestamp: 1000})
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = 10_000
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 1}}}}
		s.Do(topic, s.Latest(kmsg.DeleteRecords), req)
	}
}
