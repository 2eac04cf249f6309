package sim

import (
	"os"
	"runtime/debug"
	"testing"
)

// Runs make much garbage and keep little: the collector may wait.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
