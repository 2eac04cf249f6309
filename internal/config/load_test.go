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
