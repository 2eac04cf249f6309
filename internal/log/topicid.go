package log

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
)

// readTopicID finds the topic id of a partition's directory: its own file says it, and
// saved, the state file's, if there is one. A file that is unreadable or says nearly the
// same is damaged: the state file's id, which has a checksum, is taken, and wrong tells
// why. One that says something else belongs to another topic. If the state file knows
// nothing that was synced, the id is zero when the file was lost before its first sync, or
// is damaged: whoever opens the log knows the topic.
func (d *Dir) readTopicID(name string, saved *savedLog) (id [16]byte, wrong, err error) {
	p, err := readSmall(d.fs, d.path+"/"+name+"/"+metadataFile, maxMetaLen)
	if err == nil {
		id, err = parsePartition(p)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrCorrupt) {
		return id, nil, err
	}
	if err != nil {
		id = [16]byte{}
	}
	if saved == nil || saved.id.TopicID == [16]byte{} || saved.point == 0 {
		return id, nil, nil
	}
	if err == nil && id != saved.id.TopicID && nearly(id, saved.id.TopicID) {
		err = damagedFile("topic id %s instead of %s", formatUUID(id), formatUUID(saved.id.TopicID))
	}
	if err != nil {
		return saved.id.TopicID, err, nil
	}
	return id, nil, nil
}

// nearly tells whether the texts of two ids differ in so few characters that one is the
// other, damaged: ids are drawn at random.
func nearly(a, b [16]byte) bool {
	x, y, n := formatUUID(a), formatUUID(b), 0
	for i := range x {
		if x[i] != y[i] {
			n++
		}
	}
	return n <= 2
}

// rewriteID replaces a damaged partition.metadata, once whoever opens the log confirms
// the state file's id. It is not synced: while the state file says the same, it can be
// done again.
func (l *Log) rewriteID() error {
	if l.wrongID == nil {
		return nil
	}
	name := *l.path.Load() + "/" + metadataFile
	err := createSmall(l.d.fs, name+tmpSuffix, encodePartition(l.ID().TopicID))
	if err == nil {
		err = l.d.fs.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		return storageError("write "+metadataFile, err)
	}
	l.d.event(IndexRebuilt{Log: l.ID(), File: metadataFile, Err: l.wrongID})
	l.wrongID = nil
	return nil
}

// unborn tells whether a power cut took partition.metadata before its first sync: it is not
// there, or is cut off. The first sync of records comes after it, so that none of the log's
// has been.
func (l *Log) unborn() (bool, error) {
	p, err := readSmall(l.d.fs, *l.path.Load()+"/"+metadataFile, maxMetaLen)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, ErrCorrupt):
		return false, nil
	case err != nil:
		return false, storageError("read "+metadataFile, err)
	}
	return len(p) < len(encodePartition([16]byte{})) || bytes.IndexByte(p, 0) >= 0, nil
}

// adopt gives the topic id to a log whose own was lost. One that was never synced may be of
// an earlier topic of the same name, whose deletion the power cut took back: no record of it
// is taken for one of this topic.
func (l *Log) adopt(id LogID) error {
	if l.end.Load() > 0 || l.LatestEpoch() >= 0 {
		unborn, err := l.unborn()
		if err != nil {
			return err
		}
		if unborn {
			return fmt.Errorf("%w: nothing of %s was ever synced, its topic id neither, and it has records up to %d", ErrInconsistentTopicID, *l.path.Load(), l.end.Load())
		}
	}
	if err := replaceSmall(l.d.fs, *l.path.Load(), metadataFile, encodePartition(id.TopicID)); err != nil {
		return storageError("write "+metadataFile, l.d.fatal(err))
	}
	l.mu.Lock()
	l.dirty.newDir = true // its name is durable with the first sync
	l.mu.Unlock()
	l.d.round.Lock()
	defer l.d.round.Unlock()
	if err := l.d.forgetInJournal(l); err != nil {
		return err
	}
	l.id.Store(&id)
	return nil
}
