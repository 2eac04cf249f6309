package cli

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A node's own word decides the exit code, and is shown.
func TestHealth(t *testing.T) {
	ready := false
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not serving\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	listen := "127.0.0.1:" + port
	run := func(args ...string) result {
		var stdout, stderr bytes.Buffer
		env := func(name string) string {
			if name == "LEAT_HTTP_LISTEN" {
				return listen
			}
			return ""
		}
		code := Run(context.Background(), Options{In: strings.NewReader(""), Out: &stdout, Err: &stderr, Getenv: env}, append([]string{"health"}, args...))
		return result{code, stdout.String(), stderr.String()}
	}
	notReady := "leat: the node at " + listen + ": not serving\n"
	for _, c := range []struct {
		args  []string
		ready bool
		want  result
	}{
		{nil, false, result{1, "", notReady}},
		{[]string{"--live"}, false, result{0, "ok\n", ""}},
		{nil, true, result{0, "ok\n", ""}},
		{[]string{"--http", listen}, true, result{0, "ok\n", ""}},
		{[]string{"--format", "json"}, false, result{1, "{\n  \"healthy\": false,\n  \"says\": \"not serving\"\n}\n", ""}},
		{[]string{"--http", "here"}, true, result{2, "", "leat: --http=here: this is no HOST:PORT\n"}},
	} {
		ready = c.ready
		if got := run(c.args...); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.args, got, c.want)
		}
	}
	srv.Close()
	if got := run(); got.code != 1 || !strings.Contains(got.err, "refused") {
		t.Errorf("%+v", got)
	}
}
