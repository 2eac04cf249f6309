package config

import (
	"errors"
	"testing"
)

// The messages are those of Apache Kafka 4.4.0, recorded.
func TestChangesOfTopicsAreRefusedAsKafkaDoes(t *testing.T) {
	c := load(t, Sources{})
	for _, x := range []struct {
		overrides map[string]string
		want      string
	}{
		{map[string]string{"nope": "1"}, "Unknown topic config name: nope"},
		{map[string]string{"nope": "1", "nope2": "2", "retention.ms": "x"}, "Unknown topic config name: nope"},
		{map[string]string{"retention.ms": "abc"}, "Invalid value abc for configuration retention.ms: Not a number of type LONG"},
		{map[string]string{"segment.bytes": "10"}, "Invalid value 10 for configuration segment.bytes: Value must be at least 1048576"},
		{map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}, "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"},
		{map[string]string{"remote.storage.enable": "true"}, "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."},
		{map[string]string{"leat.durability": "maybe"}, "Invalid value maybe for configuration leat.durability: String must be one of: durable, relaxed"},
		{map[string]string{"cleanup.policy": "delete,delete"}, ""},
		{map[string]string{"local.retention.ms": "99999999999", "remote.storage.enable": "false"}, ""},
		{nil, ""},
	} {
		checkRefusal(t, x.overrides, c.ValidateTopic(x.overrides), x.want)
	}
}

func checkRefusal(t *testing.T, values map[string]string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || err.Error() != want || !errors.Is(err, ErrInvalid)) {
		t.Errorf("%v\n got %v\nwant %s", values, err, want)
	}
}

func TestChangesOfBrokersAreRefusedAsKafkaDoes(t *testing.T) {
	c := load(t, Sources{})
	for _, x := range []struct {
		perBroker bool
		values    map[string]string
		want      string
	}{
		{true, map[string]string{"log.retention.ms": "7000"}, ""},
		{false, map[string]string{"log.retention.ms": "0"}, ""},
		{true, map[string]string{"node.id": "3"}, "Cannot update these configs dynamically: [node.id]"},
		{true, map[string]string{"node.id": "3", "log.dirs": "/x"}, "Cannot update these configs dynamically: [log.dirs, node.id]"},
		{false, map[string]string{"log.retention.hours": "5"}, "Cannot update these configs dynamically: [log.retention.hours]"},
		{false, map[string]string{"cordoned.log.dirs": "*"}, "Cannot update these configs at default cluster level, broker id must be specified: [cordoned.log.dirs]"},
		{true, map[string]string{"ssl.keystore.location": "/x"}, "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]"},
		{true, map[string]string{"nope.nope": "1"}, ""},
		{false, map[string]string{"num.io.threads": "0"}, "Invalid value 0 for configuration num.io.threads: Value must be at least 1"},
		{false, map[string]string{"log.cleaner.threads": "abc"}, "Invalid value abc for configuration log.cleaner.threads: Not a number of type INT"},
		{true, map[string]string{"log.segment.bytes": "5"}, "Invalid value 5 for configuration log.segment.bytes: Value must be at least 1048576"},
		{false, map[string]string{"log.roll.ms": "0"}, "requirement failed: log.roll.ms must be greater than or equal to 1"},
		{false, map[string]string{"compression.type": "foo"}, "Invalid value foo for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{false, map[string]string{"leat.durability": "relaxed"}, ""},
	} {
		checkRefusal(t, x.values, c.ValidateBroker(x.values, x.perBroker), x.want)
	}
}

func TestChangesOfGroupsAreRefusedAsKafkaDoes(t *testing.T) {
	c := load(t, Sources{})
	for _, x := range []struct {
		overrides map[string]string
		want      string
	}{
		{map[string]string{"nope": "1"}, "Unknown group config name: nope"},
		{map[string]string{"consumer.session.timeout.ms": "1"}, "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive."},
		{map[string]string{"consumer.session.timeout.ms": "999999"}, "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive."},
		{map[string]string{"consumer.session.timeout.ms": "abc"}, "Invalid value abc for configuration consumer.session.timeout.ms: Not a number of type INT"},
		{map[string]string{"consumer.session.timeout.ms": "45000", "consumer.heartbeat.interval.ms": "50000"}, "consumer.heartbeat.interval.ms must be in the range 5000 to 15000 inclusive."},
		{map[string]string{"consumer.heartbeat.interval.ms": "5001"}, ""},
		{map[string]string{"streams.num.standby.replicas": "3"}, "streams.num.standby.replicas must not exceed 2."},
		{map[string]string{"share.auto.offset.reset": "by_duration:PT1H"}, ""},
		{map[string]string{"share.auto.offset.reset": "by_duration:P"}, "Invalid value by_duration:P for configuration share.auto.offset.reset: Invalid value `by_duration:P` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."},
	} {
		checkRefusal(t, x.overrides, c.ValidateGroup(x.overrides), x.want)
	}
}
