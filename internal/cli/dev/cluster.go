package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
)

func clusterCommand(e *conn.Env) *cobra.Command {
	c := localCluster{e: e, stopPatience: stopPatience}
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Run a cluster of several nodes on this machine with one command",
		Long: "Run a cluster of several nodes, each a process of its own, until Ctrl-C, which stops them in order. Node 1 has the ports of a single " +
			"node (9092 for clients, 9093 for controllers, 9644 for HTTP), the next ones have ports that are ten higher each; the next free port where " +
			"one is taken. Three nodes vote on the metadata (one, where there are fewer than three).\n\n" +
			"The nodes' logs are shown with the node's number before each line, and below them the state of the cluster. The process ids are shown too: " +
			"kill one with 'kill -9 PID', stop one with 'kill -STOP PID', and see what happens.",
		Example: `  leat dev cluster --nodes 3
  leat dev cluster --nodes 5 --restart --set leat.log.level=warn
  leat dev cluster --port 19092 --data /tmp/three`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.nodes < 1 || c.nodes > maxNodes {
				return out.Usagef("--nodes=%d: from 1 to %d", c.nodes, maxNodes)
			}
			if last := c.port + (c.nodes-1)*portStep + httpPort; c.port < 0 || last > 65535 {
				return out.Usagef("--port=%d: the nodes' ports would reach %d", c.port, last)
			}
			return c.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.IntVarP(&c.nodes, "nodes", "n", 3, "how many nodes")
	f.IntVarP(&c.port, "port", "p", 9092, "the first node's port for clients; 0 takes any free ports")
	f.StringVarP(&c.data, "data", "d", "leat-dev", "where the nodes keep their data, a folder each")
	f.StringArrayVarP(&c.sets, "set", "s", nil, "a setting of every node, NAME=VALUE (repeatable)")
	f.BoolVar(&c.restart, "restart", false, "start a node again when it dies")
	conn.CompleteBy(cmd, "set", conn.Settings(config.ScopeBroker, "=", nil))
	conn.Complete(cmd, "nodes", "3", "5")
	conn.Complete(cmd, "port")
	// The only error is a flag that does not exist.
	_ = cmd.MarkFlagDirname("data")
	return cmd
}

const (
	// stopPatience is how long one node may take to stop.
	stopPatience = 20 * time.Second
	// restartPause keeps a node that cannot start from trying all the time.
	restartPause = time.Second
)

// localCluster is one run of the command. Everything but the children's logs happens on the
// goroutine of run.
type localCluster struct {
	e            *conn.Env
	nodes, port  int
	data         string
	sets         []string
	restart      bool
	stopPatience time.Duration

	program  string
	specs    []spec
	children []*child // by node; one that has ended stays
	screen   *screen
	ended    chan *child
	wake     chan int // nodes that are to be started again
	up       bool     // all nodes served at once, once
}

func (c *localCluster) run(ctx context.Context) (err error) {
	if c.program, err = os.Executable(); err != nil {
		return err
	}
	if c.data, err = filepath.Abs(c.data); err != nil {
		return err
	}
	if c.specs, err = layout(c.nodes, c.port, c.data, takePort); err != nil {
		return err
	}
	c.screen = newScreen(c.e.Out.Err)
	defer c.screen.end()
	c.ended, c.wake = make(chan *child), make(chan int)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.stop()
	c.children = make([]*child, len(c.specs))
	for i := range c.specs {
		if err := c.start(ctx, i); err != nil {
			return err
		}
	}
	states := make(chan health)
	watched := make(chan error, 1)
	go func() {
		watched <- watch(ctx, c.specs, func(h health) {
			select {
			case states <- h:
			case <-ctx.Done():
			}
		})
	}()
	defer func() {
		cancel()
		err = errors.Join(err, <-watched)
	}()
	return c.loop(ctx, states)
}

func (c *localCluster) loop(ctx context.Context, states <-chan health) error {
	for {
		select {
		case <-ctx.Done():
			return nil // Ctrl-C is how this command ends
		case h := <-states:
			if !c.up && !h.ok() {
				c.screen.show(h.starting())
				continue
			}
			c.screen.show(h.String())
			if !c.up {
				c.up = true
				c.banner()
			}
		case dead := <-c.ended:
			c.screen.line(c.ending(dead))
			if err := c.lost(ctx, dead); err != nil {
				return err
			}
		case i := <-c.wake:
			if err := c.start(ctx, i); err != nil {
				return err
			}
		}
	}
}

// ending says that a node ended by itself, and what becomes of it.
func (c *localCluster) ending(dead *child) string {
	text := fmt.Sprintf("node %d ended: %s", dead.id, dead.how())
	if !c.restart {
		text += "; it stays down: with --restart it would be started again, or Ctrl-C and the same command start all"
	}
	return text
}

// lost goes on after a node that ended by itself.
func (c *localCluster) lost(ctx context.Context, dead *child) error {
	switch {
	case !c.up: // a start that is refused will be refused again
		return fmt.Errorf("node %d did not start: %s", dead.id, dead.how())
	case c.restart:
		time.AfterFunc(restartPause, func() {
			select {
			case c.wake <- dead.id - 1:
			case <-ctx.Done():
			}
		})
	case !slices.ContainsFunc(c.children, (*child).running):
		return errors.New("all nodes have ended")
	}
	return nil
}

// start runs a node, and sees to it that its end is told.
func (c *localCluster) start(ctx context.Context, i int) error {
	s := c.specs[i]
	mark := fmt.Sprintf("[%d] ", s.id)
	n, err := startChild(c.program, s, s.args(c.specs, c.sets), func(line string) { c.screen.line(mark + line) })
	if err != nil {
		return fmt.Errorf("node %d: %w", s.id, err)
	}
	c.children[i] = n
	c.screen.line(fmt.Sprintf("%spid %d, clients %s, http %s", mark, n.pid(), local(s.kafka), local(s.http)))
	go func() {
		<-n.done
		select {
		case c.ended <- n:
		case <-ctx.Done():
		}
	}()
	return nil
}

// banner says what listens where, once everything does.
func (c *localCluster) banner() {
	servers := strings.Join(kafkaAddresses(c.specs), ",")
	for _, text := range []string{
		fmt.Sprintf("cluster of %d nodes; Ctrl-C stops it", len(c.specs)),
		"  data   " + c.data,
		"  kafka  " + servers,
		"  ready: export LEAT_BOOTSTRAP=" + servers + "; leat cluster status", // all, so that any may be killed
	} {
		c.screen.line(text)
	}
}

// stop ends the nodes one after the other: each hands over what it leads to those that
// are left, and those that vote end last, since the rest needs them for that. At once,
// each would wait for the others.
func (c *localCluster) stop() {
	for _, n := range slices.Backward(c.children) {
		if n == nil || !n.running() {
			continue
		}
		c.screen.show(fmt.Sprintf("stopping node %d", n.id))
		if !n.stop(c.stopPatience) {
			c.screen.line(fmt.Sprintf("node %d did not stop within %s and was killed", n.id, c.stopPatience))
		}
	}
}
