package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/log"
)

// Start joins the metadata quorum, registers the broker, opens its partitions, and
// then serves clients. It returns once it does.
func (b *Broker) Start(ctx context.Context) error {
	syncCtx, endSync := context.WithCancel(context.WithoutCancel(ctx))
	b.endSync = endSync
	b.syncing.Go(func() { b.dir.Run(syncCtx) })
	if err := b.meta.start(ctx); err != nil {
		return err
	}
	b.every(idleScan, b.closeIdle)
	b.every(config.Millis(b.config(), config.LogRetentionCheckIntervalMs), b.retain)
	b.loops.Go(b.clean)
	for _, d := range b.doors {
		b.loops.Go(d.run)
	}
	b.ready.Store(true)
	return nil
}

// every runs f again and again until the broker stops.
func (b *Broker) every(interval time.Duration, f func()) {
	b.loops.Go(func() {
		for b.pause(interval) {
			f()
		}
	})
}

// pause waits; false when the broker stops.
func (b *Broker) pause(d time.Duration) bool {
	done := make(chan struct{})
	t := b.clock.AfterFunc(d, func() { close(done) })
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-b.ctx.Done():
		return false
	}
}

// closeIdle ends connections that have been silent for connections.max.idle.ms.
func (b *Broker) closeIdle() {
	if b.limits.idle <= 0 {
		return
	}
	now := b.clock.Now()
	for _, d := range b.doors {
		d.closeIdle(now, b.limits.idle)
	}
}

// retain applies retention to every partition.
func (b *Broker) retain() {
	now := b.clock.Now()
	b.replicas.Retain(now, func(id log.LogID, err error) {
		b.log.Error("retention failed", "partition", id.String(), "why", err)
	})
}

// dirFailed is told when the log directory can no longer be written: producers get
// KAFKA_STORAGE_ERROR, reads go on.
func (b *Broker) dirFailed(err error) {
	b.log.Error("log directory offline", "why", err)
	if b.replicas != nil {
		b.replicas.Fail(err)
	}
}

// logEvent writes one event of the log directory to the log.
func (b *Broker) logEvent(e log.Event) {
	b.log.Info(e.String(), "event", fmt.Sprintf("%T", e))
}

// Healthy is nil while the broker works.
func (b *Broker) Healthy() error {
	if err := b.dir.Failed(); err != nil {
		return fmt.Errorf("log directory offline: %w", err)
	}
	return b.meta.failed()
}

// Ready is nil once the broker serves, until it stops.
func (b *Broker) Ready() error {
	if !b.ready.Load() {
		return errors.New("not serving")
	}
	return b.Healthy()
}

// Close stops in order: no new connections; what is owed to clients leaves within
// grace; coordinators and controller end; everything is flushed and the directory is
// marked as cleanly shut down.
func (b *Broker) Close(grace time.Duration) (err error) {
	b.closing.Do(func() { err = b.close(grace) })
	return err
}

func (b *Broker) close(grace time.Duration) error {
	b.ready.Store(false)
	var errs []error
	for _, d := range b.doors {
		errs = append(errs, d.close())
	}
	if b.endSync != nil {
		b.flush()
	}
	if b.replicas != nil {
		b.replicas.Stop()
	}
	for _, d := range b.doors {
		d.finish(grace)
	}
	b.cancel()
	b.loops.Wait()
	if b.groups != nil {
		b.groups.Close()
	}
	if b.meta != nil {
		errs = append(errs, b.meta.close())
	}
	if b.endSync != nil {
		b.endSync()
		b.syncing.Wait()
	}
	if b.dir != nil {
		errs = append(errs, b.dir.Close(true))
	}
	return errors.Join(errs...)
}

// flush makes what producers wait for durable, so that they are answered rather than
// turned away. What a failed directory owes was already answered.
func (b *Broker) flush() {
	for b.dir.Dirty() && b.dir.Failed() == nil {
		if _, err := b.dir.SyncRound(); err != nil {
			b.log.Error("flush at stop", "why", err)
			return
		}
	}
}
