package node

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/leat-stream/leat/internal/env"
)

// StopWaiting ends what waits long: members parked at a coordinator are told to look
// for it again, and neither a fetch nor another node waits any more.
func (n *Node) StopWaiting() {
	if n.started.Load() {
		n.flush()
	}
	if n.groups != nil {
		n.groups.Close()
	}
	if n.replicas != nil {
		n.replicas.Stop()
	}
	if n.meta != nil {
		if l := n.meta.log.Load(); l != nil {
			l.Node().EndPulls()
		}
	}
}

// Flush makes what producers wait for durable and gives up the rest.
func (n *Node) Flush() {
	if n.started.Load() {
		n.flush()
		n.replicas.GiveUp()
	}
}

// flush makes what producers wait for durable, so that they are answered rather than
// turned away. What a failed directory owes was already answered.
func (n *Node) flush() {
	for more := true; more && n.dir.Failed() == nil; more = n.dir.Dirty() {
		// Also when nothing is dirty: a round may be under way.
		if _, err := n.dir.SyncRound(); err != nil {
			n.log.Error("flush at stop", "why", err)
			return
		}
	}
}

// EndControl ends the controller and everything that the node does by itself: nobody
// is answered by it any more.
func (n *Node) EndControl() {
	n.cancel()
	n.jobs.stop()
	n.tasks.loop.Stop()
	n.scrubs.loop.Stop()
	if n.meta != nil {
		n.meta.calls.close()
	}
	if n.meta != nil {
		n.meta.runtime.Close()
	}
}

// Close ends the node: the controller and the metadata's member, then everything is
// flushed and the directory is marked as cleanly shut down. It waits for all loops.
func (n *Node) Close() error {
	n.StopWaiting()
	n.Flush()
	n.EndControl()
	var errs []error
	if n.meta != nil {
		errs = append(errs, n.unclean(n.meta.close()))
	}
	if n.started.Load() {
		n.dir.Stop()
	}
	if n.dir != nil {
		failed := n.dir.Failed() // long ago: then there is nothing to be done at the stop
		err := n.dir.Close(true)
		if n.started.Load() {
			err = cmp.Or(err, failed)
		}
		errs = append(errs, n.unclean(err))
	}
	return errors.Join(errs...)
}

// unclean says in one line what an error at the stop means: without the clean-shutdown
// marker the next start recovers, and what was acknowledged is durable without the stop.
func (n *Node) unclean(err error) error {
	switch {
	case err == nil:
		return nil
	case env.IsFull(err):
		return fmt.Errorf("the disk of data directory %s is full, so the stop is not a clean one: make room, and the next start recovers what was acknowledged: %w", n.opt.DataDir, err)
	}
	return fmt.Errorf("data directory %s: the stop is not a clean one, the next start recovers what was acknowledged: %w", n.opt.DataDir, err)
}
