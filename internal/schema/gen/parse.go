package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// record is one top-level definition.
type record struct {
	Struct
	Type       int
	MaxVersion int
	// Levels[v] is the lowest metadata feature level under which version v is written.
	Levels []int
}

// Struct is a named list of fields.
type Struct struct {
	Name   string
	Doc    []string
	Fields []*field
}

// field is one field of a struct, with what its line says.
type field struct {
	Name     string
	Doc      []string
	Kind     string // a primitive, "struct", or "array"
	Elem     *field // of an array
	Sub      *Struct
	Nullable bool
	Default  string // Go literal; "" is the zero value
	Min, Max int    // versions that have it; Max -1 is unbounded
	Tag      int    // -1 is untagged
}

var (
	headRE  = regexp.MustCompile(`^(\w+) => record (\d+), max version (\d+), flexible v0\+, levels ([\d ]+)$`)
	fieldRE = regexp.MustCompile(`^(\w+): ([^\s(]+)(?:\(([^)]+)\))?(?:\s*// (.+))?$`)
	versRE  = regexp.MustCompile(`^v(\d+)(?:\+|-v(\d+))$`)
	tagRE   = regexp.MustCompile(`^tag (\d+)$`)
)

// primitives maps the grammar's primitive types to Go's.
var primitives = map[string]string{
	"bool": "bool", "int8": "int8", "int16": "int16", "uint16": "uint16",
	"int32": "int32", "int64": "int64", "uuid": "[16]byte",
	"string": "string", "nullable-string": "*string", "bytes": "[]byte",
}

type parser struct {
	lines []string
	pos   int
}

// parse reads a definitions file: records separated by blank lines, fields
// indented by two blanks per level, comments above what they describe.
func parse(text string) ([]*record, error) {
	p := &parser{lines: strings.Split(text, "\n")}
	var out []*record
	types := map[int]string{}
	for {
		doc := p.comments(0)
		if p.pos >= len(p.lines) {
			return out, nil
		}
		if p.lines[p.pos] == "" {
			p.pos++
			continue
		}
		rec, err := p.record(doc)
		if err != nil {
			return nil, err
		}
		if other, ok := types[rec.Type]; ok {
			return nil, fmt.Errorf("%s and %s share record type %d", other, rec.Name, rec.Type)
		}
		types[rec.Type] = rec.Name
		out = append(out, rec)
	}
}

func (p *parser) record(doc []string) (*record, error) {
	m := headRE.FindStringSubmatch(p.lines[p.pos])
	if m == nil {
		return nil, p.errorf("not a record header")
	}
	p.pos++
	rec := &record{Struct: Struct{Name: m[1], Doc: doc}, Type: atoi(m[2]), MaxVersion: atoi(m[3])}
	for _, l := range strings.Fields(m[4]) {
		rec.Levels = append(rec.Levels, atoi(l))
	}
	if len(rec.Levels) != rec.MaxVersion+1 {
		return nil, p.errorf("%s has %d versions and %d levels", rec.Name, rec.MaxVersion+1, len(rec.Levels))
	}
	var err error
	rec.Fields, err = p.fields(rec.Name, 1)
	return rec, err
}

// fields reads the fields at one depth; prefix names nested structs.
func (p *parser) fields(prefix string, depth int) ([]*field, error) {
	var out []*field
	tags := 0
	for {
		doc := p.comments(depth)
		line, ok := p.indented(depth)
		if !ok {
			if len(out) == 0 {
				return nil, p.errorf("%s has no fields", prefix)
			}
			return out, nil
		}
		f, err := p.field(prefix, line, depth)
		if err != nil {
			return nil, err
		}
		if f.Tag >= 0 {
			if f.Tag != tags {
				return nil, p.errorf("tag %d where %d follows", f.Tag, tags)
			}
			tags++
		} else if tags > 0 {
			return nil, p.errorf("untagged field %s after a tagged one", f.Name)
		}
		f.Doc = doc
		out = append(out, f)
	}
}

func (p *parser) field(prefix, line string, depth int) (*field, error) {
	m := fieldRE.FindStringSubmatch(line)
	if m == nil {
		return nil, p.errorf("not a field")
	}
	p.pos++
	f := &field{Name: m[1], Default: m[3], Max: -1, Tag: -1}
	for _, c := range strings.Split(m[4], ", ") {
		switch {
		case c == "":
		case versRE.MatchString(c):
			v := versRE.FindStringSubmatch(c)
			f.Min = atoi(v[1])
			if v[2] != "" {
				f.Max = atoi(v[2])
			}
		case tagRE.MatchString(c):
			f.Tag = atoi(tagRE.FindStringSubmatch(c)[1])
		default:
			return nil, p.errorf("unknown note %q", c)
		}
	}
	return f, p.fieldType(f, prefix, m[2], depth)
}

func (p *parser) fieldType(f *field, prefix, typ string, depth int) error {
	if _, ok := primitives[typ]; ok {
		f.Kind = typ
		return nil
	}
	if f.Default != "" {
		return p.errorf("a default on %s", typ)
	}
	rest, nullable := strings.CutPrefix(typ, "nullable")
	if !strings.HasPrefix(rest, "[") || !strings.HasSuffix(rest, "]") {
		return p.errorf("unknown type %q", typ)
	}
	f.Kind, f.Nullable = "array", nullable
	elem := rest[1 : len(rest)-1]
	if elem != "=>" {
		if _, ok := primitives[elem]; !ok {
			return p.errorf("unknown element type %q", elem)
		}
		f.Elem = &field{Kind: elem, Max: -1, Tag: -1}
		return nil
	}
	name := prefix + strings.TrimSuffix(f.Name, "s")
	fields, err := p.fields(name, depth+1)
	if err != nil {
		return err
	}
	f.Elem = &field{Kind: "struct", Max: -1, Tag: -1, Sub: &Struct{
		Name: name, Fields: fields, Doc: []string{name + " is an element of " + prefix + "." + f.Name + "."},
	}}
	return nil
}

// comments collects the comment lines at a depth.
func (p *parser) comments(depth int) []string {
	var out []string
	for {
		line, ok := p.indented(depth)
		if !ok || !strings.HasPrefix(line, "//") {
			return out
		}
		out = append(out, strings.TrimPrefix(strings.TrimPrefix(line, "//"), " "))
		p.pos++
	}
}

// indented is the current line without its indent, if it stands at that depth.
func (p *parser) indented(depth int) (string, bool) {
	if p.pos >= len(p.lines) {
		return "", false
	}
	line, ok := strings.CutPrefix(p.lines[p.pos], strings.Repeat("  ", depth))
	return line, ok && line != "" && line[0] != ' '
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.pos+1, fmt.Sprintf(format, args...))
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err) // the expressions let digits through only
	}
	return n
}
