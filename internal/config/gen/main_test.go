package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/leat-stream/leat/internal/config"
)

const again = "is not what the table gives; run: go generate ./internal/config"

func TestNamesFollowTheTable(t *testing.T) {
	want, err := names()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("../names.go"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("names.go %s (%v)", again, err)
	}
}

func TestReferencePageFollowsTheTable(t *testing.T) {
	var want bytes.Buffer
	if err := config.Markdown(&want); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("../../../docs/configuration.md"); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("docs/configuration.md %s (%v)", again, err)
	}
}
