package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/config"
)

func TestShareOpenFiles(t *testing.T) {
	for _, c := range []struct {
		limit uint64
		sets  []string
		want  OpenFiles
	}{
		{0, nil, OpenFiles{512, 2147483647, 512}},
		{1 << 20, nil, OpenFiles{100_000, 1<<20 - 1024 - 100_000, 512}},
		{1024, nil, OpenFiles{448, 448, 64}},
		{256, nil, OpenFiles{96, 96, 32}},
		{10, nil, OpenFiles{16, 16, 32}},
		{1024, []string{"leat.open.files.max=100"}, OpenFiles{100, 796, 64}},
		{1024, []string{"max.connections=100"}, OpenFiles{796, 100, 64}},
		{1024, []string{"max.connections=5000"}, OpenFiles{448, 5000, 64}},
		{1024, []string{"leat.open.files.max=100", "max.connections=200"}, OpenFiles{100, 200, 64}},
	} {
		cfg, _, err := config.Load(config.Sources{Sets: c.sets})
		if err != nil {
			t.Fatal(err)
		}
		if got := ShareOpenFiles(cfg, c.limit); got != c.want {
			t.Errorf("%d with %q: %+v, want %+v", c.limit, c.sets, got, c.want)
		}
	}
}

// TestConnectionsLeaveFilesForSegments: without max.connections, the limit of open
// files bounds connections; a dynamic max.connections takes its place.
func TestConnectionsLeaveFilesForSegments(t *testing.T) {
	n := prepare(t)
	n.files = 110 // 64 for the rest, 23 for segments
	n.start()
	var open []*client
	for range 23 {
		c := n.dial()
		c.ask(kmsg.NewPtrApiVersionsRequest())
		open = append(open, c)
	}
	if !n.dial().ended() {
		t.Fatal("a 24th connection was admitted")
	}
	if !n.log.has("connection refused", "by the limit of open files") {
		t.Fatalf("the log does not say why:\n%s", n.log)
	}
	open[0].alter(kmsg.ConfigResourceTypeBroker, "", "max.connections=24")
	n.eventually("the setting is in force", func() bool { return n.b.config().Int(config.MaxConnections) == 24 })
	n.dial().ask(kmsg.NewPtrApiVersionsRequest())
}
