package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/leat-stream/leat/internal/env"
	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/metadata"
	"github.com/leat-stream/leat/internal/mutant"
)

// opening is what the log directory told while it opened.
type opening struct {
	fresh    bool // the directory was made
	sameBoot bool // the kernel is the one under which the broker registered last
	lives    lives

	mu      sync.Mutex
	clean   bool
	damaged map[log.LogID]log.Recovered // logs that lack what was recorded as synced
}

func (o *opening) observe(e log.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch e := e.(type) {
	case log.Opened:
		o.clean = e.Clean || o.fresh
	case log.LogRecovered:
		if !e.Kept {
			o.damaged[e.Log] = e.Recovered
		}
	case log.LogMissing:
		o.damaged[e.Log] = log.Recovered{Point: e.Point}
	}
}

// lost lists the replicas that no longer have everything that this broker
// acknowledged, so that they leave in-sync sets at its registration (decision D6):
//   - those that did not recover to the end that they had recorded as synced;
//   - all of them, if the directory is an old copy;
//   - relaxed ones, if the kernel that had their last writes in its page cache is gone;
//   - those that had records, and whose directory is gone: one that nobody wrote to has none.
//     If the data directory does not know what it had, all that may have had some.
//
// What was looked at before, since the registration began, is passed over.
func (m *metadataLog) lost() []metadata.TopicPartition {
	o := &m.n.opening
	cached := o.clean || o.sameBoot // nothing of the page cache was lost
	var all []metadata.TopicPartition
	for t := range m.image().Topics() {
		durable := topicSettings(m.n.Config(), m.image(), t.Name).Durable
		why := map[string][]int32{}
		for _, p := range t.Partitions {
			tp := metadata.TopicPartition{TopicID: t.ID, Partition: p.Index}
			if !slices.Contains(p.Replicas, m.n.id) || m.seen[tp] {
				continue
			}
			m.seen[tp] = true
			_, damaged := o.damaged[log.LogID{Topic: t.Name, TopicID: t.ID, Partition: p.Index}]
			l := m.n.dir.Log(t.Name, p.Index)
			reason := ""
			gone := l == nil || l.ID().TopicID != t.ID
			switch {
			case o.lives.copied:
				reason = "the data directory is an old copy: the broker was registered since"
			case gone && (damaged || cached && p.LeaderEpoch > 0 && !m.n.dir.HasState()):
				reason = "the directory is gone"
			case damaged:
				reason = "records that were recorded as synced are missing or damaged"
			case !cached && !durable:
				reason = "the machine stopped without writing its page cache, and the topic is relaxed"
			default:
				continue
			}
			why[reason] = append(why[reason], p.Index)
			all = append(all, tp)
		}
		for _, reason := range slices.Sorted(maps.Keys(why)) {
			if say := fmt.Sprint(t.ID, why[reason], reason); !m.said[say] {
				m.said[say] = true
				m.n.log.Error("replicas may lack records that were acknowledged", "topic", t.Name, "partitions", why[reason], "why", reason)
			}
		}
	}
	return all
}

// recover tells of the partitions whose leader, this broker, was elected without being
// known to have all records. That they go on from here the replicas tell the controller.
func (m *metadataLog) recover(delta *metadata.Delta) {
	for _, c := range delta.Topics {
		if c.New == nil {
			continue
		}
		var led []int32
		for _, i := range c.Partitions {
			if p := c.New.Partition(i); p != nil && p.Recovering() && p.Leader == m.n.id {
				led = append(led, i)
			}
		}
		if len(led) > 0 {
			m.n.log.Error("led from here on by a replica that may lack records", "topic", c.New.Name, "partitions", led)
		}
	}
}

// readFile reads a small file; nil when it is not there.
func readFile(fsys env.FS, name string, limit int) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, limit)
	n, err := f.ReadAt(buf, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:n], errors.Join(err, f.Close())
}

// replaceFile writes a small file, durably: it is the old one or the new one.
func replaceFile(fsys env.FS, dir, file string, content []byte) error {
	name := filepath.Join(dir, file)
	f, err := fsys.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		if err = f.Sync(); err != nil {
			err = fmt.Errorf("%w: %s: %w", errSync, name, err)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("%w: %s: %w", errSync, dir, err)
	}
	return nil
}

// errSync marks a failed sync: what it should have made durable may be lost.
var errSync = errors.New("sync failed")

// metadataThere tells whether the data directory has a metadata log. A directory that a
// voter has served from and whose metadata log is gone is refused: a new log under the
// old directory id would be an empty cluster that takes everything there is for strays,
// and a voter that has forgotten its votes.
func (n *Node) metadataThere() (bool, error) {
	exists := func(name string) (bool, error) {
		_, err := n.opt.FS.Stat(filepath.Join(n.opt.DataDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	there, err := exists(metadataFolder)
	if err != nil || there || !n.Config().Controller() {
		return there, err
	}
	served, err := exists(registeredFile)
	if err != nil {
		return false, err
	}
	if !mutant.On("node/starts-without-metadata") && (served || len(n.dir.Logs()) > 0) {
		return false, fmt.Errorf("data directory %s: its metadata log (%s) is missing; restore it, or start with an empty directory", n.opt.DataDir, metadataFolder)
	}
	return false, nil
}
