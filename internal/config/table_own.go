package config

// ownSettings are the settings of what Kafka lacks.
var ownSettings = []Def{
	{Name: "allow.everyone.if.no.acl.found", Type: Boolean, Default: "false", Effect: NoEffect,
		Doc: "Whether a resource without access rules is open to all; authorization is not built yet, and everything is open."},
	{Name: "http.listen", Type: String, Default: "127.0.0.1:9644",
		Doc: "The address of the HTTP door, HOST:PORT: /metrics, /healthz, /readyz. An empty host is localhost, port 0 takes a free port, an empty value opens no HTTP door."},
	{Name: "insecure", Type: Boolean, Default: "false",
		Doc: "Allow listeners that other machines can reach without TLS and authentication."},
	{Name: "leat.checkpoint.bytes", Type: Long, Default: "67108864", Check: atLeast(1),
		Doc: "Recovery points and producer snapshots are written after this many bytes of records, besides log.flush.offset.checkpoint.interval.ms, so that recovery reads no more than that."},
	{Name: "leat.durability", Type: String, Default: "durable", Check: words("durable", "relaxed"), Update: ClusterWide,
		Doc: "durable: records are acknowledged, and shown to readers, once they are on disk on the in-sync replicas. relaxed: once they are in the page cache there, as in Kafka."},
	{Name: "leat.log.format", Type: String, Default: "auto", Check: words("auto", "text", "json"),
		Doc: "The form of log messages: text, json, or auto, which is text."},
	{Name: "leat.log.level", Type: String, Default: "info", Check: words("debug", "info", "warn", "error"),
		Doc: "The least severe log messages that are written: debug, info, warn, error."},
	{Name: "leat.open.files.max", Type: Int, Default: "0", Check: atLeast(0),
		Doc: "The most segment files that are held open; the least used ones are closed and opened again when needed. 0 is nearly half of the process's limit of open files."},
	{Name: "leat.unauthenticated.request.max.bytes", Type: Int, Default: "65536", Check: atLeast(1024),
		Doc: "The largest request of a connection that still has to authenticate."},
	{Name: "pprof.enable", Type: Boolean, Default: "false",
		Doc: "Serve Go's profiles at /debug/pprof/ of http.listen."},
	{Name: "super.users", Type: String, Effect: NotBuilt,
		Doc: "Principals that are allowed everything. Authorization is not built yet."},
}
