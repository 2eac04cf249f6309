package consume

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	batches "github.com/leat-stream/leat/internal/record"
)

// batch is one of a record, or what compaction has left of it.
func batch(t *testing.T, offset int64, emptied bool) []byte {
	t.Helper()
	var b batches.Builder
	b.Reset(batches.NewHeader(offset), batches.Compression{})
	b.Append(1, nil, []byte("v"))
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	if emptied {
		out = out[:batchHeader]
		binary.BigEndian.PutUint32(out[batchLength:], batchHeader-batchLength-4)
		clear(out[batchCount:])
		binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	}
	return out
}

// TestEndsWhereNothingIsLeft: compaction has taken the records before the end. The
// reading ends all the same, though it would wait for ever for records.
func TestEndsWhereNothingIsLeft(t *testing.T) {
	was := idleEnd
	idleEnd = time.Hour
	t.Cleanup(func() { idleEnd = was })
	for name, left := range map[string][]byte{
		"nothing": nil, "empty batches": append(batch(t, 1, true), batch(t, 2, true)...), "an empty batch": batch(t, 1, true), "later records": batch(t, 3, false),
	} {
		t.Run(name, func(t *testing.T) {
			c, ctx := withThree(t)
			c.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				req := r.(*kmsg.FetchRequest)
				resp := req.ResponseKind().(*kmsg.FetchResponse)
				for _, t0 := range req.Topics {
					rt, rp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
					rt.Topic, rt.TopicID = t0.Topic, t0.TopicID
					rp.HighWatermark, rp.LastStableOffset = 4, 4
					switch at := t0.Partitions[0].FetchOffset; {
					case at == 0:
						rp.RecordBatches = batch(t, 0, false)
					default:
						if next, records := passEmpty(left, at); next > at || records {
							rp.RecordBatches = left
						}
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
			root.SetArgs([]string{"consume", "t", "--until", "3"})
			if err := root.ExecuteContext(ctx); err != nil || stdout.String() != "v\n" {
				t.Errorf("%q, %v", stdout.String(), err)
			}
		})
	}
}

// TestPassEmpty: damaged batches are no reason to go beyond them, or to fail.
func TestPassEmpty(t *testing.T) {
	short := batch(t, 5, true)
	binary.BigEndian.PutUint32(short[batchLength:], 3)
	for name, c := range map[string]struct {
		bytes   []byte
		at      int64
		next    int64
		records bool
	}{
		"nothing":         {nil, 5, 5, false},
		"cut":             {batch(t, 5, false)[:20], 5, 5, false},
		"records":         {batch(t, 5, false), 5, 5, true},
		"records, later":  {batch(t, 9, false), 5, 9, true},
		"records, before": {batch(t, 4, false), 5, 5, false},
		"empty":           {batch(t, 5, true), 5, 6, false},
		"empty, records":  {append(batch(t, 5, true), batch(t, 6, false)...), 5, 6, true},
		"a short length":  {short, 5, 6, false},
	} {
		if next, records := passEmpty(c.bytes, c.at); next != c.next || records != c.records {
			t.Errorf("%s: %d %v, want %d %v", name, next, records, c.next, c.records)
		}
	}
}

// withThree is a cluster with three records in its topic t, until the test ends or time is up.
func withThree(t *testing.T) (*kfake.Cluster, context.Context) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	p, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 3 {
		if err := p.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return c, ctx
}
