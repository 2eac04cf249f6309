// Command gen writes the Go types and codecs of internal/schema from a
// definitions file in the grammar of franz-go's generator, of which it knows
// what our records need: flexible records, tagged fields, arrays, structs.
//
// A record's header is "Name => record TYPE, max version N, flexible v0+, levels L0 … LN",
// where Lv is the lowest metadata feature level under which version v is written.
//
//	go run ./gen definitions/metadata generated.go
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: gen DEFINITIONS OUTPUT")
	}
	out, err := generate(args[0])
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], out, 0o644)
}

// generate returns the Go source for a definitions file.
func generate(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	recs, err := parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return emit(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), recs)
}
