//go:build conformance

package clients

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
)

// The scripts of a Python tutorial, word for word but for the address.
const (
	producer = "producer"       // ten JSON messages, future.get(timeout=10) each
	group    = "consumer_group" // auto_offset_reset='earliest' and a group_id, subscribing
	plain    = "consumer"       // neither
)

// tutorialLimit is how long a script may take to show what it must.
const tutorialLimit = 40 * time.Second

// TestTutorial runs the three scripts in every order, each against a broker that
// has never seen a topic.
func TestTutorial(t *testing.T) {
	kind, err := harness.Chosen()
	if err != nil {
		t.Fatal(err)
	}
	orders := [][]string{
		{producer, group, plain}, {producer, plain, group}, {group, producer, plain},
		{group, plain, producer}, {plain, producer, group}, {plain, group, producer},
	}
	for _, which := range []struct{ version, requirements string }{{"3.0.12", "new"}, {"2.0.2", "old"}} {
		interpreter, err := harness.Python(here("kafka-python", "requirements-"+which.requirements+".txt"))
		for _, order := range orders {
			name := strings.Join(order, " then ")
			t.Run(which.version+" "+name, func(t *testing.T) {
				harness.Report(t, "kafka-python", which.version, "tutorial: "+name, kind)
				harness.Need(t, "kafka-python "+which.version, err)
				for try := 1; !tutorial(t, interpreter, harness.StartFor(t, kind, harness.Options{}).Addr, order); try++ {
					if try == 4 {
						t.Fatal("again and again a consumer never asks for its topic")
					}
				}
			})
		}
	}
}

// tutorial starts the scripts in order, each once the one before shows that it
// works, and looks at what each printed. It is false when a consumer never asked for
// its topic, which no broker can help: then all of it is to be done again.
//
// kafka-python 3 does that when its thread subscribes while the client's first request
// for metadata, of no topic, is on its way: the answer counts as the newest, and the
// next request comes five minutes later.
func tutorial(t *testing.T, interpreter, addr string, order []string) bool {
	running := map[string]*script{}
	produced := false
	for _, name := range order {
		if name == producer {
			produceTen(t, interpreter, addr, 0)
			produced = true
			continue
		}
		running[name] = startScript(t, interpreter, addr, name)
	}
	for name, s := range running {
		if !s.asked() {
			t.Logf("%s has never asked for its topic", name)
			return false
		}
	}
	if g := running[group]; g != nil && produced {
		if got := g.await(10); !inOrder(got, 0, 10) {
			t.Errorf("the consumer of the group printed %v", got)
		}
	}
	// A consumer with neither group nor reset starts at the end, and it knows where
	// that is only once it has asked: it sees a run that begins after that.
	deadline := time.Now().Add(tutorialLimit)
	runs := 1
	for ; len(running[plain].lines()) == 0; runs++ {
		if time.Now().After(deadline) {
			t.Fatal("the consumer without a group printed nothing")
		}
		produceTen(t, interpreter, addr, runs*10)
	}
	got := running[plain].lines()
	if first := offsetOf(got[0]); first < 0 || !inOrder(got, first, len(got)) {
		t.Errorf("the consumer without a group printed %v", got)
	}
	if got := running[group].await(runs * 10); !inOrder(got, 0, runs*10) {
		t.Errorf("the consumer of the group printed %v", got)
	}
	return true
}

// asked waits until the client's own log tells that it asked for the metadata of the
// topic, for ten seconds at most.
func (s *script) asked() bool {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(10 * time.Second); ; {
		text, err := os.ReadFile(s.log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "MetadataRequest") && strings.Contains(line, "my-topic") {
				return true
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
}

// produceTen runs the producer to its end: ten messages, at offsets from first on.
func produceTen(t *testing.T, interpreter, addr string, first int) {
	t.Helper()
	s := startScript(t, interpreter, addr, producer)
	got := s.await(10)
	for i, line := range got {
		if want := fmt.Sprintf("my-topic 0 %d", first+i); line != want {
			t.Fatalf("the producer printed %q, want %q", line, want)
		}
	}
	if err := s.wait(); err != nil {
		t.Fatalf("the producer: %v\n%s", err, s.errors())
	}
}

// offsetOf is the offset in a consumer's line: topic, partition, offset, number.
func offsetOf(line string) int {
	f := strings.Fields(line)
	if len(f) != 4 {
		return -1
	}
	n, err := strconv.Atoi(f[2])
	if err != nil {
		return -1
	}
	return n
}

// inOrder says whether lines are count messages at offsets from first on, each
// with the number that the producer gave it.
func inOrder(lines []string, first, count int) bool {
	if len(lines) != count {
		return false
	}
	for i, line := range lines {
		if want := fmt.Sprintf("my-topic 0 %d %d", first+i, (first+i)%10); line != want {
			return false
		}
	}
	return true
}

// script is a running tutorial script.
type script struct {
	t    *testing.T
	cmd  *exec.Cmd
	name string
	log  string // the client's own
	done chan error

	mu   sync.Mutex
	out  []string
	err  strings.Builder
	more chan struct{} // closed and renewed at each line
}

// withLog runs a script as it is, with the client's own log written to a file.
const withLog = "import logging, runpy, sys\n" +
	"logging.basicConfig(filename=sys.argv[1], level=logging.DEBUG)\n" +
	"runpy.run_path(sys.argv[2], run_name='__main__')\n"

func startScript(t *testing.T, interpreter, addr, name string) *script {
	t.Helper()
	text, err := os.ReadFile(here("kafka-python", "tutorial", name+".py"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".py")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "localhost:9092", addr)), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, name: name, log: file + ".log", done: make(chan error, 1), more: make(chan struct{})}
	s.cmd = exec.Command(interpreter, "-c", withLog, s.log, file)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var read sync.WaitGroup
	read.Go(func() { s.collect(stdout, func(line string) { s.out = append(s.out, line) }) })
	read.Go(func() { s.collect(stderr, func(line string) { s.err.WriteString(line + "\n") }) })
	ended := make(chan struct{})
	go func() {
		read.Wait()
		s.done <- s.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended by itself
		<-ended
	})
	return s
}

func (s *script) collect(r io.Reader, take func(string)) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		s.mu.Lock()
		take(lines.Text())
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
	}
}

// await waits for at least n lines and returns all there are.
func (s *script) await(n int) []string {
	s.t.Helper()
	limit := time.After(tutorialLimit)
	for {
		s.mu.Lock()
		lines, more := append([]string(nil), s.out...), s.more
		s.mu.Unlock()
		if len(lines) >= n {
			return lines
		}
		select {
		case <-more:
		case err := <-s.done:
			s.done <- err
			if len(s.lines()) < n {
				s.t.Fatalf("%s ended after %d of %d lines: %v\n%s", s.name, len(s.lines()), n, err, s.errors())
			}
		case <-limit:
			s.t.Fatalf("%s printed %d of %d lines\n%s", s.name, len(lines), n, s.errors())
		}
	}
}

func (s *script) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.out...)
}

func (s *script) errors() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err.String()
}

func (s *script) wait() error {
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(tutorialLimit):
		return fmt.Errorf("%s does not end", s.name)
	}
}
