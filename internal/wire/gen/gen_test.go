package main

import (
	"bytes"
	"os"
	"testing"
)

// The checked-in table must be what the required kmsg gives: a new kmsg without go
// generate would let the check and the decoder read the same bytes differently.
func TestTableIsCurrent(t *testing.T) {
	want, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../table_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("table_gen.go is stale: run go generate ./internal/wire")
	}
}
