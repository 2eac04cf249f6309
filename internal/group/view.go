package group

// Topics lists the topics, by name and id, of which some group has offsets.
func (m *Machine) Topics() []Topic {
	var all []Topic
	seen := map[Topic]bool{}
	m.EachOffset(func(_ string, t Topic, _ int32, _ int64) bool {
		if !seen[t] {
			seen[t] = true
			all = append(all, t)
		}
		return true
	})
	return all
}

// EachOffset calls fn for every committed offset, by group, topic and partition,
// until it returns false. A topic's id is zero where the commit did not know it.
func (m *Machine) EachOffset(fn func(group string, t Topic, partition int32, offset int64) bool) {
	for _, g := range m.sorted() {
		for _, name := range g.offsets.topics() {
			for _, p := range g.offsets.partitions(name) {
				c, _ := g.offsets.get(name, p)
				if !fn(g.id, Topic{Name: name, ID: c.topicID}, p, c.offset) {
					return
				}
			}
		}
	}
}
