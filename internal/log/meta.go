package log

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/leat-stream/leat/internal/env"
)

// Files that say whose a directory is.
const (
	metaFile   = "meta.properties" // Kafka's: cluster, node, directory
	leatFile   = "leat.properties" // ours: boot id
	cleanFile  = ".kafka_cleanshutdown"
	lockFile   = ".lock"
	maxMetaLen = 64 << 10
)

// meta is the content of meta.properties, version 1.
type meta struct {
	cluster   string
	node      int32
	directory [16]byte
}

func (m meta) encode() []byte {
	return []byte("#\ncluster.id=" + m.cluster + "\ndirectory.id=" + formatUUID(m.directory) +
		"\nnode.id=" + strconv.Itoa(int(m.node)) + "\nversion=1\n")
}

// parseProperties reads the subset of Java's properties that these files use: lines
// of "key=value", comments with # or !.
func parseProperties(p []byte) (map[string]string, error) {
	m := map[string]string{}
	for line := range strings.Lines(string(p)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok {
			return nil, damagedFile("line %.64q is no property", line)
		}
		m[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return m, nil
}

func parseMeta(p []byte) (m meta, err error) {
	props, err := parseProperties(p)
	if err != nil {
		return m, err
	}
	if v := props["version"]; v != "1" {
		return m, damagedFile("version %q, only 1 is known", v)
	}
	node, err := strconv.ParseInt(props["node.id"], 10, 32)
	if err != nil || node < 0 {
		return m, damagedFile("node.id %q", props["node.id"])
	}
	m.node, m.cluster = int32(node), props["cluster.id"]
	if s, ok := props["directory.id"]; ok {
		if m.directory, err = parseUUID(s); err != nil {
			return m, damagedFile("directory.id: %v", err)
		}
	}
	return m, nil
}

// NodeOf is the node that a log directory belongs to; ok is false when it is a new one.
func NodeOf(fsys env.FS, path string) (node int32, ok bool, err error) {
	p, err := readSmall(fsys, path+"/"+metaFile, maxMetaLen)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, false, nil
	}
	var m meta
	if err == nil {
		m, err = parseMeta(p)
	}
	if errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%s is %w", metaFile, err)
	}
	return m.node, err == nil, err
}

// openMeta checks whose the directory is, and makes an empty one ours. The journal, which
// is opened next, syncs the name before anything is told.
func (d *Dir) openMeta() error {
	p, err := readSmall(d.fs, d.path+"/"+metaFile, maxMetaLen)
	if errors.Is(err, fs.ErrNotExist) {
		d.isNew = true
		d.meta = meta{d.opt.ClusterID, d.opt.NodeID, d.opt.DirectoryID}
		if d.meta.directory == [16]byte{} {
			d.meta.directory = env.UUID(d.opt.Rand)
		}
		return replaceSmall(d.fs, d.path, metaFile, d.meta.encode())
	}
	if err == nil {
		d.meta, err = parseMeta(p)
	}
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%s is %w", metaFile, err)
	}
	if err != nil {
		return err
	}
	switch {
	case d.opt.ClusterID != "" && d.meta.cluster != "" && d.meta.cluster != d.opt.ClusterID:
		return fmt.Errorf("log directory %s belongs to cluster %s, not to %s", d.path, d.meta.cluster, d.opt.ClusterID)
	case d.meta.node != d.opt.NodeID:
		return fmt.Errorf("log directory %s belongs to node %d, not to %d", d.path, d.meta.node, d.opt.NodeID)
	case d.meta.directory == [16]byte{}, d.meta.cluster == "" && d.opt.ClusterID != "":
		if d.meta.directory == [16]byte{} {
			d.meta.directory = env.UUID(d.opt.Rand)
		}
		d.meta.cluster = d.opt.ClusterID
		return replaceSmall(d.fs, d.path, metaFile, d.meta.encode())
	}
	return nil
}

// SetCluster says which cluster the directory belongs to, durably, once that is known.
// One that belongs to another is refused.
func (d *Dir) SetCluster(id string) error {
	d.metaMu.Lock()
	defer d.metaMu.Unlock()
	switch d.meta.cluster {
	case id:
		return nil
	case "":
	default:
		return fmt.Errorf("log directory %s belongs to cluster %s, not to %s", d.path, d.meta.cluster, id)
	}
	m := d.meta
	m.cluster = id
	if err := replaceSmall(d.fs, d.path, metaFile, m.encode()); err != nil {
		return err
	}
	if err := d.fs.SyncDir(d.path); err != nil {
		return err
	}
	d.meta = m
	return nil
}

// readBoot compares the kernel's boot id with that of the last time.
func (d *Dir) readBoot() error {
	p, err := readSmall(d.fs, d.path+"/"+leatFile, maxMetaLen)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || d.opt.BootID == "" {
		return nil
	}
	props, err := parseProperties(p)
	if err != nil {
		return nil // written anew
	}
	d.sameBoot = props["boot.id"] == d.opt.BootID
	d.again = d.sameBoot || props["recovering"] == d.opt.BootID
	d.lastBoot = props["boot.id"]
	return nil
}

// writeBoot notes the kernel's boot id once everything is recovered. While recovering it
// is noted apart from that of the last time. It is not synced: only a process under the
// same kernel believes it, and that one has the page cache; after a power cut the id is
// another, whatever became of the file.
func (d *Dir) writeBoot(recovering bool) error {
	var content string
	switch {
	case recovering && !d.again:
		content = "boot.id=" + d.lastBoot + "\nrecovering=" + d.opt.BootID + "\nversion=1\n"
	case !recovering && !d.sameBoot:
		content = "boot.id=" + d.opt.BootID + "\nversion=1\n"
	default:
		return nil
	}
	tmp := d.path + "/" + leatFile + tmpSuffix
	if err := createSmall(d.fs, tmp, []byte(content)); err != nil {
		return err
	}
	return d.fs.Rename(tmp, d.path+"/"+leatFile)
}

// encodePartition is the content of partition.metadata.
func encodePartition(topicID [16]byte) []byte {
	return []byte("version: 0\ntopic_id: " + formatUUID(topicID))
}

// parsePartition reads partition.metadata.
func parsePartition(p []byte) (topicID [16]byte, err error) {
	version, found := false, false
	for line := range strings.Lines(string(p)) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), ":")
		v = strings.TrimSpace(v)
		switch {
		case ok && k == "version":
			if v != "0" {
				return topicID, damagedFile("version %q", v)
			}
			version = true
		case ok && k == "topic_id":
			if topicID, err = parseUUID(v); err != nil {
				return topicID, damagedFile("topic_id: %v", err)
			}
			found = true
		}
	}
	if !version || !found {
		return topicID, damagedFile("it lacks version or topic_id")
	}
	return topicID, nil
}
