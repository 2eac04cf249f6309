package leattest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/leattest"
)

// A leader sends records without a look at their checksums. A consumer that meets a flipped
// bit asks again and again, and goes on once another node leads.
func TestConsumerGoesOnBehindAFlippedBit(t *testing.T) {
	c := leattest.StartCluster(t, 3, leattest.Set("leat.scrub.bytes.per.second", "0"))
	cl := clusterClient(t, c)
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(deadline(t), 1, 3, nil, "t"); err != nil {
		t.Fatal(err)
	}
	value := func(i int) string { return fmt.Sprintf("the value of record %d.", i) }
	const records = 20
	for i := range records {
		if err := cl.ProduceSync(deadline(t), &kgo.Record{Topic: "t", Value: []byte(value(i))}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c.WaitHealthy() // all are in sync
	ctx := deadline(t)
	leader := func() (node int, epoch int32) {
		topics, err := adm.ListTopics(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		p := topics["t"].Partitions[0]
		return int(p.Leader), p.LeaderEpoch
	}
	first, before := leader()
	flip(t, filepath.Join(c.Node(first).DataDir, "t-0", "00000000000000000000.log"), value(7))
	consumer := clusterClient(t, c, kgo.ConsumeTopics("t"))
	wrong := 0
	for n := 0; n < records; {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("after %d records: %v", n, fetches.Err())
		}
		fetches.EachError(func(string, int32, error) { wrong++ }) // the checksum is another
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != value(n) {
				t.Fatalf("record %d is %q", n, r.Value)
			}
			n++
		})
	}
	if wrong == 0 {
		t.Error("the consumer met nothing wrong")
	}
	for epoch := before; epoch == before; _, epoch = leader() { // the first node may lead again, mended
	}
}

// flip changes a bit of the last byte of a text in a file.
func flip(t *testing.T, name, text string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(content, []byte(text))
	if at < 0 {
		t.Fatalf("%s does not hold %q", name, text)
	}
	at += len(text) - 1
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{content[at] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
}
