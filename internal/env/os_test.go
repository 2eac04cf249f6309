//go:build linux || darwin

package env

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNothingIsMadeThroughALink: a symbolic link in a file's place is refused with a line
// that says so, and nothing appears where it points; directories may be links.
func TestNothingIsMadeThroughALink(t *testing.T) {
	real, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "target")
	dir := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.Symlink(real, dir), os.Symlink(elsewhere, filepath.Join(dir, "file"))); err != nil {
		t.Fatal(err)
	}
	for what, open := range map[string]func(name string) error{
		"file": func(name string) error {
			f, err := OS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
			if err == nil {
				err = f.Close()
			}
			return err
		},
		"lock": func(name string) error {
			f, err := OS.Lock(name)
			if err == nil {
				err = f.Close()
			}
			return err
		},
	} {
		err := open(filepath.Join(dir, "file"))
		if !errors.Is(err, syscall.ELOOP) || !strings.Contains(err.Error(), "data/file: it is a symbolic link") {
			t.Errorf("%s through a link: %v", what, err)
		}
		if _, err := os.Lstat(elsewhere); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the target: %v", what, err)
		}
		if err := open(filepath.Join(dir, what+".real")); err != nil {
			t.Errorf("%s in a linked directory: %v", what, err)
		}
	}
}
