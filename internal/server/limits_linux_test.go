package server

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroupLimit(t *testing.T) {
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, self string
		files      map[string]string
		want       int64
	}{
		{"none", "0::/a/b\n", nil, 0},
		{"own", "0::/a/b\n", map[string]string{"a/b/memory.max": "1000\n"}, 1000},
		{"parent is tighter", "0::/a/b\n", map[string]string{"a/b/memory.max": "1000\n", "a/memory.max": "500\n"}, 500},
		{"max means none", "0::/a\n", map[string]string{"a/memory.max": "max\n"}, 0},
		{"version 1", "4:memory:/x\n", map[string]string{"memory/x/memory.limit_in_bytes": "700\n"}, 700},
		{"version 1 without a limit", "4:memory:/x\n", map[string]string{"memory/x/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"garbage", "what\n0::/a\n", map[string]string{"a/memory.max": "many\n"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(filepath.Join(dir, "self"), c.self)
			for f, text := range c.files {
				write(filepath.Join(dir, "fs", f), text)
			}
			if got := cgroupLimit(filepath.Join(dir, "self"), filepath.Join(dir, "fs")); got != c.want {
				t.Fatalf("limit %d, want %d", got, c.want)
			}
		})
	}
}
