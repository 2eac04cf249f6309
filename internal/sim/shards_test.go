package sim

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	procs    = flag.Uint64("procs", 1, "TestCluster runs its seeds in so many processes at a time")
	countsTo = flag.String("counts", "", "TestCluster writes what happened to this file, and does not judge how often")
)

// shard is how many seeds a process takes.
const shard = 25

// sharded runs the seeds in other processes of this program, since what the Raft library
// draws at random is common to a process, and returns what happened in all of them.
func sharded(t *testing.T) map[string]int {
	total := map[string]int{}
	dir := t.TempDir()
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := *fromSeed
	for range *procs {
		wg.Go(func() {
			for {
				mu.Lock()
				from := next
				next += shard
				mu.Unlock()
				if from >= *fromSeed+*seeds {
					return
				}
				counts, err := runShard(dir, from, min(shard, *fromSeed+*seeds-from))
				mu.Lock()
				for name, n := range counts {
					total[name] += n
				}
				if err != nil {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total
}

// runShard runs a few seeds in a process of their own.
func runShard(dir string, from, seeds uint64) (counts map[string]int, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, fmt.Sprint(from))
	args := []string{"-test.run=^TestCluster$", "-test.timeout=0", fmt.Sprint("-from=", from), fmt.Sprint("-seeds=", seeds), "-counts=" + file}
	if *long {
		args = append(args, "-long")
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=200") // one goroutine, and its garbage
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("seeds from %d on: %w\n%s", from, err, out.Bytes())
	}
	b, errRead := os.ReadFile(file)
	if errRead != nil {
		if err == nil {
			err = errRead
		}
		return nil, err
	}
	if errRead = json.Unmarshal(b, &counts); errRead != nil && err == nil {
		err = errRead
	}
	return counts, err
}

// writeCounts leaves what happened to the process that asked for it.
func writeCounts(t *testing.T, total map[string]int) {
	b, err := json.Marshal(total)
	if err == nil {
		err = os.WriteFile(*countsTo, b, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
