// Package health holds "leat health": is a node well? For supervisors and containers,
// which then need no other program for it.
package health

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

const (
	// variable is that of the server's setting http.listen.
	variable       = "LEAT_HTTP_LISTEN"
	defaultAddress = "localhost:9644"
	// longest is more than what a node has to say.
	longest = 4 << 10
)

type answer struct {
	Healthy bool   `json:"healthy"`
	Says    string `json:"says"`
}

// Command is "leat health".
func Command(e *conn.Env) *cobra.Command {
	var (
		address string
		live    bool
		wait    time.Duration
	)
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a node whether it serves clients",
		Long: "Ask a node, by HTTP, whether it serves clients (/readyz); with --live, whether it works at all (/healthz): a node that has " +
			"not found its cluster yet is live, but not ready. Exit code 0 means yes, 1 means no. It is one node's word on itself: the " +
			"cluster's health is 'leat cluster status'.",
		Example: "  leat health\n  leat health --live --http localhost:9654",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" {
				address = e.Getenv(variable)
			}
			if address == "" {
				address = defaultAddress
			}
			target, err := reachable(address)
			if err != nil {
				return out.Usagef("--http=%s: %v", address, err)
			}
			path := "/readyz"
			if live {
				path = "/healthz"
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, "http://"+target+path, nil)
			if err != nil {
				return out.Usagef("--http=%s: %v", address, err)
			}
			a, err := ask(&http.Client{Timeout: wait}, req)
			if err != nil {
				return err
			}
			if !a.Healthy && !e.JSON() {
				return fmt.Errorf("the node at %s: %s", target, a.Says)
			}
			if err := e.Emit(a, out.Table{Rows: [][]string{{a.Says}}}); err != nil || a.Healthy {
				return err
			}
			return out.ErrSilent
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "http", "", "HOST:PORT of the node's HTTP listener (default $"+variable+", else "+defaultAddress+")")
	f.BoolVar(&live, "live", false, "only whether the node works, not whether it serves")
	f.DurationVar(&wait, "wait", 5*time.Second, "how long to wait for the answer")
	conn.Complete(cmd, "http")
	conn.Complete(cmd, "wait")
	return cmd
}

// ask fails when the node does not answer.
func ask(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, longest))
	if err != nil {
		return answer{}, err
	}
	return answer{resp.StatusCode == http.StatusOK, strings.TrimSpace(string(text))}, nil
}

// reachable is where this machine reaches what listens at an address: a wildcard by
// loopback, and no host is localhost, as for the server.
func reachable(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("this is no HOST:PORT")
	}
	if host == "" {
		host = "localhost"
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap().IsUnspecified() {
		host = "127.0.0.1" // by no name: a container may know none
	}
	return net.JoinHostPort(host, port), nil
}
