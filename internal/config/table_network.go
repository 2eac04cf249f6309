package config

// networkSettings are the settings of listeners, connections and requests.
var networkSettings = []Def{
	{Name: "advertised.listeners", Type: List, Null: true, Check: listOf{nonEmpty: true}},
	{Name: "background.threads", Type: Int, Default: "10", Check: atLeast(1), Update: ClusterWide},
	{Name: "connections.max.idle.ms", Type: Long, Default: "600000"},
	{Name: "fetch.max.bytes", Type: Int, Default: "57671680", Check: atLeast(1024)},
	{Name: "fetch.purgatory.purge.interval.requests", Type: Int, Default: "1000"},
	{Name: "listener.security.protocol.map", Type: String, Default: "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"},
	{Name: "listeners", Type: List, Default: "PLAINTEXT://:9092", Check: listOf{nonEmpty: true}},
	{Name: "max.connection.creation.rate", Type: Int, Default: "2147483647", Check: atLeast(0), Update: ClusterWide},
	{Name: "max.connections", Type: Int, Default: "2147483647", Check: atLeast(0), Update: ClusterWide},
	{Name: "max.connections.per.ip", Type: Int, Default: "2147483647", Check: atLeast(0), Update: ClusterWide},
	{Name: "max.connections.per.ip.overrides", Type: String, Update: ClusterWide},
	{Name: "max.incremental.fetch.session.cache.slots", Type: Int, Default: "1000", Check: atLeast(0)},
	{Name: "max.request.partition.size.limit", Type: Int, Default: "2000", Check: atLeast(1)},
	{Name: "num.io.threads", Type: Int, Default: "8", Check: atLeast(1), Update: ClusterWide},
	{Name: "num.network.threads", Type: Int, Default: "3", Check: atLeast(1), Update: ClusterWide},
	{Name: "queued.max.request.bytes", Type: Long, Default: "-1"},
	{Name: "queued.max.requests", Type: Int, Default: "500", Check: atLeast(1)},
	{Name: "request.timeout.ms", Type: Int, Default: "30000"},
	{Name: "socket.connection.setup.timeout.max.ms", Type: Long, Default: "30000"},
	{Name: "socket.connection.setup.timeout.ms", Type: Long, Default: "10000"},
	{Name: "socket.listen.backlog.size", Type: Int, Default: "50", Check: atLeast(1)},
	{Name: "socket.receive.buffer.bytes", Type: Int, Default: "102400"},
	{Name: "socket.request.max.bytes", Type: Int, Default: "104857600", Check: atLeast(1)},
	{Name: "socket.send.buffer.bytes", Type: Int, Default: "102400"},
}
