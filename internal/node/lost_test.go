package node

import (
	"errors"
	"os"
	"testing"

	"github.com/leat-stream/leat/internal/env"
)

// TestEmptyNoteOfTheBoot: a note that was cut to nothing is that of no kernel.
func TestEmptyNoteOfTheBoot(t *testing.T) {
	d := env.NewDisk(1)
	if err := d.MkdirAll("data", 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := d.OpenFile("data/"+registeredFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if l, err := readLives(d, "data"); l.boot != "" || l.epoch != 0 || err != nil {
		t.Errorf("%+v, %v", l, err)
	}
}
