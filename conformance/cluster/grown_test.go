//go:build conformance

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
)

// grown starts a cluster that has grown: its first node is alone, and the others join
// it. It returns once it is whole. set gives what a node has beyond addresses.
func grown(t *testing.T, n int, set func(id int) map[string]string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "leat-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir}
	t.Cleanup(c.end)
	var ids []int32
	for id := 1; id <= n; id++ {
		c.join(set(id))
		ids = append(ids, int32(id))
	}
	c.awaitStatus("after the start", ids...)
	return c
}

// join starts one more node, which joins those that there are.
func (c *cluster) join(set map[string]string) *node {
	c.t.Helper()
	bin, err := harness.LeatBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	ports, err := harness.FreePorts(3)
	if err != nil {
		c.t.Fatal(err)
	}
	id := len(c.nodes) + 1
	n := &node{id: id, client: loopback(ports, 0), quorumAt: loopback(ports, 1), data: filepath.Join(c.dir, strconv.Itoa(id))}
	all := maps.Clone(settings)
	maps.Copy(all, set)
	maps.Copy(all, map[string]string{"node.id": strconv.Itoa(id), "log.dirs": n.data, "http.listen": loopback(ports, 2),
		"listeners": fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s", n.client, n.quorumAt)})
	argv := []string{bin, "serve"}
	if id > 1 {
		argv = append(argv, "--join", c.nodes[0].quorumAt)
	}
	for k, v := range all {
		argv = append(argv, "--set", k+"="+v)
	}
	n.Process = harness.Process{Name: fmt.Sprintf("node %d", id), Argv: argv, Dir: c.dir, Output: filepath.Join(c.dir, fmt.Sprintf("node-%d.log", id))}
	c.nodes = append(c.nodes, n)
	if err := n.Start(); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// command is the command line, with the addresses of all nodes that there ever were.
func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	c.t.Helper()
	bin, err := harness.LeatBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, bin, append(args, "--bootstrap-server", strings.Join(c.seeds(), ","))...)
	cmd.Dir = c.dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LEAT_") })
	return cmd
}

// running are the addresses of the nodes that run.
func (c *cluster) running() []string {
	var all []string
	for _, n := range c.nodes {
		if n.Alive() {
			all = append(all, n.client)
		}
	}
	return all
}

// leat runs the command line; err is its exit code, where that is not 0.
func (c *cluster) leat(args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), settle)
	defer cancel()
	var out, notes bytes.Buffer
	cmd := c.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &notes
	err = cmd.Run()
	return out.String(), notes.String(), err
}

// must runs a command that succeeds, and says something.
func (c *cluster) must(says string, args ...string) string {
	c.t.Helper()
	out, notes, err := c.leat(args...)
	if err != nil || !strings.Contains(out+notes, says) {
		c.t.Fatalf("leat %s: %v; wanted is %q in\n%s%s", strings.Join(args, " "), err, says, out, notes)
	}
	return out
}

// refused runs a command that fails, and says why.
func (c *cluster) refused(why string, args ...string) {
	c.t.Helper()
	out, notes, err := c.leat(args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(notes, why) {
		c.t.Fatalf("leat %s: %v; wanted are exit code 1 and %q in\n%s%s", strings.Join(args, " "), err, why, out, notes)
	}
}

// told is what 'leat cluster status' tells.
type told struct {
	Healthy bool
	Moving  int `json:"partitions_moving"`
	Brokers []struct {
		ID              int32
		Leads, Replicas int
	}
	Quorum struct {
		Leader  int32
		Members []struct {
			ID    int32
			Voter bool
		}
	}
}

func (c *cluster) status() (s told, err error) {
	c.t.Helper()
	out, notes, err := c.leat("cluster", "status", "--format", "json")
	if err != nil {
		return s, fmt.Errorf("leat cluster status: %w: %s", err, notes)
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// holds gives what a node has.
func (s *told) holds(id int32) (leads, replicas int) {
	for _, b := range s.Brokers {
		if b.ID == id {
			return b.Leads, b.Replicas
		}
	}
	return 0, 0
}

// brokers and voters are their ids.
func (s *told) members() (brokers, voters []int32) {
	for _, b := range s.Brokers {
		brokers = append(brokers, b.ID)
	}
	for _, m := range s.Quorum.Members {
		if m.Voter {
			voters = append(voters, m.ID)
		}
	}
	slices.Sort(voters)
	return brokers, voters
}

// awaitStatus waits until 'leat cluster status' tells of a healthy cluster of some nodes,
// three of which vote.
func (c *cluster) awaitStatus(when string, ids ...int32) (s told) {
	c.t.Helper()
	for deadline := time.Now().Add(healthLimit); ; {
		var err error
		if s, err = c.status(); err == nil {
			brokers, voters := s.members()
			if s.Healthy && slices.Equal(brokers, ids) && len(voters) == 3 {
				return s
			}
			err = fmt.Errorf("brokers %v, voters %v, healthy %v", brokers, voters, s.Healthy)
		}
		if time.Now().After(deadline) || c.t.Context().Err() != nil {
			c.t.Fatalf("%s: not a healthy cluster of %v and three voters within %v: %v", when, ids, healthLimit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
