// Package history judges what clients saw of a cluster: given every operation with its
// times and outcome, and what the partitions held at the end, it finds what a correct
// cluster cannot have done. It knows nothing of how the operations were made, so that
// the simulator and tests with real processes share it.
package history

import "fmt"

// Time is nanoseconds on one clock that all operations were timed by.
type Time int64

// Never is the end of an operation whose answer did not come.
const Never Time = 1<<63 - 1

// Outcome is what the client knows of an operation.
type Outcome int8

// Outcomes. Failed is a refusal that promises that nothing was done; whatever leaves
// room for doubt is Unknown.
const (
	Unknown Outcome = iota
	OK
	Failed
)

// Partition names a partition. A topic that is deleted and made anew is another topic:
// tell the two apart in the name.
type Partition struct {
	Topic  string
	Number int32
}

func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Number) }

// Record is a record as a reader sees it. Values are unique in a history.
type Record struct {
	Offset int64
	Value  string
}

// Produce is one record that a client gave to be written.
type Produce struct {
	Producer  string
	Number    int64 // grows in the order in which the producer gave the records
	Partition Partition
	Value     string
	Begin     Time // of the first attempt
	End       Time
	Outcome   Outcome
	Offset    int64 // that the answer told; -1: none
	// Promised: OK means that the record is never lost (acks=all).
	Promised bool
	// Idempotent: at most one copy, in the producer's order.
	Idempotent bool
}

// Read is one answer with records.
type Read struct {
	Consumer   string
	Partition  Partition
	From       int64 // the offset asked for; the records follow from it on
	Begin, End Time
	Records    []Record
	// Group, Member and Generation of a consumer in a group; empty outside.
	Group      string
	Member     string
	Generation int32
}

// Latest is an answer to the question where a partition ends.
type Latest struct {
	Consumer   string
	Partition  Partition
	Begin, End Time
	Offset     int64
}

// Commit is one partition of an offset commit.
type Commit struct {
	Group      string
	Generation int32
	Partition  Partition
	Offset     int64
	ID         string // unique: goes as the commit's metadata
	Begin, End Time
	Outcome    Outcome
}

// Fetched is one partition of an answer with committed offsets. A fetch outside of the
// group, at the end of a test, has the highest generation.
type Fetched struct {
	Group      string
	Generation int32
	Partition  Partition
	Offset     int64  // -1: none
	ID         string // of the commit
	Begin, End Time
	// Deposed: who answered had not heard yet that others led the group's partition. As with
	// Kafka, it knows nothing of what these were told.
	Deposed bool
}

// Log is what a partition holds at the end, read whole.
type Log struct {
	Partition  Partition
	Start, End int64
	Records    []Record
	// MayStart is the highest start that there may be without a Deletion.
	MayStart int64
}

// History is all of it. Partitions without a log at the end (their topic was deleted)
// are judged by what was seen only.
type History struct {
	Produces []Produce
	Reads    []Read
	Latests  []Latest
	Commits  []Commit
	Fetches  []Fetched
	Logs     []Log
	// Deletions and Starts are for partitions of which clients delete records.
	Deletions []Deletion
	Starts    []Start
}

// Kind is a sort of finding.
type Kind string

// Kinds of findings.
const (
	Lost         Kind = "lost"         // acknowledged, and nowhere at the end
	Misplaced    Kind = "misplaced"    // acknowledged with one offset, found at another
	Duplicated   Kind = "duplicated"   // an idempotent producer's record is there twice
	Reordered    Kind = "reordered"    // an idempotent producer's records in another order
	Overtaken    Kind = "overtaken"    // sent after another's acknowledgement, and before it in the log
	Inconsistent Kind = "inconsistent" // two values at one offset
	Phantom      Kind = "phantom"      // nobody wrote it, or its refusal promised that it is not there
	Vanished     Kind = "vanished"     // read once, and not there at the end
	Missed       Kind = "missed"       // a reader was given the records around it
	Backwards    Kind = "backwards"    // a reader got an offset again, or below what it asked for
	LatestBack   Kind = "latest back"  // the end of a partition moved backwards for a consumer
	Deleted      Kind = "deleted"      // the start is above what anybody asked for
	Undeleted    Kind = "undeleted"    // acknowledged as deleted, and there
	OffsetBack   Kind = "offset back"  // a group's committed offset is an overwritten one
	OffsetLost   Kind = "offset lost"  // a group's committed offset is gone
	OffsetWrong  Kind = "offset wrong" // nobody committed it
	TwoOwners    Kind = "two owners"   // of a partition in one generation
	Skipped      Kind = "skipped"      // committed over by a group that was never given it
)

// Kinds lists them all.
var Kinds = []Kind{
	Lost, Misplaced, Duplicated, Reordered, Overtaken, Inconsistent, Phantom, Vanished, Missed, Backwards,
	LatestBack, Deleted, Undeleted, OffsetBack, OffsetLost, OffsetWrong, TwoOwners, Skipped,
}

// Finding is something that must not have happened.
type Finding struct {
	Kind      Kind
	Partition Partition
	Text      string
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Kind, f.Partition, f.Text) }
