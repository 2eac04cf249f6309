package env

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSyncDirWithoutDescriptors: a process that has no descriptor left still syncs the
// directory that it holds the lock of, and those below.
func TestSyncDirWithoutDescriptors(t *testing.T) {
	const name = "LEAT_TEST_NO_DESCRIPTORS"
	if dir := os.Getenv(name); dir != "" {
		syncWithoutDescriptors(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), name+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func syncWithoutDescriptors(t *testing.T, dir string) {
	below := filepath.Join(dir, "below")
	if err := OS.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := OS.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	for {
		f, err := os.Open("/dev/null")
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, f)
	}
	errs := []error{OS.SyncDir(dir), OS.SyncDir(below)}
	missing := OS.SyncDir(filepath.Join(dir, "missing"))
	for _, f := range taken {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if !errors.Is(missing, os.ErrNotExist) {
		t.Error(missing)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if len(held.dirs) != 0 {
		t.Error("the directory is held without the lock")
	}
}
