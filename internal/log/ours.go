package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrForeign: the directory holds files that are not ours.
var ErrForeign = errors.New("it holds other files and no data of Leat's; name an empty directory")

// claim makes an empty directory ours, durably and before anything else is written
// into it, and refuses one that holds somebody else's files: we would take what looks
// like partitions for ours, and remove what looks like our leftovers.
func (d *Dir) claim() error {
	names, err := d.fs.ReadDir(d.path)
	if err != nil {
		return err
	}
	var others []string
	ours := false
	for _, e := range names {
		switch name := e.Name(); name {
		case leatFile, stateFile:
			ours = true
		case lockFile, "lost+found", leatFile + tmpSuffix, metaFile + tmpSuffix: // also of a start that was cut short
		default:
			others = append(others, name)
		}
	}
	switch {
	case ours && slices.Contains(others, metaFile):
		return nil
	case ours:
		// A first start was killed: the mark may be in the page cache only, and must not
		// be lost in a power cut that keeps what is written next. So it is made again.
	case slices.Contains(others, metaFile):
		return fmt.Errorf("%w (this looks like Apache Kafka's)", ErrForeign)
	case len(others) > 0:
		return fmt.Errorf("%w (there is %s)", ErrForeign, strings.Join(others[:min(len(others), 3)], ", "))
	}
	if err := createSmall(d.fs, d.path+"/"+leatFile, []byte("version=1\n")); err != nil {
		return err
	}
	return d.fs.SyncDir(d.path) // the name is the mark
}
