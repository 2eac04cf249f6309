// Command gen writes internal/wire's table of request layouts from kmsg's own
// source, so that the check before decoding reads bytes exactly as the decoder
// will. It understands the few statement shapes that kmsg's generator emits and
// stops at any other one. Run it by go generate in internal/wire.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

const kmsgPath = "github.com/twmb/franz-go/pkg/kmsg"

func main() {
	out, err := Generate()
	if err == nil {
		err = os.WriteFile("table_gen.go", out, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// Generate is the text of table_gen.go for the kmsg that the module requires.
func Generate() ([]byte, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", kmsgPath).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, filepath.Join(strings.TrimSpace(string(dir)), "generated.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	g := &generator{fset: fset, methods: map[string]map[string]*ast.FuncDecl{}}
	return g.run(file)
}

type generator struct {
	fset    *token.FileSet
	methods map[string]map[string]*ast.FuncDecl // type, then method
	err     error
}

// request is the layout of one request type.
type request struct {
	name             string
	key, max, flexed int
	fields           []*field
}

// field is one entry of the table; see wire's type of that name.
type field struct {
	kind     string
	min, max int
	null     int
	tag      int
	elemType string
	elem     []*field
}

const noVersion = 32767

func (g *generator) run(file *ast.File) ([]byte, error) {
	for _, d := range file.Decls {
		fd, ok := d.(*ast.FuncDecl)
		if !ok || fd.Recv == nil {
			continue
		}
		recv := strings.TrimPrefix(g.text(fd.Recv.List[0].Type), "*")
		if g.methods[recv] == nil {
			g.methods[recv] = map[string]*ast.FuncDecl{}
		}
		g.methods[recv][fd.Name.Name] = fd
	}
	var reqs []*request
	for name, m := range g.methods {
		if strings.HasSuffix(name, "Request") && m["Key"] != nil && m["readFrom"] != nil {
			reqs = append(reqs, g.request(name, m))
		}
	}
	if g.err != nil {
		return nil, g.err
	}
	sort.Slice(reqs, func(i, j int) bool { return reqs[i].key < reqs[j].key })
	return render(reqs)
}

func (g *generator) request(name string, m map[string]*ast.FuncDecl) *request {
	r := &request{name: name, key: g.returned(m["Key"]), max: g.returned(m["MaxVersion"]), flexed: noVersion}
	body := m["readFrom"].Body.List
	for i, s := range body {
		if n, ok := strings.CutPrefix(g.text(s), "isFlexible := version >= "); ok {
			r.flexed = g.number(s, n)
			body = append(append([]ast.Stmt{}, body[:i]...), body[i+1:]...)
			break
		}
	}
	r.fields = g.fields(body)
	return r
}

// ignored are statements that read nothing.
var ignored = map[string]bool{
	"v.Default()": true, "b := kbin.Reader{Src: src}": true, "version := v.Version": true, "_ = version": true,
	"_ = isFlexible": true, "s := v": true, "v := &a[i]": true, "return b.Complete()": true,
	"b := kbin.Reader{Src: b.Span(int(b.Uvarint()))}":       true,
	"if err := b.Complete(); err != nil {\n\treturn err\n}": true,
}

// fields reads the statements of a struct's body.
func (g *generator) fields(stmts []ast.Stmt) (fs []*field) {
	for _, s := range stmts {
		if ignored[dedent(g.text(s))] {
			continue
		}
		switch s := s.(type) {
		case *ast.BlockStmt:
			fs = append(fs, g.field(s.List, 0, noVersion)...)
		case *ast.IfStmt:
			cond := g.text(s.Cond)
			if cond == "isFlexible" && s.Else == nil {
				fs = append(fs, g.tags(s.Body.List))
				continue
			}
			lo, hi := g.versions(s.Cond, cond)
			fs = append(fs, g.field(s.Body.List, lo, hi)...)
		default:
			g.fail(s, "statement of a struct")
		}
	}
	return fs
}

// field reads the block of one field.
func (g *generator) field(stmts []ast.Stmt, lo, hi int) []*field {
	stmts = g.skipIgnored(stmts)
	if len(stmts) == 0 {
		return nil
	}
	f := &field{min: lo, max: hi, null: noVersion}
	first := g.text(stmts[0])
	if s, ok := stmts[0].(*ast.IfStmt); ok && strings.HasPrefix(first, "if present := b.Int8(); present != -1") {
		f.kind, f.null = "kStruct", 0
		f.elemType = g.madeType(s, "new(", ")")
		f.elem = g.fields(s.Body.List[2:])
		return []*field{f}
	}
	if strings.HasPrefix(first, "v := &s.") {
		f.kind = "kInline"
		f.elem = g.fields(stmts[1:])
		return []*field{f}
	}
	calls := g.calls(stmts, true)
	if calls["ArrayLen"] || calls["CompactArrayLen"] {
		return []*field{g.array(f, stmts)}
	}
	f.kind, f.null = g.scalar(stmts, calls)
	return []*field{f}
}

// array reads the block of an array field.
func (g *generator) array(f *field, stmts []ast.Stmt) *field {
	f.kind = "kArray"
	for _, s := range stmts {
		text := g.text(s)
		switch s := s.(type) {
		case *ast.IfStmt:
			switch {
			case strings.HasPrefix(text, "if version < "):
				f.null = g.number(s, strings.TrimSuffix(strings.TrimPrefix(g.text(s.Cond), "version < "), " || l == 0"))
			case strings.HasPrefix(text, "if l > 0 {"):
				f.elemType = g.madeType(s, "make([]", ", l)")
			}
		case *ast.ForStmt:
			if g.text(s.Body.List[0]) == "v := &a[i]" {
				f.elem = g.fields(s.Body.List)
			} else {
				f.elem = g.field(s.Body.List, 0, noVersion)
			}
		}
	}
	if f.elemType == "" {
		g.fail(stmts[0], "array")
	}
	return f
}

// scalars are the readers of plain values.
var scalars = map[string]string{
	"Bool": "k1", "Int8": "k1", "Int16": "k2", "Uint16": "k2", "Int32": "k4", "Uint32": "k4", "Int64": "k8", "Float64": "k8", "Uuid": "k16",
	"String": "kString", "UnsafeString": "kString", "CompactString": "kString", "UnsafeCompactString": "kString",
	"NullableString": "kString?", "UnsafeNullableString": "kString?", "CompactNullableString": "kString?", "UnsafeCompactNullableString": "kString?",
	"Bytes": "kBytes", "CompactBytes": "kBytes", "NullableBytes": "kBytes?", "CompactNullableBytes": "kBytes?",
}

// scalar tells kind and nullability of a plain value by the readers it is read with.
func (g *generator) scalar(stmts []ast.Stmt, calls map[string]bool) (kind string, null int) {
	kinds := map[string]bool{}
	for c := range calls {
		k, ok := scalars[c]
		if !ok {
			g.fail(stmts[0], "reader "+c)
			return "k1", 0
		}
		kinds[k] = true
	}
	for _, k := range []string{"kString", "kBytes"} {
		switch {
		case kinds[k] && kinds[k+"?"] && len(kinds) == 2:
			for _, s := range stmts {
				if i, ok := s.(*ast.IfStmt); ok && strings.HasPrefix(g.text(i.Cond), "version < ") {
					return k, g.number(s, strings.TrimPrefix(g.text(i.Cond), "version < "))
				}
			}
		case kinds[k+"?"] && len(kinds) == 1:
			return k, 0
		}
	}
	for k := range kinds {
		if len(kinds) == 1 {
			return k, noVersion
		}
	}
	g.fail(stmts[0], "value")
	return "k1", 0
}

// tags reads the body of "if isFlexible" at a struct's end.
func (g *generator) tags(stmts []ast.Stmt) *field {
	f := &field{kind: "kTags", max: noVersion, null: noVersion}
	loop, ok := stmts[0].(*ast.ForStmt)
	if !ok {
		if g.text(stmts[0]) != "s.UnknownTags = internalReadTags(&b)" {
			g.fail(stmts[0], "tags")
		}
		return f
	}
	sw, ok := loop.Body.List[0].(*ast.SwitchStmt)
	if !ok {
		g.fail(loop, "known tags")
		return f
	}
	for _, c := range sw.Body.List {
		clause := c.(*ast.CaseClause)
		if clause.List == nil {
			continue
		}
		fs := g.field(clause.Body, 0, noVersion)
		for _, k := range fs {
			k.tag = g.number(clause, g.text(clause.List[0]))
		}
		f.elem = append(f.elem, fs...)
	}
	return f
}

// calls gathers the methods of the reader b that are called; outside loops only
// when shallow.
func (g *generator) calls(stmts []ast.Stmt, shallow bool) map[string]bool {
	found := map[string]bool{}
	for _, s := range stmts {
		ast.Inspect(s, func(n ast.Node) bool {
			if _, ok := n.(*ast.ForStmt); ok && shallow {
				return false
			}
			if c, ok := n.(*ast.CallExpr); ok {
				if sel, ok := c.Fun.(*ast.SelectorExpr); ok && g.text(sel.X) == "b" && sel.Sel.Name != "Ok" && sel.Sel.Name != "Complete" {
					found[sel.Sel.Name] = true
				}
			}
			return true
		})
	}
	return found
}

func (g *generator) skipIgnored(stmts []ast.Stmt) (out []ast.Stmt) {
	for _, s := range stmts {
		if t := dedent(g.text(s)); t == "v.Default()" || t == "s := v" || !ignored[t] {
			out = append(out, s)
		}
	}
	return out
}

func (g *generator) versions(n ast.Node, cond string) (lo, hi int) {
	loText, hiText, both := strings.Cut(cond, " && version <= ")
	lo, hi = g.number(n, strings.TrimPrefix(loText, "version >= ")), noVersion
	if both {
		hi = g.number(n, hiText)
	}
	return lo, hi
}

// madeType is the type between two marks of a statement's text.
func (g *generator) madeType(s ast.Node, before, after string) string {
	_, t, _ := strings.Cut(g.text(s), before)
	t, _, ok := strings.Cut(t, after)
	if !ok {
		g.fail(s, "type")
	}
	return t
}

func (g *generator) returned(fd *ast.FuncDecl) int {
	return g.number(fd, g.text(fd.Body.List[0].(*ast.ReturnStmt).Results[0]))
}

func (g *generator) number(n ast.Node, s string) int {
	v, err := strconv.Atoi(s)
	if err != nil {
		g.fail(n, "number "+s)
	}
	return v
}

func (g *generator) fail(n ast.Node, what string) {
	if g.err == nil {
		g.err = fmt.Errorf("%s: not understood: %s\n%s", g.fset.Position(n.Pos()), what, g.text(n))
	}
}

func (g *generator) text(n ast.Node) string {
	var b bytes.Buffer
	if err := format.Node(&b, g.fset, n); err != nil && g.err == nil {
		g.err = err
	}
	return b.String()
}

// dedent removes the indentation that a nested statement's later lines carry.
func dedent(s string) string {
	lines := strings.Split(s, "\n")
	last := lines[len(lines)-1]
	prefix := last[:len(last)-len(strings.TrimLeft(last, "\t"))]
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], prefix)
	}
	return strings.Join(lines, "\n")
}
