package log

import (
	"strings"
	"testing"
)

// TestDamagedFilesAreNamed: what is said of a damaged file that holds no batches names the
// file and what is wrong with it, and speaks of no batch.
func TestDamagedFilesAreNamed(t *testing.T) {
	for file, harm := range map[string]func([]byte) []byte{
		"data/" + metaFile:          func([]byte) []byte { return []byte("version=1\nnode") },
		"data/" + stateFile:         flip(12),
		"data/" + watermarkFile:     cutAt(3),
		"data/" + recoveryPointFile: func(p []byte) []byte { return append(p, "a 0 x\n"...) },
		aDir + epochFile:            cutAt(1),
		aDir + metadataFile:         cutAt(10),
	} {
		w := newWorld(t)
		l := w.log("a")
		l.SetHighWatermark(0)
		w.append(l, batch(1, 100))
		w.checkpoint()
		w.change(file, harm)
		w.must(w.dir.lock.Close())
		w.events = nil
		var said []string
		d, err := OpenDir(w.options())
		if err == nil {
			_, err = d.OpenLog(testID("a"), DefaultConfig(), Hooks{})
		}
		if err != nil {
			said = append(said, err.Error())
		}
		for _, e := range w.events {
			said = append(said, e.String())
		}
		all := strings.Join(said, "\n")
		if !strings.Contains(all, "damaged: ") || strings.Contains(all, "batch") || !strings.Contains(all, file[strings.LastIndexByte(file, '/')+1:]) {
			t.Errorf("%s: %s", file, all)
		}
	}
}
