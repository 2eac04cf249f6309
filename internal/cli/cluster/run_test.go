package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// TestStepIsTakenElsewhere: a step whose broker dies or hangs is taken again with another
// connection; one that is refused is not.
func TestStepIsTakenElsewhere(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	var notes bytes.Buffer
	e := &conn.Env{Out: out.New(io.Discard, &notes), Getenv: func(string) string { return "" }, Version: "test"}
	cmd := &cobra.Command{}
	cmd.SetContext(context.Background())
	e.AddFlags(cmd)
	e.SetBootstrap(strings.Join(c.ListenAddrs(), ","))
	for _, gone := range []error{context.DeadlineExceeded, io.EOF, &net.OpError{Op: "read", Err: errors.New("reset")}, kerr.NotController} {
		err := long(e, cmd, func(ctx context.Context, r *runner) error {
			first, asked := r.cl, 0
			err := r.once(ctx, func(context.Context) error {
				if asked++; asked == 1 {
					return gone
				}
				return nil
			})
			if asked != 2 || r.cl == first {
				t.Errorf("%v: asked %d times, by way of another: %v", gone, asked, r.cl != first)
			}
			return err
		})
		if err != nil {
			t.Errorf("%v: %v", gone, err)
		}
	}
	if !strings.Contains(notes.String(), "asking others") {
		t.Errorf("nothing is said: %q", notes.String())
	}
	asked := 0
	err = long(e, cmd, func(ctx context.Context, r *runner) error {
		return r.once(ctx, func(context.Context) error { asked++; return kerr.InvalidReplicaAssignment })
	})
	if asked != 1 || !errors.Is(err, kerr.InvalidReplicaAssignment) {
		t.Errorf("refused: asked %d times: %v", asked, err)
	}
}
