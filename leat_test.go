package leat_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat"
)

func settings(more ...string) map[string]string {
	m := map[string]string{"listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": "127.0.0.1:0"}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for want := range int64(2) { // the second run finds what the first one stored
		ctx, stop := context.WithCancel(t.Context())
		node := leat.New(leat.Options{DataDir: dir, Settings: settings()})
		if node.Addr() != "" {
			t.Fatal("an address before the start: ", node.Addr())
		}
		done := make(chan error, 1)
		go func() { done <- node.Run(ctx) }()
		<-node.Ready()
		if node.HTTPAddr() == "" {
			t.Fatal("no HTTP address")
		}
		c, err := kgo.NewClient(kgo.SeedBrokers(node.Addr()), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: "t", Value: []byte("v")}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if r.Offset != want {
			t.Fatalf("offset %d, want %d", r.Offset, want)
		}
		c.Close()
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunRefusesInOneLine(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		says     string
	}{
		"a bad value":               {settings("num.partitions", "many"), "num.partitions"},
		"a listener of all the net": {settings("listeners", "PLAINTEXT://0.0.0.0:0"), "insecure"},
	} {
		t.Run(name, func(t *testing.T) {
			node := leat.New(leat.Options{DataDir: t.TempDir(), Settings: c.settings})
			err := node.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("Run says %v", err)
			}
		})
	}
}

func TestTwoNodesInOneProcess(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var done []chan error
	for range 2 {
		node := leat.New(leat.Options{DataDir: t.TempDir(), Settings: settings()})
		d := make(chan error, 1)
		done = append(done, d)
		go func() { d <- node.Run(ctx) }()
		<-node.Ready()
	}
	stop()
	for _, d := range done {
		if err := <-d; err != nil {
			t.Fatal(err)
		}
	}
}
