package config

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseProperties(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []Property
	}{
		{"separators", "a=1\nb:2\nc 3\nd\t=\t4\ne = : 5", []Property{{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}, {"d", "4", 4}, {"e", ": 5", 5}}},
		{"blanks before the key, none cut at the end", "  \t a = 1 \n", []Property{{"a", "1 ", 1}}},
		{"comments and empty lines", "# x=1\n ! y=2\n\n\t\na=1#2", []Property{{"a", "1#2", 5}}},
		{"a line goes on", "a=1,\\\n   2,\\\n\t3\nb=4", []Property{{"a", "1,2,3", 1}, {"b", "4", 4}}},
		{"two backslashes do not go on", "a=1\\\\\nb=2", []Property{{"a", `1\`, 1}, {"b", "2", 2}}},
		{"a comment does not go on", "#a\\\nb=2", []Property{{"b", "2", 2}}},
		{"a comment sign on a further line is text", "a=1\\\n#2", []Property{{"a", "1#2", 1}}},
		{"escapes", `a\=b\:c\ d=x\ty\nz\rw\f\q\\`, []Property{{"a=b:c d", "x\ty\nz\rw\fq\\", 1}}},
		{"unicode", `a=\u00e4\u4e2D\ud83d\ude00é`, []Property{{"a", "ä中😀é", 1}}},
		{"half a surrogate pair", `a=\ud83dx`, []Property{{"a", "\ufffdx", 1}}},
		{"no value", "a\nb=\nc:", []Property{{"a", "", 1}, {"b", "", 2}, {"c", "", 3}}},
		{"line ends", "a=1\rb=2\r\nc=3", []Property{{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}}},
		{"byte order mark", "\ufeffa=1", []Property{{"a", "1", 1}}},
		{"backslash at the very end", "a=1\\", []Property{{"a", "1", 1}}},
		{"continued by nothing but blanks", "a=1\\\n   \nb=2", []Property{{"a", "1", 1}, {"b", "2", 3}}},
		{"no key", "=1", []Property{{"", "1", 1}}},
	} {
		got, err := ParseProperties(strings.NewReader(c.in))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q\n got %+v %v\nwant %+v", c.name, c.in, got, err, c.want)
		}
	}
}

func TestParsePropertiesRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"a=1\nb=\\u12g4": `line 2: \u needs four hexadecimal digits`,
		"a=\\u12":        `line 1: \u needs four hexadecimal digits`,
		"a=1\nb\x00=2":   "a zero byte at 5: this is no text in UTF-8",
		"a=" + strings.Repeat("x", maxPropertiesFile): "longer than 4194304 bytes: this is no properties file",
	} {
		if _, err := ParseProperties(strings.NewReader(in)); err == nil || err.Error() != want {
			t.Errorf("%.20q: %v", in, err)
		}
	}
}

// escape writes a key or a value so that it parses back.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch r {
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case ' ', '\t', '\f', '=', ':', '#', '!', '\\':
			b.WriteString(`\` + map[bool]string{true: "f", false: string(r)}[r == '\f'])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// FuzzParseProperties: nothing panics, and what was parsed parses to the same
// again after it is written with escapes.
func FuzzParseProperties(f *testing.F) {
	for _, s := range []string{stock, "a=1,\\\n 2", `a\=b=\u00e4\ud83d\ude00`, "a\rb", "\\", "a=\\u", "!x\n#y\n=z", "\xff=\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		first, err := ParseProperties(strings.NewReader(in))
		if err != nil || !utf8.ValidString(in) {
			return
		}
		var b strings.Builder
		for _, p := range first {
			b.WriteString(strings.TrimPrefix(escape(p.Key), "\ufeff") + "=" + escape(p.Value) + "\n")
			if strings.HasPrefix(p.Key, "\ufeff") {
				return // a byte order mark inside is only text
			}
		}
		second, err := ParseProperties(strings.NewReader(b.String()))
		if err != nil || len(second) != len(first) {
			t.Fatalf("%q: %d entries, again %d, %v", in, len(first), len(second), err)
		}
		for i := range first {
			if first[i].Key != second[i].Key || first[i].Value != second[i].Value {
				t.Fatalf("%q: %+v, again %+v", in, first[i], second[i])
			}
		}
	})
}
