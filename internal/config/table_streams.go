package config

// streamsSettings are the settings of streams groups.
var streamsSettings = []Def{
	{Name: "group.streams.acceptable.recovery.lag", Type: Long, Default: "10000", Check: atLeast(0), Internal: true},
	{Name: "group.streams.assignment.interval.ms", Type: Int, Default: "1000", Check: atLeast(0), Update: ClusterWide},
	{Name: "group.streams.assignor.offload.enable", Type: Boolean, Default: "true", Update: ClusterWide, Internal: true},
	{Name: "group.streams.assignors", Type: List, Default: "sticky", Check: listOf{nonEmpty: true}},
	{Name: "group.streams.heartbeat.interval.ms", Type: Int, Default: "5000", Check: atLeast(1)},
	{Name: "group.streams.initial.rebalance.delay.ms", Type: Int, Default: "3000", Check: atLeast(0)},
	{Name: "group.streams.max.assignment.interval.ms", Type: Int, Default: "15000", Check: atLeast(0)},
	{Name: "group.streams.max.heartbeat.interval.ms", Type: Int, Default: "15000", Check: atLeast(1)},
	{Name: "group.streams.max.session.timeout.ms", Type: Int, Default: "60000", Check: atLeast(1)},
	{Name: "group.streams.max.size", Type: Int, Default: "2147483647", Check: atLeast(1)},
	{Name: "group.streams.max.standby.replicas", Type: Int, Default: "2", Check: atLeast(0)},
	{Name: "group.streams.max.warmup.replicas", Type: Int, Default: "20", Check: atLeast(0), Internal: true},
	{Name: "group.streams.min.assignment.interval.ms", Type: Int, Default: "0", Check: atLeast(0)},
	{Name: "group.streams.min.heartbeat.interval.ms", Type: Int, Default: "5000", Check: atLeast(1)},
	{Name: "group.streams.min.session.timeout.ms", Type: Int, Default: "45000", Check: atLeast(1)},
	{Name: "group.streams.min.task.offset.interval.ms", Type: Int, Default: "15000", Check: atLeast(1), Internal: true},
	{Name: "group.streams.num.standby.replicas", Type: Int, Default: "0", Check: atLeast(0)},
	{Name: "group.streams.num.warmup.replicas", Type: Int, Default: "2", Check: atLeast(0), Internal: true},
	{Name: "group.streams.rack.aware.assignment.tags", Type: List, Check: listOf{}},
	{Name: "group.streams.session.timeout.ms", Type: Int, Default: "45000", Check: atLeast(1)},
	{Name: "group.streams.task.offset.interval.ms", Type: Int, Default: "60000", Check: atLeast(1), Internal: true},
	{Name: "group.streams.topology.description.plugin.class", Type: Class, Null: true},
}
