//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leat-stream/leat/bench/load"
	"github.com/leat-stream/leat/conformance/harness"
)

// Cores: a single broker has the first to itself, its client the second. The nodes of a
// cluster and their client share both.
const (
	brokerCore = "0"
	clientCore = "1"
)

// attempts is how often a case, and the start of a broker, is tried in a round, whichever
// the broker.
const attempts = 2

// runRound runs every variant once. What fails is noted and the round goes on: after a
// case in which a broker ended, the variant's other cases have a new one.
func runRound(ctx context.Context, p plan, round int, r *results) error {
	order := slices.Clone(variants)
	if round%2 == 0 {
		slices.Reverse(order)
	}
	for _, v := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		v.cases = p.chosen(v)
		for starts := 1; len(v.cases) > 0; {
			r.at = fmt.Sprintf("round %d of %d, %s", round, p.rounds, v.name)
			fmt.Fprintln(os.Stderr, r.at)
			begun, err := runVariant(ctx, p, v, round, r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.fail(round, v.name, "broker", err)
			}
			if begun > 0 {
				v.cases = v.cases[begun:]
			} else if starts++; starts > attempts {
				break // it does not start
			}
		}
	}
	return nil
}

// runVariant runs a variant's cases in an empty folder, and says how many of them were
// begun. An error means that the last of these failed, or that the broker did.
func runVariant(ctx context.Context, p plan, v variant, round int, r *results) (begun int, err error) {
	dir, clean, err := folder(p, "data")
	if err != nil {
		return 0, err
	}
	defer clean()
	b, err := start(ctx, v, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.end()) }()
	if v.nodes > 0 {
		if err := warmCluster(ctx, p, b); err != nil {
			return 0, fmt.Errorf("warming up: %w", err)
		}
	}
	for i, c := range v.cases {
		if c.name == "durable-12p" && v.name == leat {
			if rate, err := rawRate(dir); err != nil {
				r.fail(round, v.name, rawCase, err)
			} else {
				r.add(rawCase, v.name, measured{Result: load.Result{Bytes: int64(rate * 1e6), Seconds: 1}})
				fmt.Fprintf(os.Stderr, "  %-14s %.0f MB/s\n", rawCase, rate)
			}
		}
		m, err := tryCase(ctx, p, b, v, c, round, r)
		if err != nil {
			return i + 1, err
		}
		if m != nil {
			r.add(c.name, v.name, *m)
			fmt.Fprintf(os.Stderr, "  %-14s %s\n", c.name, m)
		}
	}
	return len(v.cases), nil
}

// clusterWarm is how many times as long as a case a cluster warms up before its first:
// three virtual machines on two cores compile for long. After 21 s Kafka took 3.6 times
// as much CPU a gigabyte as after 70.
const clusterWarm = 15

// warmCluster writes to a cluster what is not measured.
func warmCluster(ctx context.Context, p plan, b brokers) error {
	l := three
	l.Addr, l.Topic, l.Warm, l.Seconds = b.addr(), "warm", 0, clusterWarm*p.warm
	_, err := runLoad(ctx, b, l)
	return err
}

// brokers are what a case runs against: a single node, or all of a cluster.
type brokers []*harness.Broker

func start(ctx context.Context, v variant, dir string) (brokers, error) {
	o := harness.Options{Dir: dir, Set: v.set}
	if v.nodes == 0 {
		o.Wrap = []string{"taskset", "-c", brokerCore}
		b, err := harness.Start(ctx, v.kind, o)
		return brokers{b}, err
	}
	c, err := harness.StartCluster(ctx, v.kind, v.nodes, o)
	if err != nil {
		return nil, err
	}
	return c.Brokers, nil
}

// end stops a single node. The nodes of a cluster are killed: those of Kafka that are
// stopped together wait for each other.
func (bs brokers) end() error {
	if len(bs) == 1 {
		return bs[0].Stop(30 * time.Second)
	}
	return (&harness.Cluster{Brokers: bs}).Kill()
}

func (bs brokers) addr() string { return strings.Join((&harness.Cluster{Brokers: bs}).Addrs(), ",") }

func (bs brokers) pids() (all []int) {
	for _, b := range bs {
		all = append(all, b.PID())
	}
	return all
}

func (bs brokers) dead() bool {
	for _, b := range bs {
		select {
		case <-b.Dead():
			return true
		default:
		}
	}
	return false
}

// tryCase measures a case, a second time in a topic of its own if it fails; nil when
// it failed for good.
func tryCase(ctx context.Context, p plan, b brokers, v variant, c benchCase, round int, r *results) (*measured, error) {
	topic := c.load.Topic
	for try := 1; try <= attempts; try++ {
		if try > 1 {
			c.load.Topic = fmt.Sprintf("%s-%d", topic, try)
		}
		m, err := measure(ctx, p, b, c.load)
		if err == nil {
			return &m, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.fail(round, v.name, fmt.Sprintf("%s, attempt %d of %d", c.name, try, attempts), err)
		if b.dead() {
			return nil, fmt.Errorf("a broker ended during %s", c.name)
		}
	}
	return nil, nil
}

// measure runs one load against a broker, on a disk that has nothing left to write.
func measure(ctx context.Context, p plan, b brokers, l load.Load) (measured, error) {
	l.Addr, l.Seconds, l.Warm = b.addr(), p.seconds, p.warm
	if l.Mode == "consume" {
		fill := l
		fill.Mode, fill.Acks, fill.Bytes, fill.Seconds, fill.Warm = "fill", -1, consumed, 0, 0
		if _, err := runLoad(ctx, b, fill); err != nil {
			return measured{}, fmt.Errorf("writing what is to be read: %w", err)
		}
	}
	if err := settleDisk(p.scratch); err != nil {
		return measured{}, err
	}
	if l.Mode == "produce" && l.Size >= bulkSize {
		if err := warmMemory(); err != nil {
			return measured{}, err
		}
	}
	return runLoad(ctx, b, l)
}

// bulkSize is the record size from which on a load fills memory by gigabytes.
const bulkSize = 1024

// warmMemory touches a third of the memory and frees it again: as much as a bulk load
// fills with its files in the time of a case. On a virtual machine whose host takes
// free memory back (free page reporting), a page that was free for some seconds costs
// its next user about ten times as much as another; without this a case is measured
// by what was in memory before it, whichever broker it is.
func warmMemory() error {
	var u unix.Sysinfo_t
	if err := unix.Sysinfo(&u); err != nil {
		return err
	}
	m, err := unix.Mmap(-1, 0, int(uint64(u.Totalram)*uint64(u.Unit)/3), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("memory to touch: %w", err)
	}
	for i := 0; i < len(m); i += 4096 {
		m[i] = 1
	}
	return unix.Munmap(m)
}

// settleDisk writes back what is dirty, so that no case pays for the one before it.
func settleDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// clocks are what client and brokers have used and what these have read from the disk.
type clocks struct {
	broker, client cpu
	read           int64
}

func readClocks(brokers []int, client int) (c clocks, err error) {
	var errs [2]error
	for _, pid := range brokers {
		var used cpu
		var read int64
		used, errs[0] = cpuOf(pid)
		read, errs[1] = readOf(pid)
		c.broker.user += used.user
		c.broker.system += used.system
		c.read += read
		if err := errors.Join(errs[:]...); err != nil {
			return c, err
		}
	}
	c.client, err = cpuOf(client)
	return c, err
}

// runLoad runs the client program and reads the clocks at its marks.
func runLoad(ctx context.Context, b brokers, l load.Load) (measured, error) {
	arg, err := json.Marshal(l)
	if err != nil {
		return measured{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return measured{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Limit()+10*time.Second)
	defer cancel()
	argv := []string{self, "load", string(arg)}
	if len(b) == 1 {
		argv = append([]string{"taskset", "-c", clientCore}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// The client collects no garbage within a case, unless it comes to hold a gigabyte.
	cmd.Env = append(os.Environ(), "GOGC=off", "GOMEMLIMIT=1GiB")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return measured{}, err
	}
	if err := cmd.Start(); err != nil {
		return measured{}, err
	}
	m, lineErr := follow(out, b.pids(), cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		return measured{}, fmt.Errorf("%w: %s", err, firstLines(stderr.String()))
	}
	return m, lineErr
}

// follow reads a load's lines.
func follow(out interface{ Read([]byte) (int, error) }, brokers []int, client int) (measured, error) {
	var from, to clocks
	var got load.Result
	var err error
	s := bufio.NewScanner(out)
	for s.Scan() && err == nil {
		switch line := s.Bytes(); string(line) {
		case load.Began:
			from, err = readClocks(brokers, client)
		case load.Ended:
			to, err = readClocks(brokers, client)
		default:
			err = json.Unmarshal(line, &got)
		}
	}
	if err = errors.Join(err, s.Err()); err != nil {
		return measured{}, err
	}
	if got.Seconds > 0 && got.Bytes == 0 {
		return measured{}, errors.New("nothing was acknowledged or read within the measured time")
	}
	gb := float64(got.Bytes) / 1e9
	return measured{
		Result: got, userPerGB: (to.broker.user - from.broker.user) / gb,
		totalPerGB: (to.broker.total() - from.broker.total()) / gb,
		brokerBusy: (to.broker.total() - from.broker.total()) / got.Seconds,
		clientBusy: (to.client.total() - from.client.total()) / got.Seconds,
		diskRead:   float64(to.read-from.read) / 1e6,
	}, nil
}

// firstLines keeps an error short enough for a table.
func firstLines(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// folder makes an empty folder for one broker; clean removes it.
func folder(p plan, name string) (dir string, clean func(), err error) {
	dir = filepath.Join(p.scratch, name)
	if err := os.RemoveAll(dir); err != nil {
		return dir, func() {}, err
	}
	return dir, func() { os.RemoveAll(dir) }, os.MkdirAll(dir, 0o755)
}
