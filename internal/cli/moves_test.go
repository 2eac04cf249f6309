package cli

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// shape is what is told of a partition. A later one is told once the moves have been.
type shape struct {
	replicas, isr, adding, removing []int32
	later                           *shape
	refused                         *kerr.Error // to list moves
}

func (s *shape) list(resp *kmsg.ListPartitionReassignmentsResponse) {
	if s.refused != nil {
		resp.ErrorCode = s.refused.Code
		return
	}
	if s.later != nil {
		*s = *s.later
	}
	if len(s.adding)+len(s.removing) == 0 {
		return
	}
	p := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
	p.Replicas, p.AddingReplicas, p.RemovingReplicas = s.replicas, s.adding, s.removing
	t := kmsg.NewListPartitionReassignmentsResponseTopic()
	t.Topic, t.Partitions = "orders", append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
}

func (m *mover) metadata(r kmsg.Request) kmsg.Response {
	if m.shape == nil {
		return nil
	}
	resp := r.ResponseKind().(*kmsg.MetadataResponse)
	resp.ControllerID = 0
	for id, address := range m.world.cluster.ListenAddrs() {
		b := kmsg.NewMetadataResponseBroker()
		host, port, _ := net.SplitHostPort(address)
		n, _ := strconv.Atoi(port)
		b.NodeID, b.Host, b.Port = int32(id), host, int32(n)
		resp.Brokers = append(resp.Brokers, b)
	}
	p := kmsg.NewMetadataResponseTopicPartition()
	p.Leader, p.Replicas, p.ISR = m.shape.isr[0], m.shape.replicas, m.shape.isr
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.Partitions = kmsg.StringPtr("orders"), [16]byte{1}, append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	return resp
}

// TestUnderReplicatedDuringMoves: a partition that is being moved lacks nothing while as many of
// its replicas are in sync as it had before; one of them that is dead is missed all the same.
func TestUnderReplicatedDuringMoves(t *testing.T) {
	ids := func(all ...int32) []int32 { return all }
	for name, c := range map[string]struct {
		shape  shape
		under  int
		moving int
		factor string // what kafka-topics.sh shows
	}{
		"at rest":                {shape{replicas: ids(0, 1, 2), isr: ids(0, 1, 2)}, 0, 0, "3"},
		"at rest, one dead":      {shape{replicas: ids(0, 1, 2), isr: ids(0, 1)}, 1, 0, "3"},
		"moving":                 {shape{replicas: ids(0, 1, 2, 3), isr: ids(0, 1, 2), adding: ids(3), removing: ids(0)}, 0, 1, "3"},
		"moving, one dead":       {shape{replicas: ids(0, 1, 2, 3), isr: ids(0, 1), adding: ids(3), removing: ids(0)}, 1, 1, "3"},
		"one more":               {shape{replicas: ids(0, 1), isr: ids(0), adding: ids(1)}, 0, 1, "1"},
		"one less, and it lacks": {shape{replicas: ids(0, 1), isr: ids(0), removing: ids(1)}, 1, 1, "2"},
		"over since the node told": {shape{replicas: ids(0, 1, 2, 3), isr: ids(0, 1, 2),
			later: &shape{replicas: ids(1, 2, 3), isr: ids(1, 2, 3)}}, 0, 0, "3"},
		"not to be told": {shape{replicas: ids(0, 1, 2), isr: ids(0, 1), refused: kerr.ClusterAuthorizationFailed}, 1, 0, "3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, kfake.NumBrokers(4), kfake.SeedTopics(1, "orders"))
			m := &mover{assigned: map[string][]int32{}}
			m.attach(w)
			for _, command := range []string{"status", "info"} {
				told := c.shape
				m.shape = &told
				var s struct {
					Healthy bool
					Under   int `json:"partitions_under_replicated"`
					Moving  int `json:"partitions_moving"`
				}
				w.json(&s, "cluster", command)
				if healthy := command == "status" && c.under == 0; s.Healthy != healthy || s.Under != c.under || s.Moving != c.moving {
					t.Errorf("%s: %+v", command, s)
				}
			}
			told := c.shape
			m.shape = &told
			describe := func(more ...string) string {
				return w.scriptOK("", "kafka-topics.sh", append([]string{"--bootstrap-server", w.servers, "--describe"}, more...)...)
			}
			all := describe()
			if got := describe("--under-replicated-partitions"); strings.Count(got, "Topic: orders") != c.under {
				t.Errorf("%d under-replicated: %q", c.under, got)
			}
			if moves := strings.Contains(all, "\tIsr: "+joined(told.isr)+"\tAdding Replicas: "+joined(told.adding)+"\tRemoving Replicas: "+joined(told.removing)+"\tElr: "); !strings.Contains(all, "\tReplicationFactor: "+c.factor+"\t") || moves != (c.moving > 0) {
				t.Errorf("%q", all)
			}
		})
	}
}

func joined(ids []int32) string {
	var all []string
	for _, id := range ids {
		all = append(all, strconv.Itoa(int(id)))
	}
	return strings.Join(all, ",")
}

// TestDescribeWithoutMoves: what lists no moves for another reason than that it may not is an error.
func TestDescribeWithoutMoves(t *testing.T) {
	w := newWorld(t, kfake.NumBrokers(4), kfake.SeedTopics(1, "orders"))
	m := &mover{assigned: map[string][]int32{}, shape: &shape{replicas: []int32{0}, isr: []int32{0}, refused: kerr.InvalidRequest}}
	m.attach(w)
	if r := w.script("", "kafka-topics.sh", "--bootstrap-server", w.servers, "--describe"); r.code == 0 || !strings.Contains(r.out, "Error while executing topic command") {
		t.Errorf("%+v", r)
	}
}
