package server

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// fewFiles is the limit of open files of the child.
const fewFiles = 256

// TestMain makes the test binary a server with few open files when it is asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEAT_TEST_FEW_FILES"); dir != "" {
		os.Exit(serveWithFewFiles(dir))
	}
	os.Exit(m.Run())
}

// serveWithFewFiles tells its addresses on standard output, and ends with standard input.
func serveWithFewFiles(dir string) int {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: fewFiles / 2, Max: fewFiles}); err != nil {
		println(err.Error())
		return 1
	}
	opt, err := optionsIn(dir)
	if err != nil {
		println(err.Error())
		return 1
	}
	opt.Embedded, opt.Log = false, slog.New(slog.NewTextHandler(os.Stderr, nil))
	s, err := Start(context.Background(), opt)
	if err != nil {
		println(err.Error())
		return 1
	}
	os.Stdout.WriteString(s.Addr() + " " + s.HTTPAddr() + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is gone, whatever it says
	if err := s.Stop(); err != nil {
		println(err.Error())
		return 1
	}
	return 0
}

// lines gathers what a process writes, for a test to wait for.
type lines struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	come sync.Cond
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.come.Broadcast()
	return l.buf.Write(p)
}

// await waits for a text; false when ctx ended before.
func (l *lines) await(ctx context.Context, text string) bool {
	defer context.AfterFunc(ctx, l.come.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for ctx.Err() == nil && !strings.Contains(l.buf.String(), text) {
		l.come.Wait()
	}
	return ctx.Err() == nil
}

// TestIdleConnectionsLeaveFilesForSegments: a process that may open 256 files, and 300
// connections to each door that say nothing: who is in goes on to write to and read from
// 150 partitions, nothing meets the limit, and the log says who was turned away.
func TestIdleConnectionsLeaveFilesForSegments(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "LEAT_TEST_FEW_FILES="+t.TempDir())
	text := &lines{}
	text.come.L = &text.mu
	cmd.Stderr = text
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	kafka, http, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !ok {
		t.Fatalf("%q %v\n%s", line, err, text.buf.String())
	}
	const partitions = 150
	c, err := kgo.NewClient(kgo.SeedBrokers(kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, partitions, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("first")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for n := c.PollFetches(ctx).NumRecords(); n != 1; n = c.PollFetches(ctx).NumRecords() {
		if ctx.Err() != nil {
			t.Fatal("the first record does not come")
		}
	}
	for _, address := range []string{http, kafka} {
		for range 300 {
			nc, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
		}
	}
	if !text.await(ctx, "connection refused") {
		t.Fatal("no connection is refused")
	}
	for p := range int32(partitions) {
		c.Produce(ctx, &kgo.Record{Topic: "t", Partition: p, Value: []byte("v")}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("partition %d: %v", p, err)
			}
		})
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < partitions; {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		got += f.NumRecords()
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	for _, want := range []string{"open files", "limit=256", "by the limit of open files"} {
		if !strings.Contains(text.buf.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	for _, bad := range []string{"too many open files", "level=ERROR"} {
		if strings.Contains(text.buf.String(), bad) {
			t.Errorf("the log says %q", bad)
		}
	}
	if t.Failed() {
		t.Log(text.buf.String())
	}
}
