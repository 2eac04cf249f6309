package metadata

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// The coordinators' topics, and the one that Kafka keeps its own metadata in.
const (
	OffsetsTopic         = "__consumer_offsets"
	TransactionTopic     = "__transaction_state"
	clusterMetadataTopic = "__cluster_metadata"
)

// MaxTopicName is the longest topic name in bytes: a directory name of 255
// bytes holds it, a partition number and a suffix.
const MaxTopicName = 249

// IsInternal tells whether a topic belongs to a coordinator.
func IsInternal(name string) bool { return name == OffsetsTopic || name == TransactionTopic }

// CheckTopicName says what is wrong with a topic's name by Kafka's rules, or nil.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the topic name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("the topic name cannot be %q", name)
	case len(name) > MaxTopicName:
		return fmt.Errorf("the topic name has %d characters; at most %d are allowed", len(name), MaxTopicName)
	}
	for i := range len(name) {
		c := name[i]
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Errorf("the topic name %.300q has a character that is not an ASCII letter, digit, '.', '_' or '-'", name)
		}
	}
	return nil
}

// collisionName is a name as metrics see it, where '.' and '_' are the same; ok
// is false for names that have neither.
func collisionName(name string) (_ string, ok bool) {
	if !strings.ContainsAny(name, "._") {
		return "", false
	}
	return strings.ReplaceAll(name, ".", "_"), true
}

// UUIDString is an id as Kafka prints it: URL-safe base64 without padding, 22 characters.
func UUIDString(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseUUID reads what UUIDString prints.
func ParseUUID(s string) (id [16]byte, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%.64q is not an id of 22 characters of URL-safe base64", s)
	}
	return [16]byte(b), nil
}
