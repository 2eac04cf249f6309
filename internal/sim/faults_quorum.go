package sim

import (
	"os"
	"path"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/quorum"
)

const metadataDir = "/data/metadata"

// cutShort is the fault of a voter whose disk has lost the end of the metadata log, which
// was synced. It does not start: whatever it gave its word for may be forgotten. Its disk is
// replaced as a broken one is; when that cannot be, what was lost comes back.
func (f *faults) cutShort() fault {
	return fault{"end of a metadata log lost", 2, 0, func(h *Host) func() {
		if f.replacing != nil || len(f.c.Nodes) < 3 || !h.Serving {
			return nil
		}
		if _, _, ok := h.Process.(voter).Voter(); !ok {
			return nil
		}
		f.replacing, h.out = h, true
		h.Kill()
		whole := h.Disk
		h.Disk = whole.KillClone()
		if !f.loseEnd(h.Disk) {
			h.Disk = whole
			f.putBack()
			return nil
		}
		f.c.Count["end of a metadata log lost"]++
		f.c.Tracef("the end of the metadata log is gone at %s", h.Name)
		if h.Start(); h.Up() {
			f.c.Failf("%s starts with a metadata log whose end is gone", h.Name)
			return nil
		}
		f.replace(h, func() { h.Disk = whole })
		return nil
	}}
}

// loseEnd takes some of what is synced off the end of a metadata log; false where that is
// nothing but the beginning of a file.
func (f *faults) loseEnd(d *env.Disk) bool {
	name, synced := lastSegment(d)
	var frames []int64 // where they begin
	err := quorum.InspectFile(d, path.Join(metadataDir, name), func(i quorum.Item) error {
		if i.Segment == nil && i.Pos < synced {
			frames = append(frames, i.Pos)
		}
		return nil
	})
	if err != nil || len(frames) == 0 {
		return false
	}
	at := frames[max(0, len(frames)-1-f.rng.IntN(8))]
	file, err := d.OpenFile(path.Join(metadataDir, name), os.O_RDWR, 0)
	if err == nil {
		if err = file.Truncate(at); err == nil {
			err = file.Sync()
		}
		file.Close()
	}
	if err != nil {
		f.c.Failf("cutting %s: %w", name, err)
	}
	return err == nil
}

// lastSegment is the segment that the note of a metadata log tells of, and up to where it
// says that it was synced.
func lastSegment(d *env.Disk) (name string, bytes int64) {
	var note quorum.SyncedNote
	// What is half written by a power cut is passed over: then there is nothing to cut off.
	_ = quorum.InspectFile(d, path.Join(metadataDir, "synced"), func(i quorum.Item) error {
		if s := i.Synced; s != nil && (s.Segment > note.Segment || s.Segment == note.Segment && s.Bytes > note.Bytes) {
			note = *s
		}
		return nil
	})
	list, err := d.ReadDir(metadataDir)
	if err != nil {
		return "", 0
	}
	for _, e := range list {
		// Of a file that cannot be read to its end the beginning is enough.
		_ = quorum.InspectFile(d, path.Join(metadataDir, e.Name()), func(i quorum.Item) error {
			if i.Segment != nil && i.Segment.Number == note.Segment {
				name = e.Name()
			}
			return nil
		})
	}
	return name, int64(note.Bytes)
}
