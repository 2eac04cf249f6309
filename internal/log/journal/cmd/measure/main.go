// Command measure times ways to make many small appends durable, for the decision
// between syncing each dirty file and writing one journal (docs/decisions/0002).
//
// One round appends some bytes to each of n files, as a broker does between two
// syncs, and then makes them durable: by fdatasync of every file, k at a time, or by
// one write of the same bytes to a journal and one fdatasync of that. It prints the
// median and 99th percentile of the durable part of a round, and the process's CPU
// time for it (the kernel's own writeback threads are not in that).
//
//	go run ./internal/log/journal/cmd/measure -dir /var/tmp -cell 3s
//
// It makes a directory of its own under -dir, uses at most -space bytes there, takes
// at most about -cell per line of the table, and removes everything at the end.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/leat-stream/leat/internal/env"
)

type options struct {
	dir    string
	cell   time.Duration
	rounds int
	space  int64
	sizes  []int64
	files  []int
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", os.TempDir(), "directory on the disk to measure")
	flag.DurationVar(&o.cell, "cell", 3*time.Second, "time limit of one line")
	flag.IntVar(&o.rounds, "rounds", 300, "most rounds of one line")
	flag.Int64Var(&o.space, "space", 4<<30, "most bytes on disk")
	o.sizes, o.files = []int64{4 << 10, 1 << 20}, []int{1, 10, 100, 1000}
	flag.Func("sizes", "bytes that each file grows by in a round (4096,1048576)", list(&o.sizes))
	flag.Func("files", "numbers of dirty files (1,10,100,1000)", list(&o.files))
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

// list parses positive numbers separated by commas.
func list[T int | int64](to *[]T) func(string) error {
	return func(text string) error {
		*to = nil
		for part := range strings.SplitSeq(text, ",") {
			n, err := strconv.ParseInt(part, 10, 31)
			if err != nil || n <= 0 {
				return fmt.Errorf("%q is no positive number", part)
			}
			*to = append(*to, T(n))
		}
		return nil
	}
}

func run(o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "leat-measure-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o.dir = dir

	fmt.Println("| dirty files | bytes each | way | rounds | p50 | p99 | CPU per round |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- |")
	for _, size := range o.sizes {
		for _, n := range o.files {
			for _, s := range strategies {
				if 2*size*int64(n) > o.space || s.journal && size*int64(n) > 256<<20 || s.parallel > n {
					continue
				}
				r, err := measure(o, n, size, s)
				if err != nil {
					return fmt.Errorf("%d files of %d bytes, %s: %w", n, size, s.name, err)
				}
				fmt.Printf("| %d | %d KiB | %s | %d | %v | %v | %v |\n",
					n, size>>10, s.name, len(r.took), r.quantile(0.5), r.quantile(0.99), r.cpu)
				if s.journal {
					fmt.Printf("| | | … the files behind it, once after %d rounds | | %v | | |\n", r.behindRounds, r.behind)
				}
			}
		}
	}
	return nil
}

// strategy is one way to make a round durable.
type strategy struct {
	name     string
	parallel int  // files synced at a time
	journal  bool // through a journal
	prepare  func(f env.File, size int64) error
}

var strategies = []strategy{
	{name: "each file, 1 at a time", parallel: 1},
	{name: "each file, 2 at a time", parallel: 2},
	{name: "each file, 4 at a time", parallel: 4},
	{name: "each file, 8 at a time", parallel: 8},
	{name: "each file, 16 at a time", parallel: 16},
	{name: "journal, zero-filled before", journal: true, prepare: zeroFill},
	{name: "journal, fallocated before", journal: true, prepare: func(f env.File, size int64) error {
		return errors.Join(f.Preallocate(size), f.Sync())
	}},
	{name: "journal, growing", journal: true, prepare: func(env.File, int64) error { return nil }},
}

func zeroFill(f env.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, off); err != nil {
			return err
		}
	}
	return f.Sync()
}

type result struct {
	took         []time.Duration
	cpu          time.Duration // per round
	behind       time.Duration
	behindRounds int
}

func (r *result) quantile(q float64) time.Duration {
	slices.Sort(r.took)
	return r.took[int(q*float64(len(r.took)-1))].Round(10 * time.Microsecond)
}

func measure(o options, n int, size int64, s strategy) (r *result, err error) {
	files, err := openFiles(o.dir, n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeFiles(files)) }()
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	round := size * int64(n)
	journalSize := max(64<<20, round)
	limit := min(o.space/2/round, int64(o.rounds)) // rounds that fit on the disk
	if s.journal && s.name != "journal, zero-filled before" {
		limit = min(limit, journalSize/round) // one lap: what the next one overwrites is written already
	}
	var journal env.File
	if s.journal {
		name := filepath.Join(o.dir, "journal")
		if journal, err = env.OS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, journal.Close(), os.Remove(name)) }()
		if err := errors.Join(s.prepare(journal, journalSize), env.OS.SyncDir(o.dir)); err != nil {
			return nil, err
		}
	}
	r = &result{}
	var cpu time.Duration
	var at, jat int64
	vec := slices.Repeat([][]byte{payload}, n)
	for start := time.Now(); int64(len(r.took)) < limit && (len(r.took) < 3 || time.Since(start) < o.cell); at += size {
		for _, f := range files {
			if _, err := f.WriteAt(payload, at); err != nil {
				return nil, err
			}
		}
		if s.journal && jat+round > journalSize {
			jat = 0
		}
		began, used := time.Now(), cpuTime()
		if s.journal {
			_, err = journal.WriteVecAt(vec, jat)
			err = errors.Join(err, journal.Sync())
			jat += round
		} else {
			err = syncAll(files, s.parallel)
		}
		r.took = append(r.took, time.Since(began))
		cpu += cpuTime() - used
		if err != nil {
			return nil, err
		}
	}
	r.cpu = (cpu / time.Duration(len(r.took))).Round(time.Microsecond)
	if s.journal {
		began := time.Now()
		err = syncAll(files, 8)
		r.behind, r.behindRounds = time.Since(began).Round(10*time.Microsecond), len(r.took)
	}
	return r, err
}

func syncAll(files []env.File, parallel int) error {
	if parallel == 1 {
		for _, f := range files {
			if err := f.Sync(); err != nil {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	errs := make([]error, parallel)
	for w := range parallel {
		wg.Go(func() {
			for i := w; i < len(files) && errs[w] == nil; i += parallel {
				errs[w] = files[i].Sync()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openFiles makes n files, a directory each, as partitions have.
func openFiles(dir string, n int) ([]env.File, error) {
	var files []env.File
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("t-%d", i))
		if err := os.Mkdir(sub, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		f, err := env.OS.OpenFile(filepath.Join(sub, "0.log"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return nil, errors.Join(err, closeFiles(files))
		}
		files = append(files, f)
		if err := f.Sync(); err != nil {
			return nil, errors.Join(err, closeFiles(files))
		}
	}
	return files, nil
}

func closeFiles(files []env.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Truncate(0), f.Close(), os.Remove(f.Name()))
	}
	return errors.Join(errs...)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
