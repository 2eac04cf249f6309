package config

// miscSettings are the settings of topics, quotas, metrics and the rest.
var miscSettings = []Def{
	{Name: "alter.config.policy.class.name", Type: Class, Null: true},
	{Name: "auto.create.topics.enable", Type: Boolean, Default: "true"},
	{Name: "client.quota.callback.class", Type: Class, Null: true},
	{Name: "config.providers", Type: List, Check: listOf{}, Update: ClusterWide},
	{Name: "create.topic.policy.class.name", Type: Class, Null: true},
	{Name: "delete.records.purgatory.purge.interval.requests", Type: Int, Default: "1"},
	{Name: "delete.topic.enable", Type: Boolean, Default: "true"},
	{Name: "kafka.metrics.polling.interval.secs", Type: Int, Default: "10", Check: atLeast(1)},
	{Name: "kafka.metrics.reporters", Type: List, Check: listOf{}},
	{Name: "metric.reporters", Type: List, Default: "org.apache.kafka.common.metrics.JmxReporter", Check: listOf{}, Update: ClusterWide},
	{Name: "metrics.num.samples", Type: Int, Default: "2", Check: atLeast(1)},
	{Name: "metrics.recording.level", Type: String, Default: "INFO"},
	{Name: "metrics.sample.window.ms", Type: Long, Default: "30000", Check: atLeast(1)},
	{Name: "num.partitions", Type: Int, Default: "1", Check: atLeast(1)},
	{Name: "producer.purgatory.purge.interval.requests", Type: Int, Default: "1000"},
	{Name: "quota.window.num", Type: Int, Default: "11", Check: atLeast(1)},
	{Name: "quota.window.size.seconds", Type: Int, Default: "1", Check: atLeast(1)},
	{Name: "server.max.startup.time.ms", Type: Long, Default: "9223372036854775807", Check: atLeast(0), Internal: true},
	{Name: "telemetry.max.bytes", Type: Int, Default: "1048576", Check: atLeast(1)},
	{Name: "unstable.api.versions.enable", Type: Boolean, Default: "false", Internal: true},
	{Name: "unstable.feature.versions.enable", Type: Boolean, Default: "false", Internal: true},
}
