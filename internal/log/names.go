package log

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// LogID names one partition's log.
type LogID struct {
	Topic     string
	TopicID   [16]byte // zero when unknown
	Partition int32
}

// String is the partition as Kafka's tools print it.
func (id LogID) String() string { return id.Topic + "-" + strconv.Itoa(int(id.Partition)) }

// key identifies a log within a directory, whatever the topic's id.
type key struct {
	topic     string
	partition int32
}

func (id LogID) key() key { return key{id.Topic, id.Partition} }

// Suffixes of files and directories, as Kafka has them.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"
	deletedSuffix   = ".deleted" // of a file that is removed after file.delete.delay.ms
	cleanedSuffix   = ".cleaned" // of a compacted segment that is being written
	swapSuffix      = ".swap"    // of a compacted segment that is complete
	tmpSuffix       = ".tmp"     // of a small file that is being replaced
	corruptSuffix   = ".corrupt" // of damaged bytes kept for inspection
	deleteDirSuffix = "-delete"  // of a partition directory on its way out
	straySuffix     = "-stray"

	epochFile    = "leader-epoch-checkpoint"
	metadataFile = "partition.metadata"
)

// segmentName is the file name of a segment's part: 20 digits and the suffix.
func segmentName(base int64, suffix string) string {
	var b [20]byte
	s := strconv.AppendInt(b[:0], base, 10)
	return "00000000000000000000"[len(s):] + string(s) + suffix
}

// parseSegmentName is the inverse of segmentName; the suffix starts at the first dot.
func parseSegmentName(name string) (base int64, suffix string, ok bool) {
	if len(name) < 21 || name[20] != '.' {
		return 0, "", false
	}
	for i := range 20 {
		if name[i] < '0' || name[i] > '9' {
			return 0, "", false
		}
	}
	base, err := strconv.ParseInt(name[:20], 10, 64)
	return base, name[20:], err == nil
}

// parseDirName splits "<topic>-<partition>".
func parseDirName(name string) (key, bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 || len(name)-i > 11 {
		return key{}, false
	}
	digits := name[i+1:]
	p, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || (len(digits) > 1 && digits[0] == '0') {
		return key{}, false
	}
	return key{name[:i], int32(p)}, true
}

// formatUUID is Kafka's text form of a uuid: unpadded base64url.
func formatUUID(u [16]byte) string { return base64.RawURLEncoding.EncodeToString(u[:]) }

func parseUUID(s string) (u [16]byte, err error) {
	if base64.RawURLEncoding.DecodedLen(len(s)) != len(u) {
		return u, fmt.Errorf("uuid %q: wrong length", s)
	}
	if _, err = base64.RawURLEncoding.Decode(u[:], []byte(s)); err != nil {
		return u, fmt.Errorf("uuid %q: %w", s, err)
	}
	return u, nil
}

// msDuration is ms milliseconds, at most the longest duration there is.
func msDuration(ms int64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}
