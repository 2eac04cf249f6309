package differential

// Scenario is a named story that runs against both brokers.
type Scenario struct {
	Name string
	Run  func(*Session)
}

// Scenarios is the corpus, in the order in which it runs.
func Scenarios() []Scenario {
	return []Scenario{
		{"versions", versions},
		{"framing", framing},
		{"cluster", cluster},
		{"create topics", createTopics},
		{"create partitions", createPartitions},
		{"delete topics", deleteTopics},
		{"metadata", metadata},
		{"describe topic partitions", describeTopicPartitions},
		{"produce", produceBasics},
		{"produce batches", produceBatches},
		{"produce to topics of other kinds", produceTopicKinds},
		{"idempotent produce", idempotentProduce},
		{"fetch", fetchBasics},
		{"fetch limits", fetchLimits},
		{"fetch sessions", fetchSessions},
		{"list offsets", listOffsetsScenario},
		{"epochs", epochs},
		{"delete records", deleteRecords},
		{"find coordinator", findCoordinator},
		{"join group", joinGroup},
		{"join group errors", joinGroupErrors},
		{"two members", twoMembers},
		{"static members", staticMembers},
		{"group members", groupMembers},
		{"offsets", offsets},
		{"offsets of members", memberOffsets},
		{"groups", groups},
		{"delete offsets", deleteOffsets},
		{"describe configs", describeConfigs},
		{"alter configs", alterConfigs},
		{"incremental alter configs", incrementalAlterConfigs},
		{"broker configs", brokerConfigs},
		{"config resources", configResources},
		{"log dirs", logDirs},
		{"cluster administration", clusterRequests},
	}
}
