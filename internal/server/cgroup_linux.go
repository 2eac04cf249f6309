package server

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// memoryShare is the part of the cgroup's memory that the Go heap may take before
// the collector works harder; the rest is for the page cache and for stacks.
const memoryShare = 0.9

// followCgroup sets the soft memory limit from the cgroup's, unless GOMEMLIMIT says
// otherwise. It returns the limit set, 0 when there is none.
func followCgroup() int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	limit := cgroupLimit("/")
	if limit == 0 {
		return 0
	}
	soft := int64(float64(limit) * memoryShare)
	debug.SetMemoryLimit(soft)
	return soft
}

// cgroupLimit is the smallest memory limit of this process's cgroups and all above
// them, of version 2 and 1, as far as they can be seen under root; 0 when none limits.
func cgroupLimit(root string) int64 {
	self, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(self)) {
		// hierarchy:controllers:path; version 2 has hierarchy 0 and no controllers
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		controllers, group := strings.Split(parts[1], ","), parts[2]
		for m := range strings.Lines(string(mounts)) {
			if m, ok := cgroupMount(m); ok && m.holds(parts[0], controllers) {
				least = min(least, m.least(root, group))
			}
		}
	}
	// Version 1 writes "no limit" as a huge page-aligned number.
	if least > 1<<60 {
		return 0
	}
	return least
}

// cgroupFS is one mount of a cgroup hierarchy.
type cgroupFS struct {
	top   string // the cgroup that is mounted, "/" the hierarchy's own
	point string // where
	v2    bool
	files []string // that have a limit
}

// cgroupMount reads a line of mountinfo: id, parent, device, root, mount point, options,
// optional fields up to "-", type, source, super options. Only mounts of memory are told.
func cgroupMount(line string) (m cgroupFS, ok bool) {
	before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
	f, g := strings.Fields(before), strings.Fields(after)
	if !ok || len(f) < 6 || len(g) < 3 {
		return m, false
	}
	m.top, m.point = unescapeMount(f[3]), unescapeMount(f[4])
	switch g[0] {
	case "cgroup2":
		m.v2, m.files = true, []string{"memory.max", "memory.high"}
		return m, true
	case "cgroup":
		m.files = []string{"memory.limit_in_bytes"}
		return m, slices.Contains(strings.Split(g[2], ","), "memory")
	}
	return m, false
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// holds tells whether an entry of /proc/self/cgroup is of the hierarchy that is mounted.
func (m cgroupFS) holds(hierarchy string, controllers []string) bool {
	if m.v2 {
		return hierarchy == "0"
	}
	return slices.Contains(controllers, "memory")
}

// least is the smallest limit from the group up to what is mounted; MaxInt64 for none.
// The group is told from the root of the process's cgroup namespace, and so is the
// mounted one: in a container without a namespace of its own, /docker/ID is mounted and
// the process is in /docker/ID too. Of a group outside of what is mounted, only the limit
// of what is mounted is seen.
func (m cgroupFS) least(root, group string) int64 {
	rel, err := filepath.Rel(m.top, group)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		rel = "."
	}
	least := int64(math.MaxInt64)
	for ; ; rel = filepath.Dir(rel) {
		for _, file := range m.files {
			v, err := os.ReadFile(filepath.Join(root, m.point, rel, file))
			if err != nil {
				continue // the root has none, and what is outside of the namespace is not seen
			}
			if n, err := strconv.ParseInt(strings.TrimSpace(string(v)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
		if rel == "." {
			return least
		}
	}
}
