package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestRecall: a node that joined is started again with nothing, and is where it was; what
// a start says itself counts.
func TestRecall(t *testing.T) {
	route := func(host string) (string, error) {
		return map[string]string{"a": "10.0.0.7", "b": "10.0.0.8"}[host], nil
	}
	var kept []byte
	recall := func(dir string) ([]byte, string, error) {
		if dir != "d" {
			return nil, "", nil
		}
		return kept, "d/joined", nil
	}
	open := []string{"log.dirs=d", "insecure=true"}
	for _, c := range []struct{ joined, again, want, join string }{
		{"leat.join=a:9093", "", "PLAINTEXT://10.0.0.7:9092 CONTROLLER://10.0.0.7:9093", "a:9093"},
		{"leat.join=a:9093 process.roles=broker http.listen=:0", "", "PLAINTEXT://10.0.0.7:9092", "a:9093"},
		{"leat.join=a:9093 listeners=PLAINTEXT://c:1,CONTROLLER://c:2", "", "PLAINTEXT://c:1 CONTROLLER://c:2", "a:9093"},
		{"leat.join=a:9093", "leat.join=b:9093", "PLAINTEXT://10.0.0.8:9092 CONTROLLER://10.0.0.8:9093", "b:9093"},
		{"leat.join=a:9093", "listeners=PLAINTEXT://c:1,CONTROLLER://c:2", "PLAINTEXT://c:1 CONTROLLER://c:2", ""},
		{"leat.join=a:9093", "controller.quorum.bootstrap.servers=localhost:9093", "PLAINTEXT://localhost:9092 CONTROLLER://localhost:9093", ""},
		{"leat.join=a:9093", "log.dirs=e", "PLAINTEXT://localhost:9092 CONTROLLER://localhost:9093", ""},
		{"", "", "PLAINTEXT://localhost:9092 CONTROLLER://localhost:9093", ""},
	} {
		first := load(t, Sources{Route: route, Sets: append(strings.Fields(c.joined), open...)}, "")
		kept = first.Place()
		cfg, warns, err := Load(Sources{Route: route, Recall: recall, Sets: append(open[:2:2], strings.Fields(c.again)...)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range cfg.Listeners() {
			got = append(got, l.String())
		}
		if strings.Join(got, " ") != c.want || cfg.String(LeatJoin) != c.join {
			t.Errorf("%s, then %s: %s, joins %q", c.joined, c.again, got, cfg.String(LeatJoin))
		}
		if c.again != "" || c.joined == "" {
			continue
		}
		if string(cfg.Place()) != string(kept) || fmt.Sprint(cfg.List(ProcessRoles)) != fmt.Sprint(first.List(ProcessRoles)) || cfg.String(HttpListen) != first.String(HttpListen) {
			t.Errorf("%s: the second start keeps %s", c.joined, cfg.Place())
		}
		if text := fmt.Sprint(warns); !strings.Contains(text, "leat.join: as before, a:9093 (remembered in d/joined)") {
			t.Error(text)
		}
	}
	// That other machines reach it is said anew.
	_, _, err := Load(Sources{Route: route, Recall: recall, Sets: []string{"log.dirs=d"}})
	if err != nil {
		t.Fatal(err) // the last one of the table remembers nothing
	}
	kept = []byte("leat.join=a:9093\n")
	_, _, err = Load(Sources{Route: route, Recall: recall, Sets: []string{"log.dirs=d"}})
	if err == nil || err.Error() != "listeners=PLAINTEXT://10.0.0.7:9092 (towards a, remembered in d/joined): other machines could reach this without TLS and authentication; allowed: a loopback address such as 127.0.0.1, or insecure=true (leat serve --insecure) if that is meant" {
		t.Error(err)
	}
}
