package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Checks of single settings that have a rule of their own.

var throttledReplicaForm = regexp.MustCompile(`^(\s*|[0-9]+:[0-9]+)$`)

// throttledReplicas allows "*" or a list of partition:broker.
var throttledReplicas = funcCheck{allowed: `"*" or a list of PARTITION:BROKER`, fn: func(name string, v Value) error {
	if len(v.list) == 0 || len(v.list) == 1 && v.list[0] == "*" {
		return nil
	}
	if slices.ContainsFunc(v.list, func(s string) bool { return s == "" || !throttledReplicaForm.MatchString(s) }) {
		return &ValueError{Name: name, Value: "[" + strings.Join(v.list, ", ") + "]", Reason: name +
			" must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."}
	}
	return nil
}}

var durationForm = regexp.MustCompile(`^P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$`)

// shareOffsetReset allows earliest, latest and by_duration:<ISO 8601 duration>.
var shareOffsetReset = funcCheck{allowed: "earliest, latest or by_duration:PnDTnHnMn.nS", fn: func(name string, v Value) error {
	d, byDuration := strings.CutPrefix(v.s, "by_duration:")
	if v.s == "earliest" || v.s == "latest" || byDuration && durationForm.MatchString(d) && strings.ContainsAny(d, "0123456789") {
		return nil
	}
	return &ValueError{Name: name, Value: v.s, Reason: fmt.Sprintf("Invalid value `%s` for configuration %s. "+
		"The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.", v.s, name)}
}}

// quorumVoters allows a list of id@host:port.
var quorumVoters = funcCheck{allowed: "a list of ID@HOST:PORT", fn: func(name string, v Value) error {
	for _, s := range v.list {
		if _, ok := parseVoter(s); !ok {
			return &ValueError{Name: name, Value: s,
				text: "Invalid configuration value for " + name + ". Each entry should be in the form `{id}@{host}:{port}`."}
		}
	}
	return nil
}}

// quorumServers allows a list of host:port.
var quorumServers = funcCheck{allowed: "a list of HOST:PORT", fn: func(name string, v Value) error {
	for _, s := range v.list {
		if host, _, err := splitHostPort(s); err != nil || host == "" {
			return &ValueError{Name: name, Value: s, text: fmt.Sprintf(
				"Failed to parse host name from %s for the configuration %s. Each entry should be in the form \"{host}:{port}\"", s, name)}
		}
	}
	return nil
}}

// joinAddress allows host:port, or nothing.
var joinAddress = funcCheck{allowed: "HOST:PORT", fn: func(name string, v Value) error {
	if v.s == "" {
		return nil
	}
	if _, port, err := splitHostPort(v.s); err != nil || port == 0 {
		return &ValueError{Name: name, Value: v.s, Reason: "this is no address of a node"}
	}
	return nil
}}

// replicationFactor allows -1 (automatic) and 1 to 32767.
var replicationFactor = funcCheck{allowed: "-1 (automatic) or 1 or more", fn: func(name string, v Value) error {
	if v.i == -1 || v.i >= 1 && v.i <= 1<<15-1 {
		return nil
	}
	return &ValueError{Name: name, Value: v.Text(), Reason: "Value must be -1 or at least 1"}
}}
