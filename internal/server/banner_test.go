package server

import (
	"net"
	"regexp"
	"strings"
	"testing"
)

// TestBannerOfWildcards: a wildcard is shown as it is configured, with an address beside
// it that works, and nowhere as an address to connect to.
func TestBannerOfWildcards(t *testing.T) {
	for _, c := range []struct {
		name string
		sets []string
		want []string // patterns, one a line
	}{
		{"IPv4", []string{"listeners=PLAINTEXT://0.0.0.0:0", "http.listen=0.0.0.0:0"}, []string{
			`kafka  0\.0\.0\.0:\d+  PLAINTEXT( .*)?`, `http   http://0\.0\.0\.0:\d+  /metrics.*`, `ready: .* --bootstrap-server 127\.0\.0\.1:\d+`,
		}},
		{"advertised", []string{"listeners=PLAINTEXT://0.0.0.0:0", "advertised.listeners=PLAINTEXT://broker.example:0"}, []string{
			`kafka  0\.0\.0\.0:\d+  PLAINTEXT  \(clients are told broker\.example:[1-9]\d*\)`, `ready: .* --bootstrap-server 127\.0\.0\.1:\d+`,
		}},
		{"loopback", nil, []string{`kafka  127\.0\.0\.1:\d+  PLAINTEXT`, `http   http://127\.0\.0\.1:\d+  /metrics /healthz /readyz`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var text strings.Builder
			opt := options(t, append(c.sets, "insecure=true")...)
			opt.Banner = &text
			s, err := Start(t.Context(), opt)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			for _, want := range c.want {
				if !regexp.MustCompile(`(?m)^  ` + want + `$`).MatchString(text.String()) {
					t.Errorf("no line %s in\n%s", want, &text)
				}
			}
			if strings.Contains(text.String(), "[::]") {
				t.Errorf("[::] was not configured:\n%s", &text)
			}
			for _, address := range []string{s.Addr(), s.HTTPAddr()} {
				if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
					t.Errorf("reached at %s: %v", address, err)
				}
			}
		})
	}
}

func TestElsewhere(t *testing.T) {
	addr := func(s string) net.Addr { return &net.IPNet{IP: net.ParseIP(s)} }
	lo, lo6, local, six, four := addr("127.0.0.1"), addr("::1"), addr("fe80::1"), addr("2001:db8::7"), addr("10.0.0.7")
	for _, c := range []struct {
		bound string
		addrs []net.Addr
		want  string
	}{
		{"[::]:9092", []net.Addr{lo, lo6, local, six, four}, "other machines: 10.0.0.7:9092"},
		{"0.0.0.0:9092", []net.Addr{four, six}, "other machines: 10.0.0.7:9092"},
		{"[::]:9092", []net.Addr{lo, six}, "other machines: [2001:db8::7]:9092"},
		{"[::]:9092", []net.Addr{lo, lo6, local}, ""},
		{"10.0.0.7:9092", []net.Addr{four}, ""},
		{"what", []net.Addr{four}, ""},
	} {
		if got := elsewhere(c.bound, c.addrs); got != c.want {
			t.Errorf("%s: %q, want %q", c.bound, got, c.want)
		}
	}
	if got := asConfigured("::", "[::]:9092"); got != "[::]:9092" {
		t.Error(got)
	}
}
