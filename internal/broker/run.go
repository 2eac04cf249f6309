package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
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
	b.loops.Go(b.watchDir)
	b.every(idleScan, b.closeIdle)
	b.every(idleScan, b.complaints.Flush)
	b.every(config.Millis(b.config(), config.LogRetentionCheckIntervalMs), b.retain)
	b.every(retryEvery, b.meta.retry)
	b.loops.Go(b.clean)
	for _, d := range b.doors {
		b.loops.Go(d.run)
	}
	for _, l := range b.Listening() {
		b.event(slog.LevelInfo, ListenerOpen{l})
	}
	b.ready.Store(true)
	return nil
}

// retryEvery is how often partitions that could not be opened, and deletions that
// could not be carried out, are tried again.
const retryEvery = time.Second

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

// dirFailed is told when the log directory can no longer be written, from below
// whatever was being done.
func (b *Broker) dirFailed(error) {
	b.dirDown <- struct{}{} // it fails once
}

// watchDir turns producers away when the log directory fails: they get
// KAFKA_STORAGE_ERROR; reads go on.
func (b *Broker) watchDir() {
	select {
	case <-b.dirDown:
		b.replicas.Fail()
	case <-b.ctx.Done():
	}
}

// logEvent writes one event of the log directory to the log.
func (b *Broker) logEvent(e log.Event) {
	b.opening.observe(e)
	if o, ok := e.(log.Opened); ok && b.opening.fresh {
		b.log.Info("log directory created", "path", o.Path)
		return
	}
	if _, ok := e.(log.WriteFailed); ok && !b.complaints.Say("writes failed") {
		return
	}
	b.event(eventLevel(e), e)
}

// eventLevel is how much an operator has to care.
func eventLevel(e log.Event) slog.Level {
	switch e.(type) {
	case log.Quarantined, log.DamageMet, log.JournalDamaged, log.DirFailed, log.CompactionFailed:
		return slog.LevelError
	case log.Truncated, log.WriteFailed, log.CheckpointFailed, log.IndexRebuilt:
		return slog.LevelWarn
	case log.Rolled:
		return slog.LevelDebug
	}
	return slog.LevelInfo
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

// Close stops in order: no new connections and no new requests; coordinators and long
// polls give up; what producers wait for is made durable; the answers leave, all of it
// within grace; the controller ends; everything is flushed and the directory is marked
// as cleanly shut down.
func (b *Broker) Close(grace time.Duration) (err error) {
	b.closing.Do(func() {
		served, began := b.ready.Load(), b.clock.Now()
		err = b.close(grace)
		if served {
			level := slog.LevelInfo
			if err != nil {
				level = slog.LevelWarn
			}
			b.event(level, Stopped{b.clock.Now().Sub(began), err})
		}
	})
	return err
}

func (b *Broker) close(grace time.Duration) error {
	b.ready.Store(false)
	var errs []error
	for _, d := range b.doors {
		errs = append(errs, d.close())
	}
	b.eachConn((*conn).drain)
	cut := make(chan struct{})
	end := func() {
		b.eachConn((*conn).cut)
		close(cut)
	}
	if grace <= 0 {
		end()
	} else {
		defer b.clock.AfterFunc(grace, end).Stop()
	}
	if b.endSync != nil {
		b.flush()
	}
	if b.groups != nil {
		b.groups.Close() // parked members are told to look for their coordinator again
	}
	if b.replicas != nil {
		b.replicas.Stop()
	}
	b.awaitReaders(cut)
	if b.endSync != nil {
		b.flush()
		b.replicas.GiveUp()
	}
	b.cancel()
	b.loops.Wait()
	if b.meta != nil {
		b.meta.runtime.Close()
	}
	for _, d := range b.doors {
		d.wg.Wait()
	}
	if b.meta != nil {
		errs = append(errs, b.unclean(b.meta.close()))
	}
	if b.endSync != nil {
		b.endSync()
		b.syncing.Wait()
	}
	if b.dir != nil {
		failed := b.dir.Failed() // long ago: then there is nothing to be done at the stop
		err := b.dir.Close(true)
		if b.endSync != nil {
			err = cmp.Or(err, failed)
		}
		errs = append(errs, b.unclean(err))
	}
	return errors.Join(errs...)
}

// unclean says in one line what an error at the stop means: without the clean-shutdown
// marker the next start recovers, and what was acknowledged is durable without the stop.
func (b *Broker) unclean(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk of data directory %s is full, so the stop is not a clean one: make room, and the next start recovers what was acknowledged: %w", b.opt.DataDir, err)
	}
	return fmt.Errorf("data directory %s: the stop is not a clean one, the next start recovers what was acknowledged: %w", b.opt.DataDir, err)
}

// awaitReaders waits until no connection reads or handles a request any more, at most
// until cut.
func (b *Broker) awaitReaders(cut <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		b.readers.Wait() // ends at the latest when the controller's requests are given up
		close(done)
	}()
	select {
	case <-done:
	case <-cut:
	}
}

func (b *Broker) eachConn(f func(*conn)) {
	for _, d := range b.doors {
		d.each(f)
	}
}

// flush makes what producers wait for durable, so that they are answered rather than
// turned away. What a failed directory owes was already answered.
func (b *Broker) flush() {
	for more := true; more && b.dir.Failed() == nil; more = b.dir.Dirty() {
		// Also when nothing is dirty: a round may be under way.
		if _, err := b.dir.SyncRound(); err != nil {
			b.log.Error("flush at stop", "why", err)
			return
		}
	}
}
