package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestCurrent fails when the definitions were changed and not generated from.
func TestCurrent(t *testing.T) {
	want, err := generate("../definitions/metadata")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../generated.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("internal/schema/generated.go is not current: run go generate ./internal/schema")
	}
}

func TestParseErrors(t *testing.T) {
	const head = "A => record 1, max version 0, flexible v0+, levels 1\n"
	for _, c := range []struct{ name, text, want string }{
		{"no header", "A =>\n  B: int8\n", "line 1: not a record header"},
		{"no fields", head, "line 2: A has no fields"},
		{"bad type", head + "  B: int7\n", `unknown type "int7"`},
		{"bad element", head + "  B: [int7]\n", `unknown element type "int7"`},
		{"bad note", head + "  B: int8 // soon\n", `unknown note "soon"`},
		{"tag order", head + "  B: int8 // tag 1\n", "tag 1 where 0 follows"},
		{"untagged last", head + "  B: int8 // tag 0\n  C: int8\n", "untagged field C after a tagged one"},
		{"array default", head + "  B: [int8](3)\n", "a default on [int8]"},
		{"levels", "A => record 1, max version 1, flexible v0+, levels 1\n  B: int8\n", "has 2 versions and 1 levels"},
		{"same type", head + "  B: int8\n\n" + head + "  B: int8\n", "A and A share record type 1"},
		{"not a field", head + "  B int8\n", "not a field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestVersions pins what the generator writes for fields that come and go.
func TestVersions(t *testing.T) {
	recs, err := parse("A => record 1, max version 2, flexible v0+, levels 1 1 3\n" +
		"  Old: int8 // v0-v1\n  New: string(\"x\") // v1+\n  Tag: uuid // v2+, tag 0\n")
	if err != nil {
		t.Fatal(err)
	}
	out, err := emit("test", recs)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"if version <= 1 {\n\t\tv.Old = r.Int8()",
		"if version >= 1 {\n\t\tdst = kbin.AppendCompactString(dst, v.New)",
		"if v.Tag != [16]byte{} && version >= 2 {",
		"case tag == 0 && version >= 2:",
		"[]int16{1, 1, 3}",
		`v.New = "x"`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}
