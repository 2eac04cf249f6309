package log

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// goldenState is the content of testdata/state-v<version>.hex.
func goldenState(t testing.TB, version int) []byte {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("testdata/state-v%d.hex", version))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStateGolden: the bytes of this version do not change, and those of the earlier one
// can be read. With LEAT_REWRITE set it writes those of this version anew.
func TestStateGolden(t *testing.T) {
	logs := func(first, second entryCounts) []*savedLog {
		return []*savedLog{
			{id: testID("a"), start: 1, point: 9, unstable: 5, noProducers: true,
				segs: []savedSegment{{0, 10, 3, 2, first}, {4, 7, -1, 4, second}}},
			{id: testID("c"), start: 0, point: 0, unstable: 1 << 62, segs: []savedSegment{}},
		}
	}
	read := func(b []byte, isOld bool, want []*savedLog) {
		t.Helper()
		c, err := parseState(b)
		got := c.logs
		if err != nil || c.used != len(b) || c.old != isOld || len(got) != len(want) {
			t.Fatalf("%d logs, %d of %d bytes, old %v: %v", len(got), c.used, len(b), c.old, err)
		}
		for _, s := range want {
			if !reflect.DeepEqual(got[s.id.key()], s) {
				t.Fatalf("read %+v, want %+v", got[s.id.key()], s)
			}
		}
	}
	read(goldenState(t, 1), true, logs(entryCounts{}, entryCounts{}))
	now := logs(entryCounts{5, 3, 2}, entryCounts{1, math.MaxUint32, 0})
	b := appendHeaderFrame(nil)
	for _, s := range now {
		b = appendLogFrame(b, s)
	}
	b = appendGoneFrame(b, testID("b"))
	if os.Getenv("LEAT_REWRITE") != "" {
		if err := os.WriteFile("testdata/state-v2.hex", []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := goldenState(t, 2); !bytes.Equal(b, want) {
		t.Fatalf("the bytes changed: this needs a new version\n%x", b)
	}
	read(b, false, now)
	now[1].damaged = true
	with := appendMissingFrame(appendLogFrame(slices.Clone(b), now[1]), testID("d"), 8)
	const golden = "000000353375ffbb02000163000000006320202020202020202020202020202002000000000000000000000000000000004000000000000000000000000000002068f665d50400016400000000642020202020202020202020202020200000000000000008"
	if got := hex.EncodeToString(with[len(b):]); got != golden {
		t.Fatalf("the bytes changed: this needs a new version\n%s", got)
	}
	read(with, false, now)
	if c, err := parseState(with); err != nil || len(c.missing) != 1 || c.missing[testID("d")] != 8 {
		t.Fatalf("missing %v, %v", c.missing, err)
	}
}

// TestStateOfTheEarlierVersion: a clean start with it is clean, and leaves the new version.
func TestStateOfTheEarlierVersion(t *testing.T) {
	w := newWorld(t)
	l := w.log("a", smallSegments)
	for range 40 {
		w.append(l, batch(1, 200))
	}
	w.close()
	w.change("data/"+stateFile, func(p []byte) []byte {
		c, err := parseState(p)
		if err != nil || len(c.logs) != 1 {
			t.Fatal(len(c.logs), err)
		}
		b := appendFrame(nil, func(b []byte) []byte { return append(append(b, frameHeader), stateHeader1...) })
		return append(b, earlierFrame(c.logs[l.ID().key()])...)
	})
	w.open()
	if o, ok := saw[Opened](w); !ok || !o.Clean || o.ScannedBytes > 0 {
		t.Fatalf("told %+v", o)
	}
	if e, ok := saw[IndexRebuilt](w); ok {
		t.Fatal(e)
	}
	if c, err := parseState(w.content("data/" + stateFile)); err != nil || c.old {
		t.Fatalf("it was left as it was: %v, %v", c.old, err)
	}
	if got := readAll(t, w.log("a", smallSegments), 0); len(got) != 40 {
		t.Fatalf("read %d", len(got))
	}
}

// earlierFrame is the frame of a log as version 1 has it.
func earlierFrame(s *savedLog) []byte {
	payload, _, err := nextFrame(appendLogFrame(nil, s))
	if err != nil {
		panic(err)
	}
	at := len(payload) - len(s.segs)*savedSegmentSize
	return appendFrame(nil, func(b []byte) []byte {
		b = append(b, payload[:at]...)
		for ; at < len(payload); at += savedSegmentSize {
			b = append(b, payload[at:at+savedSegmentSize1]...)
		}
		return b
	})
}
