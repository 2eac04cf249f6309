package log

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Names of a directory's checkpoint files, in Kafka's text form.
const (
	recoveryPointFile = "recovery-point-offset-checkpoint"
	startOffsetFile   = "log-start-offset-checkpoint"
	watermarkFile     = "replication-offset-checkpoint"
	cleanerFile       = "cleaner-offset-checkpoint"
)

// maxCheckpointBytes bounds what is read of a text checkpoint.
const maxCheckpointBytes = 256 << 20

// encodeOffsets is a checkpoint of offsets by partition: version 0, the number of
// lines, then "topic partition offset" each, sorted.
func encodeOffsets(m map[key]int64) []byte {
	keys := make([]key, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return int(a.partition) - int(b.partition)
	})
	b := make([]byte, 0, 16+len(keys)*48)
	b = append(b, "0\n"...)
	b = strconv.AppendInt(b, int64(len(keys)), 10)
	b = append(b, '\n')
	for _, k := range keys {
		b = append(b, k.topic...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(k.partition), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, m[k], 10)
		b = append(b, '\n')
	}
	return b
}

// parseOffsets reads a checkpoint of offsets. Anything unexpected makes it ErrCorrupt.
func parseOffsets(p []byte) (map[key]int64, error) {
	lines, err := checkpointLines(p, 3)
	if err != nil {
		return nil, err
	}
	m := make(map[key]int64, len(lines))
	for _, f := range lines {
		partition, err1 := strconv.ParseInt(f[1], 10, 32)
		offset, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
			return nil, damagedFile("checkpoint line %q", strings.Join(f, " "))
		}
		m[key{f[0], int32(partition)}] = offset
	}
	return m, nil
}

// checkpointLines checks version and count and splits the lines into their fields.
func checkpointLines(p []byte, fields int) ([][]string, error) {
	text := bytes.Split(bytes.TrimRight(p, "\n"), []byte{'\n'})
	if len(text) < 2 || string(text[0]) != "0" {
		return nil, damagedFile("checkpoint without version 0")
	}
	n, err := strconv.Atoi(string(text[1]))
	if err != nil || n != len(text)-2 {
		return nil, damagedFile("checkpoint has %d lines, says %q", len(text)-2, text[1])
	}
	lines := make([][]string, 0, n)
	for _, t := range text[2:] {
		f := strings.Fields(string(t))
		if len(f) != fields {
			return nil, damagedFile("checkpoint line %q", t)
		}
		lines = append(lines, f)
	}
	return lines, nil
}

// encodeEpochs is the content of leader-epoch-checkpoint: "epoch start" per line.
func encodeEpochs(list []epochEntry) []byte {
	b := append([]byte(nil), "0\n"...)
	b = strconv.AppendInt(b, int64(len(list)), 10)
	b = append(b, '\n')
	for _, e := range list {
		b = strconv.AppendInt(b, int64(e.epoch), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.start, 10)
		b = append(b, '\n')
	}
	return b
}

// parseEpochs reads leader-epoch-checkpoint; both fields must ascend.
func parseEpochs(p []byte) ([]epochEntry, error) {
	lines, err := checkpointLines(p, 2)
	if err != nil {
		return nil, err
	}
	list := make([]epochEntry, 0, len(lines))
	for _, f := range lines {
		epoch, err1 := strconv.ParseInt(f[0], 10, 32)
		start, err2 := strconv.ParseInt(f[1], 10, 64)
		e := epochEntry{int32(epoch), start}
		if err1 != nil || err2 != nil || epoch < 0 || start < 0 {
			return nil, damagedFile("epoch line %q", strings.Join(f, " "))
		}
		if n := len(list); n > 0 && (e.epoch <= list[n-1].epoch || e.start < list[n-1].start) {
			return nil, damagedFile("epochs do not ascend at %q", strings.Join(f, " "))
		}
		list = append(list, e)
	}
	return list, nil
}
