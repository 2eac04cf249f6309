package differential

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func fmtVersion(label string, v int16) string { return fmt.Sprintf("%s (%d)", label, v) }

// one is the batch that most steps send: a value "v" made at timestamp 1000.
func one() batch { return batch{records: values("v"), timestamp: 1000} }

func produceBasics(s *Session) {
	id := s.Topic("produce", 2)
	s.Each(kmsg.Produce, func(v int16) {
		good := func() *kmsg.ProduceRequest { return produce("produce", id, 0, one().bytes()) }
		s.Do("one record", v, good())
		with := func(label string, change func(*kmsg.ProduceRequest)) {
			req := good()
			change(req)
			s.Do(label, v, req)
		}
		with("acks of the leader", func(r *kmsg.ProduceRequest) { r.Acks = 1 })
		with("acks of two", func(r *kmsg.ProduceRequest) { r.Acks = 2 })
		with("acks of minus two", func(r *kmsg.ProduceRequest) { r.Acks = -2 })
		with("an unknown partition", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Partition = 7 })
		with("a negative partition", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Partition = -1 })
		with("an unknown topic", func(r *kmsg.ProduceRequest) {
			r.Topics[0].Topic, r.Topics[0].TopicID = "produce-unknown", [16]byte{9, 9}
		})
		with("a topic without a name", func(r *kmsg.ProduceRequest) { r.Topics[0].Topic, r.Topics[0].TopicID = "", [16]byte{} })
		with("no topics", func(r *kmsg.ProduceRequest) { r.Topics = nil })
		with("a topic without partitions", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions = nil })
		with("no records", func(r *kmsg.ProduceRequest) { r.Topics[0].Partitions[0].Records = []byte{} })
		if v == 3 || v == s.Latest(kmsg.Produce) {
			null := good()
			null.Topics[0].Partitions[0].Records = nil
			s.DoWithin(time.Second, "null records", v, null)
		}
		with("no time at all", func(r *kmsg.ProduceRequest) { r.TimeoutMillis = 0 })
		with("two partitions, one unknown", func(r *kmsg.ProduceRequest) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: 5, Records: one().bytes()})
		})
		with("one partition twice", func(r *kmsg.ProduceRequest) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, r.Topics[0].Partitions[0])
		})
		with("two batches in one", func(r *kmsg.ProduceRequest) {
			r.Topics[0].Partitions[0].Records = append(one().bytes(), one().bytes()...)
		})
		quiet := good()
		quiet.Acks = 0
		s.Silent("without acks", v, quiet)
		wrong := good()
		wrong.Acks = 0
		wrong.Topics[0].Partitions[0].Partition = 9
		s.Silent("without acks to an unknown partition", v, wrong)
	})
	s.Fill("produce", 0, one()) // which is behind what nobody waited for
	s.Do("what is there now", s.Latest(kmsg.ListOffsets), listOffsets("produce", 0, -1))
}

// codecs by their number in a batch's attributes.
var codecs = []struct {
	name     string
	attrs    int16
	compress func([]byte) []byte
}{
	{"gzip", 1, func(b []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = w.Write(b) // a bytes.Buffer takes everything
		_ = w.Close()
		return out.Bytes()
	}},
	{"snappy", 2, func(b []byte) []byte { return s2.EncodeSnappy(nil, b) }},
	{"lz4", 3, func(b []byte) []byte {
		var out bytes.Buffer
		w := lz4.NewWriter(&out)
		_, _ = w.Write(b)
		_ = w.Close()
		return out.Bytes()
	}},
	{"zstd", 4, func(b []byte) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			panic(err) // no option is given
		}
		return w.EncodeAll(b, nil)
	}},
}

// produceBatches: what a broker must look at in a batch.
func produceBatches(s *Session) {
	id := s.Topic("batches", 1)
	s.From(kmsg.Produce, 3, func(v int16) {
		send := func(label string, b batch) {
			s.Do(label, v, produce("batches", id, 0, b.bytes()))
		}
		mangled := func(label string, mangle func(*kmsg.RecordBatch)) {
			b := batch{records: values("a", "b", "c"), timestamp: 1000, mangle: mangle}
			send(label, b)
		}
		damaged := func(label string, damage func([]byte) []byte) {
			send(label, batch{records: values("a", "b"), timestamp: 1000, damage: damage})
		}
		send("three records", batch{records: values("a", "b", "c"), timestamp: 1000})
		send("keys, nulls and headers", batch{timestamp: 1000, records: []record{
			{key: []byte("k"), value: []byte("v"), headers: []kmsg.Header{{Key: "h", Value: []byte("1")}, {Key: "", Value: nil}}},
			{key: []byte{}, value: nil, timestamp: 5},
			{key: nil, value: []byte{}, timestamp: -7},
		}})
		for _, c := range codecs {
			send(c.name, batch{records: values("aaaaaaaa", "aaaaaaaa"), timestamp: 1000, attrs: c.attrs, compress: c.compress})
			send(c.name+" of rubbish", batch{records: values("a"), timestamp: 1000, attrs: c.attrs, compress: func(b []byte) []byte { return []byte("rubbish") }})
		}
		send("an unknown codec", batch{records: values("a"), timestamp: 1000, attrs: 7})
		send("an unused attribute", batch{records: values("a"), timestamp: 1000, attrs: 1 << 10})
		send("a control batch", batch{records: []record{{key: []byte{0, 0, 0, 1}, value: make([]byte, 6)}}, timestamp: 1000, attrs: 1 << 5})
		send("a transactional batch without a producer", batch{records: values("a"), timestamp: 1000, attrs: 1 << 4})
		send("log append time claimed", batch{records: values("a"), timestamp: 1000, attrs: 1 << 3})
		send("no records in the batch", batch{timestamp: 1000})
		send("a timestamp of minus one", batch{records: values("a"), timestamp: -1})
		send("a timestamp far ahead", batch{records: values("a"), timestamp: 1 << 50})
		mangled("a count too small", func(h *kmsg.RecordBatch) { h.NumRecords = 2 })
		mangled("a count too large", func(h *kmsg.RecordBatch) { h.NumRecords = 4 })
		mangled("a count of zero", func(h *kmsg.RecordBatch) { h.NumRecords = 0 })
		mangled("a negative count", func(h *kmsg.RecordBatch) { h.NumRecords = -1 })
		mangled("an offset delta too small", func(h *kmsg.RecordBatch) { h.LastOffsetDelta = 1 })
		mangled("an offset delta too large", func(h *kmsg.RecordBatch) { h.LastOffsetDelta = 9 })
		mangled("a negative offset delta", func(h *kmsg.RecordBatch) { h.LastOffsetDelta = -1 })
		mangled("a base offset", func(h *kmsg.RecordBatch) { h.FirstOffset = 42 })
		mangled("a leader epoch", func(h *kmsg.RecordBatch) { h.PartitionLeaderEpoch = 42 })
		mangled("a max timestamp too small", func(h *kmsg.RecordBatch) { h.MaxTimestamp = 1 })
		mangled("a max timestamp too large", func(h *kmsg.RecordBatch) { h.MaxTimestamp = 9000 })
		mangled("magic 1", func(h *kmsg.RecordBatch) { h.Magic = 1 })
		mangled("magic 0", func(h *kmsg.RecordBatch) { h.Magic = 0 })
		mangled("magic 3", func(h *kmsg.RecordBatch) { h.Magic = 3 })
		mangled("an epoch without a producer", func(h *kmsg.RecordBatch) { h.ProducerEpoch = 3 })
		mangled("a producer without an epoch", func(h *kmsg.RecordBatch) { h.ProducerID = 12 })
		mangled("records of rubbish", func(h *kmsg.RecordBatch) { h.Records = []byte{1, 2, 3} })
		damaged("a flipped bit", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		damaged("a checksum of zero", func(b []byte) []byte { copy(b[batchCRC:], []byte{0, 0, 0, 0}); return b })
		damaged("a length too large", func(b []byte) []byte { b[batchLength+3]++; return b })
		damaged("a length too small", func(b []byte) []byte { b[batchLength+3]--; return b })
		damaged("a length of zero", func(b []byte) []byte { copy(b[batchLength:], []byte{0, 0, 0, 0}); return b })
		damaged("a negative length", func(b []byte) []byte { b[batchLength] = 0xff; return b })
		damaged("half a batch", func(b []byte) []byte { return b[:len(b)/2] })
		damaged("half a header", func(b []byte) []byte { return b[:30] })
		damaged("a trailing byte", func(b []byte) []byte { return append(b, 0) })
		damaged("a trailing half batch", func(b []byte) []byte { return append(b, one().bytes()[:40]...) })
		offsetGap := batch{records: values("a", "b"), timestamp: 1000, mangle: func(h *kmsg.RecordBatch) {
			h.Records = record{value: []byte("a")}.append(nil, 0)
			h.Records = record{value: []byte("b")}.append(h.Records, 5)
		}}
		send("records with a gap in their offsets", offsetGap)
		extra := batch{records: values("a"), timestamp: 1000, mangle: func(h *kmsg.RecordBatch) { h.Records = append(h.Records, 0, 0) }}
		send("bytes after the records", extra)
	})
	s.Do("what is there now", s.Latest(kmsg.ListOffsets), listOffsets("batches", 0, -1))
	s.Do("all of it", s.Latest(kmsg.Fetch), fetch("batches", id, 0, 0))
}

// produceTopicKinds: topics whose settings change what is taken or how it is kept.
func produceTopicKinds(s *Session) {
	v := s.Latest(kmsg.Produce)
	last := s.Latest(kmsg.Fetch)
	compact := s.Topic("kinds-compact", 1, "cleanup.policy", "compact")
	s.Do("no key to a compacted topic", v, produce("kinds-compact", compact, 0, one().bytes()))
	s.Do("keys but for one to a compacted topic", v, produce("kinds-compact", compact, 0,
		batch{timestamp: 1000, records: []record{{key: []byte("k")}, {value: []byte("v")}, {key: []byte("l")}}}.bytes()))
	s.Do("a key to a compacted topic", v, produce("kinds-compact", compact, 0,
		batch{timestamp: 1000, records: []record{{key: []byte("k"), value: []byte("v")}}}.bytes()))

	small := s.Topic("kinds-small", 1, "max.message.bytes", "200")
	s.Do("a batch of the largest size", v, produce("kinds-small", small, 0, batch{timestamp: 1000, records: []record{{value: make([]byte, 200-batchRecords-8)}}}.bytes()))
	s.Do("a batch that is too large", v, produce("kinds-small", small, 0, batch{timestamp: 1000, records: []record{{value: make([]byte, 250)}}}.bytes()))
	s.Do("a compressed batch that unfolds too large", v, produce("kinds-small", small, 0,
		batch{timestamp: 1000, attrs: 1, compress: codecs[0].compress, records: []record{{value: make([]byte, 5000)}}}.bytes()))

	stamped := s.Topic("kinds-stamped", 1, "message.timestamp.type", "LogAppendTime")
	s.Each(kmsg.Produce, func(v int16) {
		s.Do("log append time", v, produce("kinds-stamped", stamped, 0, one().bytes()))
	})
	s.Do("log append time", last, fetch("kinds-stamped", stamped, 0, 0))

	bounded := s.Topic("kinds-bounded", 1, "message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "60000")
	s.Each(kmsg.Produce, func(v int16) {
		s.Do("a timestamp too early", v, produce("kinds-bounded", bounded, 0, batch{records: values("a", "b"), timestamp: 1000}.bytes()))
		s.Do("a timestamp too late", v, produce("kinds-bounded", bounded, 0, batch{records: values("a"), timestamp: 1 << 42}.bytes()))
		s.Do("no timestamp", v, produce("kinds-bounded", bounded, 0, batch{records: values("a"), timestamp: -1}.bytes()))
	})

	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd", "uncompressed"} {
		topic := "kinds-" + codec
		id := s.Topic(topic, 1, "compression.type", codec)
		s.Do("plain to "+codec, v, produce(topic, id, 0, batch{timestamp: 1000, records: values("aaaa", "bbbb")}.bytes()))
		s.Do("gzip to "+codec, v, produce(topic, id, 0, batch{timestamp: 1000, attrs: 1, compress: codecs[0].compress, records: values("aaaa", "bbbb")}.bytes()))
		s.Do(codec, last, fetch(topic, id, 0, 0))
	}

	tiny := s.Topic("kinds-segments", 1, "segment.bytes", "1048576", "max.message.bytes", "3000000")
	s.Do("a batch larger than a segment", v, produce("kinds-segments", tiny, 0, batch{timestamp: 1000, records: []record{{value: make([]byte, 1100000)}}}.bytes()))
}

// initProducer asks for a producer id and returns it, plus one, for batches.
func initProducer(s *Session) (id int64, epoch int16) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version = 4
	s.Until("a producer id", func() error {
		resp, err := s.Ask(req)
		if err != nil {
			return err
		}
		r := resp.(*kmsg.InitProducerIDResponse)
		if r.ErrorCode != 0 {
			return fmt.Errorf("error %d", r.ErrorCode)
		}
		id, epoch = r.ProducerID+1, r.ProducerEpoch
		return nil
	})
	return id, epoch
}

func idempotentProduce(s *Session) {
	initProducer(s) // the first may have to wait for a block of ids
	s.Each(kmsg.InitProducerID, func(v int16) {
		init := func(txn *string, id int64, epoch int16, timeout int32) *kmsg.InitProducerIDRequest {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.TransactionalID, req.TransactionTimeoutMillis = txn, timeout
			req.ProducerID, req.ProducerEpoch = id, epoch
			return req
		}
		s.Do("a new producer", v, init(nil, -1, -1, 60000))
		s.Do("no timeout", v, init(nil, -1, -1, -1))
		s.Do("an empty transactional id", v, init(ptr(""), -1, -1, 60000))
		if v >= 3 {
			s.Do("a known producer", v, init(nil, 12345, 3, 60000))
			s.Do("an id without an epoch", v, init(nil, 12345, -1, 60000))
			s.Do("an epoch without an id", v, init(nil, -1, 3, 60000))
		}
	})

	id := s.Topic("idempotent", 2)
	v := s.Latest(kmsg.Produce)
	producer, _ := initProducer(s)
	send := func(label string, epoch int16, sequence int32, vs ...string) {
		b := batch{records: values(vs...), timestamp: 1000, producer: producer, epoch: epoch, sequence: sequence}
		s.Do(label, v, produce("idempotent", id, 0, b.bytes()))
	}
	send("the first", 0, 0, "a", "b")
	send("the first again", 0, 0, "a", "b")
	send("the next", 0, 2, "c")
	send("a gap", 0, 9, "z")
	send("a part of the first", 0, 1, "b")
	send("a longer first", 0, 0, "a", "b", "c")
	for i := range int32(5) {
		send(fmt.Sprintf("number %d", 3+i), 0, 3+i, "d")
	}
	send("the oldest that is remembered", 0, 3, "d")
	send("one that is forgotten", 0, 2, "c")
	send("a new epoch that starts in the middle", 1, 5, "e")
	send("a new epoch", 1, 0, "e")
	send("the old epoch", 0, 8, "f")
	send("a negative sequence", 1, -1, "e")
	send("a negative epoch", -1, 1, "e")

	other, _ := initProducer(s)
	b := batch{records: values("x"), timestamp: 1000, producer: other, sequence: 7}
	s.Do("an unknown producer in the middle", v, produce("idempotent", id, 0, b.bytes()))
	wrap := batch{records: values("x", "y", "z"), timestamp: 1000, producer: other + 1000, sequence: 1<<31 - 2}
	s.Do("a sequence that wraps", v, produce("idempotent", id, 1, wrap.bytes()))
	after := batch{records: values("w"), timestamp: 1000, producer: other + 1000, sequence: 1}
	s.Do("the one after it", v, produce("idempotent", id, 1, after.bytes()))
	two := batch{records: values("x"), timestamp: 1000, producer: other + 2000}
	s.Do("two batches of an idempotent producer in one", v,
		produce("idempotent", id, 1, append(two.bytes(), batch{records: values("y"), timestamp: 1000, producer: other + 2000, sequence: 1}.bytes()...)))
	txn := batch{records: values("x"), timestamp: 1000, producer: other + 3000, attrs: 1 << 4}
	s.Do("a transactional batch, no transactional id", v, produce("idempotent", id, 1, txn.bytes()))

	s.Each(kmsg.DescribeProducers, func(v int16) {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "idempotent", Partitions: []int32{0, 1, 9}}, {Topic: "idempotent-unknown", Partitions: []int32{0}}}
		s.Do("two partitions and unknown ones", v, req)
		s.Do("nothing", v, kmsg.NewPtrDescribeProducersRequest())
	})
	s.Do("all of it", s.Latest(kmsg.Fetch), fetch("idempotent", id, 0, 0))
}
