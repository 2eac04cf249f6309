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
