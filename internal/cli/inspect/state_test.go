package inspect

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// goldenState is what package log holds to be the bytes of a version of leat.state.
func goldenState(t testing.TB, version string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../log/testdata/state-" + version + ".hex")
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestState(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		dir := t.TempDir()
		write(t, dir, "leat.state", goldenState(t, version))
		for format, name := range map[string]string{"table": "state-" + version + ".txt", "json": "state-" + version + ".json"} {
			got, err := run(t, dir, format, options{}, "leat.state")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, got)
		}
	}
}

// TestStateOfLoss: logs that vanished or are damaged are told.
func TestStateOfLoss(t *testing.T) {
	dir := t.TempDir()
	// The frames of package log's TestStateGolden, behind the header of version 2.
	frames, err := hex.DecodeString("000000353375ffbb02000163000000006320202020202020202020202020202002000000000000000000000000000000004000000000000000000000000000002068f665d50400016400000000642020202020202020202020202020200000000000000008")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "leat.state", append(goldenState(t, "v2")[:21], frames...))
	got, err := run(t, dir, "table", options{}, "leat.state")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"log c-0: from 0, recovery point 0, damaged", "log d-0: missing, its recovery point was 8"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
