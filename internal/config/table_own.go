package config

// ownSettings are the settings of what Kafka lacks.
var ownSettings = []Def{
	{Name: "allow.everyone.if.no.acl.found", Type: Boolean, Default: "false"},
	{Name: "http.listen", Type: String, Default: "127.0.0.1:9644"},
	{Name: "insecure", Type: Boolean, Default: "false"},
	{Name: "leat.checkpoint.bytes", Type: Long, Default: "67108864", Check: atLeast(1)},
	{Name: "leat.disk.reserve.bytes", Type: Long, Default: "0", Check: atLeast(0)},
	{Name: "leat.durability", Type: String, Default: "durable", Check: words("durable", "relaxed"), Update: ClusterWide},
	{Name: "leat.log.format", Type: String, Default: "auto", Check: words("auto", "text", "json")},
	{Name: "leat.log.level", Type: String, Default: "info", Check: words("debug", "info", "warn", "error")},
	{Name: "leat.open.files.max", Type: Int, Default: "0", Check: atLeast(0)},
	{Name: "leat.unauthenticated.request.max.bytes", Type: Int, Default: "65536", Check: atLeast(1024)},
	{Name: "pprof.enable", Type: Boolean, Default: "false"},
	{Name: "super.users", Type: String},
}
