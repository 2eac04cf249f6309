// Package out writes what commands say: results as a table or as JSON on standard
// output, progress and notes on standard error, errors in one line with what to do.
// Colours and progress bars appear on terminals only.
package out

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// Out is where one command writes.
type Out struct {
	W   io.Writer // results
	Err io.Writer // everything else
	// Format is "table" or "json".
	Format string
	// Color and Bars tell whether W and Err are terminals.
	Color, Bars bool
}

// New is an Out on two streams; those that are terminals get colours and bars,
// unless NO_COLOR asks for none.
func New(w, err io.Writer) *Out {
	return &Out{W: w, Err: err, Format: "table", Color: IsTerminal(w) && os.Getenv("NO_COLOR") == "", Bars: IsTerminal(err)}
}

// IsTerminal tells whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// JSON tells whether results are to be JSON.
func (o *Out) JSON() bool { return o.Format == "json" }

// CheckFormat refuses an unknown --format.
func (o *Out) CheckFormat() error {
	if o.Format != "table" && o.Format != "json" {
		return Usagef("--format=%s: there is no such format; use table or json", o.Format)
	}
	return nil
}

// Table is a result for people.
type Table struct {
	Title  string
	Header []string
	Rows   [][]string
	// Right are the columns (from 0) whose text is aligned to the right: numbers.
	Right []int
	// Empty is said, on standard error, when there are no rows.
	Empty string
}

// Emit writes a result: v as JSON, or the tables.
func (o *Out) Emit(v any, tables ...Table) error {
	if o.JSON() {
		return o.WriteJSON(v)
	}
	for i, t := range tables {
		if i > 0 {
			fmt.Fprintln(o.W)
		}
		if err := o.table(t); err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON writes one indented JSON value.
func (o *Out) WriteJSON(v any) error {
	enc := json.NewEncoder(o.W)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (o *Out) table(t Table) error {
	if len(t.Rows) == 0 && t.Empty != "" {
		o.Note("%s", t.Empty)
		return nil
	}
	w := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	if o.Color {
		style.Color.Header = text.Colors{text.Bold}
	}
	w.SetStyle(style)
	w.SuppressTrailingSpaces()
	if t.Title != "" {
		fmt.Fprintln(o.W, o.Bold(t.Title))
	}
	if len(t.Header) > 0 {
		w.AppendHeader(row(t.Header))
	}
	for _, r := range t.Rows {
		w.AppendRow(row(r))
	}
	var columns []table.ColumnConfig
	for _, c := range t.Right {
		columns = append(columns, table.ColumnConfig{Number: c + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	_, err := fmt.Fprintln(o.W, w.Render())
	return err
}

func row(cells []string) table.Row {
	r := make(table.Row, len(cells))
	for i, c := range cells {
		r[i] = Printable(c)
	}
	return r
}

// Bold is s in bold on a terminal.
func (o *Out) Bold(s string) string {
	if !o.Color {
		return s
	}
	return text.Colors{text.Bold}.Sprint(s)
}

// Note tells a person something that is no result.
func (o *Out) Note(format string, args ...any) {
	fmt.Fprintf(o.Err, format+"\n", args...)
}

// Printable replaces control characters by escapes, so that data from a topic
// cannot drive the terminal.
func Printable(s string) string {
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// Line writes one line of a result.
func (o *Out) Line(s string) { fmt.Fprintln(o.W, s) }
