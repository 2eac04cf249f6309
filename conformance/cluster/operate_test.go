//go:build conformance

package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// planned is what 'balance --dry-run' and 'drain --dry-run' tell.
type planned struct {
	Moves []struct{ From, To []int32 }
}

func (c *cluster) planned(args ...string) (p planned) {
	c.t.Helper()
	out := c.must("", append(args, "--dry-run", "--format", "json")...)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		c.t.Fatalf("leat %s: %v:\n%s", strings.Join(args, " "), err, out)
	}
	return p
}

// looked is the cluster's status, which is told at once.
func (c *cluster) looked() told {
	c.t.Helper()
	s, err := c.status()
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// admin is a client that asks, to the end of the test.
func (c *cluster) admin() *kadm.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.seeds()...))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// limits are the settings that limit the rate of moves, as the cluster has them.
func (c *cluster) limits(adm *kadm.Client, ids ...int32) []string {
	c.t.Helper()
	topics, err := adm.DescribeTopicConfigs(c.t.Context(), loadTopic, "__consumer_offsets")
	if err != nil {
		c.t.Fatal(err)
	}
	brokers, err := adm.DescribeBrokerConfigs(c.t.Context(), ids...)
	if err != nil {
		c.t.Fatal(err)
	}
	var all []string
	for _, rc := range append(topics, brokers...) {
		if rc.Err != nil {
			c.t.Fatal(rc.Err)
		}
		for _, s := range rc.Configs {
			dynamic := s.Source == kmsg.ConfigSourceDynamicTopicConfig || s.Source == kmsg.ConfigSourceDynamicBrokerConfig
			if dynamic && strings.Contains(s.Key, ".replication.throttled.") {
				all = append(all, fmt.Sprintf("%s %s=%s", rc.Name, s.Key, s.MaybeValue()))
			}
		}
	}
	return all
}

// TestOperate: a fourth node gets its share by one command, and the node that is the
// controller is drained, stopped and removed, while producers, a group and a reader see
// no error (errors_test.go) and lose nothing. Everything is done by the command line.
func TestOperate(t *testing.T) {
	c := grown(t, 3, func(int) map[string]string { return nil })
	c.createTopic(loadTopic, loadPartitions, map[string]string{"min.insync.replicas": "2"})
	l := franz(t, c.seeds(), seed(t))
	l.awaitStarted(t, producers)
	c.join(nil)
	s := c.awaitStatus("with a fourth node", 1, 2, 3, 4)
	if _, voters := s.members(); !slices.Equal(voters, []int32{1, 2, 3}) {
		t.Errorf("the voters are %v", voters)
	}

	if p := c.planned("cluster", "balance"); !slices.ContainsFunc(p.Moves, func(m struct{ From, To []int32 }) bool { return slices.Contains(m.To, 4) }) {
		t.Errorf("nothing would move to the new node: %+v", p)
	}
	adm := c.admin()
	c.takesBack(adm)
	c.must("moves have ended", "cluster", "balance", "--apply")
	s = c.awaitStatus("after balance", 1, 2, 3, 4)
	total := 0
	for _, b := range s.Brokers {
		total += b.Replicas
	}
	if leads, replicas := s.holds(4); 4*replicas < total*3/4 || leads == 0 {
		t.Errorf("of %d replicas the new node has %d, and it leads %d", total, replicas, leads)
	}
	if got := c.limits(adm, 1, 2, 3, 4); len(got) > 0 {
		t.Errorf("after balance, these limits stay: %q", got)
	}
	l.awaitProgress(t, "after balance", l.acknowledged())

	c.removes(adm, s, l)
	l.finish(t, c.running())
	l.noErrors(t)
}

// takesBack begins to balance too slowly to end, gives up, and takes it back.
func (c *cluster) takesBack(adm *kadm.Client) {
	c.t.Helper()
	var notes bytes.Buffer
	slow := c.command(c.t.Context(), "cluster", "balance", "--apply", "--rate", "1000")
	slow.Stderr = &notes
	if err := slow.Start(); err != nil {
		c.t.Fatal(err)
	}
	await(c.t, "something that moves", func() bool { return c.looked().Moving > 0 })
	if err := slow.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatal(err)
	}
	if err := slow.Wait(); err == nil || !strings.Contains(notes.String(), "what has begun goes on in the cluster") {
		c.t.Errorf("balance that is interrupted: %v: %s", err, notes.String())
	}
	if s := c.looked(); s.Moving == 0 {
		c.t.Error("with the command that began it, the move has ended")
	}
	if got := c.limits(adm, 1, 2, 3, 4); len(got) < 8 {
		c.t.Errorf("the limits of the move are %q", got)
	}
	var set kadm.TopicsSet
	for p := range int32(loadPartitions) {
		set.Add(loadTopic, p)
	}
	moving, err := adm.ListPartitionReassignments(c.t.Context(), set)
	if err != nil || len(moving.Sorted()) == 0 {
		c.t.Fatalf("moves under way: %v, %v", moving, err)
	}
	c.must("taken back", "cluster", "balance", "--cancel")
	if s := c.looked(); s.Moving > 0 {
		c.t.Errorf("after the move was taken back, %d partitions move", s.Moving)
	}
	topics, err := adm.ListTopics(c.t.Context(), loadTopic)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range moving.Sorted() { // others were in the first answer, which no rate holds back
		if got := topics[m.Topic].Partitions[m.Partition].Replicas; len(got) == 0 || slices.Contains(got, 4) {
			c.t.Errorf("after the move was taken back, the replicas of %s-%d are %v, during it %v", m.Topic, m.Partition, got, m.Replicas)
		}
	}
	if got := c.limits(adm, 1, 2, 3, 4); len(got) > 0 {
		c.t.Errorf("after the move was taken back, these limits stay: %q", got)
	}
}

// removes drains, stops and removes the node that is the controller.
func (c *cluster) removes(adm *kadm.Client, s told, l *load) {
	t := c.t
	t.Helper()
	id := s.Quorum.Leader
	name := fmt.Sprint(id)
	c.refused("node "+name+" has replicas of", "cluster", "remove", name)
	for _, m := range c.planned("cluster", "drain", name).Moves {
		if !slices.Contains(m.From, id) || slices.Contains(m.To, id) {
			t.Errorf("to drain node %s: %+v", name, m)
		}
	}
	if _, replicas := s.holds(id); replicas == 0 {
		t.Errorf("node %s has nothing, before it is drained", name)
	}
	c.must("node "+name+" is empty", "cluster", "drain", name)
	s = c.awaitStatus("after drain", 1, 2, 3, 4)
	if leads, replicas := s.holds(id); leads+replicas > 0 {
		t.Errorf("after it was drained, node %s has %d replicas and leads %d", name, replicas, leads)
	}
	if got := c.limits(adm, 1, 2, 3, 4); len(got) > 0 {
		t.Errorf("after drain, these limits stay: %q", got)
	}
	l.awaitProgress(t, "after drain", l.acknowledged())
	c.refused("node "+name+" is up", "cluster", "remove", name)
	c.term(c.nodes[id-1])
	c.must("node "+name+" is removed", "cluster", "remove", name)

	rest := slices.DeleteFunc([]int32{1, 2, 3, 4}, func(other int32) bool { return other == id })
	s = c.awaitStatus("after remove", rest...)
	if _, voters := s.members(); !slices.Equal(voters, rest) {
		t.Errorf("the voters are %v, not %v", voters, rest)
	}
	if text := c.must("healthy", "cluster", "status"); strings.Contains(text, "NOT HEALTHY") {
		t.Errorf("the status is\n%s", text)
	}
	l.awaitProgress(t, "after remove", l.acknowledged())
}
