// Package conn is what all commands share: the flags that every command has, the
// connection to the cluster, completion of names, and errors in plain words.
package conn

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/cli/out"
)

// Env is the surroundings of one run of leat.
type Env struct {
	*out.Out
	In      io.Reader
	Getenv  func(string) string
	Version string

	bootstrap string
	timeout   time.Duration
	silent    silent
	quorum    sync.Once // asked how it is
	noQuorum  string    // what it said
}

// BootstrapVariable names the cluster when --bootstrap-server does not.
const BootstrapVariable = "LEAT_BOOTSTRAP"

const defaultBootstrap = "localhost:9092"

// The common flags of commands that talk to a cluster.
const (
	BootstrapFlag = "bootstrap-server"
	TimeoutFlag   = "timeout"
)

// AddFlags gives a command and all below it the common flags.
func (e *Env) AddFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&e.bootstrap, BootstrapFlag, "", "HOST:PORT of one or more brokers, comma separated (default $"+BootstrapVariable+", else "+defaultBootstrap+")")
	f.DurationVar(&e.timeout, TimeoutFlag, 30*time.Second, "how long to wait for the cluster's answer")
	f.StringVar(&e.Format, "format", "table", "how results are written: table or json")
	Complete(cmd, "format", "table", "json")
	Complete(cmd, "bootstrap-server")
	Complete(cmd, "timeout")
}

// SetBootstrap names the cluster, for tools with flags of their own.
func (e *Env) SetBootstrap(servers string) { e.bootstrap = servers }

// Brokers are the addresses to begin with.
func (e *Env) Brokers() []string {
	s := e.bootstrap
	if s == "" {
		s = e.Getenv(BootstrapVariable)
	}
	if s == "" {
		s = defaultBootstrap
	}
	var brokers []string
	for _, b := range strings.Split(s, ",") {
		if b = strings.TrimSpace(b); b != "" {
			brokers = append(brokers, b)
		}
	}
	return brokers
}

// Timeout is how long a command waits for the cluster.
func (e *Env) Timeout() time.Duration { return e.timeout }

// Context is the command's context, bounded by --timeout.
func (e *Env) Context(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return context.WithTimeout(cmd.Context(), e.timeout)
}

// Client connects to the cluster, and fails within seconds when it cannot.
func (e *Env) Client(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	return e.ClientOf(ctx, e.Brokers(), opts...)
}

// ClientOf is Client with other addresses to begin with.
func (e *Env) ClientOf(ctx context.Context, all []string, opts ...kgo.Opt) (*kgo.Client, error) {
	ping, cancel := context.WithTimeout(ctx, min(e.timeout, 2*dialTimeout))
	defer cancel()
	seed, err := e.answering(ping, all)
	if err != nil {
		return nil, e.failed(ctx, err)
	}
	cl, err := e.client(seed, opts...)
	if err != nil {
		return nil, err
	}
	if err := cl.Ping(ping); err != nil {
		cl.Close()
		return nil, e.failed(ctx, err)
	}
	if len(all) > 1 {
		_ = cl.UpdateSeedBrokers(all...) // they were taken before
	}
	return cl, nil
}

func (e *Env) failed(ctx context.Context, err error) error {
	var usage *out.UsageError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.As(err, &usage):
		return err
	}
	return e.Unreachable(err)
}

func (e *Env) client(seeds []string, opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("leat"),
		kgo.SoftwareNameAndVersion("leat", e.Software()),
		kgo.Dialer(e.dial),
		kgo.MetadataMinAge(250 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		return nil, out.Usagef("%v", err)
	}
	return cl, nil
}

// At is a client of one node alone, its only seed.
func (e *Env) At(address string) (*kgo.Client, error) {
	return e.client([]string{address}, kgo.DisableClientMetrics())
}

// answering are the addresses to begin with: of several, the first one that answers. A
// broker that hangs takes connections and says nothing, and the client asks one after
// the other.
func (e *Env) answering(ctx context.Context, all []string) ([]string, error) {
	if len(all) < 2 {
		return all, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of the others' pings
	type answer struct {
		broker string
		err    error
	}
	answers := make(chan answer, len(all))
	for _, b := range all {
		cl, err := e.client([]string{b})
		if err != nil {
			return nil, err
		}
		go func() {
			defer cl.Close()
			answers <- answer{b, cl.Ping(ctx)}
		}()
	}
	var last error
	for range all {
		select {
		case a := <-answers:
			if a.err == nil {
				return []string{a.broker}, nil
			}
			last = a.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, last
}

// Software is the version of this program as it tells brokers, fitted into what KIP-511
// allows.
func (e *Env) Software() string {
	v := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, e.Version)
	if v = strings.Trim(v, ".-"); v == "" {
		return "unknown"
	}
	return v
}

// Admin connects to the cluster for administration. Close it when done.
func (e *Env) Admin(ctx context.Context) (*kadm.Client, error) {
	cl, err := e.Client(ctx)
	if err != nil {
		return nil, err
	}
	return e.admin(cl), nil
}

func (e *Env) admin(cl *kgo.Client) *kadm.Client {
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(int32(min(e.timeout.Milliseconds(), 1<<30)))
	return adm
}

// WithAdmin runs fn with a connection for administration, and puts its error into
// plain words.
func (e *Env) WithAdmin(cmd *cobra.Command, fn func(context.Context, *kadm.Client) error) error {
	return e.WithClient(cmd, func(ctx context.Context, _ *kgo.Client, adm *kadm.Client) error { return fn(ctx, adm) })
}

// WithClient is WithAdmin with the client beneath, for requests of one's own.
func (e *Env) WithClient(cmd *cobra.Command, fn func(context.Context, *kgo.Client, *kadm.Client) error) error {
	ctx, cancel := e.Context(cmd)
	defer cancel()
	cl, err := e.Client(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	return e.Explain(fn(ctx, cl, e.admin(cl)))
}
