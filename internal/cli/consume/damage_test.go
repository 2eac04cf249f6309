package consume

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// consumeDamaged reads three records of a leader whose batch at offset 1 is damaged until it
// has been asked for so many times from there on; asked is how often it was.
func consumeDamaged(t *testing.T, mended int, args ...string) (text string, asked int, err error) {
	t.Helper()
	var asks atomic.Int64
	c, ctx := withThree(t)
	broken := batch(t, 1, false)
	broken[len(broken)-2] ^= 1
	c.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, t0 := range req.Topics {
			rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
			rt.Topic, rt.TopicID = t0.Topic, t0.TopicID
			rp.HighWatermark, rp.LastStableOffset = 3, 3
			switch at := t0.Partitions[0].FetchOffset; {
			case at == 0:
				rp.RecordBatches = append(batch(t, 0, false), broken...)
			case at == 1 && int(asks.Load()) < mended:
				asks.Add(1)
				rp.RecordBatches = broken
			case at < 3:
				rp.RecordBatches = append(batch(t, 1, false), batch(t, 2, false)...)
			}
			rt.Partitions = append(rt.Partitions, rp)
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	var stdout, stderr bytes.Buffer
	e := &conn.Env{Out: out.New(&stdout, &stderr), Getenv: func(string) string { return strings.Join(c.ListenAddrs(), ",") }, Version: "test"}
	root := &cobra.Command{Use: "leat", SilenceErrors: true, SilenceUsage: true}
	e.AddFlags(root)
	root.AddCommand(Command(e))
	root.SetArgs(append([]string{"consume", "t"}, args...))
	err = root.ExecuteContext(ctx)
	return stdout.String(), int(asks.Load()), err
}

// patience makes readings wait so long for damage to be mended.
func patience(t *testing.T, d time.Duration) {
	was := damagePatience
	damagePatience = d
	t.Cleanup(func() { damagePatience = was })
}

// TestDamageIsMended: the leader of a damaged batch fetches it from another replica once it
// is asked again; the reading asks again, and gets everything.
func TestDamageIsMended(t *testing.T) {
	patience(t, time.Hour)
	for _, args := range [][]string{{"--until", "3"}, {"--count", "3"}, {"--group", "g", "--count", "3"}} {
		if text, asked, err := consumeDamaged(t, 3, args...); err != nil || text != "v\nv\nv\n" || asked != 3 {
			t.Errorf("%q: %q after %d requests, %v", args, text, asked, err)
		}
	}
}

// TestDamageThatLasts: the records before the damage are written out, and the error says
// where it is.
func TestDamageThatLasts(t *testing.T) {
	patience(t, 0)
	for _, args := range [][]string{{"--until", "3"}, {"--group", "g", "--count", "3"}} {
		text, _, err := consumeDamaged(t, 1<<30, args...)
		if err == nil || !strings.HasPrefix(err.Error(), "t-0 cannot be read from offset 1 on: encoded crc ") || text != "v\n" {
			t.Errorf("%q: %q, %v", args, text, err)
		}
	}
}
