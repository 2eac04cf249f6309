package broker

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/replica"
)

// trio starts three brokers.
func trio(t *testing.T) *joints {
	t.Helper()
	js := &joints{t: t}
	one := js.add(both).up()
	js.add(both, "leat.join="+one.address("CONTROLLER")).up()
	js.add(both, "leat.join="+one.address("CONTROLLER")).up()
	return js
}

// leads waits until some node leads partition 0 of a topic.
func (js *joints) leads(topic string) (leader *joint) {
	js.t.Helper()
	js.until("a leader of "+topic, func() bool {
		for _, j := range js.all {
			if p, err := j.b.node.Replicas().Find(replica.Ref{Topic: topic}); err == nil && p.Leading() {
				leader = j
				return true
			}
		}
		return false
	})
	return leader
}

// logDirs asks a broker for partition 0 of topics; nil asks for everything.
func (j *joint) logDirs(topics ...string) map[string]int64 {
	j.t.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version = 4
	for _, name := range topics {
		rt := kmsg.NewDescribeLogDirsRequestTopic()
		rt.Topic, rt.Partitions = name, []int32{0, 7}
		req.Topics = append(req.Topics, rt)
	}
	c := j.dialTo(j.address("PLAINTEXT"))
	defer c.nc.Close()
	resp := c.ask(req).(*kmsg.DescribeLogDirsResponse)
	if resp.ErrorCode != 0 || len(resp.Dirs) != 1 || resp.Dirs[0].ErrorCode != 0 || resp.Dirs[0].Dir != "data" || resp.Dirs[0].TotalBytes <= 0 {
		j.t.Fatalf("%+v", resp)
	}
	sizes := map[string]int64{}
	for _, rt := range resp.Dirs[0].Topics {
		for _, p := range rt.Partitions {
			if p.Partition != 0 || p.IsFuture || p.OffsetLag != 0 {
				j.t.Fatalf("%s: %+v", rt.Topic, p)
			}
			sizes[rt.Topic] = p.Size
		}
	}
	return sizes
}

// TestLogDirsOfSeveralBrokers: each tells of its own replicas, whoever leads them.
func TestLogDirsOfSeveralBrokers(t *testing.T) {
	js := trio(t)
	js.replicates(js.all[0], "everywhere", 3)
	js.replicates(js.all[0], "once", 1)
	for _, topic := range []string{"everywhere", "once"} {
		l := js.leads(topic)
		l.dialTo(l.address("PLAINTEXT")).produce(topic, []byte("v"))
	}
	size, holders := js.leads("everywhere").logDirs("everywhere")["everywhere"], 0
	if size == 0 {
		t.Fatal("the leader has nothing")
	}
	for _, j := range js.all {
		js.until("it has what the leader has", func() bool { return j.logDirs("everywhere")["everywhere"] == size })
		got, all := j.logDirs("everywhere", "once", "nobody"), j.logDirs()
		if n, here := got["once"]; here {
			holders++
			if j != js.leads("once") || n == 0 {
				t.Errorf("%v has %d of a topic that another leads alone", j.sets, n)
			}
		}
		if _, here := got["nobody"]; here || got["everywhere"] != all["everywhere"] || len(all) < len(got) {
			t.Errorf("%v, of all %v", got, all)
		}
	}
	if holders != 1 {
		t.Errorf("%d brokers have what one replica has", holders)
	}
}

// TestDeleteRecordsOverReplicas: what is answered as deleted is so on every replica.
func TestDeleteRecordsOverReplicas(t *testing.T) {
	js := trio(t)
	js.replicates(js.all[0], "t", 3)
	l := js.leads("t")
	c := l.dialTo(l.address("PLAINTEXT"))
	for range 3 {
		c.produce("t", []byte("v"))
	}
	for _, before := range []int64{2, -1} {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Version, req.TimeoutMillis = 2, 60_000
		rt, rp := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
		rt.Topic, rp.Offset = "t", before
		rt.Partitions = append(rt.Partitions, rp)
		rp.Partition = 9
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		want := before
		if want < 0 {
			want = 3
		}
		got := c.ask(req).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions
		if len(got) != 2 || got[0].ErrorCode != 0 || got[0].LowWatermark != want ||
			got[1].ErrorCode != kerr.UnknownTopicOrPartition.Code || got[1].LowWatermark != -1 {
			t.Fatalf("%+v", got)
		}
		var starts []int64
		for _, j := range js.all {
			p, err := j.b.node.Replicas().Find(replica.Ref{Topic: "t"})
			if err != nil {
				t.Fatal(err)
			}
			starts = append(starts, p.Log().RecordedStart())
		}
		if !slices.Equal(starts, []int64{want, want, want}) {
			t.Fatalf("logs start at %v, answered was %d", starts, want)
		}
	}
}
