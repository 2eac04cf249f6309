// Package inspect holds "leat log dump": what the files of a data directory hold,
// read offline.
//
// It never changes a file (everything is opened for reading only), needs no
// server and no lock, and reads on behind damage: what cannot be read is reported
// with its place, and the next thing that can be read is looked for. Lengths found
// in files are trusted with nothing; memory is bounded by the largest batch or
// small file, whatever a file claims.
package inspect

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
)

// Command is "leat log".
func Command(e *conn.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "log",
		Short:   "Look into the files of a data directory",
		Example: "  leat log dump leat-data/orders-0",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dumpCommand(e))
	return cmd
}

type options struct {
	records, raw bool
	from, until  int64
}

func dumpCommand(e *conn.Env) *cobra.Command {
	var opt options
	cmd := &cobra.Command{
		Use:   "dump PATH...",
		Short: "Print what files hold: segments, indexes, snapshots, checkpoints, journal, metadata log",
		Long: "Print what files hold, offline and without changing them: segments, indexes, producer snapshots, checkpoints, " +
			"the journal, the metadata log and its snapshots. A directory stands for all files below it. " +
			"Damage is reported with its place, and reading goes on behind it; the exit code is then 1.",
		Example: `  leat log dump leat-data/orders-0
  leat log dump leat-data/orders-0/00000000000000000000.log --records --from 100 --until 200
  leat log dump leat-data/__consumer_offsets-3 --records
  leat log dump leat-data/metadata --format json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, paths []string) error {
			return dump(e.Out, paths, opt)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&opt.records, "records", "r", false, "print the records of batches; those of internal topics are decoded")
	f.BoolVar(&opt.raw, "raw", false, "print records of internal topics as they are")
	f.Int64Var(&opt.from, "from", 0, "only batches that hold this offset or later ones")
	f.Int64Var(&opt.until, "until", -1, "only batches that begin below this offset (-1: all)")
	return cmd
}

// item is one thing that a file holds.
type item struct {
	File     string `json:"file"`
	Position int64  `json:"position"` // in bytes
	Kind     string `json:"kind"`
	Data     any    `json:"data,omitempty"`
	Damage   string `json:"damage,omitempty"`
	Skipped  int64  `json:"skipped_bytes,omitempty"`
}

// dumper writes items, and counts what is damaged.
type dumper struct {
	opt     options
	json    *json.Encoder // nil: text
	w       *bufio.Writer
	file    string // whose items are being written
	shown   bool   // its name was written
	damaged int
	bar     *out.Progress
}

func dump(o *out.Out, paths []string, opt options) error {
	d := &dumper{opt: opt, w: bufio.NewWriter(o.W), bar: &out.Progress{}}
	if o.JSON() {
		d.json = json.NewEncoder(d.w)
		d.json.SetEscapeHTML(false)
	}
	var files []string
	var total int64
	for _, p := range paths {
		list, size, err := filesBelow(p)
		if err != nil {
			return err
		}
		files = append(files, list...)
		total += size
	}
	if !o.Color && total > longRead {
		d.bar = o.Progress(total, "reading", true)
	}
	for _, f := range files {
		if err := d.dumpFile(f, slices.Contains(paths, f)); err != nil {
			return err
		}
	}
	d.bar.Done()
	if err := d.w.Flush(); err != nil {
		return err
	}
	if d.damaged > 0 {
		return fmt.Errorf("%d damaged places", d.damaged)
	}
	return nil
}

// longRead is how much reading is worth a progress bar, in bytes.
const longRead = 64 << 20

// filesBelow lists a file, or the files of a directory and of those in it.
func filesBelow(path string) (files []string, size int64, err error) {
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files = append(files, p)
		size += info.Size()
		return nil
	})
	return files, size, err
}

// dumpFile reads one file by what its name says. A file that was named itself must
// be of a known kind; in a directory others are passed over.
func (d *dumper) dumpFile(path string, named bool) error {
	d.file, d.shown = path, false
	read := reader(path)
	if read == nil {
		if named {
			return out.Usagef("%s: this is no file of a data directory that is known", path)
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := read(d, f, info.Size()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return d.w.Flush()
}

// reader finds how a file is read.
func reader(path string) func(*dumper, *os.File, int64) error {
	name := filepath.Base(path)
	inMetadata := filepath.Base(filepath.Dir(path)) == "metadata"
	for _, suffix := range []string{".deleted", ".swap", ".cleaned", ".corrupt"} {
		name = strings.TrimSuffix(name, suffix)
	}
	switch {
	case inMetadata && (strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".snapshot") || name == "synced"):
		return (*dumper).metadata
	case strings.HasSuffix(name, ".log"):
		return (*dumper).segment
	case strings.HasSuffix(name, ".index"):
		return (*dumper).offsetIndex
	case strings.HasSuffix(name, ".timeindex"):
		return (*dumper).timeIndex
	case strings.HasSuffix(name, ".txnindex"):
		return (*dumper).txnIndex
	case strings.HasSuffix(name, ".snapshot"):
		return (*dumper).producerSnapshot
	case strings.HasPrefix(name, "journal-"):
		return (*dumper).journal
	case name == "leat.state":
		return (*dumper).state
	case strings.HasSuffix(name, "-checkpoint"):
		return (*dumper).checkpoint
	case name == "partition.metadata", strings.HasSuffix(name, ".properties"):
		return (*dumper).textFile
	}
	return nil
}

// emit writes one item; text is its line for people.
func (d *dumper) emit(i item, text string) error {
	i.File = d.file
	if d.json != nil {
		return d.json.Encode(i)
	}
	if !d.shown {
		d.shown = true
		if _, err := fmt.Fprintf(d.w, "# %s\n", d.file); err != nil {
			return err
		}
	}
	_, err := d.w.WriteString(text + "\n")
	return err
}

// damage reports bytes that cannot be read.
func (d *dumper) damage(pos, skipped int64, why string) error {
	d.damaged++
	text := fmt.Sprintf("%d damage: %s", pos, why)
	if skipped > 0 {
		text += fmt.Sprintf(" (%d bytes skipped)", skipped)
	}
	return d.emit(item{Position: pos, Kind: "damage", Damage: why, Skipped: skipped}, text)
}

// maxSmall bounds a file that is read as a whole, in bytes.
const maxSmall = 256 << 20

// whole reads a file that is not large. ok is false, and damage is reported, when it
// is larger than such a file ever is.
func (d *dumper) whole(f *os.File, size int64) (b []byte, ok bool, err error) {
	if size > maxSmall {
		return nil, false, d.damage(0, size, fmt.Sprintf("%d bytes are more than such a file ever has", size))
	}
	b, err = io.ReadAll(io.LimitReader(f, maxSmall))
	d.bar.Add(size)
	return b, err == nil, err
}
