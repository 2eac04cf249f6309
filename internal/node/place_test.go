package node

import (
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/config"
)

// A node that was not told where to listen does not tell a cluster elsewhere its loopback
// address.
func TestOutOfReach(t *testing.T) {
	for _, c := range []struct {
		sets       []string
		own, known string
		refused    bool
	}{
		{nil, "localhost:9093", "10.0.0.1:9093", true},
		{nil, "localhost:9093 localhost:9092", "127.0.0.1:19093 kafka-2:9093", true},
		{nil, "localhost:9093", "127.0.0.1:19093 localhost:29093", false},
		{nil, "localhost:9093", "", false},
		{nil, "kafka-1:9093", "kafka-2:9093", false},
		{[]string{"listeners=PLAINTEXT://:9092,CONTROLLER://:9093"}, "localhost:9093", "10.0.0.1:9093", false},
	} {
		cfg, _, err := config.Load(config.Sources{Sets: c.sets})
		if err != nil {
			t.Fatal(err)
		}
		err = outOfReach(cfg, strings.Fields(c.own), strings.Fields(c.known))
		if (err != nil) != c.refused || err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
