//go:build conformance

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/conformance/harness"
	"github.com/leat-stream/leat/internal/sim/history"
)

// program is a client that is not a Go one, in a process of its own. What it sees it
// tells line by line; programs/load.py says how.
type program struct {
	l    *load
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{} // all that was sent has an outcome
	gone chan struct{}
	next map[string]int64 // by turn and partition
	odd  []string
}

func here(elem ...string) string {
	return filepath.Join(append([]string{harness.Root(), "conformance"}, elem...)...)
}

// programs starts librdkafka and the Java client beside the load.
func (l *load) programs(t *testing.T, seeds []string, seed uint64) {
	t.Helper()
	python, err := harness.Python(here("clients", "confluent-kafka", "requirements-new.txt"))
	if !skipped(t, "librdkafka", err) {
		l.program(t, "librdkafka", seeds, seed, python, here("cluster", "programs", "load.py"))
	}
	path := ""
	jars, err := harness.Jars(here("clients", "java", "new", "pom.xml"))
	if err == nil {
		path, err = harness.JavaClasses(jars, nil, here("cluster", "programs", "Load.java"))
	}
	if !skipped(t, "the Java client", err) {
		l.program(t, "java", seeds, seed, "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", path, "Load")
	}
}

// skipped says loudly what is not run here. Under LEAT_REQUIRE_ALL=1 that fails.
func skipped(t *testing.T, what string, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	if os.Getenv("LEAT_REQUIRE_ALL") == "1" {
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("NOT RUN: %s: %v", what, err)
	return true
}

func (l *load) program(t *testing.T, name string, seeds []string, seed uint64, argv ...string) {
	t.Helper()
	p := &program{l: l, name: name, done: make(chan struct{}), gone: make(chan struct{}), next: map[string]int64{}}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), "BOOTSTRAP="+strings.Join(seeds, ","), "NAME="+name, "TOPIC="+loadTopic,
		fmt.Sprint("PARTITIONS=", loadPartitions), fmt.Sprint("SEED=", seed>>1), "PYTHONDONTWRITEBYTECODE=1")
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.cmd.Stderr, err = os.Create(filepath.Join(t.TempDir(), name)); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.running = append(l.running, p)
	go p.follow(out)
}

// follow takes what the program tells, to its end.
func (p *program) follow(out io.Reader) {
	defer close(p.gone)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		p.l.mu.Lock()
		if !p.take(f) && len(p.odd) < 20 {
			p.odd = append(p.odd, lines.Text())
		}
		p.l.mu.Unlock()
	}
	_ = p.cmd.Wait() // how it ended is looked at in stop
}

// take takes one line; the load's lock is held.
func (p *program) take(f []string) bool {
	if len(f) == 1 && f[0] == "D" {
		close(p.done)
		return true
	}
	if len(f) > 2 && f[0] == "X" {
		p.l.saw(p.name, f[1], strings.Join(f[2:], " "))
		return true
	}
	if len(f) < 5 {
		return false
	}
	var n [5]int64
	for i := 1; i < min(len(f), 6); i++ {
		if v, err := strconv.ParseInt(f[i], 10, 64); err == nil {
			n[i-1] = v
		}
	}
	part := history.Partition{Topic: loadTopic, Number: int32(n[1])}
	switch f[0] {
	case "P", "E":
		o := history.Produce{Producer: p.name, Number: n[0], Partition: part, Value: fmt.Sprintf("%s/%d", p.name, n[0]),
			Begin: history.Time(n[2]), End: history.Never, Offset: -1, Promised: true, Idempotent: true}
		if f[0] == "P" && len(f) == 6 {
			o.End, o.Outcome, o.Offset = history.Time(n[3]), history.OK, n[4]
			p.l.acked[p.name]++
		} else {
			p.l.failures = append(p.l.failures, fmt.Sprintf("%s to %v: %s", o.Value, part, strings.Join(f[4:], " ")))
		}
		p.l.h.Produces = append(p.l.h.Produces, o)
	case "R":
		return p.read(f, part, n)
	default:
		return false
	}
	return true
}

// read takes a line of records.
func (p *program) read(f []string, part history.Partition, n [5]int64) bool {
	rd := history.Read{Consumer: p.name + " turn " + f[1], Partition: part, Begin: history.Time(n[2]), End: history.Time(n[3])}
	for _, text := range f[5:] {
		at, value, ok := strings.Cut(text, ":")
		offset, err := strconv.ParseInt(at, 10, 64)
		if !ok || err != nil {
			return false
		}
		rd.Records = append(rd.Records, history.Record{Offset: offset, Value: value})
	}
	if len(rd.Records) == 0 {
		return false
	}
	key := f[1] + " " + f[2]
	from, ok := p.next[key]
	if !ok {
		from = rd.Records[0].Offset
	}
	rd.From = from
	end := rd.Records[len(rd.Records)-1].Offset + 1
	p.next[key] = end
	p.l.h.Reads = append(p.l.h.Reads, rd)
	given := p.l.given[p.name]
	if given == nil {
		given = map[history.Partition]int64{}
		p.l.given[p.name] = given
	}
	given[part] = max(given[part], end)
	return true
}

// stop ends the sending and waits for all outcomes.
func (p *program) stop(t *testing.T, ctx context.Context) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, "stop"); err != nil {
		t.Errorf("%s: %v", p.name, err)
	}
	select {
	case <-p.done:
	case <-p.gone:
	case <-ctx.Done():
		t.Errorf("%s does not come to an end", p.name)
	}
}

// end ends the program.
func (p *program) end(t *testing.T) {
	t.Helper()
	_ = p.in.Close() // it may have ended
	select {
	case <-p.gone:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.gone
		t.Errorf("%s did not end when told", p.name)
	}
	if !p.cmd.ProcessState.Success() {
		text, _ := os.ReadFile(p.cmd.Stderr.(*os.File).Name())
		t.Errorf("%s: %v\n%s", p.name, p.cmd.ProcessState, last(string(text), 2000))
	}
	if len(p.odd) > 0 {
		t.Errorf("%s said what was not understood: %q", p.name, p.odd)
	}
}
