package history

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var p0 = Partition{"t", 0}

// good is a small history that is right: three records of an idempotent producer, a
// reader, and a group that committed over all of them.
func good() *History {
	return &History{
		Produces: []Produce{
			{Producer: "p", Number: 0, Partition: p0, Value: "a", Begin: 1, End: 5, Outcome: OK, Offset: 0, Promised: true, Idempotent: true},
			{Producer: "p", Number: 1, Partition: p0, Value: "b", Begin: 6, End: 9, Outcome: OK, Offset: 1, Promised: true, Idempotent: true},
			{Producer: "p", Number: 2, Partition: p0, Value: "c", Begin: 10, End: Never, Outcome: Unknown, Offset: -1, Promised: true, Idempotent: true},
			{Producer: "q", Number: 0, Partition: p0, Value: "x", Begin: 3, End: 9, Outcome: Failed, Offset: -1, Promised: true, Idempotent: true},
		},
		Reads: []Read{
			{Consumer: "r", Partition: p0, From: 0, Begin: 10, End: 11, Records: []Record{{0, "a"}, {1, "b"}}},
			{Consumer: "m", Partition: p0, From: 0, Begin: 12, End: 13, Records: []Record{{0, "a"}, {1, "b"}}, Group: "g", Member: "m", Generation: 1},
			{Consumer: "m", Partition: p0, From: 2, Begin: 14, End: 15, Records: []Record{{2, "c"}}, Group: "g", Member: "m", Generation: 1},
		},
		Latests: []Latest{
			{Consumer: "r", Partition: p0, Begin: 1, End: 2, Offset: 0},
			{Consumer: "r", Partition: p0, Begin: 10, End: 12, Offset: 3},
			{Consumer: "r", Partition: p0, Begin: 11, End: 13, Offset: 2}, // beside the one before
			{Consumer: "s", Partition: p0, Begin: 20, End: 21, Offset: 2}, // another consumer
		},
		Commits: []Commit{
			{Group: "g", Generation: 1, Partition: p0, Offset: 2, ID: "c0", Begin: 20, End: 21, Outcome: OK},
			{Group: "g", Generation: 1, Partition: p0, Offset: 3, ID: "c1", Begin: 22, End: 23, Outcome: OK},
			{Group: "g", Generation: 2, Partition: p0, Offset: 3, ID: "c2", Begin: 24, End: Never},
			{Group: "g", Generation: 2, Partition: p0, Offset: 9, ID: "c3", Begin: 24, End: 25, Outcome: Failed},
		},
		Fetches: []Fetched{
			{Group: "g", Generation: 1, Partition: p0, Offset: -1, Begin: 2, End: 3},
			{Group: "g", Generation: 1, Partition: p0, Offset: 3, ID: "c1", Begin: 30, End: 31},
			{Group: "g", Generation: math.MaxInt32, Partition: p0, Offset: 3, ID: "c2", Begin: 40, End: 41},
		},
		Logs: []Log{{Partition: p0, Start: 0, End: 3, Records: []Record{{0, "a"}, {1, "b"}, {2, "c"}}}},
	}
}

func TestGoodHistory(t *testing.T) {
	if f := Check(good()); len(f) > 0 {
		t.Errorf("found %v in a history that is right", f)
	}
	h := good()
	h.Logs = nil // the topic is gone
	if f := Check(h); len(f) > 0 {
		t.Errorf("found %v without a log", f)
	}
}

// deleteOne has a client delete the first record.
func deleteOne(h *History) {
	h.Logs[0].Start, h.Logs[0].Records = 1, h.Logs[0].Records[1:]
	h.Deletions = []Deletion{
		{Client: "d", Partition: p0, Before: 1, Begin: 45, End: 47, Outcome: OK, Low: 1},
		{Client: "d", Partition: p0, Before: 2, Begin: 60, End: Never, Low: -1},
	}
	h.Starts = []Start{{Consumer: "r", Partition: p0, Begin: 49, End: 50, Offset: 1}}
}

func TestDeletedRecords(t *testing.T) {
	h := good()
	deleteOne(h)
	if f := Check(h); len(f) > 0 {
		t.Errorf("found %v in a history that is right", f)
	}
	h.Deletions[0].Before = -1
	h.Deletions[1].Before = -1 // nobody knows
	h.Starts[0].End, h.Starts[0].Offset = 70, 3
	if f := Check(h); len(f) > 0 {
		t.Errorf("found %v", f)
	}
}

// TestDeletionThatGotNotFar: a leader began to delete and was replaced, and a member of a group
// had asked it where the partition starts.
func TestDeletionThatGotNotFar(t *testing.T) {
	h := good()
	i := slices.IndexFunc(h.Reads, func(r Read) bool { return r.Group != "" })
	member := h.Reads[i].Consumer
	h.Reads = slices.DeleteFunc(h.Reads, func(r Read) bool { return r.Group != "" && len(r.Records) > 0 && r.Records[0].Offset < 1 })
	if f := Check(h); len(f) == 0 {
		t.Fatal("nothing is missed")
	}
	h.Deletions = []Deletion{{Client: "d", Partition: p0, Before: 2, Begin: 1, End: Never, Low: -1}}
	h.Starts = []Start{{Consumer: member, Partition: p0, Begin: 2, End: 3, Offset: 2}}
	for _, f := range Check(h) {
		if f.Kind == Skipped {
			t.Error(f)
		}
	}
}

// bad are the ways to spoil the good history, and what must be found then.
var bad = []struct {
	name  string
	kind  Kind
	spoil func(h *History)
}{
	{"acknowledged and gone from the end", Lost, func(h *History) {
		h.Logs[0].Records, h.Logs[0].End = h.Logs[0].Records[:1], 1
		h.Reads = nil
	}},
	{"acknowledged and gone from the middle", Lost, func(h *History) {
		h.Logs[0].Records = slices.Delete(h.Logs[0].Records, 1, 2)
		h.Reads = nil
	}},
	{"acknowledged and replaced", Lost, func(h *History) {
		h.Logs[0].Records = []Record{{0, "a"}, {1, "c"}}
		h.Reads = nil
	}},
	{"acknowledged without an offset, and nowhere", Lost, func(h *History) {
		h.Produces[2].End, h.Produces[2].Outcome = 12, OK
		h.Logs[0].Records, h.Logs[0].End = h.Logs[0].Records[:2], 2
		h.Reads, h.Latests = h.Reads[:2], nil
	}},
	{"acknowledged at another offset", Misplaced, func(h *History) {
		h.Logs[0].Records = []Record{{0, "a"}, {2, "b"}}
		h.Reads = nil
	}},
	{"written twice", Duplicated, func(h *History) { h.Logs[0].Records = append(h.Logs[0].Records, Record{3, "c"}) }},
	{"an acknowledged one written twice", Duplicated, func(h *History) { h.Logs[0].Records = append(h.Logs[0].Records, Record{3, "a"}) }},
	{"in another order", Reordered, func(h *History) { h.Produces[0].Number, h.Produces[2].Number = 2, 0 }},
	{"an unknown one before an acknowledged one", Reordered, func(h *History) { h.Produces[2].Number = 0; h.Produces[0].Number = 1; h.Produces[1].Number = 2 }},
	{"sent later and placed before", Overtaken, func(h *History) {
		h.Produces = append(h.Produces, Produce{Producer: "z", Partition: p0, Value: "z", Begin: 20, End: 21, Outcome: OK, Offset: 3, Promised: true})
		h.Produces[2].Begin = 30
		h.Logs[0].Records = append(h.Logs[0].Records, Record{3, "z"})
	}},
	{"two values to two readers", Inconsistent, func(h *History) { h.Reads[0].Records[1].Value = "c" }},
	{"two values without a log", Inconsistent, func(h *History) { h.Reads[0].Records[1].Value = "c"; h.Logs = nil }},
	{"one offset acknowledged twice", Inconsistent, func(h *History) { h.Produces[1].Offset = 0 }},
	{"a value nobody wrote", Phantom, func(h *History) { h.Logs[0].Records = append(h.Logs[0].Records, Record{3, "?"}) }},
	{"a value nobody wrote, read once", Phantom, func(h *History) { h.Logs = nil; h.Reads[2].Records[0].Value = "?" }},
	{"a refused one", Phantom, func(h *History) { h.Logs[0].Records = append(h.Logs[0].Records, Record{3, "x"}) }},
	{"read and gone", Vanished, func(h *History) { h.Logs[0].Records, h.Logs[0].End = h.Logs[0].Records[:2], 2 }},
	{"left out of an answer", Missed, func(h *History) { h.Reads[1].Records = h.Reads[1].Records[1:] }},
	{"left out of the middle", Missed, func(h *History) {
		h.Reads[1].Records = []Record{{0, "a"}, {2, "c"}}
		h.Reads[2].Records = []Record{{2, "c"}}
	}},
	{"an answer below what was asked", Backwards, func(h *History) { h.Reads[2].From = 3 }},
	{"an answer that goes back", Backwards, func(h *History) { h.Reads[1].Records = []Record{{1, "b"}, {0, "a"}} }},
	{"a log that goes back", Backwards, func(h *History) { slices.Reverse(h.Logs[0].Records) }},
	{"the end went back", LatestBack, func(h *History) { h.Latests[2].Begin = 13 }},
	{"deleted, and there at the end", Undeleted, func(h *History) { deleteOne(h); h.Logs[0].Start = 0 }},
	{"deleted in part", Undeleted, func(h *History) { deleteOne(h); h.Deletions[0].Before = 2 }},
	{"deleted more than was asked", Deleted, func(h *History) { deleteOne(h); h.Deletions[0].Before, h.Deletions[0].Outcome = 0, Unknown }},
	{"deleted before it was asked", Deleted, func(h *History) { deleteOne(h); h.Deletions[0].Begin = 51 }},
	{"deleted though that was refused", Deleted, func(h *History) { deleteOne(h); h.Deletions[0].Outcome = Failed }},
	{"the start moved by itself", Deleted, func(h *History) { h.Logs[0].Start = 1; h.Logs[0].Records = h.Logs[0].Records[1:] }},
	{"an overwritten commit", OffsetBack, func(h *History) { h.Fetches[1].Offset, h.Fetches[1].ID = 2, "c0" }},
	{"an overwritten commit of an earlier generation", OffsetBack, func(h *History) {
		h.Commits[2].End, h.Commits[2].Outcome = 25, OK
		h.Fetches[2].Offset, h.Fetches[2].ID = 2, "c0"
	}},
	{"an overwritten commit of an earlier generation, by a deposed coordinator", OffsetBack, func(h *History) {
		h.Commits[2].End, h.Commits[2].Outcome = 25, OK
		h.Fetches[2].Offset, h.Fetches[2].ID, h.Fetches[2].Deposed = 2, "c0", true
	}},
	{"a commit that is gone", OffsetLost, func(h *History) { h.Fetches[1].Offset, h.Fetches[1].ID = -1, "" }},
	{"an offset nobody committed", OffsetWrong, func(h *History) { h.Fetches[1].Offset = 1 }},
	{"a commit that was refused", OffsetWrong, func(h *History) { h.Fetches[2].Offset, h.Fetches[2].ID = 9, "c3" }},
	{"a commit of the future", OffsetWrong, func(h *History) { h.Fetches[0].Offset, h.Fetches[0].ID = 2, "c0" }},
	{"two owners", TwoOwners, func(h *History) { h.Reads[2].Member = "n" }},
	{"committed and not given", Skipped, func(h *History) { h.Reads = slices.Delete(h.Reads, 1, 2) }},
}

func TestEachFaultIsFound(t *testing.T) {
	tested := map[Kind]bool{}
	for _, b := range bad {
		tested[b.kind] = true
		h := good()
		b.spoil(h)
		if f := Check(h); !slices.ContainsFunc(f, func(f Finding) bool { return f.Kind == b.kind }) {
			t.Errorf("%s: found %v, want %q", b.name, f, b.kind)
		}
	}
	for _, k := range Kinds {
		if !tested[k] {
			t.Errorf("no history for %q", k)
		}
	}
}

// A member of an earlier generation may see the commits of its time.
func TestEarlierGenerationSeesItsOwnTime(t *testing.T) {
	h := good()
	h.Commits[2].End, h.Commits[2].Outcome = 25, OK
	if f := Check(h); len(f) > 0 {
		t.Errorf("found %v", f)
	}
}

// One of the same generation may not, unless it asked a coordinator that was deposed.
func TestDeposedCoordinatorSeesItsOwnTime(t *testing.T) {
	for _, deposed := range []bool{false, true} {
		h := good()
		h.Fetches[1].Offset, h.Fetches[1].ID, h.Fetches[1].Deposed = 2, "c0", deposed
		if f := Check(h); (len(f) == 0) != deposed {
			t.Errorf("deposed %v: found %v", deposed, f)
		}
	}
}

func TestFindingsAreBounded(t *testing.T) {
	h := &History{Logs: []Log{{Partition: p0}}}
	for i := range 1000 {
		h.Produces = append(h.Produces, Produce{Partition: p0, Value: fmt.Sprint(i), Outcome: OK, Offset: int64(i), Promised: true, Begin: Time(i), End: Time(i)})
	}
	if n := len(Check(h)); n != maxFindings {
		t.Errorf("%d findings, want %d", n, maxFindings)
	}
}

// A random history of a partition that is right: operations take effect at one moment
// between their begin and their end.
func generate(rng *rand.Rand) *History {
	h := &History{}
	end := int64(0)
	var log []Record
	committed := Fetched{Offset: -1}
	generation := int32(1)
	now := Time(0)
	tick := func() Time { now += Time(1 + rng.IntN(3)); return now }
	position := int64(0)      // of the group's member
	free := map[string]Time{} // when a producer had its last answer
	for i := range 50 + rng.IntN(300) {
		at := tick() // the moment of effect
		switch rng.IntN(5) {
		case 0, 1:
			p := Produce{
				Producer: fmt.Sprint("p", rng.IntN(3)), Number: int64(i), Partition: p0, Value: fmt.Sprint("v", i),
				Promised: true, Idempotent: true, Offset: -1, End: Never,
			}
			since := free[p.Producer]
			if since >= at {
				continue
			}
			p.Begin = since + 1 + Time(rng.Int64N(int64(at-since)))
			fate := rng.IntN(8)
			if fate < 7 {
				log = append(log, Record{end, p.Value})
				p.Offset = end
				end++
			}
			switch fate {
			case 6, 7: // done and not told, or never done and not told
				p.Offset, free[p.Producer] = -1, at
			default:
				p.Outcome, p.End = OK, at+Time(rng.IntN(5))
				free[p.Producer] = p.End
			}
			h.Produces = append(h.Produces, p)
		case 2:
			from := rng.Int64N(end + 1)
			to := from + rng.Int64N(end-from+1)
			h.Reads = append(h.Reads, Read{Consumer: "r", Partition: p0, From: from, Begin: at, End: at, Records: slices.Clone(log[from:to])})
			h.Latests = append(h.Latests, Latest{Consumer: "r", Partition: p0, Begin: at, End: at, Offset: end})
		case 3:
			h.Reads = append(h.Reads, Read{
				Consumer: "m", Partition: p0, From: position, Begin: at, End: at, Records: slices.Clone(log[position:end]),
				Group: "g", Member: fmt.Sprint("m", generation), Generation: generation,
			})
			position = end
			c := Commit{Group: "g", Generation: generation, Partition: p0, Offset: position, ID: fmt.Sprint("c", i), Begin: at, End: Never}
			switch rng.IntN(4) {
			case 0: // lost
			case 1: // done and not told
				committed = Fetched{Offset: c.Offset, ID: c.ID}
			default:
				c.Outcome, c.End = OK, at
				committed = Fetched{Offset: c.Offset, ID: c.ID}
			}
			h.Commits = append(h.Commits, c)
		case 4:
			f := committed
			f.Group, f.Generation, f.Partition, f.Begin, f.End = "g", generation, p0, at, at
			h.Fetches = append(h.Fetches, f)
			if rng.IntN(2) == 0 { // a rebalance: the next member starts where the group is
				generation++
				position = max(0, committed.Offset)
			}
		}
	}
	h.Logs = []Log{{Partition: p0, End: end, Records: log}}
	return h
}

func TestGeneratedHistories(t *testing.T) {
	for seed := range uint64(500) {
		h := generate(rand.New(rand.NewPCG(seed, 0)))
		if f := Check(h); len(f) > 0 {
			t.Fatalf("seed %d: found %v in a history that is right", seed, f)
		}
	}
}

// One change that matters is found in any history.
func TestSpoiledHistories(t *testing.T) {
	kinds := map[Kind]int{}
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 0))
		h := generate(rng)
		l := &h.Logs[0]
		if len(l.Records) < 3 {
			continue
		}
		i := rng.IntN(len(l.Records) - 1)
		switch seed % 3 {
		case 0:
			acked := slices.IndexFunc(h.Produces, func(p Produce) bool { return p.Outcome == OK })
			if acked < 0 {
				continue
			}
			at := h.Produces[acked].Offset
			l.Records = slices.Delete(l.Records, int(at), int(at)+1)
		case 1:
			l.Records = append(l.Records, Record{l.End, l.Records[i].Value})
		case 2:
			h.Reads = append(h.Reads, Read{Consumer: "late", Partition: p0, From: int64(i), Begin: 1 << 40, End: 1 << 40,
				Records: []Record{{int64(i), l.Records[i+1].Value}}})
		}
		f := Check(h)
		if len(f) == 0 {
			t.Fatalf("seed %d: found nothing", seed)
		}
		for _, f := range f {
			kinds[f.Kind]++
		}
	}
	for _, k := range []Kind{Lost, Duplicated, Inconsistent} {
		if kinds[k] == 0 {
			t.Errorf("never found %q", k)
		}
	}
}
