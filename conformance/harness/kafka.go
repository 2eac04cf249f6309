package harness

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stockProperties are those of the server.properties that Apache Kafka 4.4
// ships for a single combined node, without addresses and folders.
const stockProperties = `process.roles=broker,controller
node.id=1
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`

// logging sends what Kafka logs at its shipped level to standard output.
const logging = `<Configuration>
  <Appenders><Console name="out"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
`

// jvmDefaults are the flags that kafka-server-start.sh and kafka-run-class.sh
// of Kafka 4.4 give to a broker when nothing is set.
var jvmDefaults = []string{
	"-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
	"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
	"-Djava.awt.headless=true", "-Dcom.sun.management.jmxremote=true",
	"-Dcom.sun.management.jmxremote.authenticate=false", "-Dcom.sun.management.jmxremote.ssl=false",
}

// KafkaBrokerJars resolves Apache Kafka's broker.
func KafkaBrokerJars() (string, error) {
	return Jars(filepath.Join(Root(), "conformance", "kafka", "broker", "pom.xml"))
}

// KafkaToolsJars resolves Apache Kafka's command-line tools.
func KafkaToolsJars() (string, error) {
	return Jars(filepath.Join(Root(), "conformance", "kafka", "tools", "pom.xml"))
}

// KafkaVersion is the version of the broker among jars.
func KafkaVersion(jars string) string {
	found, err := filepath.Glob(filepath.Join(jars, "kafka-server-common-*.jar"))
	if err != nil || len(found) == 0 {
		return "unknown"
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), "kafka-server-common-"), ".jar")
}

func (b *Broker) properties() string { return filepath.Join(b.opts.Dir, "server.properties") }

// writeProperties writes the stock configuration with the broker's own addresses
// and folder, and what Options set.
func (b *Broker) writeProperties() error {
	set := map[string]string{
		"controller.quorum.voters": "1@" + b.Controller(),
		"listeners":                "PLAINTEXT://" + b.Addr + ",CONTROLLER://" + b.Controller(),
		"advertised.listeners":     "PLAINTEXT://" + b.Addr,
		"log.dirs":                 b.Data,
	}
	if !b.opts.KeepKafkaDelay {
		// Leat's default on a single node, so that both run the same programs alike.
		set["group.initial.rebalance.delay.ms"] = "0"
	}
	if b.peers != nil {
		maps.Copy(set, b.clusterProperties())
	}
	maps.Copy(set, b.opts.Set)
	text := stockProperties
	for _, k := range slices.Sorted(maps.Keys(set)) {
		text += k + "=" + set[k] + "\n"
	}
	return os.WriteFile(b.properties(), []byte(text), 0o644)
}

// formatKafka writes Kafka's configuration and formats its data folder.
func (b *Broker) formatKafka() error {
	if err := b.writeProperties(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.opts.Dir, "log4j2.xml"), []byte(logging), 0o644); err != nil {
		return err
	}
	argv, err := b.kafkaCommand("kafka.tools.StorageTool", "format",
		"--cluster-id", "4L6g3nShT-eMCtK--X86sw", "--config", b.properties(), "--ignore-formatted")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return run(ctx, b.opts.Dir, argv[0], argv[1:]...)
}

// kafkaCommand runs one of Kafka's classes with the flags its scripts give.
func (b *Broker) kafkaCommand(class string, args ...string) ([]string, error) {
	jars, err := KafkaBrokerJars()
	if err != nil {
		return nil, err
	}
	argv := append([]string{"java"}, jvmDefaults...)
	if b.opts.Heap != "" { // the last one counts
		argv = append(argv, "-Xms"+b.opts.Heap, "-Xmx"+b.opts.Heap)
	}
	argv = append(argv,
		"-Xlog:gc*:file="+filepath.Join(b.opts.Dir, "gc.log")+":time,tags:filecount=10,filesize=100M",
		"-Dlog4j2.configurationFile="+filepath.Join(b.opts.Dir, "log4j2.xml"),
		"-cp", filepath.Join(jars, "*"), class)
	return append(argv, args...), nil
}
