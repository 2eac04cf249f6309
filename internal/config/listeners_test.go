package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestListeners(t *testing.T) {
	for _, c := range []struct {
		listeners string
		want      []string
		addresses []string // of the first
	}{
		{"PLAINTEXT://:9092", []string{"PLAINTEXT://localhost:9092"}, []string{"127.0.0.1:9092", "[::1]:9092"}},
		{"PLAINTEXT://127.0.0.1:0", []string{"PLAINTEXT://127.0.0.1:0"}, []string{"127.0.0.1:0"}},
		{"plaintext://[::1]:9092", []string{"PLAINTEXT://[::1]:9092"}, []string{"[::1]:9092"}},
		{"PLAINTEXT://127.0.0.1:9092,CONTROLLER://:9093", []string{"PLAINTEXT://127.0.0.1:9092", "CONTROLLER://localhost:9093"}, []string{"127.0.0.1:9092"}},
		{"IN://127.0.0.1:9092,OUT://[::1]:9092", []string{"IN://127.0.0.1:9092", "OUT://[::1]:9092"}, []string{"127.0.0.1:9092"}},
		{"IN://127.0.0.1:0,OUT://127.0.0.1:0", []string{"IN://127.0.0.1:0", "OUT://127.0.0.1:0"}, []string{"127.0.0.1:0"}},
	} {
		lines := []string{"listeners=" + c.listeners}
		if strings.HasPrefix(c.listeners, "IN") {
			lines = append(lines, "listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT")
		}
		cfg := load(t, Sources{}, lines...)
		var got []string
		for _, l := range cfg.Listeners() {
			got = append(got, l.String())
			if l.Controller != (l.Name == "CONTROLLER") || !l.Loopback() {
				t.Errorf("%s: %+v", c.listeners, l)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.listeners, got, c.want)
		}
		if a := cfg.Listeners()[0].Addresses(); !slices.Equal(a, c.addresses) {
			t.Errorf("%s: bind %q, want %q", c.listeners, a, c.addresses)
		}
	}
}

func TestListenersRefused(t *testing.T) {
	for _, c := range []struct {
		lines, want string
	}{
		{"listeners=9092", "this is no listener"},
		{"listeners=PLAINTEXT://localhost", "no port in"},
		{"listeners=PLAINTEXT://localhost:99999", "is no port"},
		{"listeners=PLAINTEXT://localhost:-1", "is no port"},
		{"listeners=PLAINTEXT://::1:9092", "an IPv6 address stands in brackets"},
		{"listeners=PLAINTEXT://[127.0.0.1]:9092", "is no IPv6 address"},
		{"listeners=PLAINTEXT://a b:9092", "is no host"},
		{"listeners=HOME://:9092", "no protocol for HOME"},
		{"listeners=SSL://:9092", "the protocol SSL is not built yet; allowed: PLAINTEXT"},
		{"listeners=A://:9092\nlistener.security.protocol.map=A:SASL_PLAINTEXT", "the protocol SASL_PLAINTEXT is not built yet"},
		{"listener.security.protocol.map=A:QUIC", "there is no protocol QUIC"},
		{"listener.security.protocol.map=PLAINTEXT", "this is no entry of a map"},
		{"listeners=PLAINTEXT://:1,PLAINTEXT://:2", "two listeners are called PLAINTEXT"},
		{"listeners=A://:1,B://:1\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT", "port 1 is used twice"},
		{"listeners=CONTROLLER://:1", "there is no listener for clients"},
		{"listeners=CONTROLLER://:1,PLAINTEXT://:2\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT", "no protocol for CONTROLLER"},
		{"advertised.listeners=PLAINTEXT://0.0.0.0:9092", "no client can connect to 0.0.0.0"},
		{"advertised.listeners=PLAINTEXT://[::]:9092", "no client can connect to ::"},
		{"listeners=PLAINTEXT://:1\nadvertised.listeners=CONTROLLER://a:9092", "there is no listener called CONTROLLER"},
		{"process.roles=controller\nlisteners=CONTROLLER://:1,PLAINTEXT://:2", "a controller that is no broker has no listener for clients; allowed: only those of controller.listener.names, CONTROLLER"},
		{"process.roles=controller\nlisteners=PLAINTEXT://:1", "a controller that is no broker has no listener for clients"},
		{"process.roles=broker\nleat.join=a:1\nlisteners=CONTROLLER://:1,PLAINTEXT://:2", "a broker that is no controller has no listener for controllers"},
		{"node.id=1\nlisteners=PLAINTEXT://:1\ncontroller.quorum.bootstrap.servers=a:1,b:1", "other nodes could not reach this controller; allowed: one of controller.listener.names, too, such as CONTROLLER://HOST:9093"},
		{"listeners=PLAINTEXT://:1\nleat.join=a:1", "other nodes could not reach this controller"},
		{"listeners=A://:1\nadvertised.listeners=A://a:1,A://b:2\nlistener.security.protocol.map=A:PLAINTEXT", "A is advertised twice"},
		{"inter.broker.listener.name=X", "there is no such listener for clients"},
		{"inter.broker.listener.name=CONTROLLER\nlisteners=PLAINTEXT://:1,CONTROLLER://:2", "there is no such listener for clients"},
		{"http.listen=9644", "no port in"},
		{"node.id=1\nlisteners=PLAINTEXT://:1,CONTROLLER://:2\ncontroller.quorum.bootstrap.servers=localhost:1,b:1", "localhost:1 is this node's listener for clients, PLAINTEXT://localhost:1; allowed: the addresses of controllers' listeners, such as CONTROLLER://HOST:9093"},
		{"node.id=1\nlisteners=PLAINTEXT://:1,CONTROLLER://:2\ncontroller.quorum.voters=1@localhost:1,2@b:1", "localhost:1 is this node's listener for clients"},
	} {
		_, _, err := Load(Sources{File: strings.NewReader(c.lines)})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\n got %v\nwant %s", c.lines, err, c.want)
		}
	}
}

func TestAdvertised(t *testing.T) {
	c := load(t, Sources{}, "advertised.listeners=PLAINTEXT://kafka.example.org:19092")
	if e, ok := c.Advertised("PLAINTEXT"); !ok || e != (Endpoint{"kafka.example.org", 19092}) {
		t.Errorf("%+v %v", e, ok)
	}
	if e, ok := load(t, Sources{}).Advertised("PLAINTEXT"); ok {
		t.Errorf("unset, but %+v", e)
	}
}

func TestInterBrokerListener(t *testing.T) {
	lines := []string{"listeners=CONTROLLER://:1,A://:2,B://:3", "listener.security.protocol.map=CONTROLLER:PLAINTEXT,A:PLAINTEXT,B:PLAINTEXT"}
	if got := load(t, Sources{}, lines...).InterBrokerListener(); got != "A" {
		t.Errorf("default %s", got)
	}
	if got := load(t, Sources{}, append(lines, "inter.broker.listener.name=b")...).InterBrokerListener(); got != "B" {
		t.Errorf("given %s", got)
	}
}

// What other machines can reach needs insecure=true, and a warning then.
func TestExposure(t *testing.T) {
	for _, open := range []string{
		"listeners=PLAINTEXT://0.0.0.0:9092", "listeners=PLAINTEXT://[::]:9092", "listeners=PLAINTEXT://10.0.0.5:9092",
		"listeners=PLAINTEXT://kafka:9092", "http.listen=0.0.0.0:9644",
		"listeners=PLAINTEXT://:9092,CONTROLLER://0.0.0.0:9093",
	} {
		_, _, err := Load(Sources{File: strings.NewReader(open)})
		if err == nil || !strings.Contains(err.Error(), "without TLS and authentication; allowed: a loopback address") {
			t.Errorf("%s: %v", open, err)
		}
		_, warns, err := Load(Sources{File: strings.NewReader(open), Sets: []string{"insecure=true"}})
		if err != nil || len(warns) != 1 || warns[0].Kind != Exposed {
			t.Errorf("%s, insecure: %v %v", open, warns, err)
		}
	}
	for _, closed := range []string{"listeners=PLAINTEXT://LOCALHOST:9092", "listeners=PLAINTEXT://127.8.8.8:1",
		"listeners=PLAINTEXT://[::ffff:127.0.0.1]:1", "http.listen="} {
		if _, warns, err := Load(Sources{File: strings.NewReader(closed)}); err != nil || len(warns) != 0 {
			t.Errorf("%s: %v %v", closed, warns, err)
		}
	}
}

// By default a node listens for what its roles are; its listener for other nodes may be
// missing, unless nothing else is there.
func TestListenersByRole(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  []Listener
	}{
		{"", []Listener{
			{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "localhost", Port: 9092},
			{Name: "CONTROLLER", Protocol: "PLAINTEXT", Host: "localhost", Port: 9093, Controller: true, Optional: true},
		}},
		{"controller.listener.names=inner", []Listener{
			{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "localhost", Port: 9092},
			{Name: "INNER", Protocol: "PLAINTEXT", Host: "localhost", Port: 9093, Controller: true, Optional: true},
		}},
		{"process.roles=controller", []Listener{{Name: "CONTROLLER", Protocol: "PLAINTEXT", Host: "localhost", Port: 9093, Controller: true}}},
		{"process.roles=broker\nleat.join=a:1", []Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "localhost", Port: 9092}}},
		{"listeners=PLAINTEXT://:1", []Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "localhost", Port: 1}}},
		{"process.roles=broker\nlisteners=PLAINTEXT://127.0.0.1:1\nleat.join=127.0.0.1:1", // itself: one configuration for all nodes
			[]Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "127.0.0.1", Port: 1}}},
	} {
		cfg := load(t, Sources{}, c.lines)
		if got := cfg.Listeners(); !slices.Equal(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.lines, got, c.want)
		}
		if got, want := cfg.InterBrokerListener() != "", cfg.Broker(); got != want {
			t.Errorf("%q: inter-broker listener %q", c.lines, cfg.InterBrokerListener())
		}
	}
}

// A node that joins listens on the address that leads to the cluster.
func TestJoinListensTowardsTheCluster(t *testing.T) {
	route := func(host string) (string, error) {
		switch host {
		case "kafka-1":
			return "10.0.0.7", nil
		case "::2":
			return "::1", nil
		}
		return "", errors.New("no such host")
	}
	for _, c := range []struct{ lines, want string }{
		{"leat.join=kafka-1:9093", "PLAINTEXT://10.0.0.7:9092 CONTROLLER://10.0.0.7:9093"},
		{"leat.join=[::2]:9093", "PLAINTEXT://[::1]:9092 CONTROLLER://[::1]:9093"},
		{"leat.join=kafka-1:9093\nprocess.roles=broker", "PLAINTEXT://10.0.0.7:9092"},
		{"leat.join=kafka-1:9093\nprocess.roles=controller\ncontroller.listener.names=C,D", "C://10.0.0.7:9093"},
		{"leat.join=nowhere:1\nlisteners=PLAINTEXT://:1,CONTROLLER://:2", "PLAINTEXT://localhost:1 CONTROLLER://localhost:2"},
	} {
		cfg := load(t, Sources{Route: route, Sets: []string{"insecure=true"}}, c.lines)
		var got []string
		for _, l := range cfg.Listeners() {
			got = append(got, l.String())
			if l.Optional {
				t.Errorf("%s: %+v", c.lines, l)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", c.lines, got, c.want)
		}
	}
	_, _, err := Load(Sources{Route: route, Sets: []string{"leat.join=kafka-1:9093"}})
	if err == nil || err.Error() != "listeners=PLAINTEXT://10.0.0.7:9092 (towards kafka-1): other machines could reach this without TLS and authentication; allowed: a loopback address such as 127.0.0.1, or insecure=true (leat serve --insecure) if that is meant" {
		t.Error(err)
	}
	_, _, err = Load(Sources{Route: route, Sets: []string{"leat.join=nowhere:9093"}})
	if err == nil || err.Error() != "leat.join=nowhere:9093 (--set): no address of this machine leads there: no such host; allowed: a host that can be reached, or listeners of your own" {
		t.Error(err)
	}
}

func TestVoters(t *testing.T) {
	for _, c := range []struct{ lines, want, setting string }{
		{"", "[]", ""},
		{"node.id=2\ncontroller.quorum.bootstrap.servers=A:9093,b:9093\nlisteners=PLAINTEXT://:1,CONTROLLER://:2", "[a:9093 b:9093]", "controller.quorum.bootstrap.servers"},
		{"node.id=2\ncontroller.quorum.voters=1@a:9093,2@b:9093\nlisteners=PLAINTEXT://:1,CONTROLLER://:2", "[1@a:9093 2@b:9093]", "controller.quorum.voters"},
		{"node.id=2\ncontroller.quorum.voters=1@a:9093,2@b:9093\ncontroller.quorum.bootstrap.servers=a:1", "[1@a:9093 2@b:9093]", "controller.quorum.voters"},
		// Nobody else could reach it: it is this node.
		{"controller.quorum.bootstrap.servers=localhost:9093\nlisteners=PLAINTEXT://:1", "[]", "controller.quorum.bootstrap.servers"},
		{"controller.quorum.bootstrap.servers=localhost:9093", "[localhost:9093]", "controller.quorum.bootstrap.servers"},
		{"process.roles=broker\nnode.id=5\ncontroller.quorum.bootstrap.servers=a:9093", "[a:9093]", "controller.quorum.bootstrap.servers"},
	} {
		all, setting := load(t, Sources{}, c.lines).Voters()
		if got := fmt.Sprint(all); got != c.want || setting != c.setting {
			t.Errorf("%s: %s of %q, want %s of %q", c.lines, got, setting, c.want, c.setting)
		}
	}
}

func TestNodeIDIsTakenFromTheCluster(t *testing.T) {
	for lines, want := range map[string]bool{
		"": false, "leat.join=a:1": true, "leat.join=a:1\nnode.id=1": false, "leat.join=a:1\nbroker.id=1": false,
		"process.roles=broker\ncontroller.quorum.bootstrap.servers=a:1":            true,
		"process.roles=broker\ncontroller.quorum.bootstrap.servers=a:1\nnode.id=7": false,
	} {
		if got := load(t, Sources{}, lines).TakesNodeID(); got != want {
			t.Errorf("%s: %v", lines, got)
		}
	}
}

func TestControllerEndpoint(t *testing.T) {
	for _, c := range []struct {
		lines, want string
		ok          bool
	}{
		{"", "localhost:9093", true},
		{"listeners=PLAINTEXT://:1", ":0", false},
		{"listeners=PLAINTEXT://:1,CONTROLLER://10.0.0.7:0", "10.0.0.7:0", true},
		{"listeners=PLAINTEXT://:1,CONTROLLER://0.0.0.0:9093", "0.0.0.0:9093", false},
		{"listeners=PLAINTEXT://:1,CONTROLLER://0.0.0.0:9093\nadvertised.listeners=CONTROLLER://Kafka-1:9093", "kafka-1:9093", true},
	} {
		e, ok := load(t, Sources{Sets: []string{"insecure=true"}}, c.lines).ControllerEndpoint()
		if e.String() != c.want || ok != c.ok {
			t.Errorf("%s: %s %v", c.lines, e, ok)
		}
	}
}
