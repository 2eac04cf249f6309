package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// event writes one notable thing to the log: its text, and its type for who filters.
func (b *Broker) event(level slog.Level, e fmt.Stringer) {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", e), ".")
	b.log.Log(context.Background(), level, e.String(), "event", name)
}

// ListenerOpen tells that a listener takes connections.
type ListenerOpen struct{ Listening }

func (e ListenerOpen) String() string {
	return fmt.Sprintf("listener %s takes connections at %s", e.Name, e.Address)
}

// Stopped tells the end of an orderly stop.
type Stopped struct {
	Took time.Duration
	Err  error
}

func (e Stopped) String() string {
	s := fmt.Sprintf("stopped in %v", e.Took.Round(time.Millisecond))
	if e.Err != nil {
		s += ", not cleanly" // why is told by whom Close tells
	}
	return s
}
