package replica

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
)

// Stray is what the disk holds of a topic that the metadata does not know.
type Stray struct {
	Topic      string
	TopicID    [16]byte // zero when the directory does not say
	Partitions []int32
	Path       string // of the first partition
}

// Reconcile compares the disk with the first image, before the first Apply. Logs of
// the topics in deleted, whose removal is committed, are deleted: the process died
// between the commit and the removal. Logs that the image does not know otherwise are
// left as they are and listed: data is never deleted because metadata is missing.
func (m *Manager) Reconcile(img *metadata.Image, deleted map[[16]byte]struct{}) (strays []Stray, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var gone []log.LogID
	for _, id := range m.opt.Dir.Logs() {
		if t := img.TopicByID(id.TopicID); t.Partition(id.Partition) != nil && t.Name == id.Topic {
			continue
		}
		_, is := deleted[id.TopicID]
		if is && id.TopicID != [16]byte{} || mutant.On("node/deletes-unknown") {
			gone = append(gone, id)
			continue
		}
		if t := img.Topic(id.Topic); t.Partition(id.Partition) != nil && id.TopicID == [16]byte{} {
			continue // its id was lost before its first sync; opening it tells
		}
		strays = addStray(strays, id, m.opt.Dir.Path())
	}
	slices.SortFunc(strays, func(a, b Stray) int { return cmp.Compare(a.Path, b.Path) })
	return strays, m.delete(gone)
}

func addStray(strays []Stray, id log.LogID, dir string) []Stray {
	i := slices.IndexFunc(strays, func(s Stray) bool { return s.Topic == id.Topic && s.TopicID == id.TopicID })
	if i < 0 {
		return append(strays, Stray{Topic: id.Topic, TopicID: id.TopicID, Partitions: []int32{id.Partition}, Path: dir + "/" + id.String()})
	}
	strays[i].Partitions = append(strays[i].Partitions, id.Partition)
	return strays
}

// setAside frees a name of the log that another topic has left there, which was deleted
// while this broker was away; its data is kept. mu is held.
func (m *Manager) setAside(img *metadata.Image, id log.LogID) error {
	old := m.opt.Dir.Log(id.Topic, id.Partition).ID()
	if t := img.TopicByID(old.TopicID); t != nil {
		return fmt.Errorf("%w: topic %s has it too", log.ErrInconsistentTopicID, t.Name)
	}
	if slices.Contains(m.undeleted, old) {
		return fmt.Errorf("%w: the topic that had the name is not deleted yet", log.ErrInconsistentTopicID)
	}
	path, err := m.opt.Dir.SetAside(old)
	if err != nil {
		return err
	}
	m.event(slog.LevelWarn, SetAside{old, path})
	return nil
}

// delete takes away the directories of logs, or remembers that it has to; mu is held.
func (m *Manager) delete(ids []log.LogID) error {
	err := m.opt.Dir.Delete(ids...)
	if err != nil {
		durably := m.opt.Dir.Failed() == nil
		m.undeleted = append(m.undeleted, slices.DeleteFunc(ids, func(id log.LogID) bool {
			l := m.opt.Dir.Log(id.Topic, id.Partition)
			return durably && (l == nil || l.ID() != id)
		})...)
	}
	return err
}

// Settled says whether the disk follows the metadata in full: no log of a deleted
// topic is left. Before that no snapshot may stand for the deletion.
func (m *Manager) Settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.undeleted) == 0
}

// Retry tries again what Apply could not do, a full disk being the likely reason. img
// is the image applied last.
func (m *Manager) Retry(img *metadata.Image) error {
	defer m.pump()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.undeleted)+len(m.unopened) == 0 || m.opt.Dir.Failed() != nil {
		return nil
	}
	errs := []error{m.retryDeletions()}
	list := m.unopened
	m.unopened = nil
	for _, id := range list {
		t := img.TopicByID(id.TopicID)
		part := t.Partition(id.Partition)
		if part == nil || !slices.Contains(part.Replicas, m.opt.NodeID) {
			continue // deleted meanwhile
		}
		errs = append(errs, m.enter(img, m.topic(t), t, part, m.opt.Config(img, t.Name)))
	}
	return errors.Join(errs...)
}

// retryDeletions tries the deletions that failed again; a new topic may want the name.
func (m *Manager) retryDeletions() error {
	list := m.undeleted
	m.undeleted = nil
	return m.delete(list)
}
