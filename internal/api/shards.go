package api

import "strconv"

// GroupShard names the shard that coordinates the groups of one partition of
// __consumer_offsets.
func GroupShard(partition int32) string { return "groups-" + strconv.Itoa(int(partition)) }
