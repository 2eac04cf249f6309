package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leat-stream/leat/conformance/raw"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kind names a broker program.
type Kind string

// The two brokers.
const (
	Leat  Kind = "leat"
	Kafka Kind = "kafka"
)

// Chosen is the broker that the client programs run against: LEAT_BROKER, or
// leat. With LEAT_BROKER=kafka the programs themselves are put to the test.
func Chosen() (Kind, error) {
	switch k := Kind(os.Getenv("LEAT_BROKER")); k {
	case "":
		return Leat, nil
	case Leat, Kafka:
		return k, nil
	default:
		return "", fmt.Errorf("LEAT_BROKER=%s: want leat or kafka", k)
	}
}

// Options say how a broker runs.
type Options struct {
	// Dir holds the broker's configuration, data and output. It must exist.
	Dir string
	// Set holds settings in Kafka's names, beyond those that every start has.
	Set map[string]string
	// Wrap is put before the command: taskset, strace.
	Wrap []string
	// Net is where the nodes of a cluster run; nil is this machine's loopback.
	Net *Net
	// Env is added to the environment.
	Env []string
	// Stock starts Leat with the configuration file that Kafka gets, instead of the
	// few settings that it needs.
	Stock bool
	// Heap is Kafka's heap, as in -Xmx; empty for its stock one.
	Heap string
	// KeepKafkaDelay leaves group.initial.rebalance.delay.ms at each broker's default.
	KeepKafkaDelay bool
}

// Broker is one broker process and what is needed to start it again.
type Broker struct {
	Kind Kind
	// Addr is the Kafka listener, host and port.
	Addr string
	// HTTP is Leat's HTTP listener; empty for Kafka.
	HTTP string
	// Data is the folder given as log.dirs.
	Data string

	opts  Options
	ports []int    // for clients, for controllers, for HTTP
	id    int      // node.id
	peers []string // all nodes' addresses for controllers, by node.id; nil for a single node

	process Process
}

// Start chooses ports, prepares the data folder and starts a broker. It returns
// once the broker answers and knows itself, or fails with the end of its output.
func Start(ctx context.Context, kind Kind, opts Options) (*Broker, error) {
	b, err := Prepare(kind, opts)
	if err != nil {
		return nil, err
	}
	if err := b.Launch(); err != nil {
		return nil, err
	}
	if err := b.AwaitReady(ctx); err != nil {
		return nil, errors.Join(err, b.Kill())
	}
	return b, nil
}

// Prepare does everything that comes before the broker's own start: it chooses
// ports and, for Kafka, writes the configuration and formats the data folder.
func Prepare(kind Kind, opts Options) (*Broker, error) {
	ports, err := FreePorts(3)
	if err != nil {
		return nil, err
	}
	return prepared(&Broker{Kind: kind, opts: opts, ports: ports, id: 1})
}

// prepared completes a broker that has its ports.
func prepared(b *Broker) (*Broker, error) {
	b.Addr = fmt.Sprintf("%s:%d", b.opts.host(b.id), b.ports[0])
	b.Data = filepath.Join(b.opts.Dir, "data")
	if b.Kind == Kafka {
		return b, b.formatKafka()
	}
	b.HTTP = fmt.Sprintf("%s:%d", b.opts.host(b.id), b.ports[2])
	if b.opts.Stock {
		if err := b.writeProperties(); err != nil {
			return nil, err
		}
	}
	_, err := LeatBinary()
	return b, err
}

// Controller is the broker's address for controllers.
func (b *Broker) Controller() string { return fmt.Sprintf("%s:%d", b.opts.host(b.id), b.ports[1]) }

// host is where a node listens.
func (o *Options) host(id int) string {
	if o.Net == nil {
		return "127.0.0.1"
	}
	return o.Net.Host(id)
}

// Launch starts the process and does not wait for it.
func (b *Broker) Launch() error {
	argv, err := b.command()
	if err != nil {
		return err
	}
	b.process.Name, b.process.Dir, b.process.Env, b.process.Output = string(b.Kind), b.opts.Dir, b.opts.Env, b.Output()
	b.process.Argv = append(append([]string{}, b.opts.Wrap...), argv...)
	return b.process.Start()
}

// command is what starts the broker.
func (b *Broker) command() ([]string, error) {
	if b.Kind == Kafka {
		return b.kafkaCommand("kafka.Kafka", b.properties())
	}
	bin, err := LeatBinary()
	if err != nil {
		return nil, err
	}
	if b.opts.Stock {
		return []string{bin, "serve", "--config", b.properties(), "--set", "http.listen=" + b.HTTP}, nil
	}
	set := map[string]string{
		"listeners":   "PLAINTEXT://" + b.Addr,
		"log.dirs":    b.Data,
		"http.listen": b.HTTP,
		"node.id":     strconv.Itoa(b.id),
	}
	if b.peers != nil {
		set["listeners"] += ",CONTROLLER://" + b.Controller()
		set["controller.quorum.bootstrap.servers"] = strings.Join(b.peers, ",")
	}
	if b.opts.Net != nil {
		set["insecure"] = "true"
	}
	maps.Copy(set, b.opts.Set)
	argv := []string{bin, "serve"}
	for k, v := range set {
		argv = append(argv, "--set", k+"="+v)
	}
	return argv, nil
}

// Output is the file that holds the broker's standard output and error.
func (b *Broker) Output() string { return filepath.Join(b.opts.Dir, string(b.Kind)+".log") }

// PID is the process's id, or 0 when none runs.
func (b *Broker) PID() int { return b.process.PID() }

// Dead is closed once the process has ended.
func (b *Broker) Dead() <-chan struct{} { return b.process.Dead() }

// AwaitReady waits until the broker answers a metadata request that names every
// broker and a controller.
func (b *Broker) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		err := b.probe()
		if err == nil {
			return nil
		}
		select {
		case <-b.Dead():
			return fmt.Errorf("%s ended at its start: %v\n%s", b.Kind, b.process.State(), b.process.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", b.Kind, err, b.process.Tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// probe asks for the brokers once.
func (b *Broker) probe() error {
	c, err := raw.Dial(b.Addr, "harness")
	if err != nil {
		return err
	}
	defer c.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := c.Exchange(req, 5*time.Second)
	if err != nil {
		return err
	}
	if m := resp.(*kmsg.MetadataResponse); len(m.Brokers) != max(len(b.peers), 1) || m.ControllerID < 0 {
		return fmt.Errorf("it knows %d brokers, controller %d", len(m.Brokers), m.ControllerID)
	}
	return nil
}

// Signal sends a signal to the process; one that has ended takes none.
func (b *Broker) Signal(sig syscall.Signal) error { return b.process.Signal(sig) }

// ID is the node's.
func (b *Broker) ID() int32 { return int32(b.id) }

// Kill ends the process by SIGKILL and waits for its end.
func (b *Broker) Kill() error { return b.process.Kill() }

// Stop ends the process by SIGTERM and waits for its end; one that has not
// ended within limit is killed and is an error.
func (b *Broker) Stop(limit time.Duration) error { return b.process.End(syscall.SIGTERM, limit) }

// Restart starts the broker again on its data and its ports.
func (b *Broker) Restart(ctx context.Context) error {
	if err := b.Launch(); err != nil {
		return err
	}
	return b.AwaitReady(ctx)
}

var leatBinary = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("LEAT_BIN"); bin != "" {
		return filepath.Abs(bin)
	}
	dir, err := Cache("bin")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "leat")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "./cmd/leat")
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/leat: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return bin, nil
})

// LeatBinary is LEAT_BIN, or the binary built from this tree, once.
func LeatBinary() (string, error) { return leatBinary() }
