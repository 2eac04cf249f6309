package sim

// foundingOps is how many operations on a disk a founder does until it serves, about.
const foundingOps = 120

// roughStart has the power of some founders cut at one of the writes of their founding.
func (c *Cluster) roughStart(founders []*Host) {
	if !c.Settings.RoughStart {
		return
	}
	r := c.Stream("founding")
	for _, h := range founders {
		if n := 1 + r.IntN(foundingOps); r.IntN(2) == 0 {
			h.Disk.CrashAt(n)
			c.Count["rough founding"]++
		}
	}
}
