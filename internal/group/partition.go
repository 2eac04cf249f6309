package group

import "unicode/utf16"

// PartitionOf tells which partition of __consumer_offsets coordinates a group: Java's
// hash of the id's UTF-16 units, without its sign (the smallest number counts as 0).
func PartitionOf(groupID string, partitions int) int32 {
	var h int32
	for _, r := range groupID {
		if r1, r2 := utf16.EncodeRune(r); r > 0xffff {
			h = (h*31+int32(r1))*31 + int32(r2)
		} else {
			h = h*31 + int32(r)
		}
	}
	if h == -h { // 0, or the smallest number
		return 0
	}
	return max(h, -h) % int32(partitions)
}
