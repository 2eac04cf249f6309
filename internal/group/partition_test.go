package group

import "testing"

// TestPartitionOf holds the choice against what Kafka's own code gives.
func TestPartitionOf(t *testing.T) {
	for _, c := range []struct {
		id          string
		of50, of7   int32
		description string
	}{
		{"", 0, 0, "empty"},
		{"g", 3, 5, "one letter"},
		{"group", 47, 3, "positive hash"},
		{"my-group", 12, 1, "negative hash"},
		{"polygenelubricants", 0, 0, "the smallest number, which has no positive"},
		{"é", 33, 2, "two bytes"},
		{"日本", 47, 3, "three bytes"},
		{"😀-group", 43, 3, "two UTF-16 units"},
		{"console-consumer-12345", 6, 6, "as the tools make them"},
	} {
		if a, b := PartitionOf(c.id, 50), PartitionOf(c.id, 7); a != c.of50 || b != c.of7 {
			t.Errorf("%s (%q): %d of 50 and %d of 7, want %d and %d", c.description, c.id, a, b, c.of50, c.of7)
		}
	}
}
