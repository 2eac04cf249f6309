package config

import (
	"strings"
	"testing"
)

// stock is the server.properties that Kafka 4 ships for one combined node.
const stock = `process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`

func TestStockFileIsAcceptedAsItIs(t *testing.T) {
	c, _, err := Load(Sources{File: strings.NewReader(stock), FileName: "server.properties"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.DataDir(); got != "/tmp/kraft-combined-logs" {
		t.Errorf("data directory %q", got)
	}
	want := []Listener{
		{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "localhost", Port: 9092},
		{Name: "CONTROLLER", Protocol: "PLAINTEXT", Host: "localhost", Port: 9093, Controller: true},
	}
	got := c.Listeners()
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("listeners %+v", got)
	}
	if e, ok := c.Advertised("PLAINTEXT"); !ok || e != (Endpoint{"localhost", 9092}) {
		t.Errorf("advertised %+v %v", e, ok)
	}
}

// load reads settings given one per line as a file, or fails the test.
func load(t *testing.T, src Sources, lines ...string) *Config {
	t.Helper()
	src.File = strings.NewReader(strings.Join(lines, "\n"))
	c, _, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaultsNeedNoConfiguration(t *testing.T) {
	c, warns, err := Load(Sources{})
	if err != nil || len(warns) != 0 {
		t.Fatal(err, warns)
	}
	if c.DataDir() != "leat-data" || c.Int(NodeId) != 1 || c.Long(LogRetentionCheckIntervalMs) != 300000 {
		t.Errorf("data %q, node %d", c.DataDir(), c.Int(NodeId))
	}
	if got := c.HTTPAddresses(); len(got) != 1 || got[0] != "127.0.0.1:9644" {
		t.Errorf("HTTP %q", got)
	}
	if c.IsSet("log.retention.ms") {
		t.Error("log.retention.ms counts as given")
	}
}

func TestStrongerSourcesWin(t *testing.T) {
	for _, c := range []struct {
		name string
		file string
		env  []string
		sets []string
		want int
	}{
		{"default", "", nil, nil, 1},
		{"file", "num.partitions=2", nil, nil, 2},
		{"later line", "num.partitions=2\nnum.partitions=3", nil, nil, 3},
		{"environment", "num.partitions=2", []string{"LEAT_NUM_PARTITIONS=4"}, nil, 4},
		{"an empty variable is none", "num.partitions=2", []string{"LEAT_NUM_PARTITIONS="}, nil, 2},
		{"command line", "num.partitions=2", []string{"LEAT_NUM_PARTITIONS=4"}, []string{"num.partitions=5"}, 5},
		{"last of the command line", "", nil, []string{"num.partitions=5", "num.partitions = 6"}, 6},
	} {
		cfg, warns, err := Load(Sources{File: strings.NewReader(c.file), Env: c.env, Sets: c.sets})
		if err != nil || len(warns) > 0 {
			t.Errorf("%s: %v %v", c.name, err, warns)
		} else if got := cfg.Int(NumPartitions); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestStrongestSourceWinsAmongTheNamesOfOneThing(t *testing.T) {
	const hour = 3600_000
	for _, c := range []struct {
		name string
		file string
		env  []string
		sets []string
		want int64
	}{
		{"default", "", nil, nil, 168 * hour},
		{"milliseconds beat hours in one source", "log.retention.hours=3\nlog.retention.ms=5", nil, nil, 5},
		{"minutes beat hours in one source", "log.retention.hours=3\nlog.retention.minutes=7", nil, nil, 7 * 60_000},
		{"hours of the command line beat milliseconds of the file", "log.retention.ms=5", nil, []string{"log.retention.hours=24"}, 24 * hour},
		{"hours of the environment beat minutes of the file", "log.retention.minutes=5", []string{"LEAT_LOG_RETENTION_HOURS=2"}, nil, 2 * hour},
		{"for ever", "log.retention.hours=-1", nil, nil, -1},
	} {
		cfg, _, err := Load(Sources{File: strings.NewReader(c.file), Env: c.env, Sets: c.sets})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := cfg.ResolveTopic(nil).RetentionMs; got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestDataDirectory(t *testing.T) {
	for _, c := range []struct {
		file, want string
		env, sets  []string
	}{
		{"", "leat-data", nil, nil},
		{"log.dir=/a", "/a", nil, nil},
		{"log.dir=/a\nlog.dirs=/b", "/b", nil, nil},
		{"log.dirs=/b", "/c", []string{"LEAT_DATA=/c"}, nil},
		{"", "/d", []string{"LEAT_DATA=/c", "LEAT_LOG_DIRS=/d"}, nil},
		{"log.dirs=/b", "/e", []string{"LEAT_DATA=/c"}, []string{"log.dir=/e"}},
	} {
		cfg, _, err := Load(Sources{File: strings.NewReader(c.file), Env: c.env, Sets: c.sets})
		if err != nil || cfg.DataDir() != c.want {
			t.Errorf("%+v: %v %v", c, cfg, err)
		}
	}
}

func TestOldNameOfTheNodeID(t *testing.T) {
	if c := load(t, Sources{}, "broker.id=7"); c.Int(NodeId) != 7 || c.Int(BrokerId) != 7 {
		t.Errorf("node.id %d, broker.id %d", c.Int(NodeId), c.Int(BrokerId))
	}
	if c := load(t, Sources{Sets: []string{"node.id=8"}}, "broker.id=7"); c.Int(NodeId) != 8 || c.Int(BrokerId) != 8 {
		t.Errorf("node.id %d, broker.id %d", c.Int(NodeId), c.Int(BrokerId))
	}
}

func TestStartIsRefusedInOneLine(t *testing.T) {
	for _, c := range []struct {
		setting, want string
	}{
		{"num.partitions=many", "num.partitions=many (f line 1): Not a number of type INT; allowed: 1 or more"},
		{"num.partitions=0", "num.partitions=0 (f line 1): Value must be at least 1; allowed: 1 or more"},
		{"auto.create.topics.enable=yes", "auto.create.topics.enable=yes (f line 1): Expected value to be either true or false; allowed: true or false"},
		{"compression.type=brotli", "compression.type=brotli (f line 1): String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer; allowed: one of uncompressed, zstd, lz4, snappy, gzip, producer"},
		{`num.partitions=a\nb`, `num.partitions=a\nb (f line 1): Not a number of type INT; allowed: 1 or more`},
		{"num.partitions=" + strings.Repeat("9", 200), "num.partitions=" + strings.Repeat("9", 120) + "… (f line 1): Not a number of type INT; allowed: 1 or more"},
		{"ssl.keystore.location=/k", "ssl.keystore.location=/k (f line 1): this is not built yet; allowed: no value"},
		{"ssl.keystore.password=secret", "ssl.keystore.password=[hidden] (f line 1): this is not built yet; allowed: no value"},
		{"listener.name.x.ssl.keystore.password=secret", "listener.name.x.ssl.keystore.password=[hidden] (f line 1): this is not built yet; allowed: no value"},
		{"listener.name.x.plain.sasl.jaas.config=secret", "listener.name.x.plain.sasl.jaas.config=[hidden] (f line 1): this is not built yet; allowed: no value"},
		{"sasl.enabled.mechanisms=PLAIN", "sasl.enabled.mechanisms=PLAIN (f line 1): this is not built yet; allowed: only the default, GSSAPI"},
		{"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer (f line 1): this is not built yet; allowed: no value"},
		{"log.dirs=/a,/b", "log.dirs=/a,/b (f line 1): several log directories are not built; allowed: one directory"},
		{"process.roles=broker", "process.roles=broker (f line 1): a broker that is no controller needs to be told where its controllers are; allowed: broker,controller; or controller.quorum.bootstrap.servers, or leat.join (leat serve --join)"},
		{"controller.quorum.voters=1@a:1,2@b:2", "node.id: it is not given, and controller.quorum.voters names several nodes; allowed: an id of its own for every node"},
		{"controller.quorum.bootstrap.servers=a:1,b:2", "node.id: it is not given, and controller.quorum.bootstrap.servers names several nodes; allowed: an id of its own for every node"},
		{"controller.quorum.bootstrap.servers=a:1,A:1", "controller.quorum.bootstrap.servers=a:1,A:1 (f line 1): a:1 comes twice; allowed: each address once"},
		{"controller.quorum.voters=1@a:1,2@a:1", "controller.quorum.voters=1@a:1,2@a:1 (f line 1): a:1 comes twice; allowed: each address once"},
		{"controller.quorum.voters=1@a:1,1@b:1", "controller.quorum.voters=1@b:1 (f line 1): node 1 comes twice; allowed: each node once"},
		{"controller.quorum.voters=2@a:1", "controller.quorum.voters=2@a:1 (f line 1): it does not name this node, whose node.id is 1; allowed: a list with this node"},
		{"leat.join=a:1\ncontroller.quorum.bootstrap.servers=b:1", "leat.join=a:1 (f line 1): the node is to join a cluster, and controller.quorum.bootstrap.servers says how to found one; allowed: one of the two"},
		{"leat.join=a", "leat.join=a (f line 1): this is no address of a node; allowed: HOST:PORT"},
		{"leat.join=a:0", "leat.join=a:0 (f line 1): this is no address of a node; allowed: HOST:PORT"},
		{"controller.quorum.voters=x", "controller.quorum.voters=x (f line 1): Invalid configuration value for controller.quorum.voters. Each entry should be in the form `{id}@{host}:{port}`.; allowed: a list of ID@HOST:PORT"},
		{"log.retention.ms=0", "log.retention.ms=0 (f line 1): nothing would be kept; allowed: -1 (keep for ever) or 1 or more"},
		{"log.roll.ms=0", "log.roll.ms=0 (f line 1): a segment would never take a record; allowed: 1 or more"},
		{"log.roll.jitter.ms=-1", "log.roll.jitter.ms=-1 (f line 1): it is negative; allowed: 0 or more"},
		{"log.cleaner.min.compaction.lag.ms=9\nlog.cleaner.max.compaction.lag.ms=8", "log.cleaner.min.compaction.lag.ms=9 (f line 1): it is above log.cleaner.max.compaction.lag.ms; allowed: at most 8"},
		{"replica.fetch.wait.max.ms=40000", "replica.fetch.wait.max.ms=40000 (f line 1): followers would fall out of the in-sync set while they wait; allowed: at most replica.lag.time.max.ms, 30000"},
		{"group.min.session.timeout.ms=1800001", "group.min.session.timeout.ms=1800001 (f line 1): it is above group.max.session.timeout.ms; allowed: at most 1800000"},
		{"group.consumer.session.timeout.ms=1000", "group.consumer.session.timeout.ms=1000 (f line 1): it is outside its own limits; allowed: 45000 (group.consumer.min.session.timeout.ms) to 60000 (group.consumer.max.session.timeout.ms)"},
		{"group.share.min.heartbeat.interval.ms=16000", "group.share.min.heartbeat.interval.ms=16000 (f line 1): it is above group.share.max.heartbeat.interval.ms; allowed: at most 15000"},
		{"group.consumer.max.heartbeat.interval.ms=50000\ngroup.consumer.heartbeat.interval.ms=45000", "group.consumer.heartbeat.interval.ms=45000 (f line 2): a member could never heartbeat in time; allowed: less than group.consumer.session.timeout.ms, 45000"},
		{"broker.id=1\nnode.id=2", "broker.id=1 (f line 1): it is another name of node.id, which is 2; allowed: the same value, or node.id alone"},
	} {
		_, _, err := Load(Sources{File: strings.NewReader(c.setting), FileName: "f"})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.setting, err, c.want)
		}
	}
	for _, set := range []string{"num.partitions", "=1", ""} {
		if _, _, err := Load(Sources{Sets: []string{set}}); err == nil || !strings.Contains(err.Error(), "NAME=VALUE") {
			t.Errorf("--set %q: %v", set, err)
		}
	}
	_, _, err := Load(Sources{Env: []string{"LEAT_NUM_PARTITIONS=x"}})
	if err == nil || !strings.HasPrefix(err.Error(), "num.partitions=x (LEAT_NUM_PARTITIONS): ") {
		t.Error(err)
	}
	_, _, err = Load(Sources{File: strings.NewReader("a=\\u1"), FileName: "server.properties"})
	if err == nil || err.Error() != `server.properties: line 1: \u needs four hexadecimal digits` {
		t.Error(err)
	}
}

// A setting that is not built may be given its default: nothing is lost then.
func TestDefaultsOfWhatIsNotBuiltAreAccepted(t *testing.T) {
	load(t, Sources{}, "ssl.client.auth=none", "security.inter.broker.protocol=PLAINTEXT", "sasl.enabled.mechanisms=GSSAPI",
		"listener.name.x.ssl.client.auth=none", "authorizer.class.name=")
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		file string
		env  []string
		kind WarningKind
		want string
	}{
		{"log.retention.hour=5", nil, Unknown, "log.retention.hour: no such setting (f line 1); did you mean log.retention.hours?"},
		{"log.retnetion.ms=5", nil, Unknown, "log.retnetion.ms: no such setting (f line 1); did you mean log.retention.ms?"},
		{"something.quite.else=5", nil, Unknown, "something.quite.else: no such setting (f line 1)"},
		{"", []string{"LEAT_NUM_PARTITION=5"}, Unknown, "LEAT_NUM_PARTITION: no setting has this variable; did you mean LEAT_NUM_PARTITIONS?"},
		{"zookeeper.connect=localhost:2181", nil, Removed, "zookeeper.connect: ignored: ZooKeeper is not needed"},
		{"log.message.format.version=2.8", nil, Removed, "log.message.format.version: ignored: there is one record format"},
		{"", []string{"LEAT_HOST_NAME=x"}, Removed, "LEAT_HOST_NAME: ignored: use listeners"},
		{"num.io.threads=64", nil, Inert, "num.io.threads: accepted without effect: Leat has no fixed thread pools; requests run on as many processors as there are."},
		{"listener.name.x.max.connections=5", nil, Inert, "listener.name.x.max.connections: settings of one listener are not built; use max.connections"},
		{"listener.name.x.nonsense=5", nil, Unknown, "listener.name.x.nonsense: no such setting (f line 1)"},
	} {
		_, warns, err := Load(Sources{File: strings.NewReader(c.file), FileName: "f", Env: c.env})
		if err != nil || len(warns) != 1 || warns[0].Kind != c.kind || warns[0].String() != c.want {
			t.Errorf("%s %v\n got %v %v\nwant %s", c.file, c.env, warns, err, c.want)
		}
	}
	// A Kubernetes service called leat gives its pods variables that are no settings.
	_, warns, err := Load(Sources{Env: []string{"LEAT_SERVICE_HOST=10.0.0.1", "LEAT_PORT=tcp://10.0.0.1:9092",
		"LEAT_PORT_9092_TCP_PORT=9092", "LEAT_BOOTSTRAP=x:1", "PATH=/bin", "LEAT_NO_EQUALS"}})
	if err != nil || len(warns) != 0 {
		t.Error(err, warns)
	}
}

func TestOwnSettingsHaveShortVariables(t *testing.T) {
	c, _, err := Load(Sources{Env: []string{"LEAT_DURABILITY=relaxed", "LEAT_HTTP_LISTEN=:0"}})
	if err != nil || c.String(LeatDurability) != "relaxed" || !c.ResolveTopic(nil).Relaxed {
		t.Fatal(err)
	}
	if got := c.HTTPAddresses(); len(got) != 2 || got[0] != "127.0.0.1:0" || got[1] != "[::1]:0" {
		t.Errorf("HTTP %q", got)
	}
}

func TestGroupInitialRebalanceDelay(t *testing.T) {
	c := load(t, Sources{})
	if one, many := c.GroupInitialRebalanceDelay(1), c.GroupInitialRebalanceDelay(3); one != 0 || many.Milliseconds() != 3000 {
		t.Errorf("%v alone, %v of three", one, many)
	}
	c = load(t, Sources{}, "group.initial.rebalance.delay.ms=3000")
	if one := c.GroupInitialRebalanceDelay(1); one.Milliseconds() != 3000 {
		t.Errorf("given, %v", one)
	}
}

func TestNearestGivesUpOnWhatIsTooFar(t *testing.T) {
	for in, want := range map[string]string{
		"lgo.dirs": "log.dirs", "listener": "listeners", "x": "", strings.Repeat("y", 5000): "",
	} {
		if got := nearest(in); got != want {
			t.Errorf("%.20s: %q, want %q", in, got, want)
		}
	}
}

func TestMillis(t *testing.T) {
	c := load(t, Sources{}, "log.flush.interval.messages=5", "log.cleaner.max.compaction.lag.ms=9223372036854775807", "log.retention.ms=-1")
	if d := Millis(c, LogCleanerMaxCompactionLagMs); d <= 0 {
		t.Errorf("the largest time overflows to %v", d)
	}
	if d := Millis(c, LogRetentionMs); d >= 0 {
		t.Errorf("for ever is %v", d)
	}
	if d := Millis(c, RequestTimeoutMs); d.Seconds() != 30 {
		t.Errorf("request.timeout.ms is %v", d)
	}
}
