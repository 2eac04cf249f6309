package log

import (
	"errors"
	"testing"
)

const aMeta = aDir + metadataFile

// TestDamagedTopicID: where the state file and whoever opens the log agree, a damaged
// partition.metadata is mended, and what the journal holds of the log is not lost.
func TestDamagedTopicID(t *testing.T) {
	for name, harm := range map[string]func(p []byte) []byte{
		"another letter of the id": func(p []byte) []byte { p[len(p)-5] = 'Z'; return p },
		"no letter of an id":       func(p []byte) []byte { p[len(p)-5] = 0xe1; return p },
		"another key":              flip(15),
		"another version":          flip(9),
		"empty":                    cutAt(0),
		"gone":                     nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := w.log("a")
			w.append(l, batch(1, 100))
			w.checkpoint()
			w.append(l, batch(1, 100))
			w.sync()
			good := w.content(aMeta)
			if harm != nil {
				w.change(aMeta, harm)
			} else {
				w.must(w.disk.Remove(aMeta))
				w.must(w.disk.SyncDir("data/a-0"))
			}
			w.events = nil
			w.crash()
			l = w.log("a")
			if got := readAll(t, l, 0); len(got) != 2 || !l.Recovered().Kept || l.Recovered().Point != 1 {
				t.Fatalf("read %v, %+v", got, l.Recovered())
			}
			if e, ok := saw[IndexRebuilt](w); !ok || e.File != metadataFile || e.Log != testID("a") {
				t.Fatalf("told %v", w.events)
			}
			if string(w.content(aMeta)) != string(good) {
				t.Fatalf("the file says %q", w.content(aMeta))
			}
			w.events = nil
			w.kill()
			if got := readAll(t, w.log("a"), 0); len(got) != 2 {
				t.Fatalf("read %v", got)
			}
			if e, ok := saw[IndexRebuilt](w); ok {
				t.Fatalf("told again: %v", e)
			}
		})
	}
}

// TestTopicIDsDisagree: the data of another topic is not adopted.
func TestTopicIDsDisagree(t *testing.T) {
	other := anotherID("a")
	for name, c := range map[string]struct {
		harm  func([]byte) []byte
		asked LogID // which is refused
	}{
		"the directory is another topic's":           {func([]byte) []byte { return encodePartition(other.TopicID) }, testID("a")},
		"the file is damaged, and another was asked": {cutAt(0), other},
		"nothing is damaged, and another was asked":  {func(p []byte) []byte { return p }, other},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.append(w.log("a"), batch(1, 100))
			w.checkpoint()
			w.change(aMeta, c.harm)
			before := w.content(aMeta)
			w.crash()
			if _, err := w.dir.OpenLog(c.asked, DefaultConfig(), Hooks{}); !errors.Is(err, ErrInconsistentTopicID) {
				t.Fatal(err)
			}
			if string(w.content(aMeta)) != string(before) {
				t.Fatalf("the file says %q", w.content(aMeta))
			}
		})
	}
}

// TestRecordsOfNobody: what a power cut left of a log that was never synced is not taken for
// records of whichever topic has the name next.
func TestRecordsOfNobody(t *testing.T) {
	for name, harm := range map[string]func([]byte) []byte{
		"gone": nil, "empty": cutAt(0), "cut off": cutAt(20), "zeros": func(p []byte) []byte { clear(p[10:]); return p },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.append(w.log("a"), batch(1, 100))
			if harm != nil {
				w.change(aMeta, harm)
			} else {
				w.must(w.disk.Remove(aMeta))
			}
			w.kill()
			for _, id := range []LogID{testID("a"), anotherID("a")} {
				if _, err := w.dir.OpenLog(id, DefaultConfig(), Hooks{}); !errors.Is(err, ErrInconsistentTopicID) {
					t.Fatal(err)
				}
			}
			if _, err := w.dir.SetAside(w.dir.Log("a", 0).ID()); err != nil {
				t.Fatal(err)
			}
			l, err := w.dir.OpenLog(anotherID("a"), DefaultConfig(), Hooks{})
			if err != nil || l.EndOffset() != 0 || l.LatestEpoch() != -1 {
				t.Fatal(l, err)
			}
		})
	}
}
