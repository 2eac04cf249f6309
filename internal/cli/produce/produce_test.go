package produce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// TestInterruptedWithoutAnAnswer: what was sent when the command was interrupted, and has no
// answer, is not said to be lost: it may be written.
func TestInterruptedWithoutAnAnswer(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	release := make(chan struct{})
	defer close(release)
	cluster.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		interrupt()
		cluster.SleepControl(func() { <-release })
		return nil, errors.New("too late"), true
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.AllowIdempotentProduceCancellation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	s := &sender{cl: cl, topic: "t", stop: func() {}, progress: &out.Progress{}, patience: time.Millisecond, tally: map[int32]*span{}}
	var stderr bytes.Buffer
	e := &conn.Env{Out: out.New(io.Discard, &stderr)}
	lines := NewLines(strings.NewReader("a\nb\n"))
	err = s.report(e, s.send(ctx, lines.Next))
	if e.Report(err) != out.ExitInterrupted {
		t.Errorf("%v", err)
	}
	said := stderr.String()
	if !strings.HasSuffix(said, "not known to be written: interrupted, and no answer within 1ms\n") {
		t.Errorf("%q", said)
	}
}

// nobody is a variable that names an address at which nobody listens.
func nobody(string) string { return "127.0.0.1:1" }

func TestWhatMayBeWritten(t *testing.T) {
	for _, c := range []struct {
		errs []error
		want string
	}{
		{[]error{kerr.MessageTooLarge}, "1 record not written: "},
		{[]error{kerr.MessageTooLarge, kerr.MessageTooLarge}, "2 records not written: "},
		{[]error{kgo.ErrRecordTimeout}, "1 record not known to be written: "},
		{[]error{fmt.Errorf("%w, last err: %w", kgo.ErrRecordTimeout, kerr.NotLeaderForPartition)}, "1 record not known to be written: "},
		{[]error{context.DeadlineExceeded}, "1 record not known to be written: "},
		{[]error{kerr.MessageTooLarge, kgo.ErrRecordTimeout}, "2 records not known to be written: "},
	} {
		s := &sender{topic: "t", open: int64(len(c.errs)), stop: func() {}, progress: &out.Progress{}, tally: map[int32]*span{}}
		for _, err := range c.errs {
			s.delivered(&kgo.Record{}, err)
		}
		if err := s.report(&conn.Env{Out: out.New(io.Discard, io.Discard), Getenv: nobody}, nil); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.errs, err, c.want)
		}
	}
}
