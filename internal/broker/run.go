package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/leat-stream/leat/internal/config"
)

// Start joins the cluster, opens the partitions, and then serves clients. It returns
// once it does.
func (b *Broker) Start(ctx context.Context) error {
	b.accept(true)
	started := make(chan error, 1)
	b.node.Start(func(err error) { started <- err })
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b.every(idleScan, b.closeIdle)
	b.accept(false)
	b.ready.Store(true)
	return nil
}

// accept begins to take connections: at the controllers' doors, where other nodes have
// to find this one before it can serve, or at those for clients.
func (b *Broker) accept(controllers bool) {
	for _, d := range b.doors {
		if d.controller == controllers {
			b.loops.Go(d.run)
			b.event(slog.LevelInfo, ListenerOpen{b.listening(d)})
		}
	}
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

// Healthy is nil while the broker works.
func (b *Broker) Healthy() error {
	return b.node.Healthy()
}

// Ready is nil once the broker serves, until it stops, and while it has its place in the
// cluster.
func (b *Broker) Ready() error {
	if !b.ready.Load() {
		return errors.New("not serving")
	}
	if err := b.Healthy(); err != nil {
		return err
	}
	return b.node.Ready()
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
	if b.ready.Load() && grace > 0 && b.config().Bool(config.ControlledShutdownEnable) {
		ctx, cancel := context.WithTimeout(context.Background(), handoverPatience)
		b.node.Leave(ctx)
		cancel()
	}
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
	if b.node != nil {
		b.node.StopWaiting()
	}
	b.awaitReaders(cut)
	if b.node != nil {
		b.node.Flush()
	}
	b.cancel()
	b.loops.Wait()
	if b.node != nil {
		b.node.EndControl()
	}
	for _, d := range b.doors {
		d.wg.Wait()
	}
	if b.node != nil {
		errs = append(errs, b.node.Close())
	}
	if b.peers != nil {
		b.peers.Close()
	}
	b.exec.Wait()
	return errors.Join(errs...)
}

// handoverPatience is how long a stop waits until others lead what this broker led.
const handoverPatience = 10 * time.Second

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
