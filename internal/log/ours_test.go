package log

import (
	"errors"
	"os"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// A directory with somebody else's files is refused, and nothing in it changes.
func TestForeignDirectoriesAreLeftAlone(t *testing.T) {
	for _, file := range []string{"meta.properties", "thesis.tmp", "photos-delete/a.jpg", "topic-0/00000000000000000000.log", ".kafka_cleanshutdown"} {
		t.Run(file, func(t *testing.T) {
			w := &world{t: t, disk: env.NewDisk(1), clock: env.NewClock(epoch0)}
			w.disk.SetClock(w.clock)
			w.fs = w.disk
			path := "data/" + file
			for i := len(path) - 1; i >= 0; i-- {
				if path[i] == '/' {
					if err := w.fs.MkdirAll(path[:i], 0o755); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			f, err := w.fs.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("mine"), 0); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenDir(w.options()); !errors.Is(err, ErrForeign) {
				t.Fatalf("opened: %v", err)
			}
			if b, err := readSmall(w.fs, path, 100); err != nil || string(b) != "mine" {
				t.Fatalf("the file is %q now, %v", b, err)
			}
		})
	}
}
