package bench

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pacer waits for points in time more exactly than the runtime's timers, which are
// up to a millisecond late: the last stretch is a timer of the kernel that wakes
// the goroutine through the network poller.
type pacer struct {
	timer *os.File // nil when the kernel gives none
	fd    int      // of timer; File.Fd would make it block a thread
}

func newPacer() *pacer {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return &pacer{} // the runtime's timers do, less exactly
	}
	return &pacer{os.NewFile(uintptr(fd), "timerfd"), fd}
}

func (p *pacer) close() {
	if p.timer != nil {
		_ = p.timer.Close() // a timer has nothing to lose
	}
}

// stretch is what is left to the kernel's timer.
const stretch = 3 * time.Millisecond

// until waits until t, or until ctx ends.
func (p *pacer) until(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	if p.timer == nil {
		return sleep(ctx, wait)
	}
	if wait > stretch {
		if err := sleep(ctx, wait-stretch/2); err != nil {
			return err
		}
		if wait = time.Until(t); wait <= 0 {
			return nil
		}
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	if err := unix.TimerfdSettime(p.fd, 0, &spec, nil); err != nil {
		return sleep(ctx, wait)
	}
	var expirations [8]byte
	if _, err := p.timer.Read(expirations[:]); err != nil {
		return sleep(ctx, time.Until(t))
	}
	return ctx.Err()
}
