package dev

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestHealthDuringMoves: a replica that is being added is not missed, one of those before is.
func TestHealthDuringMoves(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	host, number, err := net.SplitHostPort(c.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	var isr []int32
	control := func(key kmsg.Key, fn func(kmsg.Request) kmsg.Response) {
		c.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return fn(r), nil, true
		})
	}
	control(kmsg.Metadata, func(r kmsg.Request) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.MetadataResponse)
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = 0, host, int32(port)
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Leader, p.Replicas, p.ISR = 0, []int32{0, 1, 2}, isr
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.TopicID, topic.Partitions = kmsg.StringPtr("t"), [16]byte{1}, append(topic.Partitions, p)
		resp.ControllerID, resp.Brokers, resp.Topics = 0, append(resp.Brokers, b), append(resp.Topics, topic)
		return resp
	})
	control(kmsg.ListPartitionReassignments, func(r kmsg.Request) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
		p := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		p.Replicas, p.AddingReplicas, p.RemovingReplicas = []int32{0, 1, 2}, []int32{2}, []int32{0}
		topic := kmsg.NewListPartitionReassignmentsResponseTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp
	})
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer web.Close()
	nodes := []spec{{id: 0, http: web.Listener.Addr().(*net.TCPAddr).Port}}
	for _, want := range []struct {
		isr   []int32
		under int
	}{{[]int32{0, 1}, 0}, {[]int32{0}, 1}} {
		isr = want.isr
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.MetadataMinAge(10*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		h := look(t.Context(), nodes, cl, web.Client(), map[int]bool{})
		cl.Close()
		if h.err != nil || h.partitions != 1 || h.moving != 1 || h.under != want.under || h.ok() != (want.under == 0) {
			t.Errorf("in sync %v: %s, %+v", want.isr, h, h)
		}
	}
}
