package server

import (
	"os"
	"path/filepath"
	"testing"
)

// Lines of mountinfo as they are found.
const (
	unified    = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	bound2     = "30 23 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
	memory1    = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:2 - cgroup cgroup rw,memory\n"
	bound1     = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	cpu1       = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	elsewhere1 = "35 31 0:32 / /cg\\040roups rw - cgroup none rw,hugetlb,memory\n"
	other      = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
)

// TestCgroupLimit lays out a file system as it is found under version 2 and 1, with and
// without a cgroup namespace: the smallest limit on the way to the root counts.
func TestCgroupLimit(t *testing.T) {
	const v2, v1 = "sys/fs/cgroup/", "sys/fs/cgroup/memory/"
	type files map[string]string
	for _, c := range []struct {
		name, self, mounts string
		files              files
		want               int64
	}{
		{"none", "0::/a/b\n", other + unified, nil, 0},
		{"own", "0::/a/b\n", other + unified, files{v2 + "a/b/memory.max": "1000\n"}, 1000},
		{"a parent is tighter", "0::/a/b/c\n", unified, files{v2 + "a/b/c/memory.max": "1000\n", v2 + "a/b/memory.max": "max\n", v2 + "a/memory.max": "500\n"}, 500},
		{"a parent is looser", "0::/a/b\n", unified, files{v2 + "a/b/memory.max": "400\n", v2 + "a/memory.max": "500\n"}, 400},
		{"throttled before", "0::/a\n", unified, files{v2 + "a/memory.max": "400\n", v2 + "a/memory.high": "300\n"}, 300},
		{"max means none", "0::/a\n", unified, files{v2 + "a/memory.max": "max\n", v2 + "a/memory.high": "max\n"}, 0},
		{"own namespace", "0::/\n", unified, files{v2 + "memory.max": "900\n"}, 900},
		{"no namespace, own group mounted", "0::/docker/abc\n", bound2, files{v2 + "memory.max": "800\n"}, 800},
		{"no namespace, below the mounted group", "0::/docker/abc/init\n", bound2, files{v2 + "memory.max": "800\n", v2 + "init/memory.max": "700\n"}, 700},
		{"outside of what is mounted", "0::/../other\n", unified, files{v2 + "memory.max": "600\n"}, 600},
		{"garbage", "what\n0::/a\n", "what\n" + unified, files{v2 + "a/memory.max": "many\n"}, 0},

		{"version 1", "4:memory:/x\n0::/\n", cpu1 + memory1, files{v1 + "x/memory.limit_in_bytes": "700\n"}, 700},
		{"version 1, a parent is tighter", "4:memory:/x/y\n", memory1, files{v1 + "x/y/memory.limit_in_bytes": "700\n", v1 + "x/memory.limit_in_bytes": "600\n"}, 600},
		{"version 1, no namespace, own group mounted", "4:memory:/docker/abc\n", bound1, files{v1 + "memory.limit_in_bytes": "500\n"}, 500},
		{"version 1 with other controllers, at another place", "4:hugetlb,memory:/x\n", elsewhere1, files{"cg roups/x/memory.limit_in_bytes": "300\n"}, 300},
		{"version 1 without a limit", "4:memory:/x\n", memory1, files{v1 + "x/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"version 1 for other controllers only", "4:cpu,cpuacct:/x\n", cpu1, files{"sys/fs/cgroup/cpu,cpuacct/x/memory.limit_in_bytes": "9\n"}, 0},
		{"both: memory is of version 1", "4:memory:/x\n0::/y\n", memory1 + "38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			files{v1 + "x/memory.limit_in_bytes": "200\n"}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			write := func(path, text string) {
				t.Helper()
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write("proc/self/cgroup", c.self)
			write("proc/self/mountinfo", c.mounts)
			for f, text := range c.files {
				write(f, text)
			}
			if got := cgroupLimit(root); got != c.want {
				t.Fatalf("limit %d, want %d", got, c.want)
			}
		})
	}
	if got := cgroupLimit(t.TempDir()); got != 0 {
		t.Fatalf("without /proc: %d", got)
	}
}
