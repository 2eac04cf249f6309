package dev

import (
	"fmt"
	"math"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// The ports of a node, from its first one on: those of a single node by default are
// 9092, 9093 and 9644, and the next node's are ten higher.
const (
	controllerPort = 1
	httpPort       = 552
	portStep       = 10
)

// maxNodes is more than one machine has a use for; it keeps the nodes' ports apart.
const maxNodes = 20

// spec is one node of the cluster.
type spec struct {
	id                      int
	dir                     string
	kafka, controller, http int // ports; no controller port: a broker only
}

func local(port int) string { return net.JoinHostPort("localhost", strconv.Itoa(port)) }

// voters is how many of the nodes vote: one or three, since two are lost with either.
func voters(nodes int) int {
	if nodes < 3 {
		return 1
	}
	return 3
}

// layout gives every node its directory and ports: fixed ones from the first port on,
// the next free one where one is taken, and any free ones when the first port is 0.
func layout(nodes, first int, data string, take func(port int) (int, bool)) ([]spec, error) {
	all := make([]spec, 0, nodes)
	used := map[int]bool{}
	free := func(want int) (int, error) {
		for port := want; port <= math.MaxUint16; port++ {
			if used[port] {
				continue
			}
			if got, ok := take(port); ok && !used[got] {
				used[got] = true
				return got, nil
			} else if want == 0 {
				port = -1 // any other one
			}
		}
		return 0, fmt.Errorf("no port from %d on is free", want)
	}
	for i := range nodes {
		s := spec{id: i + 1, dir: filepath.Join(data, "node-"+strconv.Itoa(i+1))}
		at := func(offset int) int {
			if first == 0 {
				return 0
			}
			return first + i*portStep + offset
		}
		var err error
		if s.kafka, err = free(at(0)); err != nil {
			return nil, err
		}
		if i < voters(nodes) {
			if s.controller, err = free(at(controllerPort)); err != nil {
				return nil, err
			}
		}
		if s.http, err = free(at(httpPort)); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// takePort tells whether a port of this machine is free, under each loopback address that
// the machine has; 0 asks for any.
func takePort(port int) (int, bool) {
	four, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, false
	}
	defer four.Close()
	port = four.Addr().(*net.TCPAddr).Port
	if six, err := net.Listen("tcp", net.JoinHostPort("::1", strconv.Itoa(port))); err == nil {
		return port, six.Close() == nil
	}
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return port, true // no IPv6 here
	}
	return port, probe.Close() != nil
}

// args are a node's command line.
func (s spec) args(all []spec, sets []string) []string {
	var controllers []string
	for _, o := range all {
		if o.controller != 0 {
			controllers = append(controllers, local(o.controller))
		}
	}
	listeners, roles := "PLAINTEXT://"+local(s.kafka), "broker"
	if s.controller != 0 {
		listeners += ",CONTROLLER://" + local(s.controller)
		roles = "broker,controller"
	}
	args := []string{"serve", "--stop-with-stdin"}
	for _, set := range append([]string{
		"node.id=" + strconv.Itoa(s.id), "process.roles=" + roles, "log.dirs=" + s.dir, "listeners=" + listeners,
		"http.listen=" + local(s.http), "controller.quorum.bootstrap.servers=" + strings.Join(controllers, ","),
	}, sets...) {
		args = append(args, "--set", set)
	}
	return args
}

// kafkaAddresses are where clients reach the nodes.
func kafkaAddresses(all []spec) []string {
	var servers []string
	for _, s := range all {
		servers = append(servers, local(s.kafka))
	}
	return servers
}
